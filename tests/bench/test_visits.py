"""Visits: what stays is found, a visit is one, and a relay that sends nothing back is said."""

from __future__ import annotations

import argparse

import pytest
from aiohttp.test_utils import TestServer

from bench import visits
from bench.budgets import VISITS, judge
from bench.footage import encoded_face
from bench.load import Load
from bench.report import BenchError
from bench.soak import MIB, Sample
from stream.relay.http import make_app
from stream.relay.options import MediaOptions
from stream.relay.rooms import Rooms
from tests.stream.relay.fake_rooms import PAGES
from tests.stream.relay.fakes import FakeFilter, run


def stood(files: int, threads: int, memory_mb: float, watching: int = 0) -> Sample:
    """The relay's figures."""
    found = {
        "process_open_fds": float(files),
        "process_threads": float(threads),
        "process_resident_memory_bytes": memory_mb * MIB,
        'vretouch_sessions{kind="publish"}': 0.0,
        'vretouch_sessions{kind="watch"}': float(watching),
    }
    return Sample(0.0, 0, (), {}, found)


def test_what_stays_is_found() -> None:
    first = [0.1] * 19 + [1.0]
    figures = visits.figures_of(first, stood(30, 12, 400.0), stood(33, 13, 440.0, watching=2))
    assert figures["visits"] == 20
    assert figures["first_picture_p50_ms"] == pytest.approx(100.0)
    assert figures["first_picture_p95_ms"] == pytest.approx(145.0)
    assert (figures["files_growth"], figures["threads_growth"], figures["sessions_left"]) == (3, 1, 2)
    assert figures["memory_share_growth"] == pytest.approx(0.1)
    assert not any(verdict.met for verdict in judge(VISITS, figures))
    same = visits.figures_of(first, stood(30, 12, 400.0), stood(30, 12, 400.0))
    assert all(verdict.met for verdict in judge(VISITS, same))


@pytest.mark.parametrize("codec", ["vp8", "h264"])
def test_a_visitor_sees_a_picture_and_leaves_nothing(codec: str) -> None:
    async def main() -> None:
        rooms = Rooms(MediaOptions(loopback=True), FakeFilter)
        async with TestServer(make_app(rooms, PAGES), host="127.0.0.1") as server:
            address = f"http://127.0.0.1:{server.port}"
            first = await visits.visiting(address, codec, encoded_face(codec, (320, 240), 1.0), 2)
            assert len(first) == 2
            assert all(0.0 < seconds < visits.NO_PICTURE_S for seconds in first)
            snapshot = rooms.snapshot()
            assert (snapshot.publishers, snapshot.viewers, snapshot.pending) == (0, 0, 0)
            assert sum(snapshot.ended.values()) == 4
        await rooms.close()

    run(main)


def test_no_picture_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visits, "NO_PICTURE_S", 0.0)
    monkeypatch.setattr(Load, "seen", [0])

    async def main() -> None:
        rooms = Rooms(MediaOptions(loopback=True), FakeFilter)
        async with TestServer(make_app(rooms, PAGES), host="127.0.0.1") as server:
            with pytest.raises(BenchError, match="no picture came back"):
                await visits.visit(
                    f"http://127.0.0.1:{server.port}", "vp8", encoded_face("vp8", (320, 240), 0.2)
                )
        await rooms.close()

    run(main)


def test_a_relay_that_is_gone_is_said() -> None:
    async def main() -> None:
        rooms = Rooms(MediaOptions(loopback=True), FakeFilter)
        server = TestServer(make_app(rooms, PAGES), host="127.0.0.1")
        await server.start_server()
        address = f"http://127.0.0.1:{server.port}"
        await server.close()
        await rooms.close()
        with pytest.raises(BenchError, match="says nothing any more"):
            await visits.visit(address, "vp8", encoded_face("vp8", (320, 240), 0.2))
        with pytest.raises(BenchError, match="says nothing any more"):
            await visits.left_behind(address)

    run(main)


def test_no_visits_are_refused() -> None:
    parser = argparse.ArgumentParser()
    visits.add_arguments(parser)
    with pytest.raises(BenchError, match="--visits of 1"):
        visits.main(parser.parse_args(["--visits", "0"]))
