"""A live source's own times on this machine's monotonic clock, across losses and restarts of its clock."""

from __future__ import annotations

LEAST_STEP_S = 0.01
BACK_S = 0.5
# A server may send so much at once of what it has kept, and more is a jump.
AHEAD_S = 30.0


class Timeline:
    """One for all connections to a source. Its pictures and its sound share one offset, which is set by what
    comes first, and anew when the source begins to count anew, as one does that is restarted behind a
    datagram address."""

    def __init__(self) -> None:
        self._offset_s: float | None = None
        self._of: dict[str, tuple[float, float]] = {}
        self._last_s = 0.0

    def connected(self) -> None:
        """What comes now counts from anywhere."""
        self._offset_s, self._of = None, {}

    def place(self, kind: str, stamp_s: float, now_s: float) -> float:
        """Seconds of the monotonic clock for a frame of this kind (sound or pictures) with this stamp, in
        seconds, that has come at now_s."""
        offset_s, before_s = self._of.get(kind, (self._offset_s, stamp_s))
        if offset_s is None or self._jumped(stamp_s, before_s, offset_s, now_s):
            # The other kind may have begun anew before.
            begun = self._offset_s is not None and self._offset_s != offset_s
            if not begun:
                # What came in a burst may be ahead of the clock; time does not go back for that.
                self._offset_s = max(now_s, self._last_s + LEAST_STEP_S) - stamp_s
            assert self._offset_s is not None
            offset_s = self._offset_s
        self._of[kind] = (offset_s, stamp_s)
        at_s = stamp_s + offset_s
        self._last_s = max(self._last_s, at_s)
        return at_s

    def _jumped(self, stamp_s: float, before_s: float, offset_s: float, now_s: float) -> bool:
        ahead = stamp_s + offset_s > max(now_s, self._last_s) + AHEAD_S
        return ahead or stamp_s < before_s - BACK_S
