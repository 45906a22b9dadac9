"""A stand-in for a GPU: arrays of this machine's memory, and the kernels' own sources on its CPU.

What is set going is done when it is waited for, and an array that was dropped is written over before each
piece of work: so what lets go of an array too early gives a wrong picture, as it may on a GPU.
"""

from __future__ import annotations

import ctypes
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from stream.engine import Buffers
from stream.kernels.launch import Launch
from tests.stream.fakes import FakeEngine
from tests.stream.kernels.on_cpu import run_on_cpu

SPOILT = 0x55


class HostArray:
    """An array, found by its address. pinned: what it is filled from. dropped: where the memory goes, so that
    it stays readable."""

    def __init__(
        self, values: np.ndarray, dropped: list[np.ndarray], pinned: np.ndarray | None = None
    ) -> None:
        self.values, self.address = values, int(values.ctypes.data)
        self._memory = [values] if pinned is None else [values, pinned]
        self._dropped = dropped

    def __del__(self) -> None:
        self._dropped += self._memory


class HostBoard:
    """See stream.kernels.board.Board. at_once: nothing is put off, for an engine that steps at once. log:
    what was set going, in order."""

    stream = 7

    def __init__(self, *, at_once: bool = False) -> None:
        self.log: list[str] = []
        self._at_once = at_once
        self._work: deque[Callable[[], object]] = deque()
        self._dropped: list[np.ndarray] = []
        self._turn = threading.RLock()

    def begin(self, name: str, work: Callable[[], object]) -> None:
        """Set something going."""
        with self._turn:
            self.log.append(name)
            self._work.append(work)
            if self._at_once:
                self._do_next()

    def _do_next(self) -> None:
        for array in self._dropped:
            array.reshape(-1).view(np.uint8).fill(SPOILT)
        self._work.popleft()()

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> HostArray:
        return HostArray(np.zeros(shape, dtype), self._dropped)

    def upload(self, rows: np.ndarray, pitch: int) -> HostArray:
        pinned, there = np.zeros((2, len(rows), pitch), np.uint8)
        pinned[:, : rows.shape[1]] = rows
        self.begin("upload", partial(np.copyto, there, pinned))
        return HostArray(there, self._dropped, pinned)

    def download(self, array: HostArray) -> Callable[[], np.ndarray]:
        back, values = [], array.values
        self.begin("download", lambda: back.append(values.copy()))

        def finish() -> np.ndarray:
            self._do_until(back)
            return back[0]

        return finish

    def reached(self) -> Callable[[], None]:
        done: list[bool] = []
        self.begin("reached", lambda: done.append(True))
        return lambda: self._do_until(done)

    def _do_until(self, done: list[Any]) -> None:
        while not done:
            with self._turn:
                self._do_next()

    def copy(self, to: int, to_pitch: int, source: int, width: int, rows: int) -> None:
        def work() -> None:
            for row in range(rows):
                ctypes.memmove(to + row * to_pitch, source + row * width, width)

        self.begin("copy", work)

    def run(self, launch: Launch) -> None:
        self.begin(launch.variant.kernel, partial(run_on_cpu, launch))


class FakeDeviceState:
    """The fake engine's state, with the buffers of a GPU."""

    def __init__(self, state: Any, board: HostBoard) -> None:
        self.state = state
        self.face = board.zeros((512, 512, 3), np.uint8)
        self.residual = board.zeros((3, 512, 512), np.float16)
        self.kept = board.zeros((2, 128, 128), np.float16)


class FakeDeviceEngine(FakeEngine):
    """The fake engine between buffers: what it adds hangs on the face it is given, and it sees a mole."""

    def __init__(self, board: HostBoard | None = None) -> None:
        super().__init__()
        self.board = board

    def new_state(self) -> FakeDeviceState:
        return FakeDeviceState(super().new_state(), self.board or HostBoard())

    def step(self, face_rgb_u8: np.ndarray, state: FakeDeviceState) -> tuple[np.ndarray, ...]:
        return self._seen(face_rgb_u8, state.state)

    def _seen(self, face_rgb_u8: np.ndarray, state: Any) -> tuple[np.ndarray, ...]:
        residual, seen = super().step(face_rgb_u8, state)
        residual += face_rgb_u8.astype(np.float32) / 64.0
        kept = np.zeros((2, 128, 128), np.float32)
        # It blinks: what is kept must be averaged over frames.
        kept[0, 64:70, 40:46] = 1.0 if state.steps % 2 else 0.4
        return (
            residual.astype(np.float16).astype(np.float32),
            seen,
            kept.astype(np.float16).astype(np.float32),
        )

    def buffers(self, state: FakeDeviceState) -> Buffers:
        return Buffers(state.face.address, state.residual.address, state.kept.address, "float16")

    def begin(self, state: FakeDeviceState, stream: int) -> None:
        assert self.board is not None
        assert stream == self.board.stream
        # Not the arrays themselves, which must live without this.
        own, face, to, kept_to = state.state, state.face.values, state.residual.values, state.kept.values

        def work() -> None:
            residual, _, kept = self._seen(face, own)
            to[...] = residual.transpose(2, 0, 1)
            kept_to[...] = kept

        self.board.begin("step", work)


class OnGpu(FakeDeviceEngine):
    """The fake engine under the name of one of a GPU. added: to what it leaves on the GPU, in levels."""

    name = "torch-cuda"

    def __init__(self, added: float = 0.0) -> None:
        super().__init__(HostBoard())
        self.added = added

    def begin(self, state: FakeDeviceState, stream: int) -> None:
        super().begin(state, stream)
        assert self.board is not None
        to, added = state.residual.values, self.added

        def spoil() -> None:
            to[...] += np.float16(added)

        self.board.begin("spoil", spoil)
