"""Batches made ahead of time by threads, in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Ask = TypeVar("Ask")
Made = TypeVar("Made")


def made_ahead(
    make: Callable[[Ask], Made], asked: Iterable[Ask], threads: int, ahead: int = 1
) -> Iterator[Made]:
    """`make` of each of `asked`, in their order, `threads` of them at work on the next `ahead`, or on one
    each if those are more. What `make` raises is raised where its result would come."""
    waiting: deque[Future[Made]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for ask in asked:
            waiting.append(pool.submit(make, ask))
            if len(waiting) > max(threads, ahead):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
