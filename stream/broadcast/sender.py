"""Write a live stream: the newest frame encoded, the last one held while none comes, anew after a loss."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import IO, Any

import av
import av.error
import numpy as np

from stream.broadcast.backoff import MOST_S, Backoff
from stream.broadcast.outlet import CLOSED, PIPE_WAIT_S, PIPED, End, Outlet, start_outlet
from stream.broadcast.sound import AUDIO_KBPS, AUDIO_RATE, EvenSound
from stream.broadcast.urls import listens, without_secrets
from stream.frame import RgbImage
from stream.live.fit import fitted
from stream.live.slot import Newest
from stream.output import OutputError

HOLD_S = 0.5
POLL_S = 0.05
HELD_WELL_S = 5.0
KEYFRAME_S = 2
TICK = Fraction(1, 1000)
AUDIO_KEPT_S = 4.0
BITS_PER_PIXEL = 0.1
# AAC begins a little before its sound does, and nothing may come before the first picture.
LEAD_S = 0.05
BT709, LIMITED = 1, 1


@dataclass(frozen=True)
class Shown:
    """A picture to be sent: uint8 [H, W, 3] RGB, and its time in seconds of the monotonic clock."""

    rgb_u8: RgbImage
    at_s: float


def even_size(size: tuple[int, int]) -> tuple[int, int]:
    """The size without odd sides, which most codecs do not want."""
    return max(2, size[0] - size[0] % 2), max(2, size[1] - size[1] % 2)


@dataclass(frozen=True)
class Outgoing:
    """What is sent where. size: width and height, both even. bitrate_kbps: of the video."""

    url: str
    size: tuple[int, int]
    fps: float
    audio: bool
    bitrate_kbps: int

    @staticmethod
    def bitrate_for(size: tuple[int, int], fps: float) -> int:
        """Kilobits a second at which x264's veryfast leaves faces clean."""
        return max(500, round(size[0] * size[1] * fps * BITS_PER_PIXEL / 1000))


class Sender:
    """One live output, in a thread of its own: put pictures into `pictures`, sound through `sound`.

    After `finish` what has come is sent and the thread ends. wait_s: for so long it tries to reach an output
    that is not there yet. live: what comes while a connection is being made is out of date once it is there,
    and left out, so that whoever watches is not late by as long as they were waited for. sent: pictures, once
    a connection has ended. reconnections: how often one was lost. error: why nothing could be sent, where
    there never was one.
    """

    def __init__(
        self,
        outgoing: Outgoing,
        stopped: threading.Event,
        say: Callable[[str], None] = lambda _: None,
        wait_s: float = 0.0,
        live: bool = True,
    ) -> None:
        self.pictures: Newest[Shown] = Newest()
        self.sent = self.held = self.reconnections = 0
        self._outgoing, self._stopped, self._say = outgoing, stopped, say
        self._label, self._listens = without_secrets(outgoing.url), listens(outgoing.url)
        self._wait_until_s, self._live = time.monotonic() + wait_s, live
        self._sound: deque[tuple[Any, float]] = deque(maxlen=round(AUDIO_KEPT_S * AUDIO_RATE / 1024))
        self._finishing = threading.Event()
        self._last: Shown | None = None
        self._session: _Session | None = None
        self._ever_opened = False
        self.error: OutputError | None = None
        self._thread = threading.Thread(target=self._run, name="send", daemon=True)
        self._thread.start()

    def sound(self, frame: Any, at_s: float) -> None:
        """An av.AudioFrame and the time of its first sample, seconds of the monotonic clock; never waits."""
        self._sound.append((frame, at_s))

    def finish(self, timeout_s: float = 5.0) -> None:
        """Send what has come, close the output, and wait for it."""
        self._finishing.set()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            # It waits for one who takes nothing.
            self.remove()
            self._thread.join(timeout_s)

    def remove(self) -> None:
        """End the connection at once; for an end without ceremony."""
        if self._session is not None:
            self._session.outlet.kill()

    def _run(self) -> None:
        try:
            self._send_on()
        except Exception as error:
            # Whoever waits for the end must not wait for ever.
            self.error = OutputError(
                f"{self._label} cannot be sent to any more ({type(error).__name__}: {error}); start again"
            )
            self.error.__cause__ = error

    def _send_on(self) -> None:
        backoff = Backoff(self._finishing)
        if self._listens:
            self._say(f"{self._label} waits for whoever connects to it")
        while not self._over():
            session = self._session = _Session(self._outgoing)
            lost = self._through(session, backoff)
            end = session.outlet.end()
            self._ever_opened = self._ever_opened or end.opened
            if end.opened:
                self.sent += session.written
            if not self._ever_opened and (lost or end.reason != CLOSED) and not self._may_wait(end):
                self.error = self._never_opened(end)
                return
            if not lost or self._over():
                return
            self._wait_for_it(end, backoff)

    def _through(self, session: _Session, backoff: Backoff) -> bool:
        """Send through one connection; whether it was lost."""
        try:
            with session:
                self._send(session, backoff)
        except (av.error.FFmpegError, OSError, ValueError):
            return True
        return False

    def _never_opened(self, end: End) -> OutputError:
        if self._listens and end.reason == CLOSED:
            return OutputError(f"nobody connected to {self._label}; start who watches it sooner")
        return OutputError(f"{self._label} cannot be opened ({end.reason}); {end.advice}")

    def _may_wait(self, end: End) -> bool:
        return not end.final and not self._over() and time.monotonic() < self._wait_until_s

    def _wait_for_it(self, end: End, backoff: Backoff) -> None:
        """Wait before the next attempt."""
        self.reconnections += end.opened
        left_s = MOST_S if self._ever_opened else max(0.0, self._wait_until_s - time.monotonic())
        state = "takes nothing" if self._ever_opened else "is not there yet"
        wait_s = min(backoff.next_s, left_s)
        self._say(f"{self._label} {state} ({end.reason}); trying again in {wait_s:.2g} s")
        backoff.wait(left_s)

    def _over(self) -> bool:
        return self._stopped.is_set() or self._finishing.is_set()

    def _send(self, session: _Session, backoff: Backoff) -> None:
        began_s, connected = time.monotonic(), not self._live
        while not self._stopped.is_set():
            shown = self.pictures.take(HOLD_S)
            if shown is None:
                if self._finishing.is_set():
                    return
                if self._last is None:
                    continue
                self.held += 1
                shown = Shown(self._last.rgb_u8, self._last.at_s + HOLD_S)
            self._last = shown
            session.video(shown)
            session.written += 1
            if not connected:
                if connected := session.seconds > PIPE_WAIT_S:
                    self._let_connect(session)
                    began_s = time.monotonic()
                session.go_on()
                continue
            while self._sound:
                session.audio(*self._sound.popleft())
            if time.monotonic() - began_s > HELD_WELL_S:
                backoff.reset()

    def _let_connect(self, session: _Session) -> None:
        """Wait for the connection, which is made once a first packet has got through and said what comes."""
        outlet = session.outlet
        while not (outlet.opened.wait(POLL_S) or outlet.over.is_set() or self._over()):
            pass


class _Session:
    """One connection: H.264, tagged BT.709 limited, and AAC if there is sound, piped to an outlet."""

    def __init__(self, outgoing: Outgoing) -> None:
        self._outgoing = outgoing
        self._began_s: float | None = None
        self._last_tick = -1
        self.written = 0
        self.outlet = Outlet(start_outlet())

    def __enter__(self) -> _Session:
        self.outlet.packets.write(self._outgoing.url.encode() + b"\n")
        self._container: Any = av.open(_Pipe(self.outlet.packets), "w", format="nut", options=PIPED)
        self._video = self._add_video()
        self._audio: Any = self._add_audio() if self._outgoing.audio else None
        self._even = None if self._audio is None else EvenSound(self._audio)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        try:
            if kind is None:
                self._container.mux(self._video.encode(None))
                if self._audio is not None:
                    self._container.mux(self._audio.encode(None))
            self._container.close()
        except (av.error.FFmpegError, OSError, ValueError):
            if kind is None:
                raise

    def _add_video(self) -> Any:
        out = self._outgoing
        rate = Fraction(out.fps).limit_denominator(1001)
        kbps = out.bitrate_kbps
        options = {
            "preset": "veryfast",
            "tune": "zerolatency",
            "maxrate": f"{kbps}k",
            "bufsize": f"{kbps}k",
            "g": str(max(1, round(KEYFRAME_S * out.fps))),
        }
        stream: Any = self._container.add_stream("libx264", rate=rate, options=options, time_base=TICK)
        stream.width, stream.height, stream.pix_fmt = *out.size, "yuv420p"
        context = stream.codec_context
        context.bit_rate = 1000 * kbps
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = LIMITED
        context.thread_count = 1
        return stream

    def _add_audio(self) -> Any:
        stream: Any = self._container.add_stream("aac", rate=AUDIO_RATE)
        stream.codec_context.layout = "stereo"
        stream.bit_rate = 1000 * AUDIO_KBPS
        return stream

    @property
    def seconds(self) -> float:
        """From the first picture to the last one."""
        return float(max(0, self._last_tick) * TICK)

    def go_on(self) -> None:
        """Let the next picture, whenever it comes, follow the last one by a frame."""
        self._began_s = None

    def video(self, shown: Shown) -> None:
        """Encode and send a picture."""
        if self._began_s is None:
            follows_s = 0.0 if self._last_tick < 0 else self.seconds + 1.0 / self._outgoing.fps
            self._began_s = shown.at_s - follows_s
        tick = round((shown.at_s - self._began_s) / TICK)
        # Times that stand still or go back would end the stream.
        tick = self._last_tick = max(tick, self._last_tick + 1)
        picture = np.ascontiguousarray(fitted(shown.rgb_u8, self._outgoing.size))
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace=BT709, dst_color_range=LIMITED, threads=1)
        frame.pts, frame.time_base = tick, TICK
        self._container.mux(self._video.encode(frame))

    def audio(self, frame: Any, at_s: float) -> None:
        """Encode and send sound; what is older than the first picture is left out."""
        if self._even is None or self._began_s is None or at_s < self._began_s + LEAD_S:
            return
        for even in self._even.frames(frame, at_s - self._began_s):
            self._container.mux(self._audio.encode(even))


class _Pipe:
    """A pipe that av writes to as it comes: no seeking, nothing held back."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe

    def write(self, written: bytes) -> int:
        """All of it, now."""
        self._pipe.write(written)
        self._pipe.flush()
        return len(written)
