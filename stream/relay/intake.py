"""What stands between a publisher's packets and their decoder: no frame waits longer than it must, nothing
piles up, nothing too large is decoded, and sound is not decoded at all.

aiortc's own jitter buffer hands a picture out when the next one begins, one frame interval late, and its
queue to the decoder is unbounded. See hooks.tap_video and hooks.tap_audio for how these take their place.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.rtp import RtpPacket

from stream.relay.options import MediaOptions
from stream.relay.sniff import sniff

VIDEO_PACKETS = 512
MOST_WAITING, MOST_WAITING_MS = 60, 250.0
HOLE_S = 0.3
KEYFRAME_WAIT_S = 2.0
ASK_EVERY_S = 0.5
_ARRIVALS_KEPT = 64
_HALF = 1 << 15


class PromptBuffer(JitterBuffer):
    """A jitter buffer for video that hands a picture out with its last packet, which carries the marker bit
    (RFC 7741 section 4.1, RFC 6184 section 5.1), where aiortc's waits for the next picture to begin.

    A packet that stays missing for HOLE_S is given up, on_loss is called, and it goes on with what comes
    next; aiortc's waits for VIDEO_PACKETS more, which is seconds.
    """

    def __init__(self, on_loss: Callable[[], None]) -> None:
        super().__init__(capacity=VIDEO_PACKETS, is_video=True)
        self._on_loss = on_loss
        self._hole_since_s: float | None = None

    def add(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
        """Whether to ask for a key frame, and a picture that is complete."""
        asks, frame = super().add(packet)
        now_s = time.monotonic()
        if not self._has_hole(packet.sequence_number):
            self._hole_since_s = None
        elif self._hole_since_s is None:
            self._hole_since_s = now_s
        elif now_s - self._hole_since_s > HOLE_S:
            self._hole_since_s = None
            self.remove(self._capacity)
            self._origin = packet.sequence_number
            self._packets[self._origin % self._capacity] = packet
            self._on_loss()
            asks = True
        return asks, frame

    def _has_hole(self, newest: int) -> bool:
        """Whether a packet is missing before the newest."""
        if self._origin is None:
            return False
        ahead = (newest - self._origin) % (2 * _HALF)
        if ahead >= _HALF:
            return self._hole_since_s is not None
        spots = range(self._origin, self._origin + ahead)
        return any(self._packets[spot % self._capacity] is None for spot in spots)

    def _remove_frame(self, sequence_number: int) -> JitterFrame | None:
        frame = super()._remove_frame(sequence_number)
        while frame is not None and not frame.data:
            # Padding, sent with the time of the picture before it.
            frame = super()._remove_frame(sequence_number)
        return frame if frame is not None else self._marked_frame()

    def _marked_frame(self) -> JitterFrame | None:
        pieces: list[bytes] = []
        assert self._origin is not None
        for count in range(self._capacity):
            packet: Any = self._packets[(self._origin + count) % self._capacity]
            if packet is None:
                return None
            pieces.append(packet._data)
            if packet.marker:
                self.remove(count + 1)
                picture = b"".join(pieces)
                return JitterFrame(picture, packet.timestamp) if picture else None
        return None


class StraightThrough:
    """In a jitter buffer's place, for sound: every packet at once, late ones never. The viewers' own jitter
    buffers do the rest."""

    def __init__(self) -> None:
        self._newest: int | None = None

    def add(self, packet: Any) -> tuple[bool, JitterFrame | None]:
        """Whether a picture was lost, never; the packet's payload unless a newer one went before it."""
        number = packet.sequence_number
        # Sequence numbers wrap at 2^16 (RFC 3550, appendix A.1).
        if self._newest is not None and not 0 < (number - self._newest) % (2 * _HALF) < _HALF:
            return False, None
        self._newest = number
        return False, JitterFrame(packet._data, packet.timestamp)


class VideoIntake(queue.Queue[Any]):
    """In the place of a video decoder's queue: bounded, and closed to pictures that are too large.

    lost: set to have the publisher asked for a key frame. on_decoded: called in the decoder's thread with the
    ms that a picture was in the decoder. skipped, too_large: pictures not decoded. refused_size: of the
    pictures that are too large, while they are. heard_s: monotonic time of the newest picture. Written by the
    event loop, read by the decoder's thread.
    """

    def __init__(
        self, options: MediaOptions, lost: threading.Event, on_decoded: Callable[[float], None]
    ) -> None:
        super().__init__()
        self._options, self._lost, self._on_decoded = options, lost, on_decoded
        self._decoding_since_ns: int | None = None
        self._arrivals: dict[int, int] = {}
        self._barred = False
        self._waiting_since_s: float | None = None
        self._asked_s = 0.0
        self.skipped = self.too_large = 0
        self.refused_size: tuple[int, int] | None = None
        self.heard_s = 0.0

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Take (codec, picture), or None for the end."""
        if item is None or self._accepts(item[0].name.lower(), item[1].data):
            if item is not None:
                self._note_arrival(item[1].timestamp)
            super().put(item, block, timeout)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """What comes next. The decoder asks for it when it is done with what it had."""
        if self._decoding_since_ns is not None:
            self._on_decoded((time.perf_counter_ns() - self._decoding_since_ns) / 1e6)
            self._decoding_since_ns = None
        item = super().get(block, timeout)
        if item is not None:
            self._decoding_since_ns = time.perf_counter_ns()
        return item

    def lose(self) -> None:
        """A picture was lost on the way: those that build on it are not decoded."""
        self._waiting_since_s = time.monotonic()

    def arrival_ns(self, pts: int) -> int:
        """When the picture with this time was complete; now, if that is not known."""
        return self._arrivals.pop(pts, 0) or time.monotonic_ns()

    def oldest_ms(self) -> float:
        """How long the oldest picture has waited for the decoder."""
        waiting, arrivals = self.qsize(), list(self._arrivals.values())
        if not waiting or not arrivals:
            return 0.0
        return (time.monotonic_ns() - arrivals[-min(waiting, len(arrivals))]) / 1e6

    def _note_arrival(self, pts: int) -> None:
        self._arrivals[pts] = time.monotonic_ns()
        while len(self._arrivals) > _ARRIVALS_KEPT:
            del self._arrivals[next(iter(self._arrivals))]

    def _accepts(self, codec: str, picture: bytes) -> bool:
        now_s = self.heard_s = time.monotonic()
        seen = sniff(codec, picture)
        if seen.size is not None:
            self._barred = not self._options.admits(*seen.size)
            self.refused_size = seen.size if self._barred else None
        if self._barred:
            self.too_large += 1
            return False
        if self._waiting_since_s is None and self._is_behind():
            self._waiting_since_s = now_s
        if self._waiting_since_s is None or self._may_go_on(seen.keyframe, now_s):
            self._waiting_since_s = None
            return True
        self.skipped += 1
        return False

    def _is_behind(self) -> bool:
        """Whether the decoder does not keep up; a burst that it soon gets through does not count."""
        return self.qsize() >= MOST_WAITING or self.oldest_ms() > MOST_WAITING_MS

    def _may_go_on(self, keyframe: bool, now_s: float) -> bool:
        """Whether decoding can begin again. Streams without key frames begin again anywhere, in the end."""
        assert self._waiting_since_s is not None
        if not self._is_behind() and (keyframe or now_s - self._waiting_since_s > KEYFRAME_WAIT_S):
            return True
        if now_s - self._asked_s > ASK_EVERY_S:
            self._asked_s = now_s
            self._lost.set()
        return False


class AudioIntake(queue.Queue[Any]):
    """In the place of an audio decoder's queue: encoded packets go to on_packet(payload, pts), the end to the
    decoder."""

    def __init__(self, on_packet: Callable[[bytes, int], None]) -> None:
        super().__init__()
        self._on_packet = on_packet

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Take (codec, packet), or None for the end."""
        if item is None:
            super().put(None, block, timeout)
        elif item[1].data:
            self._on_packet(item[1].data, item[1].timestamp)
