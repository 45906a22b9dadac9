"""A camera being opened: until it is there and gives a picture, which a camera that hangs never does."""

from __future__ import annotations

import threading
from collections.abc import Callable

from stream.camera.reader import Source
from stream.live.filter import LiveFrame
from stream.live.slot import Newest

Opened = tuple[Source, LiveFrame]


class Opening:
    """Opens a camera and reads its first frame in a thread, so that who waits for them may leave.

    open_source: opens it. The camera belongs to whom `wait` gave it; one that nobody took is closed by the
    thread, whenever that is.
    """

    def __init__(self, open_source: Callable[[], Source]) -> None:
        self._open_source = open_source
        self._came: Newest[Opened | BaseException] = Newest()
        self._taken = False
        self._ended = threading.Event()
        threading.Thread(target=self._run, name="camera opening", daemon=True).start()

    def wait(self, timeout_s: float) -> Opened | None:
        """The camera and its first frame; None where they are not there within timeout_s seconds. Raises what
        opening or reading it raised."""
        came = self._came.take(timeout_s)
        if isinstance(came, BaseException):
            raise came
        self._taken = came is not None
        return came

    def close(self) -> None:
        """Wait no more, or have no more use of the camera."""
        self._ended.set()

    def _run(self) -> None:
        try:
            source = self._open_source()
        except BaseException as error:
            self._came.put(error)
            return
        try:
            self._came.put((source, source.read()))
        except BaseException as error:
            source.close()
            self._came.put(error)
            return
        # What Windows knows of a camera (COM) goes with the thread that opened it.
        self._ended.wait()
        if not self._taken:
            source.close()
