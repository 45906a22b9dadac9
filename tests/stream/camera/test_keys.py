"""Keys from a terminal, which is left as it was found."""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Iterator

import pytest

from stream.camera.keys import Keys, keys_in
from tests.conftest import missing

if sys.platform == "win32":
    missing("Windows has no pseudo-terminals")

import pty
import termios


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("q", ["q"]),
        ("Q ", ["q", "space"]),
        ("\x1b[A\x1b[B\x1bOC\x1b[D+", ["up", "down", "right", "left", "+"]),
        ("\x1b[5~m\x1b[1;5Cs", ["m", "s"]),
        ("\x1b", []),
        ("\r\n\t\x00", []),
        ("é", ["é"]),
    ],
)
def test_keys_are_read_from_what_a_terminal_sends(text: str, keys: list[str]) -> None:
    assert keys_in(text) == keys


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, io.TextIOWrapper]]:
    """A pseudo-terminal: the handle of its far end, and its near end as a stream."""
    far, near = pty.openpty()
    # It is not this process's own terminal, so the system would not tell whose it is.
    monkeypatch.setattr("stream.camera.keys.in_foreground", lambda handle: True)
    with os.fdopen(near, encoding="utf-8") as stream:
        yield far, stream
    os.close(far)


def test_keys_come_at_once_without_echo_and_the_terminal_is_restored(
    terminal: tuple[int, io.TextIOWrapper],
) -> None:
    far, stream = terminal
    before = termios.tcgetattr(far)
    with Keys(stream) as keys:
        assert keys.listening
        assert keys.pressed() == []
        assert not termios.tcgetattr(far)[3] & (termios.ICANON | termios.ECHO)
        assert termios.tcgetattr(far)[3] & termios.ISIG
        os.write(far, b"m+")
        deadline_s = time.monotonic() + 10.0
        found: list[str] = []
        while len(found) < 2 and time.monotonic() < deadline_s:
            found += keys.pressed()
        assert found == ["m", "+"]
    assert termios.tcgetattr(far) == before


def test_an_error_restores_the_terminal_too(terminal: tuple[int, io.TextIOWrapper]) -> None:
    far, stream = terminal
    before = termios.tcgetattr(far)

    def fail() -> None:
        with Keys(stream) as keys:
            keys.pressed()
            assert termios.tcgetattr(far) != before
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert termios.tcgetattr(far) == before


def test_a_terminal_whose_mode_the_shell_changed_is_set_again(
    terminal: tuple[int, io.TextIOWrapper],
) -> None:
    far, stream = terminal
    before = termios.tcgetattr(far)
    with Keys(stream) as keys:
        keys.pressed()
        termios.tcsetattr(far, termios.TCSANOW, before)
        keys.pressed()
        assert not termios.tcgetattr(far)[3] & termios.ICANON


def test_in_the_background_the_terminal_is_left_alone(
    terminal: tuple[int, io.TextIOWrapper], monkeypatch: pytest.MonkeyPatch
) -> None:
    far, stream = terminal
    monkeypatch.setattr("stream.camera.keys.in_foreground", lambda handle: False)
    before = termios.tcgetattr(far)
    with Keys(stream) as keys:
        os.write(far, b"q")
        assert keys.pressed() == []
        assert termios.tcgetattr(far) == before


def test_a_closed_terminal_has_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.camera.keys.in_foreground", lambda handle: True)
    far, near = pty.openpty()
    with os.fdopen(near, encoding="utf-8") as stream, Keys(stream) as keys:
        os.close(far)
        assert keys.pressed() == []
        assert not keys.listening


def test_what_is_no_terminal_has_no_keys() -> None:
    closed = io.StringIO()
    closed.close()
    for stream in (io.StringIO("q"), closed):
        with Keys(stream) as keys:
            assert not keys.listening
            assert keys.pressed() == []
