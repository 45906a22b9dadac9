"""Thins out frames that come faster than they may."""

from __future__ import annotations

_EARLY = 0.25
_JUMP_S = 1.0


class Pace:
    """At most fps frames a second, chosen evenly by their own times; reads no clock.

    Times that jump begin anew, once a second at most: whoever stamps frames far apart sends no more of them.
    """

    def __init__(self, fps: float) -> None:
        self._interval_s = 1.0 / fps
        self._next_s: float | None = None
        self._jumped_s = float("-inf")

    def admits(self, pts_s: float, arrival_s: float) -> bool:
        """Whether the frame of this time, which came at arrival_s of a clock, may pass."""
        expected_s = self._next_s
        if expected_s is None or abs(pts_s - expected_s) > _JUMP_S:
            if arrival_s - self._jumped_s < _JUMP_S:
                return False
            expected_s, self._jumped_s = pts_s, arrival_s
        if pts_s < expected_s - _EARLY * self._interval_s:
            return False
        # A late frame may be caught up with, but by no more than one.
        self._next_s = max(expected_s, pts_s - self._interval_s) + self._interval_s
        return True
