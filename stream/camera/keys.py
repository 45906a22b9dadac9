"""Single keys from the terminal, and the terminal as it was on every way out."""

from __future__ import annotations

import contextlib
import os
import re
import select
import sys
from types import TracebackType
from typing import Any, Self, TextIO

ARROWS = ("up", "down", "right", "left")
_ESCAPES = dict(zip("ABCD", ARROWS, strict=True))
_KEY = re.compile(r"\x1b[\[O]([A-D])|\x1b\[[0-9;]*[A-Za-z~]|(.)", re.DOTALL)
_WINDOWS_KEYS = {"H": "up", "P": "down", "M": "right", "K": "left"}


def keys_in(text: str) -> list[str]:
    """The keys a terminal sent: letters in lower case, arrows as up, down, left, right; others left out."""
    found = []
    for match in _KEY.finditer(text):
        if match[1]:
            found.append(_ESCAPES[match[1]])
        elif match[2] and match[2].isprintable():
            found.append("space" if match[2] == " " else match[2].lower())
    return found


class Keys:
    """While inside, `pressed` gives the keys since the last time; none where standard input is no terminal.

    Ctrl-C stays a signal. `restore` puts the terminal back and may be called from a signal handler.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._handle: int | None = None
        self._before: list[Any] | None = None
        stream = sys.stdin if stream is None else stream
        # Standard input can be closed, or none at all.
        with contextlib.suppress(AttributeError, ValueError, OSError):
            if stream.isatty():
                self._handle = stream.fileno()

    @property
    def listening(self) -> bool:
        """Whether there is a terminal to read keys from."""
        return self._handle is not None

    def __enter__(self) -> Self:
        if self._handle is not None and sys.platform != "win32":
            import termios

            with contextlib.suppress(termios.error):
                self._before = termios.tcgetattr(self._handle)
        return self

    def _listen(self, handle: int) -> None:
        """Keys at once and unseen. A program in the background would be stopped for touching the terminal."""
        if sys.platform != "win32" and self._before is not None and in_foreground(handle):
            import termios

            with contextlib.suppress(termios.error):
                mode = termios.tcgetattr(handle)
                if mode[3] & (termios.ICANON | termios.ECHO):
                    mode[3] &= ~(termios.ICANON | termios.ECHO)
                    termios.tcsetattr(handle, termios.TCSANOW, mode)

    def pressed(self) -> list[str]:
        """The keys pressed since the last call; never waits."""
        if self._handle is None:
            return []
        if sys.platform == "win32":
            return _pressed_on_windows()
        try:
            # After Ctrl-Z and fg the shell has put the terminal into its own mode.
            self._listen(self._handle)
            if not in_foreground(self._handle) or not select.select([self._handle], [], [], 0.0)[0]:
                return []
            read = os.read(self._handle, 1024)
        except OSError:
            read = b""
        if not read:
            # The terminal was closed.
            self._handle = None
        return keys_in(read.decode("utf-8", "replace"))

    def restore(self) -> None:
        """Put the terminal back as it was."""
        handle, before = self._handle, self._before
        if sys.platform != "win32" and handle is not None and before is not None:
            import termios

            with contextlib.suppress(termios.error):
                if in_foreground(handle):
                    termios.tcsetattr(handle, termios.TCSANOW, before)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.restore()


def in_foreground(handle: int) -> bool:
    """Whether this process may read from its terminal at the moment."""
    if sys.platform == "win32":
        return True
    try:
        return os.tcgetpgrp(handle) == os.getpgrp()
    except OSError:
        return False


def _pressed_on_windows() -> list[str]:
    found: list[str] = []
    if sys.platform == "win32":
        import msvcrt

        while msvcrt.kbhit():
            sign = msvcrt.getwch()
            if sign in ("\x00", "\xe0"):
                found += [key] if (key := _WINDOWS_KEYS.get(msvcrt.getwch())) else []
            else:
                found += keys_in(sign)
    return found
