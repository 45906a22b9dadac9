"""Standard input and output as the ends of a video: looked at before they are used, and never waited for in
vain."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable
from typing import Any

from stream.errors import SourceError
from stream.output import OutputError

POLL_S = 0.1


class StandardInput:
    """A pipe as av reads it. av drops a Ctrl-C that arrives while it waits for bytes, so the wait is done
    here, and ends as the video's end does once `stopped` becomes true."""

    def __init__(self, handle: int, stopped: Callable[[], bool]) -> None:
        self._handle, self._stopped = handle, stopped

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; none at the end."""
        while not self._stopped():
            if select.select([self._handle], [], [], POLL_S)[0]:
                return os.read(self._handle, size)
        return b""


def standard_input(stopped: Callable[[], bool]) -> Any:
    """What av shall read: the file itself where standard input is one, which can be seeked, else a
    StandardInput."""
    if sys.stdin is None:
        raise SourceError("standard input is closed; send a video into it: ... | vretouch file - OUT")
    if sys.stdin.isatty():
        raise SourceError("standard input is a terminal; send a video into it: ... | vretouch file - OUT")
    if can_seek():
        return sys.stdin.buffer
    return StandardInput(sys.stdin.fileno(), stopped)


def can_seek() -> bool:
    """Whether standard input is a file and no pipe."""
    return sys.stdin is not None and sys.stdin.seekable()


def check_standard_output() -> None:
    """Raise OutputError where no video can be sent."""
    if sys.stdout is None:
        raise OutputError(
            "standard output is closed; send it to a file or another program: vretouch ... | ..."
        )
    if sys.stdout.isatty():
        raise OutputError(
            "standard output is a terminal; send it to a file or another program: vretouch ... | ..."
        )
