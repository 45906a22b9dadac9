"""Figures of a running stream over the last seconds: rate, times, drops."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field, replace

import numpy as np

WINDOW_S = 5.0


@dataclass(frozen=True)
class Stats:
    """One look at a stream.

    frames_in, frames_out, dropped: since it began. fps: of frames out, over the last five seconds, as are the
    times in ms: retouch (the filter's own work on a frame) and delay (from a frame's arrival to its being
    done), at their median and 95th percentile. level: step of the ladder (see stream.live.budget), by number
    and by name. faces: in the newest frame. stage_ms: of the newest frame.
    """

    frames_in: int = 0
    frames_out: int = 0
    dropped: int = 0
    fps: float = 0.0
    retouch_p50_ms: float = 0.0
    retouch_p95_ms: float = 0.0
    delay_p50_ms: float = 0.0
    delay_p95_ms: float = 0.0
    level: int = 0
    level_name: str = "full"
    faces: int = 0
    stage_ms: dict[str, float] = field(default_factory=dict)


class Window:
    """Times of the frames of the last WINDOW_S seconds. One thread adds, any may ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: deque[tuple[float, float, float]] = deque()

    def add(self, retouch_ms: float, delay_ms: float, now_s: float | None = None) -> None:
        """A frame is done."""
        now = time.monotonic() if now_s is None else now_s
        with self._lock:
            self._seen.append((now, retouch_ms, delay_ms))
            self._forget(now)

    def figures(self, counted: Stats, now_s: float | None = None) -> Stats:
        """What was counted, with fps and the four times of Stats filled in."""
        now = time.monotonic() if now_s is None else now_s
        with self._lock:
            self._forget(now)
            seen = np.array(self._seen, np.float64).reshape(-1, 3)
        if not len(seen):
            return counted
        span = now - seen[0, 0]
        # The first frame opens the interval that the others fill.
        fps = (len(seen) - 1) / span if span > 0.0 else 0.0
        retouch, delay = (np.percentile(seen[:, column], (50, 95)) for column in (1, 2))
        return replace(
            counted,
            fps=float(fps),
            retouch_p50_ms=float(retouch[0]),
            retouch_p95_ms=float(retouch[1]),
            delay_p50_ms=float(delay[0]),
            delay_p95_ms=float(delay[1]),
        )

    def _forget(self, now: float) -> None:
        while self._seen and self._seen[0][0] < now - WINDOW_S:
            self._seen.popleft()
