"""What a viewer says of its way is obeyed: fewer bits are made, sent and received, and more again."""

from __future__ import annotations

import asyncio
import time

import pytest

from stream.relay import rate
from stream.relay.options import MediaOptions
from stream.relay.rooms import Rooms
from tests.stream.relay.fakes import FakeFilter, noise_rgb, run, until
from tests.stream.relay.peers import ClipTrack, Publisher, Watcher

START_KBPS, NARROW_KBPS, WIDE_KBPS = 1000, 300, 1500
WITHIN_S = 20.0


async def comes_to(rooms: Rooms, watcher: Watcher, says_kbps: float, least: float, most: float) -> None:
    """The viewer goes on saying so until the aim, what is sent and what it receives lie in this range."""
    deadline_s = time.monotonic() + WITHIN_S
    kbps: list[float] = []
    while not kbps or not all(least < one < most for one in kbps):
        assert time.monotonic() < deadline_s, kbps
        await watcher.estimate(says_kbps)
        before, began_s = await watcher.received_bytes(), time.monotonic()
        await asyncio.sleep(1.0)
        received = (await watcher.received_bytes() - before) * 8e-3 / (time.monotonic() - began_s)
        (stream,) = rooms.snapshot().streams
        kbps = [stream.bitrate_kbps, stream.sent_kbps, received]


@pytest.mark.parametrize("codec", ["vp8", "h264"])
def test_a_viewers_estimate_lowers_what_it_is_sent_and_raises_it(
    codec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # How slowly it moves is another test's.
    monkeypatch.setattr(rate, "UP_A_SECOND", 2.0)
    monkeypatch.setattr(rate, "DOWN_A_SECOND", 0.2)

    async def main() -> None:
        options = MediaOptions(loopback=True, bitrate_kbps=START_KBPS, max_bitrate_kbps=WIDE_KBPS)
        rooms = Rooms(options, FakeFilter)
        track = ClipTrack(codec, frames=10_000, draw=noise_rgb)
        publisher, watcher = Publisher(codec, track=track, returns=False), Watcher()
        await publisher.publish(rooms)
        await watcher.watch(rooms)
        await until(lambda: bool(watcher.seen))
        await comes_to(rooms, watcher, START_KBPS, 0.7 * START_KBPS, 1.4 * START_KBPS)
        await comes_to(rooms, watcher, NARROW_KBPS, 0.5 * NARROW_KBPS, 1.8 * NARROW_KBPS)
        await comes_to(rooms, watcher, WIDE_KBPS, 0.7 * START_KBPS, 1.4 * WIDE_KBPS)
        await publisher.close()
        await watcher.close()
        await rooms.close()

    run(main, 4 * WITHIN_S)
