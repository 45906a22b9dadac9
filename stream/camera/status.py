"""What the user reads on standard error: a line of figures that is written over, and sentences above it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from typing import TextIO

from stream.live.settings import Settings
from stream.live.stats import Stats

REDRAW_S = 0.5


class Status:
    """The figures on a terminal, and only the sentences elsewhere. quiet: no figures."""

    def __init__(
        self, out: TextIO, *, quiet: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._out, self._clock = out, clock
        self._live = not quiet and out.isatty()
        self._drawn_s = -REDRAW_S
        self._width = 0

    def show(self, line: Callable[[], str]) -> None:
        """Write the line over the last one; `line` is asked for twice a second."""
        now = self._clock()
        if not self._live or now - self._drawn_s < REDRAW_S:
            return
        self._drawn_s = now
        # A longer line would wrap, and be left behind.
        words = line()[: max(1, shutil.get_terminal_size().columns - 1)]
        self._out.write("\r" + words.ljust(self._width))
        self._out.flush()
        self._width = len(words)

    def say(self, sentence: str) -> None:
        """A sentence that stays, above the figures."""
        self.clear()
        print(sentence, file=self._out, flush=True)

    def clear(self) -> None:
        """Take the figures away."""
        if self._width:
            self._out.write("\r" + " " * self._width + "\r")
            self._out.flush()
        self._width, self._drawn_s = 0, -REDRAW_S


def figures(stats: Stats, settings: Settings, mirror: bool) -> str:
    """The line of figures."""
    parts = [f"{stats.fps:.1f} fps"]
    parts += [stats.level_name] if stats.level else []
    parts += [
        f"retouch {stats.retouch_p50_ms:.0f} ms",
        f"delay {stats.delay_p50_ms:.0f} ms (p95 {stats.delay_p95_ms:.0f})",
        f"{stats.dropped} dropped",
        f"{stats.faces} face{'s' * (stats.faces != 1)}",
        f"strength {settings.strength:g}" if settings.effect else "effect off",
    ]
    parts += [settings.view] if settings.view != "plain" else []
    parts += ["frozen"] if settings.frozen else []
    parts += ["mirrored"] if mirror else []
    return " | ".join(parts)
