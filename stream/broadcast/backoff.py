"""Waiting ever longer between attempts, and no longer than needed when it is time to stop."""

from __future__ import annotations

import threading

FIRST_S = 0.5
MOST_S = 15.0


class Backoff:
    """Waits 0.5 s, 1 s, 2 s ... 15 s; `reset` begins anew. stopped: ends a wait at once."""

    def __init__(self, stopped: threading.Event, first_s: float = FIRST_S) -> None:
        self._stopped, self._first_s = stopped, first_s
        self.next_s = first_s

    def reset(self) -> None:
        """An attempt succeeded."""
        self.next_s = self._first_s

    def wait(self, most_s: float = MOST_S) -> None:
        """Wait before the next attempt, at most most_s."""
        self._stopped.wait(min(self.next_s, most_s))
        self.next_s = min(2.0 * self.next_s, MOST_S)
