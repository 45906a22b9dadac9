"""The real filter with its thread, its governor and its Retoucher, on a simulated clock: their work takes as
long as a test says, and frames of the camera arrive meanwhile. Nothing depends on how fast the machine is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from types import SimpleNamespace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pytest

from stream.aside import Aside
from stream.face import Detection, Roi
from stream.live.filter import Filtered, LiveFilter
from stream.retoucher import Retoucher
from tests.stream.fakes import FakeEngine, FakeFinder, FakeState

RATE = 30
INTERVAL_S = 1.0 / RATE
INTERVAL_MS = 1e3 / RATE
LIMIT_S = 20.0
"""Real seconds after which a test has hung."""


@dataclass(frozen=True)
class Load:
    """What each part of the work takes, in ms: the face mesh and the network on one face, and the rest of a
    frame's (its conversion to RGB stands for all of it)."""

    find: float = 4.0
    step: float = 16.0
    rest: float = 3.0


NOTHING = Load(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Done:
    """A frame that came out. at_s: when. delay_ms: since it arrived. looks, steps: of the face mesh, and of
    the network that had begun, in all until then."""

    at_s: float
    delay_ms: float
    looks: int
    steps: int
    out: Filtered[Any]


class Frame:
    """A frame of the camera. Its conversion takes time, `picture` is there at once."""

    time_base = Fraction(1, 10**9)

    def __init__(self, stream: Simulated, picture: npt.NDArray[np.uint8], arrival_ns: int) -> None:
        self._stream, self.picture = stream, picture
        self.pts = self.arrival_ns = arrival_ns

    @property
    def rgb_u8(self) -> npt.NDArray[np.uint8]:
        self._stream.begun += 1
        self._stream.work(self._stream.load.rest)
        return self.picture


class Simulated:
    """A camera of RATE frames a second, and a filter.

    film: the picture that the camera takes at a time in seconds. load: may be changed at any time. seen: all
    that came out. most_waiting: how many frames the slot held at most. looked_at: of each step of the network
    its face's state and picture.
    """

    def __init__(
        self,
        patch: pytest.MonkeyPatch,
        film: Callable[[float], npt.NDArray[np.uint8]],
        *faces: npt.NDArray[np.float32],
        max_faces: int = 1,
        finds: Callable[[npt.NDArray[np.uint8]], list[npt.NDArray[np.float32]]] | None = None,
    ) -> None:
        self._film, self.load, self.seen = film, NOTHING, list[Done]()
        self.submitted = self.begun = self.most_waiting = 0
        self.engine, self.finder = SlowEngine(self), SlowFinder(self, finds or (lambda _: list(faces)))
        self._now_ns = self._next_ns = self._end_ns = 10**9
        self._beside_ns: int | None = None
        self._changed = threading.Condition()
        clock = SimpleNamespace(
            perf_counter_ns=lambda: self._now_ns,
            monotonic_ns=lambda: self._now_ns,
            monotonic=lambda: self.now_s,
        )
        for module in ("stream.live.filter", "stream.live.stats", "stream.retoucher"):
            patch.setattr(f"{module}.time", clock)
        self.retoucher = Retoucher("live", self.engine, max_faces=max_faces, finder=self.finder)
        self.retoucher._aside = Beside(self)
        self.filter: LiveFilter[Frame] = LiveFilter(lambda: self.retoucher, self._on_frame, fps=RATE)
        assert self.filter.wait_ready(LIMIT_S)
        self.engine.looked_at.clear()
        self.finder.looks = 0
        self.load = Load()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end_beside()
        self.filter.close()

    @property
    def now_s(self) -> float:
        """Simulated time."""
        return self._now_ns / 1e9

    def run(self, seconds: float) -> list[Done]:
        """Let the camera send frames for so long; what came of them."""
        first, self._end_ns = len(self.seen), self._now_ns + round(seconds * 1e9)
        self._next_ns = max(self._next_ns, self._now_ns)
        while self._next_ns < self._end_ns:
            self._pass_to(self._next_ns - 1)
            self._now_ns = self._next_ns
            self._arrive()
            self._wait_idle()
        return self.seen[first:]

    def work(self, ms: float) -> None:
        """What a thread does takes so long: in the network's own thread time is waited for, in any other it
        passes by that."""
        if not threading.current_thread().name.startswith(Beside.NAME):
            self._pass_to(self._now_ns + round(ms * 1e6))
            return
        with self._changed:
            self._beside_ns = self._now_ns + round(ms * 1e6)
            assert self._changed.wait_for(lambda: self._beside_ns is None, LIMIT_S)

    def end_beside(self) -> None:
        """Let time pass until the network's own thread has nothing to do."""
        self._settle()
        while self._beside_ns is not None:
            self._pass_to(self._beside_ns)

    def _pass_to(self, then_ns: int) -> None:
        """Time goes on: frames arrive, and steps beside them end, when that is due."""
        self._settle()
        while (event := self._next_event()) is not None and event[0] <= then_ns:
            due_ns, happen = event
            self._now_ns = max(self._now_ns, due_ns)
            happen()
        self._now_ns = max(self._now_ns, then_ns)

    def _next_event(self) -> tuple[int, Callable[[], None]] | None:
        events = [] if self._beside_ns is None else [(self._beside_ns, self._let_go)]
        if self._next_ns < self._end_ns:
            events.append((self._next_ns, self._arrive))
        return min(events, default=None, key=lambda event: event[0])

    def _let_go(self) -> None:
        with self._changed:
            self._beside_ns = None
            self._changed.notify_all()
        self._settle()

    def _settle(self) -> None:
        """Wait until the network's own thread has said until when its step lasts, or is done."""
        end_s = time.monotonic() + LIMIT_S
        while self.retoucher.stepping and self._beside_ns is None:
            assert time.monotonic() < end_s
            time.sleep(0.0002)

    def _arrive(self) -> None:
        frame = Frame(self, self._film(self.now_s), self._now_ns)
        self.submitted += 1
        self._next_ns += round(1e9 / RATE)
        self.filter.submit(frame)
        waiting = self.submitted - self.filter.stats().dropped - self.begun
        self.most_waiting = max(self.most_waiting, waiting)

    def _on_frame(self, out: Filtered[Frame]) -> None:
        self._settle()
        delay_ms = (self._now_ns - out.frame.arrival_ns) / 1e6
        looks, steps = self.finder.looks, len(self.engine.looked_at)
        with self._changed:
            self.seen.append(Done(self.now_s, delay_ms, looks, steps, out))
            self._changed.notify_all()

    def _wait_idle(self) -> None:
        """Wait until every frame has come out or was dropped. More may have arrived by then."""

        def idle() -> bool:
            done = len(self.seen) + self.filter.stats().dropped == self.submitted
            return done or self.filter.error is not None

        with self._changed:
            assert self._changed.wait_for(idle, LIMIT_S)
        if self.filter.error is not None:
            raise self.filter.error


class Beside(Aside[Any]):
    """The network's own thread; while anyone waits for it time passes."""

    NAME = "beside"

    def __init__(self, stream: Simulated) -> None:
        super().__init__(self.NAME)
        self._stream = stream

    def collect(self, *, wait: bool) -> Any:
        if wait:
            self._stream.end_beside()
        return super().collect(wait=wait)


class SlowEngine(FakeEngine):
    """Takes its time."""

    def __init__(self, stream: Simulated) -> None:
        super().__init__()
        self._stream = stream
        self.looked_at: list[tuple[FakeState, npt.NDArray[np.uint8]]] = []

    def step(self, face_rgb_u8: npt.NDArray[np.uint8], state: FakeState) -> Any:
        self.looked_at.append((state, face_rgb_u8))
        self._stream.work(self._stream.load.step)
        return super().step(face_rgb_u8, state)


class SlowFinder(FakeFinder):
    """Takes its time for each look of the mesh. finds: the faces in a picture."""

    def __init__(
        self,
        stream: Simulated,
        finds: Callable[[npt.NDArray[np.uint8]], list[npt.NDArray[np.float32]]],
    ) -> None:
        super().__init__()
        self._stream, self._finds, self.looks = stream, finds, 0

    def detect(self, frame_rgb_u8: npt.NDArray[np.uint8]) -> list[Detection]:
        self.faces = self._finds(frame_rgb_u8)
        return super().detect(frame_rgb_u8)

    def landmarks_px(self, frame_rgb_u8: npt.NDArray[np.uint8], roi: Roi) -> npt.NDArray[np.float32] | None:
        self.looks += 1
        self._stream.work(self._stream.load.find)
        self.faces = self._finds(frame_rgb_u8)
        return super().landmarks_px(frame_rgb_u8, roi)
