"""The pipeline: order, back-pressure, errors of every stage, and an early end."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest

from stream.file import changed_boxes
from stream.frame import Frame
from stream.runner import CancelledError, Finished, Pipeline, Slots
from tests.stream.media import FakeFace

BLANK = np.zeros((2, 2, 3), np.uint8)


def frames(count: int, taken: list[int] | None = None) -> Iterator[Frame]:
    for index in range(count):
        if taken is not None:
            taken.append(index)
        yield Frame(BLANK, index, Fraction(1, 30))


def untouched(frame: Frame) -> Finished:
    return Finished(frame, frame.rgb_u8, ())


def as_it_is(finished: Finished) -> Finished:
    return finished


class Recorder:
    """A sink that remembers, and fails or waits when told to."""

    def __init__(self, fail_at: int = -1, gate: threading.Event | None = None) -> None:
        self.pts: list[int] = []
        self._fail_at, self._gate = fail_at, gate

    def write(self, frame, retouched_rgb_u8, changed) -> None:
        if self._gate is not None:
            assert self._gate.wait(5.0)
        if frame.pts == self._fail_at:
            raise OSError("no room")
        self.pts.append(frame.pts)


def test_all_frames_pass_in_order_though_stages_take_uneven_time():
    sink = Recorder()

    def uneven(frame: Frame) -> Finished:
        time.sleep(0.002 * (frame.pts % 3 == 0))
        return untouched(frame)

    counts = Pipeline(frames(60), uneven, as_it_is, sink).run()
    assert sink.pts == list(range(60))
    assert counts.frames == 60
    assert counts.fps > 0
    assert counts.busy_ns["work"] >= 20 * 2_000_000


def test_a_slow_sink_holds_the_source_back():
    taken: list[int] = []
    gate = threading.Event()
    sink = Recorder(gate=gate)
    pipeline = Pipeline(frames(100, taken), untouched, as_it_is, sink, slots=2)
    runner = threading.Thread(target=pipeline.run)
    runner.start()
    time.sleep(0.15)
    held = len(taken)
    gate.set()
    runner.join(5.0)
    # Two slots of two, and one frame in the hands of each of three stages.
    assert held <= 2 + 2 + 3
    assert sink.pts == list(range(100))


@pytest.mark.parametrize("stage", ["decode", "work", "finish", "encode"])
def test_an_error_of_any_stage_reaches_the_caller_and_ends_the_others(stage):
    taken: list[int] = []

    def failing() -> Iterator[Frame]:
        yield from frames(5, taken)
        raise ValueError("decode")

    def work(frame: Frame) -> Finished:
        if stage == "work" and frame.pts == 5:
            raise ValueError("work")
        return untouched(frame)

    def finish(finished: Finished) -> Finished:
        if stage == "finish" and finished.frame.pts == 5:
            raise ValueError("finish")
        return finished

    source = failing() if stage == "decode" else frames(1000, taken)
    sink = Recorder(fail_at=5 if stage == "encode" else -1)
    before = threading.active_count()
    with pytest.raises(
        OSError if stage == "encode" else ValueError, match="no room" if stage == "encode" else stage
    ):
        Pipeline(source, work, finish, sink).run()
    assert sink.pts == list(range(len(sink.pts)))
    assert len(taken) < 20
    assert threading.active_count() == before


def test_stopping_finishes_what_is_on_its_way_and_no_more():
    sink, stopped = Recorder(), threading.Event()

    def work(frame: Frame) -> Finished:
        if frame.pts == 10:
            stopped.set()
        return untouched(frame)

    counts = Pipeline(frames(100_000), work, as_it_is, sink, slots=2, stopped=stopped.is_set).run()
    assert sink.pts == list(range(counts.frames))
    assert 11 <= counts.frames <= 11 + 5


def test_stopping_does_not_wait_for_a_source_that_says_nothing(monkeypatch):
    monkeypatch.setattr("stream.runner.GRACE_S", 0.2)
    silent, stopped = threading.Event(), threading.Event()

    def source() -> Iterator[Frame]:
        yield from frames(3)
        silent.wait(10.0)

    threading.Timer(0.2, stopped.set).start()
    sink = Recorder()
    began = time.monotonic()
    Pipeline(source(), untouched, as_it_is, sink, stopped=stopped.is_set).run()
    assert time.monotonic() - began < 3.0
    assert sink.pts == [0, 1, 2]
    silent.set()


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own here")
def test_decoding_and_encoding_give_way_to_the_work():
    nice: dict[str, int] = {}

    def look(name: str) -> None:
        nice[name] = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    def source() -> Iterator[Frame]:
        look("decode")
        yield from frames(2)

    def work(frame: Frame) -> Finished:
        look("work")
        return untouched(frame)

    def finish(finished: Finished) -> Finished:
        look("encode")
        return finished

    Pipeline(source(), work, finish, Recorder()).run()
    assert nice["decode"] > nice["work"] < nice["encode"]


def test_progress_is_told_of_every_frame():
    seen: list[int] = []
    Pipeline(
        frames(7), untouched, as_it_is, Recorder(), on_frame=lambda counts: seen.append(counts.frames)
    ).run()
    assert seen == [1, 2, 3, 4, 5, 6, 7]


def test_closed_slots_give_what_they_hold_and_take_nothing():
    slots: Slots[int] = Slots(3)
    slots.put(1)
    slots.put(2)
    slots.close()
    with pytest.raises(CancelledError):
        slots.put(3)
    assert list(slots) == [1, 2]


def test_cancelled_slots_give_nothing():
    slots: Slots[int] = Slots(3)
    slots.put(1)
    slots.cancel()
    with pytest.raises(CancelledError):
        next(iter(slots))


def test_boxes_that_touch_are_joined_so_that_no_pixel_is_changed_twice() -> None:
    def changed(*boxes: tuple[int, int, int, int] | None) -> tuple[tuple[int, int, int, int], ...]:
        return changed_boxes([FakeFace(np.eye(2, 3), np.zeros((1, 1), np.float32), 1.0, b) for b in boxes])

    assert changed() == changed(None) == ()
    assert changed((0, 0, 10, 10), (20, 0, 30, 10)) == ((0, 0, 10, 10), (20, 0, 30, 10))
    assert changed((0, 0, 10, 10), None, (8, 4, 30, 12)) == ((0, 0, 30, 12),)
    assert changed((0, 0, 10, 10), (20, 0, 30, 10), (9, 2, 21, 4)) == ((0, 0, 30, 10),)
