"""Publishers and viewers come and go, one after another, and nothing is left of them."""

from __future__ import annotations

import asyncio
import gc
import threading
from pathlib import Path

import pytest

from stream.relay.encoder import VideoEncoder
from stream.relay.metrics import resident_bytes
from stream.relay.options import MediaOptions
from stream.relay.publication import Publication
from stream.relay.rooms import Rooms
from stream.relay.sweep import sweep
from stream.relay.viewer import Viewer
from tests.stream.relay.fakes import CLOSINGS, FakeFilter, run, until
from tests.stream.relay.peers import Publisher, Watcher

DESCRIPTORS = Path("/proc/self/fd")
VISITS, WARM_VISITS = 50, 10
MEMORY_GROWTH = 1.05


async def visit(rooms: Rooms) -> None:
    """Somebody comes with sound and settings, is watched, and leaves."""
    publisher, watcher = Publisher("vp8", sound=True, control=True), Watcher(sound=True)
    answer = await publisher.publish(rooms, None)
    await watcher.watch(rooms, answer.stream)
    await until(lambda: bool(watcher.seen))
    await watcher.close()
    assert await rooms.end(answer.session, "publish")
    await publisher.close()


async def visits(rooms: Rooms, count: int) -> None:
    """So many, one after another."""
    for _ in range(count):
        await visit(rooms)
        CLOSINGS.clear()  # they hold on to peers that have closed
    await until(lambda: rooms.snapshot().publishers == rooms.snapshot().viewers == 0)


def made() -> list[object]:
    """What there is of the parts of a session."""
    gc.collect()
    return [one for one in gc.get_objects() if type(one) in (Publication, Viewer, VideoEncoder)]


def standing() -> tuple[int, int, int]:
    """How many tasks, threads and descriptors there are."""
    gc.collect()
    # asyncio's own pool has a bound, but fills it only by and by.
    threads = [one for one in threading.enumerate() if not one.name.startswith("asyncio_")]
    return len(asyncio.all_tasks()), len(threads), len(list(DESCRIPTORS.iterdir()))


def memory() -> int:
    """Bytes in use, without what only waits to be given back."""
    sweep()
    return resident_bytes()


@pytest.mark.skipif(not DESCRIPTORS.is_dir(), reason="descriptors are counted in /proc")
def test_fifty_visits_leave_no_task_thread_descriptor_object_or_memory() -> None:
    others = made()  # of other tests, held by their failures or by a library's caches

    async def main() -> None:
        rooms = Rooms(MediaOptions(loopback=True), FakeFilter)
        await visits(rooms, WARM_VISITS)
        await asyncio.sleep(0.6)
        before, memory_before = standing(), memory()
        await visits(rooms, VISITS - WARM_VISITS)
        # On a busy machine the last session's threads and sockets end a while after it.
        await until(lambda: all(a <= b for a, b in zip(standing(), before, strict=True)), 15.0)
        await until(lambda: len(made()) <= len(others), 15.0)
        for _ in range(3):
            # What the C library keeps for itself varies; what is lost at each visit grows with more of them.
            if memory() > MEMORY_GROWTH * memory_before:
                await visits(rooms, WARM_VISITS)
        assert memory() <= MEMORY_GROWTH * memory_before
        await rooms.close()

    run(main, 150.0)
