"""The thread that reads the camera: newest frame to the filter, and back to a camera that was unplugged."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Protocol

import cv2
import numpy as np

from stream.camera.errors import CameraError
from stream.frame import RgbImage
from stream.live.filter import LiveFrame

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 5.0
CLOSE_WAIT_S = 2.0


class Source(Protocol):
    """A camera that is open. read: the next frame, waited for; CameraError once there are no more."""

    def read(self) -> LiveFrame: ...
    def close(self) -> None: ...


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
    """Reads a camera in a thread of its own and hands each frame to `submit`.

    source: the camera, open; reopen: opens it again, and raises CameraError while it is not there. mirror:
    exchange left and right. trouble: why there are no pictures at the moment, one sentence; empty if there
    are. error: what ended the thread, if something did. wait_s: time until the first attempt to reopen; it
    doubles up to LONGEST_WAIT_S.
    """

    def __init__(
        self,
        source: Source,
        reopen: Callable[[], Source],
        submit: Callable[[LiveFrame], None],
        *,
        mirror: bool = False,
        wait_s: float = FIRST_WAIT_S,
    ) -> None:
        self.mirror, self.trouble = mirror, ""
        self.error: BaseException | None = None
        self._source: Source | None = source
        self._reopen, self._submit, self._first_wait_s = reopen, submit, wait_s
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
        wait_s = self._first_wait_s
        try:
            while not self._closed:
                if self._paused:
                    self._sleep_paused()
                    continue
                try:
                    while self._wanted:
                        self._read()
                        wait_s = self._first_wait_s
                except CameraError as error:
                    self.trouble = str(error)
                    self._give_back()
                    with self._changed:
                        self._changed.wait_for(lambda: not self._wanted, wait_s)
                    wait_s = min(2.0 * wait_s, LONGEST_WAIT_S)
        except BaseException as error:
            self.error = error
        finally:
            self._give_back()

    @property
    def _wanted(self) -> bool:
        return not (self._closed or self._paused)

    def _read(self) -> None:
        if self._source is None:
            self._source = self._reopen()
        frame = self._source.read()
        self.trouble, self._heard_s = "", time.monotonic()
        self._submit(Mirrored(frame) if self.mirror else frame)

    def _sleep_paused(self) -> None:
        self._give_back()
        self.trouble = ""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or not self._paused)

    def _give_back(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            source.close()
