"""The line of figures and the sentences above it."""

from __future__ import annotations

import io
import os
import shutil
from dataclasses import replace

import pytest

from stream.camera.status import REDRAW_S, Status, figures
from stream.live.settings import Settings
from stream.live.stats import Stats


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_line_is_written_over_and_not_too_often() -> None:
    out, now = Terminal(), [0.0]
    status = Status(out, clock=lambda: now[0])
    status.show(lambda: "a long line")
    status.show(lambda: "too soon")
    now[0] += REDRAW_S
    status.show(lambda: "short")
    assert out.getvalue() == "\ra long line\rshort      "


def test_a_sentence_stands_alone_and_the_line_comes_back_at_once() -> None:
    out = Terminal()
    status = Status(out, clock=lambda: 0.0)
    status.show(lambda: "figures")
    status.say("a sentence")
    status.show(lambda: "figures")
    assert out.getvalue() == "\rfigures\r       \ra sentence\n\rfigures"


def test_elsewhere_and_when_quiet_there_are_only_sentences() -> None:
    for out, quiet in ((io.StringIO(), False), (Terminal(), True)):
        status = Status(out, quiet=quiet)
        status.show(lambda: pytest.fail("nobody sees it"))
        status.say("a sentence")
        status.clear()
        assert out.getvalue() == "a sentence\n"


def test_a_line_never_wraps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "get_terminal_size", lambda *_: os.terminal_size((20, 24)))
    out = Terminal()
    Status(out).show(lambda: "x" * 100)
    assert len(out.getvalue()) == len("\r") + 19


def test_the_figures() -> None:
    stats = Stats(fps=29.96, retouch_p50_ms=12.4, delay_p50_ms=24.0, delay_p95_ms=27.6, dropped=3, faces=1)
    plain = "retouch 12 ms | delay 24 ms (p95 28) | 3 dropped | 1 face"
    assert figures(stats, Settings(), False) == f"30.0 fps | {plain} | strength 1"
    slow = replace(stats, level=4, level_name="pass-through")
    shown = figures(slow, Settings(effect=False, view="map", frozen=True), True)
    assert shown == f"30.0 fps | pass-through | {plain} | effect off | map | frozen | mirrored"
