"""Steps that no frame waits for: they run beside, one at a time, and are taken up when they have ended."""

from __future__ import annotations

import threading

import numpy as np
import numpy.typing as npt
import pytest

from stream.aside import Aside
from stream.live.budget import LADDER, Governor
from stream.live.filter import Filtered, LiveFilter
from stream.results import Located
from stream.retoucher import Retoucher
from tests.stream.fakes import FakeEngine, FakeFinder, FakeState, face_at, noise_frame
from tests.stream.live.test_filter import Arrived

FRAME = noise_frame(240, 320)
PATIENCE_S = 10.0


class Held(FakeEngine):
    """Steps only when it is let go: `begun` is released at the start of each, `go` waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go = threading.Semaphore(0), threading.Semaphore(0)

    def step(
        self, face_rgb_u8: npt.NDArray[np.uint8], state: FakeState
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        self.begun.release()
        assert self.go.acquire(timeout=PATIENCE_S)
        return super().step(face_rgb_u8, state)


class Stream:
    """A Retoucher on a still face, frame after frame."""

    def __init__(self, engine: FakeEngine) -> None:
        self.retoucher = Retoucher("live", engine, finder=FakeFinder(face_at(160.0, 120.0, 0.4)))
        self.time_s = 0.0

    def located(self) -> Located:
        self.time_s += 1 / 30
        return self.retoucher.locate(FRAME, self.time_s)

    def frame(self, *, wait: bool) -> npt.NDArray[np.uint8]:
        return self.retoucher.composite(FRAME, self.retoucher.step(self.located(), wait=wait))


def ended(stream: Stream) -> None:
    """Wait for the step that is under way."""
    work = stream.retoucher._aside._work
    assert work is not None
    work.exception(PATIENCE_S)


def test_frames_go_on_while_the_network_is_at_an_earlier_one() -> None:
    engine = Held()
    stream = Stream(engine)
    with stream.retoucher as retoucher:
        before = [stream.frame(wait=False) for _ in range(5)]
        assert engine.begun.acquire(timeout=PATIENCE_S)
        assert all((frame == FRAME).all() for frame in before)
        assert retoucher.stepping
        assert not engine.begun.acquire(blocking=False)
        engine.go.release(2)
        ended(stream)
        assert not retoucher.stepping
        after = stream.frame(wait=False)
        assert (after != FRAME).any()
        assert retoucher.last.stepped == 1
        assert retoucher.last.step_ms > 0.0


def test_a_frame_that_waits_comes_after_the_step_under_way() -> None:
    engine = Held()
    stream = Stream(engine)
    with stream.retoucher as retoucher:
        stream.frame(wait=False)
        assert engine.begun.acquire(timeout=PATIENCE_S)
        engine.go.release(2)
        stream.frame(wait=True)
        assert [memory.state.steps for memory in retoucher._memories.values()] == [2]


def test_an_error_of_a_step_beside_is_raised_by_the_next_frame() -> None:
    class Broken(FakeEngine):
        def step(
            self, face_rgb_u8: npt.NDArray[np.uint8], state: FakeState
        ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
            raise RuntimeError("out of order")

    stream = Stream(Broken())
    with stream.retoucher:
        stream.frame(wait=False)
        ended(stream)
        with pytest.raises(RuntimeError, match="out of order"):
            stream.frame(wait=False)


def test_closing_and_a_new_beginning_wait_for_the_step_under_way() -> None:
    engine = Held()
    stream = Stream(engine)
    for end in (stream.retoucher.reset, stream.retoucher.close):
        stream.frame(wait=False)
        assert engine.begun.acquire(timeout=PATIENCE_S)
        thread = threading.Thread(target=end)
        thread.start()
        assert thread.is_alive()
        engine.go.release()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
        assert not stream.retoucher.stepping
    assert all(not thread.name.startswith("vretouch-aside") for thread in threading.enumerate())


def test_work_begins_only_where_the_last_result_was_taken() -> None:
    aside: Aside[int] = Aside("counting")
    assert aside.collect(wait=True) is None
    aside.begin(lambda: 7)
    assert not aside.free
    assert aside.collect(wait=True) == 7
    assert aside.free
    assert aside.collect(wait=True) is None
    aside.close()


def test_on_a_level_that_spares_the_network_no_frame_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    spared = next(level for level, effort in enumerate(LADDER) if effort.step_every > 1)

    class Settled(Governor):
        def __init__(self) -> None:
            super().__init__()
            self.level = spared

        def observe(self, cost: object, interval_s: float) -> None:
            pass

    monkeypatch.setattr("stream.live.filter.Governor", Settled)
    engine = Held()
    engine.go.release()  # the warm-up's
    seen: list[Filtered[Arrived]] = []
    came = threading.Semaphore(0)

    def on_frame(filtered: Filtered[Arrived]) -> None:
        seen.append(filtered)
        came.release()

    finder = FakeFinder(face_at(160.0, 120.0, 0.4))
    live: LiveFilter[Arrived] = LiveFilter(lambda: Retoucher("live", engine, finder=finder), on_frame)
    try:
        for pts in range(8):
            live.submit(Arrived(FRAME, pts))
            assert came.acquire(timeout=PATIENCE_S)
        assert [filtered.frame.pts for filtered in seen] == list(range(8))
        assert all((filtered.rgb_u8 == FRAME).all() for filtered in seen)
    finally:
        engine.go.release(10)
        live.close()


def test_warming_up_starts_the_thread_so_that_no_frame_has_to() -> None:
    before = set(threading.enumerate())
    with Stream(FakeEngine()).retoucher as retoucher:
        retoucher.warm_up()
        assert retoucher._aside.free
        started = [thread.name for thread in set(threading.enumerate()) - before]
    assert started == ["vretouch-aside_0"]
    assert not set(threading.enumerate()) - before
