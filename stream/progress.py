"""What the user sees while a file is worked on: one line that is written over on a terminal, nothing
elsewhere."""

from __future__ import annotations

import time
from typing import TextIO

REDRAW_S = 0.1


class Progress:
    """A line of percent, frames per second and time left. frames: how many to expect, 0 if unknown."""

    def __init__(self, out: TextIO, frames: int, *, quiet: bool = False, label: str = "") -> None:
        self._out, self._frames, self._label = out, frames, label
        self._live = not quiet and out.isatty()
        self._began = time.monotonic()
        self._drawn = 0.0
        self._width = 0

    def update(self, done: int) -> None:
        """Show that `done` frames are finished; redrawn at most ten times a second."""
        now = time.monotonic()
        if not self._live or now - self._drawn < REDRAW_S:
            return
        self._drawn = now
        self._draw(progress_line(self._label, done, self._frames, now - self._began))

    def _draw(self, line: str) -> None:
        self._out.write("\r" + line.ljust(self._width))
        self._out.flush()
        self._width = len(line)

    def clear(self) -> None:
        """Take the line away, so that what comes next stands alone."""
        if self._live and self._width:
            self._out.write("\r" + " " * self._width + "\r")
            self._out.flush()
            self._width = 0


def progress_line(label: str, done: int, frames: int, elapsed_s: float) -> str:
    """The line's words; without a known length the count stands for percent and time left."""
    fps = done / elapsed_s if elapsed_s > 0.0 else 0.0
    speed = f"{fps:.1f} frames/s"
    head = f"{label}  " if label else ""
    if frames <= 0:
        return f"{head}{done} frames  {speed}"
    share = min(1.0, done / frames)
    bar = "#" * round(20 * share)
    left = f"{clock((frames - done) / fps)} left" if fps > 0.0 and done < frames else ""
    return f"{head}[{bar:<20}] {100 * share:3.0f} %  {speed}  {left}".rstrip()


def clock(seconds: float) -> str:
    """Seconds as m:ss, or h:mm:ss."""
    whole = max(0, round(seconds))
    minutes, hours = whole // 60, whole // 3600
    return f"{hours}:{minutes % 60:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
