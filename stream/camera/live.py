"""One run of `vretouch camera`: feed, filter and virtual camera put together, until the user leaves."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from stream.camera.controls import Controls
from stream.camera.feed import Feed
from stream.camera.pace import Pace, black
from stream.camera.reader import Source
from stream.camera.status import Status, figures
from stream.frame import RgbImage
from stream.live.filter import Filtered, LiveFilter, LiveFrame
from stream.live.fit import fitted
from stream.live.slot import Newest
from stream.retoucher import Retoucher

IDLE_AFTER_S = 3.0
IDLE_LOOK_S = 0.1
IDLE_PICTURE_S = 1.0
STALL_S = 3.0


class Sink(Protocol):
    """A virtual camera; see stream.camera.virtual.VirtualCamera."""

    size: tuple[int, int]
    label: str

    def send(self, picture_rgb_u8: RgbImage) -> None: ...
    def readers(self) -> int | None: ...


class Window(Protocol):
    """A preview; see stream.camera.preview.Preview."""

    closed: bool

    def show(self, picture_rgb_u8: RgbImage) -> None: ...


class CameraRun:
    """A camera's pictures, retouched, to a virtual camera.

    source: the camera, open; reopen: opens it again. keys: those pressed since the last call. window: a
    preview, if there is one. idle_after_s: give the camera back when nobody has read the virtual one for so
    long; None is never. sent: pictures that went to the virtual camera.
    """

    def __init__(
        self,
        source: Source,
        reopen: Callable[[], Source],
        make_retoucher: Callable[[], Retoucher],
        sink: Sink,
        controls: Controls,
        status: Status,
        *,
        fps: float = 30.0,
        keys: Callable[[], list[str]] = list,
        window: Window | None = None,
        idle_after_s: float | None = IDLE_AFTER_S,
    ) -> None:
        self.sent = 0
        self._sink, self._controls, self._status = sink, controls, status
        self._keys, self._window, self._idle_after_s = keys, window, idle_after_s
        self._pace = Pace(fps)
        self._newest: Newest[Filtered[LiveFrame]] = Newest()
        self._picture = black(sink.size)
        self._trouble = ""
        self._read_s = self._blank_s = time.monotonic()
        self._filter = LiveFilter[LiveFrame](
            make_retoucher, self._newest.put, fps=fps, settings=controls.settings
        )
        self._feed = Feed(source, reopen, self._filter.submit, mirror=controls.mirror)

    def run(self, stopped: Callable[[], bool] = lambda: False) -> None:
        """Run until `stopped` or the user quits. Raises what ended the filter or the camera's thread."""
        try:
            while not (stopped() or self._controls.quit):
                self._step()
        finally:
            self._newest.close()
            self._feed.close()
            self._filter.close()
            self._status.clear()

    def _step(self) -> None:
        for error in (self._filter.error, self._feed.error):
            if error is not None:
                raise error
        self._obey()
        if self._is_read():
            self._show_next()
        else:
            self._idle()

    def _obey(self) -> None:
        for key in self._keys():
            if said := self._controls.press(key):
                self._status.say(said)
        self._filter.settings = self._controls.settings
        self._feed.mirror = self._controls.mirror

    def _is_read(self) -> bool:
        """Whether anyone looks, or did so a moment ago, or nobody knows."""
        readers = self._sink.readers()
        previewed = self._window is not None and not self._window.closed
        now = time.monotonic()
        if readers is None or readers > 0 or previewed or self._idle_after_s is None:
            self._read_s = now
            return True
        return now - self._read_s < self._idle_after_s

    def _show_next(self) -> None:
        if self._feed.paused:
            self._status.say(f"{self._sink.label} is being read: the camera is on again")
            self._feed.resume()
        filtered = self._pace.next(self._newest)
        if filtered is not None:
            self._picture = fitted(filtered.shown_u8, self._sink.size)
        self._send()
        if self._window is not None:
            self._window.show(self._picture)
        self._tell_trouble()
        self._status.show(self._figures)

    def _idle(self) -> None:
        """The camera is given back and its last picture taken away; one black picture a second keeps the
        virtual camera there for programs that look for one."""
        now = time.monotonic()
        if not self._feed.paused:
            self._feed.pause()
            self._picture = black(self._sink.size)
            self._blank_s = now - IDLE_PICTURE_S
            self._trouble = ""
            self._status.say(f"no program reads {self._sink.label}: the camera is off until one does")
        self._newest.take(0.0)
        if now - self._blank_s >= IDLE_PICTURE_S:
            self._blank_s = now
            self._send()
        time.sleep(IDLE_LOOK_S)

    def _send(self) -> None:
        self._sink.send(self._picture)
        self.sent += 1

    def _tell_trouble(self) -> None:
        """Say once why there are no new pictures, and once that they are back."""
        trouble = self._feed.trouble
        if not trouble and self._feed.silent_s > STALL_S:
            trouble = f"the camera has sent nothing for {STALL_S:g} s"
        if trouble and not self._trouble:
            self._status.say(f"{trouble} (the last picture is held)")
        elif self._trouble and not trouble:
            self._status.say("the camera is back")
        self._trouble = trouble

    def _figures(self) -> str:
        line = figures(self._filter.stats(), self._controls.settings, self._controls.mirror)
        return f"waiting for the camera | {line}" if self._trouble else line
