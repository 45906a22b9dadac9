"""Work beside the thread that asks for it: one piece at a time, its result or its error taken up later."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class Aside(Generic[T]):
    """A thread of its own, started with the first piece of work. One thread at a time may use it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._pool: ThreadPoolExecutor | None = None
        self._work: Future[T] | None = None

    @property
    def busy(self) -> bool:
        """Whether work is under way."""
        return self._work is not None and not self._work.done()

    @property
    def free(self) -> bool:
        """Whether work may begin: none is under way, and the result of the last was collected."""
        return self._work is None

    def begin(self, work: Callable[[], T]) -> None:
        """Start it; only where free."""
        assert self._work is None
        self._pool = self._pool or ThreadPoolExecutor(1, self._name)
        self._work = self._pool.submit(work)

    def collect(self, *, wait: bool) -> T | None:
        """What the work gave, once; None if there is none, or, unless waited for, none that has ended. Raises
        what the work raised."""
        work = self._work
        if work is None or not (wait or work.done()):
            return None
        self._work = None
        return work.result()

    def close(self) -> None:
        """Wait for what is under way, forget it, and end the thread."""
        self._work = None
        if self._pool is not None:
            self._pool.shutdown(wait=True)
            self._pool = None
