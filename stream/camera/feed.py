"""Frames of the camera to the filter, and back to a camera that was unplugged or has stalled."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import cv2
import numpy as np

from stream.camera.errors import CameraError
from stream.camera.reader import Reader, Source
from stream.frame import RgbImage
from stream.live.filter import LiveFrame

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 5.0
CLOSE_WAIT_S = 2.0
STALLED_S = 8.0
"""After so long without a frame a camera is opened anew; some need seconds for their first one."""
_LOOK_S = 0.25


@dataclass(frozen=True)
class Mirrored:
    """A frame with left and right exchanged."""

    frame: LiveFrame

    @cached_property
    def rgb_u8(self) -> RgbImage:
        """uint8 [H, W, 3] RGB."""
        return np.asarray(cv2.flip(self.frame.rgb_u8, 1), np.uint8)

    @property
    def pts(self) -> int:
        """The frame's own."""
        return self.frame.pts

    @property
    def time_base(self) -> Fraction:
        """The frame's own."""
        return self.frame.time_base

    @property
    def arrival_ns(self) -> int:
        """The frame's own."""
        return self.frame.arrival_ns


class Feed:
    """Has a camera read in a thread and hands each frame to `submit`.

    source: the camera, open; reopen: opens it again, and raises CameraError while it is not there. mirror:
    exchange left and right. trouble: why there are no pictures at the moment, one sentence; empty if there
    are. error: what ended the thread, if something did. wait_s: time until the first attempt to reopen; it
    doubles up to LONGEST_WAIT_S. stalled_s: time without a frame after which it is opened anew.
    """

    def __init__(
        self,
        source: Source,
        reopen: Callable[[], Source],
        submit: Callable[[LiveFrame], None],
        *,
        mirror: bool = False,
        wait_s: float = FIRST_WAIT_S,
        stalled_s: float = STALLED_S,
    ) -> None:
        self.mirror, self.trouble = mirror, ""
        self.error: BaseException | None = None
        self._source: Source | None = source
        self._reopen, self._submit, self._first_wait_s = reopen, submit, wait_s
        self._stalled_s, self._wait_s = stalled_s, wait_s
        self._left: Reader | None = None
        self._changed = threading.Condition()
        self._paused = self._closed = False
        self._heard_s = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="camera", daemon=True)
        self._thread.start()

    @property
    def paused(self) -> bool:
        """Whether the camera is given back until `resume`."""
        return self._paused

    @property
    def silent_s(self) -> float:
        """Seconds since the last frame; 0 while the camera is not wanted."""
        return 0.0 if self._paused else time.monotonic() - self._heard_s

    def pause(self) -> None:
        """Give the camera back, soon."""
        self._set(paused=True)

    def resume(self) -> None:
        """Open the camera again, soon."""
        self._heard_s = time.monotonic()
        self._set(paused=False)

    def close(self) -> None:
        """Give the camera back and end. A camera that says nothing is not waited for."""
        self._set(closed=True)
        self._thread.join(CLOSE_WAIT_S)

    def _set(self, *, paused: bool | None = None, closed: bool = False) -> None:
        with self._changed:
            self._paused = self._paused if paused is None else paused
            self._closed = self._closed or closed
            self._changed.notify_all()

    def _run(self) -> None:
        try:
            while not self._closed:
                if self._paused:
                    self._sleep_paused()
                    continue
                try:
                    self._follow()
                except CameraError as error:
                    # Nobody but the reader that was left behind may hold the camera.
                    held = self._left is not None and self._left.alive
                    self.trouble = (self.trouble if held else "") or str(error)
                    with self._changed:
                        self._changed.wait_for(lambda: not self._wanted, self._wait_s)
                    self._wait_s = min(2.0 * self._wait_s, LONGEST_WAIT_S)
        except BaseException as error:
            self.error = error
        finally:
            if self._source is not None:
                self._source.close()

    @property
    def _wanted(self) -> bool:
        return not (self._closed or self._paused)

    def _follow(self) -> None:
        """Frames until the camera is not wanted; raises what ended it, CameraError where it says nothing."""
        source, self._source = self._source or self._reopen(), None
        self._heard_s = time.monotonic()
        reader = Reader(source, self._take, self._wake)
        with self._changed:
            while self._wanted and reader.alive and self.silent_s < self._stalled_s:
                self._changed.wait(_LOOK_S)
        stalled = self._wanted and reader.alive
        reader.leave(0.0 if stalled else CLOSE_WAIT_S)
        self._left = reader
        if stalled:
            self.trouble = f"the camera has sent no picture for {self._stalled_s:g} s; plug it in again"
            raise CameraError(self.trouble)
        if reader.error is not None:
            raise reader.error

    def _take(self, frame: LiveFrame) -> None:
        self.trouble, self._heard_s, self._wait_s = "", time.monotonic(), self._first_wait_s
        self._submit(Mirrored(frame) if self.mirror else frame)

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _sleep_paused(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            source.close()
        self.trouble = ""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or not self._paused)
