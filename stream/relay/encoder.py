"""One encoder in one thread, for any number of viewers: newest picture in, packets out."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from av.packet import Packet
from av.video.frame import PictureType, VideoFrame

from stream.frame import RgbImage
from stream.live.slot import Newest
from stream.relay.codec import CLOCK, Aim, VideoCodec, open_codec
from stream.relay.colour import ToYuv

KEYFRAME_GAP_S = 0.5
MOST_IN_FLIGHT = 2
# Longer gaps are pauses, and say nothing of the rate.
STILL_S = 1.0
# How long whoever has no picture yet waits for the next one; then the last one is shown once more.
AGAIN_S = 0.5
SMOOTHING = 0.1
NEVER = math.inf


@dataclass(frozen=True)
class Picture:
    """What is to be encoded. rgb_u8: uint8 [H, W, 3]. pts, time_base, arrival_ns: of the frame it was made
    from."""

    rgb_u8: RgbImage
    pts: int
    time_base: Fraction
    arrival_ns: int


@dataclass(frozen=True)
class Encoded:
    """One encoded picture. packet: its pts is the picture's own time in 1/90000 s. keyframe: decoding can
    begin here. arrival_ns: of the picture. encode_ms: time of conversion and encoding. again: nothing new, a
    key frame for those who have no picture yet and no part of what the others get."""

    packet: Packet[Any]
    keyframe: bool
    arrival_ns: int
    encode_ms: float
    again: bool = False


class VideoEncoder:
    """Encodes the newest picture there is. Pictures are dropped before they are encoded, never after.

    deliver: called in the encoder's thread with each packet; it must not wait, and whoever got the packet
    must call `fetched`. Key frames come when asked for, at most one in KEYFRAME_GAP_S, and where the size
    changes. Where a picture is asked for and none comes, it is the last one once more, its time moved on.
    error: what ended the thread, if something did. encoded, keyframes: since it began. not_encoded: pictures
    dropped. width, height: of the newest picture.
    """

    def __init__(
        self, codec: str, fps: float, kbps: int, most_kbps: int, deliver: Callable[[Encoded], None]
    ) -> None:
        self.error: BaseException | None = None
        self.encoded = self.keyframes = 0
        self.width = self.height = 0
        self._codec_name, self._fps, self._kbps, self._most_kbps = codec, fps, kbps, most_kbps
        self._deliver = deliver
        self._slot: Newest[Picture] = Newest()
        self._codec: VideoCodec | None = None
        self._to_yuv = ToYuv(codec)
        self._wanted = True
        self._keyframe_s = -KEYFRAME_GAP_S
        self._last_pts = -1
        self._last: Picture | None = None
        self._lacking_since_s = NEVER
        self._shown_again = self._renew = False
        self._interval_s = 1.0 / fps
        # Each of these is written by one thread only: the giver's, the encoder's, the fetcher's.
        self._submitted = self._taken = self._fetched = 0
        self._refused = 0
        self._submitted_ns = 0
        self._thread = threading.Thread(target=self._run, name="video-encoder", daemon=True)
        self._thread.start()

    @property
    def kbps(self) -> int:
        """The bitrate wanted, up to most_kbps; may be set from any thread. See stream.relay.codec."""
        return self._kbps

    @kbps.setter
    def kbps(self, value: int) -> None:
        self._kbps = min(value, self._most_kbps)

    @property
    def waiting(self) -> bool:
        """Whether a picture has not been begun: the next one would take its place."""
        return self._submitted - self._slot.dropped > self._taken

    @property
    def full(self) -> bool:
        """Whether packets lie about, which nobody has taken over yet: no more are made meanwhile."""
        return self.encoded - self._fetched >= MOST_IN_FLIGHT

    @property
    def not_encoded(self) -> int:
        """Pictures that were dropped."""
        return self._slot.dropped + self._refused

    def age_ms(self) -> float:
        """How long the picture in the slot has waited."""
        return (time.monotonic_ns() - self._submitted_ns) / 1e6 if self.waiting else 0.0

    def submit(self, picture: Picture) -> None:
        """Hand over a picture. Never waits; one not yet begun is replaced."""
        self._submitted += 1
        self._submitted_ns = time.monotonic_ns()
        self._slot.put(picture)

    def request_keyframe(self) -> None:
        """Have one of the next pictures encoded as a key frame."""
        self._wanted = True

    def request_picture(self) -> None:
        """Somebody has no picture yet: a key frame, and soon, of the last picture if need be."""
        self._wanted, self._lacking_since_s = True, time.monotonic()

    def fetched(self) -> None:
        """One delivered packet was taken over."""
        self._fetched += 1

    def close(self) -> None:
        """End the thread, and wait for it."""
        self._slot.close()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        try:
            while not self._slot.closed:
                if (picture := self._slot.take(AGAIN_S)) is not None:
                    self._taken += 1
                    self._encode(picture)
                elif self._last is not None and self._lacks() and not self._slot.closed:
                    self._show_again(self._last)
        except BaseException as error:
            self.error = error
            self._slot.close()

    def _show_again(self, last: Picture) -> None:
        """The source pauses. The next picture begins anew, as most of those who get it have not got this."""
        now_ns = time.monotonic_ns()
        later = Fraction(max(0, now_ns - last.arrival_ns), 10**9) / last.time_base
        self._renew = True
        self._encode(replace(last, pts=last.pts + max(1, int(later)), arrival_ns=now_ns), again=True)
        self._renew = self._shown_again = True

    def _encode(self, picture: Picture, again: bool = False) -> None:
        began_ns = time.perf_counter_ns()
        pts = int(picture.pts * picture.time_base / CLOCK)
        if self._shown_again:
            # A source may count on from where it paused, behind the picture that was shown again.
            self._shown_again = pts <= self._last_pts
            pts = max(pts, self._last_pts + 1)
        # RTP time must not run backwards.
        if pts <= self._last_pts or self.full:
            self._refused += 1
            return
        if not again:
            self._note_interval(pts)
        self._last, self._last_pts = picture, pts
        frame = self._to_yuv(picture.rgb_u8)
        frame.pts, frame.time_base = pts, CLOCK
        frame.duration = int(1 / (self._fps * CLOCK))
        for packet in self._through_codec(frame):
            encode_ms = (time.perf_counter_ns() - began_ns) / 1e6
            self._count(packet)
            self._deliver(Encoded(packet, packet.is_keyframe, picture.arrival_ns, encode_ms, again))

    def _note_interval(self, pts: int) -> None:
        apart_s = float((pts - self._last_pts) * CLOCK)
        if self._last_pts >= 0 and apart_s < STILL_S:
            self._interval_s += SMOOTHING * (apart_s - self._interval_s)

    def _through_codec(self, frame: VideoFrame) -> list[Packet[Any]]:
        due, now_s = self._key_frame_due(), time.monotonic()
        resized = (frame.width, frame.height) != (self.width, self.height)
        aim = Aim(self._kbps, self._interval_s, due, now_s)
        if self._codec is None or resized or not self._codec.aim(aim):
            self.width, self.height = frame.width, frame.height
            self._codec = self._opened()
            due = True
        if due:
            self._wanted = self._renew = False
            self._lacking_since_s = NEVER
        frame.pict_type = PictureType.I if due else PictureType.NONE
        return self._codec.encode(frame)

    def _lacks(self) -> bool:
        """Whether somebody has waited for a picture. A stream that nobody watched had its last one long ago:
        it is shown only where no new one comes."""
        return time.monotonic() - self._lacking_since_s >= AGAIN_S

    def _key_frame_due(self) -> bool:
        return self._renew or (self._wanted and time.monotonic() - self._keyframe_s >= KEYFRAME_GAP_S)

    def _opened(self) -> VideoCodec:
        size, rates = (self.width, self.height), (self._kbps, self._most_kbps)
        return open_codec(self._codec_name, *size, self._fps, *rates)

    def _count(self, packet: Packet[Any]) -> None:
        self.encoded += 1
        if packet.is_keyframe:
            self.keyframes += 1
            self._keyframe_s = time.monotonic()
