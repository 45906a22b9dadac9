"""The progress line."""

from __future__ import annotations

import io

from stream.progress import Progress, clock, progress_line


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_known_length_gives_percent_and_time_left():
    assert progress_line("", 50, 200, 2.0) == "[#####               ]  25 %  25.0 frames/s  0:06 left"


def test_an_unknown_length_gives_the_count():
    assert progress_line("clip", 50, 0, 2.0) == "clip  50 frames  25.0 frames/s"


def test_more_frames_than_expected_is_no_more_than_all():
    assert "100 %" in progress_line("", 210, 200, 2.0)


def test_clock():
    assert [clock(s) for s in (0, 59.6, 61, 3661)] == ["0:00", "1:00", "1:01", "1:01:01"]


def test_a_terminal_sees_the_line_and_it_can_be_cleared():
    out = Terminal()
    progress = Progress(out, 10)
    progress.update(5)
    assert "50 %" in out.getvalue()
    progress.clear()
    assert out.getvalue().endswith("\r")


def test_files_and_quiet_runs_see_nothing():
    for out, quiet in ((io.StringIO(), False), (Terminal(), True)):
        progress = Progress(out, 10, quiet=quiet)
        progress.update(5)
        progress.clear()
        assert out.getvalue() == ""
