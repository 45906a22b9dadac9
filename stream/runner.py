"""The pipeline: decode -> work -> finish and encode, each in its own thread, with bounded slots between.

Order is kept and nothing is dropped: a full slot holds back the stage before it, so memory does not grow. An
error in any stage stops all of them and is raised in the caller.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from stream.frame import Box, Frame, RgbImage

T = TypeVar("T")
W = TypeVar("W")
SLOTS = 3
POLL_S = 0.1
GRACE_S = 2.0
GIVEN_WAY = 10


class CancelledError(Exception):
    """Raised in a stage whose neighbour has gone: no one takes what it makes."""


class Slots(Generic[T]):
    """A short queue between two threads. `put` waits while it is full, iteration while it is empty.

    `close` ends it after what is in it, and so does `stopped` when it becomes true, which a signal handler
    can bring about without a lock; `cancel` ends it at once, for both sides.
    """

    def __init__(self, size: int, stopped: Callable[[], bool] = lambda: False) -> None:
        self._size = size
        self._stopped = stopped
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._cancelled = False

    def put(self, item: T) -> None:
        """Add an item; raises CancelledError once the slots are closed or cancelled."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._items) < self._size or self._closed)
            if self._closed:
                raise CancelledError
            self._items.append(item)
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        while True:
            with self._changed:
                while not (self._items or self._closed or self._stopped()):
                    self._changed.wait(POLL_S)
                if self._cancelled:
                    raise CancelledError
                if not self._items:
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item

    def close(self) -> None:
        """Nothing more will be put."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def cancel(self) -> None:
        """Forget what is inside and wake both sides with CancelledError."""
        with self._changed:
            self._closed = self._cancelled = True
            self._items.clear()
            self._changed.notify_all()


@dataclass(frozen=True)
class Finished:
    """A frame that was worked on. rgb_u8: uint8 [H, W, 3], upright. changed: boxes outside which it is
    frame.rgb_u8."""

    frame: Frame
    rgb_u8: RgbImage
    changed: tuple[Box, ...]


class FrameSink(Protocol):
    """What the pipeline needs of a sink."""

    def write(self, frame: Frame, retouched_rgb_u8: RgbImage, changed: tuple[Box, ...]) -> None:
        """Encode one frame."""
        ...


@dataclass
class Counts:
    """What went through: frames, frames with a face, busy time of each stage in ns, wall time in ns."""

    frames: int = 0
    with_face: int = 0
    busy_ns: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("decode", "work", "encode"), 0))
    wall_ns: int = 0

    def mean_ms(self, stage: str) -> float:
        """Mean busy time of a stage, ms a frame."""
        return self.busy_ns[stage] / 1e6 / max(1, self.frames)

    @property
    def fps(self) -> float:
        """Frames per second of wall time."""
        return self.frames / max(self.wall_ns / 1e9, 1e-9)


class Pipeline(Generic[T, W]):
    """One run of frames through `work` and `finish` into a sink.

    frames: of whatever kind `work` takes. finish: runs in the encoder's thread. stopped: asked often; once
    true, no more frames are taken, those on their way are finished, and the run ends.
    """

    def __init__(
        self,
        frames: Iterable[T],
        work: Callable[[T], W],
        finish: Callable[[W], Finished],
        sink: FrameSink,
        *,
        slots: int = SLOTS,
        on_frame: Callable[[Counts], None] = lambda _: None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self.counts = Counts()
        self._stopped = stopped
        self._frames, self._work, self._finish = frames, work, finish
        self._sink, self._on_frame = sink, on_frame
        self._decoded: Slots[T] = Slots(slots, stopped)
        self._worked: Slots[W] = Slots(slots)
        self._errors: list[BaseException] = []

    def run(self) -> Counts:
        """Run to the end, or until stopped. Raises the first error of any stage."""
        began = time.perf_counter_ns()
        encoder = threading.Thread(target=self._guarded, args=(self._encode,), name="encode", daemon=True)
        decoder = threading.Thread(target=self._guarded, args=(self._decode,), name="decode", daemon=True)
        encoder.start()
        decoder.start()
        self._guarded(self._run_work)
        encoder.join()
        # A decoder held by a pipe that says nothing more is left behind.
        decoder.join(GRACE_S if self._stopped() or self._errors else None)
        self.counts.wall_ns = time.perf_counter_ns() - began
        if self._errors:
            raise self._errors[0]
        return self.counts

    def _guarded(self, stage: Callable[[], None]) -> None:
        """Run a stage; its error is kept and ends the others."""
        try:
            stage()
        except CancelledError:
            return
        except BaseException as error:
            self._errors.append(error)
            self._decoded.cancel()
            self._worked.cancel()

    def _decode(self) -> None:
        _give_way()
        frames = iter(self._frames)
        while not self._stopped():
            began = time.perf_counter_ns()
            frame = next(frames, None)
            self.counts.busy_ns["decode"] += time.perf_counter_ns() - began
            if frame is None:
                break
            self._decoded.put(frame)
        self._decoded.close()

    def _run_work(self) -> None:
        for frame in self._decoded:
            began = time.perf_counter_ns()
            worked = self._work(frame)
            self.counts.busy_ns["work"] += time.perf_counter_ns() - began
            self._worked.put(worked)
        self._decoded.close()
        self._worked.close()

    def _encode(self) -> None:
        _give_way()
        for worked in self._worked:
            began = time.perf_counter_ns()
            finished = self._finish(worked)
            self._sink.write(finished.frame, finished.rgb_u8, finished.changed)
            self.counts.busy_ns["encode"] += time.perf_counter_ns() - began
            self.counts.frames += 1
            self._on_frame(self.counts)


def _give_way() -> None:
    """Lower this thread's priority, where threads have one (Linux): `work` takes longest, so that every
    frame waits for it while other threads hold its core."""
    if sys.platform == "linux":
        me = threading.get_native_id()
        # A sandbox may forbid it, and the run is as right without.
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, me, os.getpriority(os.PRIO_PROCESS, me) + GIVEN_WAY)
