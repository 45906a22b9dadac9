"""What ended sessions leave in memory, and its return.

A connection, its codecs and its pictures refer to each other in rings, which Python's collector looks through
only when there are a quarter more of such objects than before; and what is freed stays with the C library
(malloc_trim(3)).
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import sys

# Threads and sockets of a session end a while after it.
WAIT_S = 2.0


def settle() -> None:
    """Take what stands now for what stays: a sweep then need not look through it, which takes 3 ms, not 70,
    in which no other thread can run."""
    gc.collect()
    gc.freeze()


def sweep() -> None:
    """Collect what nothing refers to any more, and hand free memory back (where the C library is glibc)."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


class Sweeper:
    """Sweeps in a thread, WAIT_S after a session has ended, once for all that end meanwhile."""

    def __init__(self) -> None:
        self._due: asyncio.TimerHandle | None = None

    def soon(self) -> None:
        """A session has ended. Called in the event loop."""
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(WAIT_S, self._now)

    def close(self) -> None:
        """Sweep no more."""
        if self._due is not None:
            self._due.cancel()

    def _now(self) -> None:
        self._due = None
        asyncio.get_running_loop().run_in_executor(None, sweep)
