"""How many bits a second one encoder may make for all its viewers, from what they say of their ways."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

FLOOR_SHARE = 0.125
FLOOR_KBPS = 100
CONGESTED = 0.95
MUCH_LOSS = 0.1
FRESH_S = 5.0
UP_A_SECOND = 1.15
DOWN_A_SECOND = 0.5


@dataclass
class _Way:
    """What is known of one viewer's way. cap_kbps: what it could not carry more than, if it was congested."""

    heard_s: float
    estimate_kbps: float | None = None
    cap_kbps: float | None = None


class RateControl:
    """Reads no clock. target_kbps: what the encoder shall aim at; most_kbps: never more.

    An estimate (REMB) lowers the target only where it is below what is being sent: a receiver cannot know
    what its way would carry beyond what comes, so that a still picture, which takes few bits, makes for low
    estimates; and where less than the floor is sent, nothing could be lowered. The floor, FLOOR_SHARE of
    start_kbps, is there so that one slow viewer does not spoil it for all.
    """

    def __init__(self, start_kbps: int, most_kbps: int) -> None:
        self.most_kbps = most_kbps
        self._start = float(start_kbps)
        self._floor = min(self._start, max(FLOOR_KBPS, FLOOR_SHARE * start_kbps))
        self._target = self._start
        self._ways: dict[Hashable, _Way] = {}
        self._stepped_s: float | None = None

    @property
    def target_kbps(self) -> int:
        """Bits a second / 1000."""
        return round(self._target)

    def estimated(self, viewer: Hashable, kbps: float, sent_kbps: float, now_s: float) -> None:
        """A viewer's estimate of its way, while sent_kbps were being sent to it."""
        way = self._way(viewer, now_s)
        way.estimate_kbps = kbps
        if kbps < CONGESTED * sent_kbps and sent_kbps > self._floor:
            way.cap_kbps = kbps
        elif way.cap_kbps is not None:
            way.cap_kbps = max(way.cap_kbps, kbps)

    def lost(self, viewer: Hashable, fraction: float, now_s: float) -> None:
        """The share of packets a viewer has lost lately, 0 to 1."""
        if fraction > MUCH_LOSS:
            way = self._way(viewer, now_s)
            less = self._target * (1.0 - fraction / 2.0)
            way.cap_kbps = less if way.cap_kbps is None else min(way.cap_kbps, less)

    def forget(self, viewer: Hashable) -> None:
        """A viewer has left."""
        self._ways.pop(viewer, None)

    def step(self, now_s: float) -> int:
        """Move the target towards what is wanted now, by what the time since the last step allows."""
        dt_s = 0.0 if self._stepped_s is None else max(0.0, now_s - self._stepped_s)
        self._stepped_s = now_s
        for viewer in [key for key, way in self._ways.items() if now_s - way.heard_s > FRESH_S]:
            del self._ways[viewer]
        least, most = self._target * DOWN_A_SECOND**dt_s, self._target * UP_A_SECOND**dt_s
        self._target = min(max(self._goal(), least), most)
        return self.target_kbps

    def _goal(self) -> float:
        estimates = [way.estimate_kbps for way in self._ways.values() if way.estimate_kbps is not None]
        goal = max(self._start, min(estimates, default=self._start))
        caps = [way.cap_kbps for way in self._ways.values() if way.cap_kbps is not None]
        return min(max(min(goal, *caps) if caps else goal, self._floor), self.most_kbps)

    def _way(self, viewer: Hashable, now_s: float) -> _Way:
        way = self._ways.setdefault(viewer, _Way(now_s))
        way.heard_s = now_s
        return way
