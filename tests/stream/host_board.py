"""A stand-in for a GPU: arrays of this machine's memory, and the kernels' own sources on its CPU."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np

from stream.engine import Buffers
from stream.kernels.launch import Launch
from tests.stream.fakes import FakeEngine
from tests.stream.kernels.on_cpu import run_on_cpu


class HostArray:
    """An array, found by its address."""

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.address = values, int(values.ctypes.data)


class HostBoard:
    """See stream.kernels.board.Board. log: what was done, in order."""

    stream = 7

    def __init__(self) -> None:
        self.log: list[str] = []

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> HostArray:
        return HostArray(np.zeros(shape, dtype))

    def upload(self, rows: np.ndarray, pitch: int) -> HostArray:
        self.log.append("upload")
        array = np.zeros((len(rows), pitch), np.uint8)
        array[:, : rows.shape[1]] = rows
        return HostArray(array)

    def download(self, array: HostArray) -> Callable[[], np.ndarray]:
        self.log.append("download")
        return array.values.copy

    def copy(self, to: int, to_pitch: int, source: int, width: int, rows: int) -> None:
        self.log.append("copy")
        for row in range(rows):
            ctypes.memmove(to + row * to_pitch, source + row * width, width)

    def run(self, launch: Launch) -> None:
        self.log.append(launch.variant.kernel)
        run_on_cpu(launch)


class FakeDeviceState:
    """The fake engine's state, with the buffers of a GPU."""

    def __init__(self, state: Any) -> None:
        self.state = state
        self.face = np.zeros((512, 512, 3), np.uint8)
        self.residual = np.zeros((3, 512, 512), np.float16)
        self.kept = np.zeros((2, 128, 128), np.float16)


class FakeDeviceEngine(FakeEngine):
    """The fake engine between buffers: what it adds hangs on the face it is given, and it sees a mole."""

    def __init__(self, board: HostBoard | None = None) -> None:
        super().__init__()
        self.board = board

    def new_state(self) -> FakeDeviceState:
        return FakeDeviceState(super().new_state())

    def step(self, face_rgb_u8: np.ndarray, state: FakeDeviceState) -> tuple[np.ndarray, ...]:
        residual, seen = super().step(face_rgb_u8, state.state)
        residual += face_rgb_u8.astype(np.float32) / 64.0
        kept = np.zeros((2, 128, 128), np.float32)
        # It blinks: what is kept must be averaged over frames.
        kept[0, 64:70, 40:46] = 1.0 if state.state.steps % 2 else 0.4
        return (
            residual.astype(np.float16).astype(np.float32),
            seen,
            kept.astype(np.float16).astype(np.float32),
        )

    def buffers(self, state: FakeDeviceState) -> Buffers:
        arrays = state.face, state.residual, state.kept
        return Buffers(*(int(array.ctypes.data) for array in arrays), "float16")

    def begin(self, state: FakeDeviceState, stream: int) -> None:
        if self.board is not None:
            assert stream == self.board.stream
            self.board.log.append("step")
        residual, _, kept = self.step(state.face, state)
        state.residual[...] = residual.transpose(2, 0, 1)
        state.kept[...] = kept
