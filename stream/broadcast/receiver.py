"""Read a live stream, or a file at its own pace: decoded frames as they come, and again after a loss."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import av
import av.error

from stream.broadcast.backoff import Backoff
from stream.broadcast.urls import is_live, options_for, without_secrets
from stream.errors import SourceError
from stream.frame import RgbImage
from stream.native import refuse, rgb_of, tags_of

OPEN_S = 10.0
SILENT_S = 5.0
LEAST_STEP_S = 0.01
CLOCK = Fraction(1, 90_000)


@dataclass(frozen=True)
class Arrived:
    """A decoded frame of a live stream; see stream.live.filter.LiveFrame. pts counts 1/90000 s of this
    machine's monotonic clock, so that it goes on across reconnections."""

    native: Any
    codec: str
    pts: int
    arrival_ns: int
    time_base: Fraction = CLOCK

    @cached_property
    def rgb_u8(self) -> RgbImage:
        """uint8 [H, W, 3] RGB; converted by whoever asks first."""
        return rgb_of(self.native, tags_of(self.native, self.codec))

    @property
    def pts_s(self) -> float:
        """Its time in seconds of the monotonic clock."""
        return float(self.pts * self.time_base)


class Receiver:
    """One source, read in a thread of its own until `stopped` is set or a file ends.

    on_frame: called there with each frame. on_audio: with each decoded av.AudioFrame and the time, in seconds
    of the monotonic clock, of its first sample. say: told what happens, in sentences. error: why there is
    nothing to read, where even the first attempt failed. audio: whether the source has sound, once `opened`.
    """

    def __init__(
        self,
        url: str,
        on_frame: Callable[[Arrived], None],
        on_audio: Callable[[Any, float], None],
        stopped: threading.Event,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.opened, self.ended = threading.Event(), threading.Event()
        self.error: SourceError | None = None
        self.audio = False
        self.reconnections = 0
        self._url, self._live, self._label = url, is_live(url), without_secrets(url)
        self._on_frame, self._on_audio, self._stopped, self._say = on_frame, on_audio, stopped, say
        self._offset_s: float | None = None
        self._last_s = 0.0
        self._thread = threading.Thread(target=self._run, name="receive", daemon=True)
        self._thread.start()

    def join(self, timeout_s: float | None = None) -> None:
        """Wait for the thread."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        backoff = Backoff(self._stopped)
        while not self._stopped.is_set():
            try:
                self._read(backoff)
                lost = "it ended"
                if not self._live:
                    break
            except SourceError as error:
                self.error = error
                break
            except (av.error.FFmpegError, OSError, ValueError) as error:
                lost = _reason(error)
                if not self.opened.is_set():
                    self.error = SourceError(
                        f"{self._label} cannot be opened ({lost}); check the address and that it is sending"
                    )
                    break
            if not self._stopped.is_set():
                self.reconnections += 1
                self._say(f"{self._label} is lost ({lost}); trying again in {backoff.next_s:g} s")
                backoff.wait()
        self.ended.set()
        self.opened.set()

    def _read(self, backoff: Backoff) -> None:
        options = options_for(self._url)
        with av.open(self._url, "r", options=options, timeout=(OPEN_S, SILENT_S)) as container:
            if not container.streams.video:
                raise SourceError(f"{self._label} has no video in it; name a stream with pictures")
            wanted: list[Any] = [container.streams.video[0], *container.streams.audio[:1]]
            wanted[0].thread_type = "SLICE"
            self._offset_s = None
            self.audio = self.audio or len(wanted) > 1
            for frame in container.decode(*wanted):
                if self._stopped.is_set():
                    return
                self._deliver(frame, wanted[0].codec_context.name)
                if not self.opened.is_set() or backoff.next_s > 1.0:
                    backoff.reset()
                self.opened.set()

    def _deliver(self, frame: Any, codec: str) -> None:
        now_s = time.monotonic()
        if frame.pts is None:
            return
        at_s = float(frame.pts * frame.time_base)
        if self._offset_s is None:
            # What came in a burst may be ahead of the clock; time does not go back for that.
            self._offset_s = max(now_s, self._last_s + LEAST_STEP_S) - at_s
        at_s += self._offset_s
        self._last_s = max(self._last_s, at_s)
        if not self._live:
            self._stopped.wait(max(0.0, at_s - now_s))
        if isinstance(frame, av.AudioFrame):
            self._on_audio(frame, at_s)
            return
        if not self.opened.is_set():
            refuse(self._label, frame, tags_of(frame, codec))
        self._on_frame(Arrived(frame, codec, round(at_s / CLOCK), time.monotonic_ns()))


def _reason(error: BaseException) -> str:
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return "no answer in time" if isinstance(error, av.error.ExitError) else str(said)
