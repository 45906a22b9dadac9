"""The virtual camera's pace, whatever the camera's is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from stream.frame import RgbImage
from stream.live.slot import Newest

T = TypeVar("T")
GRACE = 0.5
EARLY = 0.1


class Pace:
    """Waits for the next picture, or for the moment to show the last one once more.

    At most fps a second on average. A camera that is no faster sets the pace itself, so that its pictures
    never wait here; where one is missing for half an interval more, the last one is to be repeated.
    clock: seconds; sleep: waits that long.
    """

    def __init__(
        self,
        fps: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.interval_s = 1.0 / fps
        self._clock, self._sleep = clock, sleep
        self._due_s = clock()

    def next(self, newest: Newest[T]) -> T | None:
        """What is to be shown now: the newest, or None for the last one again."""
        if (early_s := self._due_s - self._clock()) > 0.0:
            self._sleep(early_s)
        item = newest.take(max(0.0, self._due_s + GRACE * self.interval_s - self._clock()))
        wait_s = 0.0 if item is None else (1.0 - EARLY) * self.interval_s
        self._due_s = max(self._due_s + self.interval_s, self._clock() + wait_s)
        return item


def black(size: tuple[int, int]) -> RgbImage:
    """uint8 [H, W, 3] of zeros, of size (W, H)."""
    return np.zeros((size[1], size[0], 3), np.uint8)
