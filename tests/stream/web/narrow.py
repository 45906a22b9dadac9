"""A way that carries only so much: UDP on this machine, held up and lost as in the modem of a slow line."""

from __future__ import annotations

import math
import selectors
import socket
import threading
import time
from collections import deque
from contextlib import suppress

MOST_QUEUED_S = 0.3


class NarrowWay:
    """Passes datagrams on between whoever sends to `port` and the port `to` of 127.0.0.1.

    kbps: what goes the way back, from `to`; what would wait longer than MOST_QUEUED_S is lost. May be set
    from any thread.
    """

    def __init__(self, to: int) -> None:
        self.kbps = math.inf
        self._front, self._back = (socket.socket(type=socket.SOCK_DGRAM) for _ in range(2))
        self._front.bind(("127.0.0.1", 0))
        self._back.connect(("127.0.0.1", to))
        self.port: int = self._front.getsockname()[1]
        self._peer: tuple[str, int] | None = None
        self._queue: deque[tuple[float, bytes]] = deque()
        self._free_s = 0.0
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="narrow-way")
        self._thread.start()

    def close(self) -> None:
        """End it, and wait for that."""
        self._closed = True
        self._thread.join()
        for one in (self._front, self._back):
            one.close()

    def _run(self) -> None:
        with selectors.DefaultSelector() as ready:
            for one in (self._front, self._back):
                ready.register(one, selectors.EVENT_READ)
            while not self._closed:
                for key, _ in ready.select(0.002 if self._queue else 0.1):
                    (self._there if key.fileobj is self._front else self._back_again)()
                while self._queue and self._queue[0][0] <= time.monotonic() and self._peer is not None:
                    self._front.sendto(self._queue.popleft()[1], self._peer)

    def _there(self) -> None:
        sent, self._peer = self._front.recvfrom(2048)
        with suppress(ConnectionError):  # nobody listens there any more
            self._back.send(sent)

    def _back_again(self) -> None:
        with suppress(ConnectionError):
            self._hold_up(self._back.recv(2048))

    def _hold_up(self, sent: bytes) -> None:
        now_s = time.monotonic()
        due_s = max(now_s, self._free_s) + len(sent) * 8e-3 / self.kbps
        if due_s - now_s < MOST_QUEUED_S:
            self._free_s = due_s
            self._queue.append((due_s, sent))
