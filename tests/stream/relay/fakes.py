"""Stand-ins for the media plane's tests: a filter that passes frames on in its own time, a clip whose frames
say which they are, and a clock-free way to run coroutines."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from stream.live.filter import Filtered
from stream.live.settings import Settings
from stream.live.slot import Newest
from stream.live.stats import Stats, Window

PATCH_RGB = (200, 60, 40)
WIDTH, HEIGHT = 320, 240
BITS, CELL_PX = 16, 20


def frame_rgb(number: int, width: int = WIDTH, height: int = HEIGHT) -> npt.NDArray[np.uint8]:
    """uint8 [height, width, 3]: the number as black and white cells at the top, PATCH_RGB below them."""
    frame = np.full((height, width, 3), PATCH_RGB, np.uint8)
    for bit in range(BITS):
        cell = (slice(0, CELL_PX), slice(bit * CELL_PX, (bit + 1) * CELL_PX))
        frame[cell] = 235 if number >> bit & 1 else 20
    return frame


def number_of(rgb_u8: npt.NDArray[np.uint8]) -> int:
    """The number that a frame of `frame_rgb` shows."""
    middle, first = CELL_PX // 2, CELL_PX // 2
    row = rgb_u8[middle, first : BITS * CELL_PX : CELL_PX].mean(axis=-1)
    return int(sum(1 << bit for bit, level in enumerate(row) if level > 128))


def patch_of(rgb_u8: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """float64 [3]: the mean colour well inside the patch."""
    return np.asarray(rgb_u8[CELL_PX + 40 : -20, 20:-20].mean(axis=(0, 1)), np.float64)


def busy_rgb(number: int, width: int, height: int) -> npt.NDArray[np.uint8]:
    """uint8 [height, width, 3]: smooth noise that moves, so that an encoder has work to do."""
    noise = np.random.default_rng(7).integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)
    moved = np.roll(noise, (number * 3) % noise.shape[1], axis=1)
    return np.asarray(cv2.resize(moved, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def noise_rgb(number: int, width: int, height: int) -> npt.NDArray[np.uint8]:
    """uint8 [height, width, 3]: soft noise, of which nothing is like that of the number before."""
    noise = np.random.default_rng(number).integers(0, 256, (height // 40, width // 40, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


class FakeFilter:
    """Has the interface of LiveFilter; hands frames on as they are, each after work_s seconds of work. With
    views other than `plain` it shows the picture upside down. fails: its thread ends with an error."""

    def __init__(
        self, on_frame: Callable[[Filtered[Any]], None], work_s: float = 0.0, fails: bool = False
    ) -> None:
        self.settings = Settings()
        self.error: BaseException | None = None
        self.closed = False
        self._on_frame, self._work_s, self._fails = on_frame, work_s, fails
        self._arrived: Newest[Any] = Newest()
        self._window = Window()
        self._frames_in = self._frames_out = 0
        self._thread = threading.Thread(target=self._run, name="fake-filter", daemon=True)
        self._thread.start()

    def submit(self, frame: Any) -> None:
        self._frames_in += 1
        self._arrived.put(frame)

    def passed_by(self, pts: int, time_base: Fraction) -> None:
        """Nothing: it has no budget to keep."""

    def stats(self) -> Stats:
        return self._window.figures(
            Stats(frames_in=self._frames_in, frames_out=self._frames_out, dropped=self._arrived.dropped)
        )

    def close(self) -> None:
        self.closed = True
        self._arrived.close()
        self._thread.join()

    def _run(self) -> None:
        while (frame := self._arrived.take()) is not None:
            if self._fails:
                self.error = RuntimeError("the fake has failed")
                return
            self._pass_on(frame)

    def _pass_on(self, frame: Any) -> None:
        time.sleep(self._work_s)
        rgb = frame.rgb_u8
        shown = rgb if self.settings.view == "plain" else np.ascontiguousarray(rgb[::-1])
        self._frames_out += 1
        self._window.add(self._work_s * 1e3, (time.monotonic_ns() - frame.arrival_ns) / 1e6)
        self._on_frame(Filtered(frame, rgb, shown, self._work_s * 1e3, {}, 0, 0))


# What is to be closed when a test is over, whether it went well or not.
CLOSINGS: list[Callable[[], Awaitable[None]]] = []


def run(
    main: Callable[[], Awaitable[None]],
    at_most_s: float = 30.0,
    new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
) -> None:
    """Run a coroutine function in an event loop of its own, and fail if it does not come to an end."""

    async def bounded() -> None:
        try:
            async with asyncio.timeout(at_most_s):
                await main()
        finally:
            # Each in turn and within a time, so that what hangs in one is not another test's.
            while CLOSINGS:
                with suppress(TimeoutError):
                    async with asyncio.timeout(3.0):
                        await CLOSINGS.pop()()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(bounded())


async def until(holds: Callable[[], bool], at_most_s: float = 10.0) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(at_most_s):
        while not holds():
            await asyncio.sleep(0.01)
