"""Sweeps: rings are collected after a session has ended, once for many, and not looked for before."""

from __future__ import annotations

import asyncio
import gc
import platform
import time
import weakref
from collections.abc import Iterator

import numpy as np
import pytest

from stream.relay import sweep
from stream.relay.metrics import resident_bytes
from stream.relay.options import MediaOptions
from stream.relay.rooms import Rooms
from stream.relay.sweep import Sweeper
from tests.stream.relay.fakes import FakeFilter, run, until
from tests.stream.relay.peers import Publisher


class Ring:
    """Refers to itself, so that nothing but the collector ends it."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def no_other_collection() -> Iterator[None]:
    """Python's own collector keeps out of it."""
    gc.disable()
    yield
    gc.enable()


def test_a_sweep_ends_rings() -> None:
    ring = weakref.ref(Ring())
    assert ring() is not None
    sweep.sweep()
    assert ring() is None


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries cannot be asked")
def test_a_sweep_hands_free_memory_back() -> None:
    small = [np.ones(4096, np.uint8) for _ in range(50_000)]  # too small to be mapped one by one
    last = np.ones(4096, np.uint8)  # what keeps the heap's end where it is
    full = resident_bytes()
    del small
    sweep.sweep()
    assert full - resident_bytes() > 0.7 * 50_000 * 4096
    assert last.all()


def test_sessions_that_end_are_swept_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "WAIT_S", 0.1)
    swept: list[float] = []
    monkeypatch.setattr(sweep, "sweep", lambda: swept.append(time.monotonic()))

    async def main() -> None:
        sweeper, began = Sweeper(), time.monotonic()
        for _ in range(5):
            sweeper.soon()
        await until(lambda: bool(swept))
        await asyncio.sleep(0.3)
        assert len(swept) == 1
        assert swept[0] - began >= 0.1
        sweeper.soon()
        await until(lambda: len(swept) == 2)
        sweeper.soon()
        sweeper.close()
        await asyncio.sleep(0.3)
        assert len(swept) == 2

    run(main)


def test_the_end_of_a_session_is_followed_by_a_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "WAIT_S", 0.05)
    ring = weakref.ref(Ring())

    async def main() -> None:
        rooms = Rooms(MediaOptions(loopback=True), FakeFilter)
        publisher = Publisher("vp8")
        answer = await publisher.publish(rooms, None)
        await asyncio.sleep(0.3)
        assert ring() is not None
        assert await rooms.end(answer.session, "publish")
        await publisher.close()
        await until(lambda: ring() is None)
        await rooms.close()

    run(main)


def test_what_has_settled_is_not_looked_through() -> None:
    stays: list[list[int]] = [[] for _ in range(1000)]
    sweep.settle()
    try:
        assert gc.get_freeze_count() > len(stays)
        assert len(gc.get_objects()) < len(stays)
    finally:
        gc.unfreeze()
