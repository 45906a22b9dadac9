"""/metrics: text that Prometheus reads, with the figures of the snapshot."""

from __future__ import annotations

import re
import sys
import threading

import pytest

from stream.live.stats import Stats
from stream.relay.metrics import BUCKETS_MS, StageTimes, exposition
from stream.relay.snapshot import Snapshot, StreamSnapshot

SAMPLE = re.compile(r'([a-z_]+)(?:\{([a-z_]+="(?:[^"\\\n]|\\.)*"(?:,[a-z_]+="(?:[^"\\\n]|\\.)*")*)\})? (\S+)')


def read(text: str) -> dict[str, float]:
    """Samples by name and labels; every line is checked against the format."""
    assert text.endswith("\n")
    samples: dict[str, float] = {}
    kinds: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in kinds
            kinds[name] = kind
        elif not line.startswith("# HELP "):
            found = SAMPLE.fullmatch(line)
            assert found, line
            base = re.sub(r"_(bucket|sum|count)$", "", found[1])
            assert found[1] in kinds or kinds[base] == "histogram"
            place = line.rpartition(" ")[0]
            assert place not in samples
            samples[place] = float(found[3])
    return samples


def full_snapshot() -> Snapshot:
    stats = Stats(
        frames_in=100,
        frames_out=90,
        dropped=10,
        fps=29.5,
        retouch_p50_ms=16.0,
        retouch_p95_ms=20.5,
        delay_p50_ms=40.0,
        delay_p95_ms=60.0,
        level=2,
        level_name="half",
        faces=3,
    )
    stream = StreamSnapshot(
        "stage",
        "vp8",
        1280,
        720,
        viewers=4,
        bitrate_kbps=2500,
        sent_kbps=2400.5,
        stats=stats,
        frames={"decoded": 100, "too_large": 1},
        queue_age_ms={"decode": 5.0},
        audio_delay_ms=45.0,
        keyframes=6,
        flushes=7,
    )
    return Snapshot((stream,), publishers=1, viewers=4, pending=2, ended={"time is up": 3}, late_s=1.25)


def test_every_figure_of_a_stream_is_there():
    samples = read(exposition(full_snapshot(), StageTimes(), "1.2.3"))
    of = 'vretouch_stream_{}{{stream="stage"{}}}'.format
    wanted = {
        of("frames_in_total", ""): 100,
        of("frames_out_total", ""): 90,
        of("frames_dropped_total", ""): 10,
        of("frames_total", ',became="decoded"'): 100,
        of("frames_total", ',became="too_large"'): 1,
        of("fps", ""): 29.5,
        of("retouch_seconds", ',quantile="0.5"'): 0.016,
        of("retouch_seconds", ',quantile="0.95"'): 0.0205,
        of("delay_seconds", ',quantile="0.95"'): 0.06,
        of("level", ""): 2,
        of("faces", ""): 3,
        of("viewers", ""): 4,
        of("width_pixels", ""): 1280,
        of("height_pixels", ""): 720,
        of("bitrate_bits_per_second", ',kind="target"'): 2_500_000,
        of("bitrate_bits_per_second", ',kind="sent"'): 2_400_500,
        of("queue_age_seconds", ',queue="decode"'): 0.005,
        of("audio_delay_seconds", ""): 0.045,
        of("keyframes_total", ""): 6,
        of("flushes_total", ""): 7,
        'vretouch_sessions{kind="publish"}': 1,
        'vretouch_sessions{kind="watch"}': 4,
        'vretouch_sessions{kind="pending"}': 2,
        'vretouch_sessions_ended_total{reason="time is up"}': 3,
        "vretouch_event_loop_late_seconds_total": 1.25,
    }
    assert {place: samples[place] for place in wanted} == pytest.approx(wanted)
    assert any(place.startswith('vretouch_build_info{version="1.2.3",python="3.') for place in samples)


def test_the_process_is_there():
    samples = read(exposition(Snapshot(), StageTimes()))
    assert samples["process_cpu_seconds_total"] > 0.0
    assert samples["process_threads"] >= 1
    if sys.platform == "linux":
        assert 10e6 < samples["process_resident_memory_bytes"] < 100e9
        assert 3 <= samples["process_open_fds"] < 10_000


def test_names_are_escaped():
    stream = StreamSnapshot('a"b\\c\nd', "vp8")
    assert r'vretouch_stream_viewers{stream="a\"b\\c\nd"}' in read(
        exposition(Snapshot((stream,)), StageTimes())
    )


def test_stages_are_counted_into_buckets():
    times = StageTimes()
    for ms in (0.5, 1.0, 1.5, 16.0, 1e6):
        times.add({"step": ms})
    samples = read(exposition(Snapshot(), times))
    of = 'vretouch_stage_seconds_bucket{{stage="step",le="{}"}}'.format
    assert samples[of("0.001")] == 2
    assert samples[of("0.002")] == 3
    assert samples[of("0.016")] == 4
    assert samples[of("0.5")] == 4
    assert samples[of("+Inf")] == samples['vretouch_stage_seconds_count{stage="step"}'] == 5
    assert samples['vretouch_stage_seconds_sum{stage="step"}'] == pytest.approx(1000.019)
    assert sum("bucket" in place for place in samples) == len(BUCKETS_MS) + 1


def test_threads_may_count_while_it_is_read():
    times = StageTimes()
    writers = [
        threading.Thread(target=lambda: [times.add({"step": 1.0}) for _ in range(2000)]) for _ in range(4)
    ]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        samples = read(exposition(Snapshot(), times))
        if samples:
            whole = samples.get('vretouch_stage_seconds_bucket{stage="step",le="+Inf"}', 0)
            assert whole == samples.get('vretouch_stage_seconds_count{stage="step"}', 0)
    assert read(exposition(Snapshot(), times))['vretouch_stage_seconds_count{stage="step"}'] == 8000
