"""The relay with the real filter, of face models that see one face and an engine with a known residual."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from aiortc.mediastreams import MediaStreamTrack
from av.video.frame import VideoFrame

from stream.live.filter import Filtered, LiveFilter
from stream.relay.colour import DecodedFrame, ToRgb
from stream.relay.options import MediaOptions
from stream.relay.rooms import Rooms
from stream.retoucher import Retoucher
from tests.stream.fakes import PATCH, FakeEngine, FakeFinder, face_at
from tests.stream.relay.fakes import PATCH_RGB, run, until
from tests.stream.relay.peers import Publisher, Watcher

CENTRE_PX, SCALE = (160, 150), 0.45
LEVELS = 50.0


def make_filter(on_frame: Callable[[Filtered[DecodedFrame]], None]) -> LiveFilter[DecodedFrame]:
    def make_retoucher() -> Retoucher:
        engine: Any = FakeEngine(LEVELS)
        return Retoucher("live", engine, 1.0, 1, finder=FakeFinder(face_at(*CENTRE_PX, SCALE)))

    return LiveFilter(make_retoucher, on_frame)


class LastFrame:
    """Keeps the newest frame of a peer's video as RGB."""

    def __init__(self, peer: Any) -> None:
        self.rgb_u8: npt.NDArray[np.uint8] | None = None
        peer.on("track", self._hook)

    def _hook(self, track: MediaStreamTrack) -> None:
        receive, to_rgb = track.recv, ToRgb()

        async def receive_and_keep() -> Any:
            frame = await receive()
            if isinstance(frame, VideoFrame):
                self.rgb_u8 = to_rgb(frame)
            return frame

        track.recv = receive_and_keep


def spot_of(rgb_u8: npt.NDArray[np.uint8] | None) -> npt.NDArray[np.float64] | None:
    """float64 [3]: the colour where the fake engine's imperfection lies in the frame."""
    if rgb_u8 is None:
        return None
    rows, columns = PATCH
    x, y = (
        round((middle - 256) * SCALE + centre)
        for middle, centre in zip(
            ((columns.start + columns.stop) / 2, (rows.start + rows.stop) / 2), CENTRE_PX, strict=True
        )
    )
    return np.asarray(rgb_u8[y - 3 : y + 4, x - 3 : x + 4].mean(axis=(0, 1)), np.float64)


def test_viewer_and_publisher_see_the_retouched_picture_and_effect_off_shows_the_raw_one() -> None:
    async def main() -> None:
        rooms = Rooms(MediaOptions(loopback=True), make_filter)
        publisher, watcher = Publisher("vp8", control=True), Watcher()
        own, theirs = LastFrame(publisher.peer), LastFrame(watcher.peer)
        await publisher.publish(rooms)
        await watcher.watch(rooms)

        def differs(frame: LastFrame, least: float, most: float) -> bool:
            spot = spot_of(frame.rgb_u8)
            return spot is not None and bool(least < (spot - PATCH_RGB)[1:].mean() < most)

        await until(
            lambda: differs(own, 0.6 * LEVELS, 1.4 * LEVELS) and differs(theirs, 0.6 * LEVELS, 1.4 * LEVELS)
        )
        await until(lambda: bool(publisher.said("stats")) and publisher.said("stats")[-1]["faces"] == 1)
        assert publisher.channel is not None
        publisher.channel.send('{"type":"set","effect":false}')
        await until(lambda: differs(own, -5.0, 5.0) and differs(theirs, -5.0, 5.0))
        publisher.channel.send('{"type":"set","effect":true,"strength":0.5}')
        await until(
            lambda: differs(own, 0.3 * LEVELS, 0.7 * LEVELS) and differs(theirs, 0.3 * LEVELS, 0.7 * LEVELS)
        )
        stream = rooms.snapshot().streams[0]
        assert stream.stats.stage_ms["total"] > 0.0
        assert stream.frames["retouched"] > 0
        await rooms.close()
        await publisher.close()
        await watcher.close()

    run(main)
