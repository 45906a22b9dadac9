"""A live source's own times on this machine's monotonic clock, across losses and restarts of its clock."""

from __future__ import annotations

import math

LEAST_STEP_S = 0.01
BACK_S = 0.5
# A server may send so much at once of what it has kept, and more is a jump.
AHEAD_S = 30.0
# A single frame so far ahead of all others has a wrong stamp.
ALONE_S = 2.0
NEAR_S = 0.5


class Timeline:
    """One for all connections to a source. Its pictures and its sound share one offset, which is set by what
    comes first, and anew when the source begins to count anew, as one does that is restarted behind a
    datagram address. A single wrong stamp, whatever it is, moves only its own frame.

    live: of a file, which is read ahead of time, any frame may lie far ahead.
    """

    def __init__(self, live: bool = True) -> None:
        self._alone_s = ALONE_S if live else math.inf
        self._offset_s: float | None = None
        self._left_s: dict[str, float] = {}
        self._of: dict[str, tuple[float, float]] = {}
        self._last_s = 0.0

    def connected(self) -> None:
        """What comes now counts from anywhere."""
        self._offset_s, self._left_s, self._of = None, {}, {}

    def place(self, kind: str, stamp_s: float, now_s: float) -> float:
        """Seconds of the monotonic clock for a frame of this kind (sound or pictures) with this stamp, in
        seconds, that has come at now_s."""
        offset_s, before_s = self._of.get(kind, (self._offset_s, stamp_s))
        if offset_s is None:
            offset_s = self._begun(None, stamp_s, now_s)
        elif not self._near(stamp_s + offset_s, now_s):
            left_s = self._left_s.get(kind)
            if left_s is not None and self._near(stamp_s + left_s, now_s):
                offset_s = self._offset_s = left_s
            elif self._jumped(stamp_s, before_s, offset_s, now_s):
                self._left_s[kind] = offset_s
                offset_s = self._begun(offset_s, stamp_s, now_s)
        self._of[kind] = (offset_s, stamp_s)
        at_s, newest_s = stamp_s + offset_s, max(now_s, self._last_s + LEAST_STEP_S)
        if at_s > newest_s + self._alone_s and stamp_s - before_s > self._alone_s:
            at_s = newest_s
        self._last_s = max(self._last_s, at_s)
        return at_s

    def _begun(self, offset_s: float | None, stamp_s: float, now_s: float) -> float:
        """The offset for a kind that counts anew from this stamp; offset_s: the one it had."""
        # The other kind may have begun anew before.
        if self._offset_s is None or self._offset_s == offset_s:
            # What came in a burst may be ahead of the clock; time does not go back for that.
            self._offset_s = max(now_s, self._last_s + LEAST_STEP_S) - stamp_s
        return self._offset_s

    def _near(self, at_s: float, now_s: float) -> bool:
        """Whether it goes on from what has come, or stands at what the clock says."""
        return min(abs(at_s - now_s), abs(at_s - self._last_s)) < NEAR_S

    def _jumped(self, stamp_s: float, before_s: float, offset_s: float, now_s: float) -> bool:
        ahead = stamp_s + offset_s > max(now_s, self._last_s) + AHEAD_S
        return ahead or stamp_s < before_s - BACK_S
