"""Sound from the publisher to the viewers: Opus packets as they came, held back as long as pictures take."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from fractions import Fraction
from typing import Any

from av.packet import Packet

from stream.relay.fanout import PacketTrack

OPUS_CLOCK = Fraction(1, 48_000)
SLEW = 0.05
DEADBAND_S = 0.010
MOST_DELAY_S = 1.0
MOST_HELD = 100


class DelayLine:
    """When each packet shall go on. Reads no clock; times in seconds.

    The delay moves towards the aim by at most SLEW seconds a second, which a listener's player stretches
    away; an aim within DEADBAND_S of the last one changes nothing. delay_s: of the newest packet.
    """

    def __init__(self) -> None:
        self.delay_s = 0.0
        self._aim_s = 0.0
        self._arrived_s: float | None = None
        self._due_s = 0.0

    def aim(self, delay_s: float) -> None:
        """The delay wanted; above MOST_DELAY_S it is not followed."""
        wanted_s = min(max(delay_s, 0.0), MOST_DELAY_S)
        if abs(wanted_s - self._aim_s) > DEADBAND_S:
            self._aim_s = wanted_s

    def due_s(self, arrived_s: float) -> float:
        """When a packet that came at arrived_s shall go; never before the one that came before it."""
        if self._arrived_s is None:
            self.delay_s = self._aim_s
        else:
            most_s = SLEW * max(0.0, arrived_s - self._arrived_s)
            self.delay_s += min(max(self._aim_s - self.delay_s, -most_s), most_s)
        self._arrived_s = arrived_s
        self._due_s = max(self._due_s, arrived_s + self.delay_s)
        return self._due_s


class AudioLine:
    """Holds packets back and hands them to all tracks in order; lives in the event loop.

    dropped: packets given up because too many were held.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self.line = DelayLine()
        self._tracks: set[PacketTrack] = set()
        self._held: deque[tuple[float, Packet[Any]]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, track: PacketTrack) -> None:
        """Send to this track too."""
        self._tracks.add(track)

    def remove(self, track: PacketTrack) -> None:
        """Send no more to this track."""
        self._tracks.discard(track)

    def push(self, payload: bytes, pts: int) -> None:
        """An Opus packet has come. pts counts OPUS_CLOCK, from the publisher."""
        packet: Packet[Any] = Packet(payload)
        packet.pts, packet.time_base = pts, OPUS_CLOCK
        self._held.append((self.line.due_s(time.monotonic()), packet))
        if len(self._held) > MOST_HELD:
            self._held.popleft()
            self.dropped += 1
        self._arm()

    def age_ms(self) -> float:
        """How long the oldest packet has been held back."""
        if not self._held:
            return 0.0
        return max(0.0, time.monotonic() - self._held[0][0] + self.line.delay_s) * 1e3

    def close(self) -> None:
        """Forget what is held."""
        self._held.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        if self._timer is None and self._held:
            wait_s = max(0.0, self._held[0][0] - time.monotonic())
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._send_due)

    def _send_due(self) -> None:
        self._timer = None
        now_s = time.monotonic()
        while self._held and self._held[0][0] <= now_s:
            _, packet = self._held.popleft()
            for track in list(self._tracks):
                track.offer(packet)
        self._arm()
