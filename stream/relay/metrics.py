"""/metrics: what runs, in Prometheus' text format (version 0.0.4), without a library for it."""

from __future__ import annotations

import os
import platform
import sys
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from stream.relay.snapshot import Snapshot, StreamSnapshot

BUCKETS_MS = (1.0, 2.0, 4.0, 8.0, 12.0, 16.0, 20.0, 25.0, 33.0, 40.0, 50.0, 60.0, 75.0, 100.0, 200.0, 500.0)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = dict[str, str]


class StageTimes:
    """Histograms of what is done to a frame, over all streams.

    decode: in the publisher's decoder. filter: the filter's whole work, of which the stages of
    stream.retoucher.STAGES are parts. encode: conversion and encoding, once for all viewers. whole: from the
    arrival of a frame's last packet to the leaving of its new ones, waiting included.

    Decoders, filters and encoders write from their threads, /metrics reads from the event loop.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stages: dict[str, _Histogram] = {}

    def add(self, stage_ms: Mapping[str, float]) -> None:
        """Count one frame's times in ms, by stage."""
        with self._lock:
            for stage, ms in stage_ms.items():
                self._stages.setdefault(stage, _Histogram()).add(ms)

    def samples(self) -> Iterator[_Sample]:
        """The buckets, sum and count of each stage, in seconds."""
        with self._lock:
            stages = {stage: (list(kept.counts), kept.sum_ms) for stage, kept in self._stages.items()}
        for stage, (counts, sum_ms) in sorted(stages.items()):
            below = 0
            for bound, count in zip((*BUCKETS_MS, None), counts, strict=True):
                below += count
                le = "+Inf" if bound is None else _number(bound / 1e3)
                yield _Sample({"stage": stage, "le": le}, below, "_bucket")
            yield _Sample({"stage": stage}, sum_ms / 1e3, "_sum")
            yield _Sample({"stage": stage}, below, "_count")


class _Histogram:
    """counts: of each bucket of BUCKETS_MS, and of what is above them all."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS_MS) + 1)
        self.sum_ms = 0.0

    def add(self, ms: float) -> None:
        self.counts[bisect_left(BUCKETS_MS, ms)] += 1
        self.sum_ms += ms


@dataclass(frozen=True)
class _Sample:
    labels: Labels
    value: float
    suffix: str = ""


@dataclass(frozen=True)
class _Figure:
    """A metric of each stream. read: its samples, by the labels that it has beside the stream's name."""

    name: str
    kind: str
    said: str
    read: Callable[[StreamSnapshot], Iterable[tuple[Labels, float]]]


def _one(read: Callable[[StreamSnapshot], float]) -> Callable[[StreamSnapshot], list[tuple[Labels, float]]]:
    return lambda stream: [({}, read(stream))]


_OF_STREAMS = (
    _Figure("viewers", "gauge", "Viewers connected.", _one(lambda s: s.viewers)),
    _Figure("width_pixels", "gauge", "Width of the newest frame.", _one(lambda s: s.width)),
    _Figure("height_pixels", "gauge", "Height of the newest frame.", _one(lambda s: s.height)),
    _Figure("fps", "gauge", "Frames retouched a second.", _one(lambda s: s.stats.fps)),
    _Figure("faces", "gauge", "Faces in the newest frame.", _one(lambda s: s.stats.faces)),
    _Figure("level", "gauge", "Step of the quality ladder; 0 is full.", _one(lambda s: s.stats.level)),
    _Figure("frames_in_total", "counter", "Frames decoded.", _one(lambda s: s.stats.frames_in)),
    _Figure("frames_out_total", "counter", "Frames retouched.", _one(lambda s: s.stats.frames_out)),
    _Figure("frames_dropped_total", "counter", "Frames lost on the way.", _one(lambda s: s.stats.dropped)),
    _Figure(
        "frames_total",
        "counter",
        "Frames by what became of them.",
        lambda s: [({"became": kind}, count) for kind, count in sorted(s.frames.items())],
    ),
    _Figure(
        "retouch_seconds",
        "gauge",
        "The filter's work on a frame, over the last seconds.",
        lambda s: _quantiles(s.stats.retouch_p50_ms, s.stats.retouch_p95_ms),
    ),
    _Figure(
        "delay_seconds",
        "gauge",
        "From a frame's arrival to its leaving, over the last seconds.",
        lambda s: _quantiles(s.stats.delay_p50_ms, s.stats.delay_p95_ms),
    ),
    _Figure(
        "queue_age_seconds",
        "gauge",
        "How long the oldest item has waited.",
        lambda s: [({"queue": name}, ms / 1e3) for name, ms in sorted(s.queue_age_ms.items())],
    ),
    _Figure(
        "bitrate_bits_per_second",
        "gauge",
        "What the encoder aims at, and what it makes.",
        lambda s: [({"kind": "target"}, s.bitrate_kbps * 1e3), ({"kind": "sent"}, s.sent_kbps * 1e3)],
    ),
    _Figure(
        "audio_delay_seconds",
        "gauge",
        "By how much sound is held back for the picture.",
        _one(lambda s: s.audio_delay_ms / 1e3),
    ),
    _Figure("audio_dropped_total", "counter", "Sound packets given up.", _one(lambda s: s.audio_dropped)),
    _Figure("keyframes_total", "counter", "Key frames encoded.", _one(lambda s: s.keyframes)),
    _Figure("flushes_total", "counter", "Full viewer queues emptied.", _one(lambda s: s.flushes)),
)


def _quantiles(p50_ms: float, p95_ms: float) -> list[tuple[Labels, float]]:
    return [({"quantile": "0.5"}, p50_ms / 1e3), ({"quantile": "0.95"}, p95_ms / 1e3)]


def exposition(snapshot: Snapshot, times: StageTimes, version: str = "unknown") -> str:
    """All figures as the text that Prometheus reads. version: of vretouch."""
    build = {"version": version, "python": platform.python_version()}
    parts = [
        _metric("vretouch_build_info", "gauge", "What runs.", [_Sample(build, 1)]),
        *_of_sessions(snapshot),
        *(_of_streams(figure, snapshot.streams) for figure in _OF_STREAMS),
        _metric("vretouch_stage_seconds", "histogram", "Time of each stage of a frame.", times.samples()),
        *_of_process(),
    ]
    return "".join(parts)


def _of_sessions(snapshot: Snapshot) -> Iterator[str]:
    counts = {"publish": snapshot.publishers, "watch": snapshot.viewers, "pending": snapshot.pending}
    sessions = [_Sample({"kind": kind}, count) for kind, count in counts.items()]
    yield _metric("vretouch_sessions", "gauge", "Sessions connected, and not yet.", sessions)
    ended = [_Sample({"reason": reason}, count) for reason, count in sorted(snapshot.ended.items())]
    yield _metric("vretouch_sessions_ended_total", "counter", "Sessions that have ended.", ended)
    late = [_Sample({}, snapshot.late_s)]
    yield _metric("vretouch_event_loop_late_seconds_total", "counter", "How late timers went off.", late)


def _of_streams(figure: _Figure, streams: Iterable[StreamSnapshot]) -> str:
    samples = (
        _Sample({"stream": stream.name} | labels, value)
        for stream in streams
        for labels, value in figure.read(stream)
    )
    return _metric(f"vretouch_stream_{figure.name}", figure.kind, figure.said, samples)


def _of_process() -> Iterator[str]:
    """The process itself, under the names that Prometheus' own client libraries use."""
    yield _metric("process_cpu_seconds_total", "counter", "CPU time.", [_Sample({}, time.process_time())])
    yield _metric("process_threads", "gauge", "Threads of Python.", [_Sample({}, threading.active_count())])
    if sys.platform == "linux":
        memory = _Sample({}, resident_bytes())
        yield _metric("process_resident_memory_bytes", "gauge", "Memory in use.", [memory])
        files = _Sample({}, sum(1 for _ in Path("/proc/self/fd").iterdir()))
        yield _metric("process_open_fds", "gauge", "File descriptors in use.", [files])


def resident_bytes() -> int:
    """Memory of this process that is in RAM, from Linux's procfs (proc_pid_statm(5))."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _metric(name: str, kind: str, said: str, samples: Iterable[_Sample]) -> str:
    lines = [f"# HELP {name} {said}", f"# TYPE {name} {kind}"]
    for sample in samples:
        labels = ",".join(f'{key}="{_escaped(value)}"' for key, value in sample.labels.items())
        place = f"{name}{sample.suffix}{{{labels}}}" if labels else f"{name}{sample.suffix}"
        lines.append(f"{place} {_number(sample.value)}")
    return "\n".join(lines) + "\n"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    """As few digits as tell the value; Prometheus reads Go's float syntax."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))
