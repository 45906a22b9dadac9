"""Read a live stream, or a file at its own pace: decoded frames as they come, and again after a loss."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import av
import av.error

from stream.broadcast.backoff import Backoff
from stream.broadcast.reasons import SENDING, SILENT, USUAL_ADVICE, advice_on, is_final, reason_of
from stream.broadcast.timeline import Timeline
from stream.broadcast.urls import is_live, listens, reading_address, reading_options, without_secrets
from stream.errors import SourceError
from stream.frame import RgbImage
from stream.native import refuse, rgb_of, tags_of

OPEN_S = 10.0
SILENT_S = 5.0
MOST_DAMAGED = 300
# FFmpeg's own five seconds would be missed at each reconnection.
PROBE = {"analyzeduration": "2000000"}
# A little faster than time goes, so that what has piled up grows less.
PACE = 0.95
PACED_S = 1.0
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
    of the monotonic clock, of its first sample. say: told what happens, in sentences. give_up_s: a live
    source that has been gone for so long has ended; None waits for it. paced: pictures that come in a burst
    are handed over one after the other at about their own pace, for those who have time. wait_s: for so long
    it tries to reach a live source that is not there yet; one that is to connect here is waited for.
    error: why there is nothing (more) to read. audio: whether the source has sound, once `opened`.
    reconnections: how often a connection was lost.
    """

    def __init__(
        self,
        url: str,
        on_frame: Callable[[Arrived], None],
        on_audio: Callable[[Any, float], None],
        stopped: threading.Event,
        say: Callable[[str], None] = lambda _: None,
        give_up_s: float | None = None,
        paced: bool = False,
        wait_s: float = 0.0,
    ) -> None:
        self.opened, self.ended = threading.Event(), threading.Event()
        self.error: SourceError | None = None
        self.audio = False
        self.reconnections = 0
        self._url, self._live, self._label = url, is_live(url), without_secrets(url)
        self._listens = self._live and listens(url)
        self._on_frame, self._on_audio, self._stopped, self._say = on_frame, on_audio, stopped, say
        self._give_up_s = math.inf if give_up_s is None else give_up_s
        self._timeline = Timeline(self._live)
        self._came = False
        self._arrived_s = time.monotonic()
        self._wait_until_s = self._arrived_s + wait_s
        self._paced, self._handed = paced, (0.0, 0.0)
        self._damaged = 0
        self._checked = False
        self._thread = threading.Thread(target=self._run, name="receive", daemon=True)
        self._thread.start()

    def join(self, timeout_s: float | None = None) -> None:
        """Wait for the thread."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            self._read_on()
        except SourceError as error:
            self.error = error
        except Exception as error:
            # Whoever waits for the end must not wait for ever.
            self.error = SourceError(
                f"{self._label} cannot be read any more ({type(error).__name__}: {error}); "
                + USUAL_ADVICE.format(SENDING)
            )
            self.error.__cause__ = error
        finally:
            self.ended.set()
            self.opened.set()

    def _read_on(self) -> None:
        backoff = Backoff(self._stopped)
        if self._listens:
            self._say(f"{self._label} waits for whoever connects to it")
        while not self._stopped.is_set():
            try:
                self._read(backoff)
                lost = "it ended"
                if not self._live:
                    return
            except (av.error.FFmpegError, OSError, ValueError) as error:
                lost = reason_of(self._url, error)
                if not self._may_wait(error):
                    raise SourceError(
                        f"{self._label} cannot be opened ({lost}); {advice_on(self._url, error)}"
                    ) from error
            if not self._stopped.is_set() and not self._wait_for_it(lost, backoff):
                return

    def _may_wait(self, error: Exception) -> bool:
        """Whether a connection that failed so may be tried again."""
        if self.opened.is_set():
            return True
        waits = self._listens or time.monotonic() < self._wait_until_s
        return self._live and waits and not is_final(self._url, error)

    def _left_s(self) -> float:
        """For how long it may still be gone."""
        now_s = time.monotonic()
        if not self.opened.is_set() and now_s < self._wait_until_s:
            return self._wait_until_s - now_s
        return self._arrived_s + self._give_up_s - now_s

    def _wait_for_it(self, lost: str, backoff: Backoff) -> bool:
        """Wait before the next attempt; False once the source has been gone for too long."""
        left_s, came = self._left_s(), self._came
        self.reconnections += came
        self._came = False
        if left_s <= 0.0:
            self._say(f"{self._label} has been gone for {self._give_up_s:g} s ({lost}), which ends it")
            return False
        if self._listens and lost == SILENT and not came:
            return True
        state = "is lost" if self.opened.is_set() else "is not there yet"
        self._say(f"{self._label} {state} ({lost}); trying again in {min(backoff.next_s, left_s):.2g} s")
        backoff.wait(left_s)
        return True

    def _read(self, backoff: Backoff) -> None:
        url, options = self._url, {}
        if self._live:
            url, options = reading_address(url), reading_options(url) | PROBE
        with av.open(url, "r", options=options, timeout=(OPEN_S, SILENT_S)) as container:
            if not container.streams.video:
                raise SourceError(f"{self._label} has no video in it; name a stream with pictures")
            wanted: list[Any] = [container.streams.video[0], *container.streams.audio[:1]]
            wanted[0].thread_type = "SLICE"
            self._timeline.connected()
            self._checked, self._damaged = False, 0
            self.audio = self.audio or len(wanted) > 1
            for packet in container.demux(*wanted):
                for frame in self._decoded(packet):
                    if self._stopped.is_set():
                        return
                    self._deliver(frame, wanted[0].codec_context.name)
                    backoff.reset()
                    self._came = True
                    self.opened.set()

    def _decoded(self, packet: Any) -> Sequence[Any]:
        """Whoever joins a stream in its middle, or loses a datagram, has packets that cannot be decoded; too
        many of pictures in a row end the connection."""
        pictures = packet.stream.type == "video"
        try:
            frames: Sequence[Any] = packet.decode()
        except av.error.InvalidDataError:
            self._damaged += pictures
            if self._damaged > MOST_DAMAGED:
                raise
            return ()
        if pictures:
            self._damaged = 0
        return frames

    def _deliver(self, frame: Any, codec: str) -> None:
        now_s = time.monotonic()
        if frame.pts is None:
            return
        sounds = isinstance(frame, av.AudioFrame)
        at_s = self._timeline.place(
            "sound" if sounds else "pictures", float(frame.pts * frame.time_base), now_s
        )
        self._arrived_s = now_s
        if not self._live:
            self._stopped.wait(max(0.0, at_s - now_s))
        if sounds:
            self._on_audio(frame, at_s)
            return
        if self._paced:
            self._pace(at_s)
        if not self._checked:
            refuse(self._label, frame, tags_of(frame, codec))
            self._checked = True
        self._on_frame(Arrived(frame, codec, round(at_s / CLOCK), time.monotonic_ns()))

    def _pace(self, at_s: float) -> None:
        """Wait until a picture of this time is due after the one before."""
        (before_s, handed_s), now_s = self._handed, time.monotonic()
        if 0.0 < at_s - before_s < PACED_S:
            self._stopped.wait(max(0.0, PACE * (at_s - before_s) - (now_s - handed_s)))
        self._handed = (at_s, time.monotonic())
