"""The soak: its figures are those of known growth, its load is a load, and what cannot run is said."""

from __future__ import annotations

import argparse
import asyncio

import pytest
from aiohttp.test_utils import TestServer

from bench import soak
from bench.footage import FPS, encoded_face
from bench.load import loading
from bench.report import BenchError
from bench.soak import MIB, Sample, figures_of, parsed
from stream.relay.http import make_app
from stream.relay.options import MediaOptions
from stream.relay.rooms import Rooms
from tests.stream.relay.fake_rooms import PAGES
from tests.stream.relay.fakes import FakeFilter, run, until

TEXT = """# TYPE vretouch_stream_level gauge
vretouch_stream_level{stream="soak"} 2
vretouch_stream_delay_seconds{stream="soak",quantile="0.5"} 0.02
vretouch_stream_delay_seconds{stream="soak",quantile="0.95"} 0.05
process_open_fds 31
"""


def made(second: float, *, files: int = 30, lost: int = 0) -> Sample:
    """A relay whose delay grows by 6 ms and whose memory by 2 MB a minute."""
    frames = int(second * FPS)
    stream = 'stream="soak"'
    return Sample(
        at_s=100.0 + second,
        sent=frames,
        seen=(frames, frames // 2),
        answers={400: int(second)},
        of={
            f'vretouch_stream_frames_total{{{stream},became="decoded"}}': frames - lost,
            f"vretouch_stream_frames_dropped_total{{{stream}}}": frames // 10,
            f"vretouch_stream_level{{{stream}}}": 1.0,
            f'vretouch_stream_delay_seconds{{{stream},quantile="0.5"}}': 0.02 + 0.006 * second / 60.0,
            f'vretouch_stream_delay_seconds{{{stream},quantile="0.95"}}': 0.04,
            f'vretouch_stream_queue_age_seconds{{{stream},queue="encode"}}': 0.004,
            f'vretouch_stream_queue_age_seconds{{{stream},queue="audio"}}': 0.5,
            "process_cpu_seconds_total": 0.5 * second,
            "process_resident_memory_bytes": (300.0 + 2.0 * second / 60.0) * MIB,
            "process_open_fds": float(files),
            "process_threads": 12.0,
        },
    )


def test_the_relays_figures_are_read() -> None:
    figures = parsed(TEXT)
    sample = Sample(0.0, 0, (), {}, figures)
    assert sample.total("process_open_fds") == 31
    assert sample.total("vretouch_stream_delay_seconds", 'quantile="0.95"') == 0.05
    assert sample.total("vretouch_stream_level", 'stream="soak"') == 2


def test_known_growth_is_found() -> None:
    figures = figures_of([made(t) for t in range(0, 361, 10)] + [made(370, files=33, lost=40)], flooded=True)
    assert figures["delay_growth"] == pytest.approx(6.0, rel=0.01)
    assert figures["memory_growth"] == pytest.approx(2.0, rel=0.01)
    assert figures["files_growth"] == 3
    assert figures["threads_growth"] == 0
    assert figures["lost_in_flood"] == 40 - soak.UNDER_WAY
    assert figures["cores"] == pytest.approx(0.5)
    assert figures["fps_seen_least"] == pytest.approx(FPS / 2, rel=0.01)
    assert figures["waited_p95_ms"] == pytest.approx(4.0)  # sound waits for the picture on purpose


def test_connections_that_are_kept_are_no_growth_and_what_comes_later_is() -> None:
    kept = [made(0, files=30), *(made(t, files=31) for t in range(10, 371, 10))]
    assert figures_of(kept, flooded=True)["files_growth"] == 0
    assert figures_of([*kept[:-1], made(370, files=32)], flooded=True)["files_growth"] == 1


def test_minutes_are_not_read_off_seconds() -> None:
    figures = figures_of([made(t) for t in range(0, 31, 10)], flooded=False)
    assert figures["delay_growth"] is None
    assert figures["memory_growth"] is None
    assert figures["lost_in_flood"] is None


def test_a_load_is_a_publisher_viewers_and_a_flood() -> None:
    async def main() -> None:
        rooms = Rooms(MediaOptions(loopback=True), FakeFilter)
        async with TestServer(make_app(rooms, PAGES), host="127.0.0.1") as server:
            pictures = encoded_face("vp8", (320, 240), 1.0)
            assert len(pictures) == FPS
            async with loading(f"http://127.0.0.1:{server.port}", "vp8", pictures) as load:
                await load.watch(2)
                flood = asyncio.create_task(load.flood(50.0))
                await until(lambda: min(load.seen) > 10 and sum(load.answers.values()) > 5)
                flood.cancel()
                sample = Sample(0.0, load.sent, tuple(load.seen), {}, parsed(await load.metrics()))
                assert sample.total("vretouch_stream_viewers") == 2
                assert 0 < sample.total("vretouch_stream_frames_in_total") <= load.sent
                assert set(load.answers) <= {400, 429}
                await asyncio.gather(flood, return_exceptions=True)
            await rooms.close()

    run(main)


def test_a_relay_that_is_gone_is_said_and_does_not_end_the_flood() -> None:
    async def main() -> None:
        rooms = Rooms(MediaOptions(loopback=True), FakeFilter)
        server = TestServer(make_app(rooms, PAGES), host="127.0.0.1")
        await server.start_server()
        async with loading(
            f"http://127.0.0.1:{server.port}", "vp8", encoded_face("vp8", (320, 240), 0.2)
        ) as load:
            await server.close()
            await rooms.close()
            flood = asyncio.create_task(load.flood(50.0))
            await until(lambda: load.answers[0] > 3)
            assert not flood.done()
            flood.cancel()
            with pytest.raises(BenchError, match="says nothing any more"):
                await load.metrics()
            await asyncio.gather(flood, return_exceptions=True)

    run(main)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"size": "1280"}, "as in 1280x720"),
        ({"size": "641x480"}, "even sides"),
        ({"minutes": 0.0}, "--minutes above 0"),
        ({"viewers": 0}, "--viewers of 1"),
    ],
)
def test_what_cannot_run_is_said(change: dict[str, object], said: str) -> None:
    parser = argparse.ArgumentParser()
    soak.add_arguments(parser)
    options = parser.parse_args([])
    vars(options).update(change)
    with pytest.raises(BenchError, match=said):
        soak.main(options)
