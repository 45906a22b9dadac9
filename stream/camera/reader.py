"""The thread that waits for a camera's frames, and can be left behind: a read of a camera that hangs, or that
some systems have unplugged, never returns."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from stream.live.filter import LiveFrame


class Source(Protocol):
    """A camera that is open. read: the next frame, waited for; CameraError once there are no more."""

    def read(self) -> LiveFrame: ...
    def close(self) -> None: ...


class Reader:
    """Hands each frame of an open camera to `take`, until it ends or is left.

    source: closed by the thread when it ends. ended: called then, in it. error: what ended it, None if it was
    left.
    """

    def __init__(self, source: Source, take: Callable[[LiveFrame], None], ended: Callable[[], None]) -> None:
        self.error: BaseException | None = None
        self._source, self._take, self._ended = source, take, ended
        self._left = self._done = False
        self._thread = threading.Thread(target=self._run, name="camera reader", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the camera is still held."""
        return not self._done

    def leave(self, wait_s: float) -> None:
        """Take no more frames. The camera is given back after the read that is under way, which is waited
        for so long."""
        self._left = True
        self._thread.join(wait_s)

    def _run(self) -> None:
        try:
            while not self._left:
                frame = self._source.read()
                if not self._left:
                    self._take(frame)
        except BaseException as error:
            self.error = error
        try:
            self._source.close()
        except BaseException as error:
            self.error = self.error or error
        self._done = True
        self._ended()
