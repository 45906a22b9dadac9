"""The retoucher whose frames lie on a GPU, as a pipeline: its own work, told apart by what it asks of the
board."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.device import Device
from bench.metrics import Pixels
from bench.pipeline import Shot, crop_work, paste_work
from bench.project import Place, Work
from bench.streams import NoFinder
from stream.device import DeviceRetoucher
from stream.engine import Buffers, DeviceEngine, EngineState, Seen
from stream.kernels.board import Board, DeviceArray
from stream.kernels.launch import Launch


class WatchedBoard:
    """A board that marks the stages of a frame; see stream.kernels.board.Board.

    The first upload is the frame; all others are the paste's, as are all kernels but the crop. The step is
    marked by the engine.
    """

    def __init__(self, board: Board) -> None:
        self.stream = board.stream
        self._board = board
        self.begin(lambda _: None)

    def begin(self, mark: Callable[[str], None]) -> None:
        """A new frame."""
        self.mark, self._uploaded = mark, False

    def zeros(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> DeviceArray:
        """As the board's."""
        return self._board.zeros(shape, dtype)

    def upload(self, rows: npt.NDArray[np.uint8], pitch: int) -> DeviceArray:
        """As the board's."""
        array = self._board.upload(rows, pitch)
        self.mark("paste" if self._uploaded else "upload")
        self._uploaded = True
        return array

    def download(self, array: DeviceArray) -> Callable[[], npt.NDArray[Any]]:
        """As the board's."""
        finish = self._board.download(array)
        self.mark("download")
        return finish

    def reached(self) -> Callable[[], None]:
        """As the board's."""
        return self._board.reached()

    def copy(self, to: int, to_pitch: int, source: int, width: int, rows: int) -> None:
        """As the board's."""
        self._board.copy(to, to_pitch, source, width, rows)

    def run(self, launch: Launch) -> None:
        """As the board's."""
        self._board.run(launch)
        self.mark("crop" if launch.variant.kernel == "crop" else "paste")


class WatchedEngine:
    """An engine whose steps end in a mark of the board's, before the host goes on to anything else; see
    stream.engine.DeviceEngine."""

    def __init__(self, engine: DeviceEngine, board: WatchedBoard) -> None:
        self.name, self.preset = engine.name, engine.preset
        self._engine, self._board = engine, board

    def new_state(self) -> EngineState:
        """As the engine's."""
        return self._engine.new_state()

    def step(self, face_rgb_u8: Pixels, state: EngineState) -> Seen:
        """As the engine's."""
        return self._engine.step(face_rgb_u8, state)

    def buffers(self, state: EngineState) -> Buffers:
        """As the engine's."""
        return self._engine.buffers(state)

    def begin(self, state: EngineState, stream: int) -> None:
        """As the engine's."""
        self._engine.begin(state, stream)
        self._board.mark("step")


class DevicePipeline:
    """The whole frame on the GPU, faces found before.

    step: the operations of a face's; residual_bytes: of a number that the engine gives.
    """

    key = "frame"

    def __init__(
        self, engine: DeviceEngine, board: Board, device: Device, step: Sequence[Work], residual_bytes: int
    ) -> None:
        self.name = f"vretouch, {engine.name}, frame on the device"
        self.places: dict[str, Place] = {
            "upload": "link",
            "crop": "device",
            "step": "device",
            "paste": "device",
            "download": "link",
        }
        self._device, self._step, self._residual_bytes = device, tuple(step), residual_bytes
        self._board = WatchedBoard(board)
        watched = WatchedEngine(engine, self._board)
        self._retoucher = DeviceRetoucher(watched, self._board, max_faces=1, finder=NoFinder())

    def frame(self, shot: Shot, mark: Callable[[str], None]) -> Pixels:
        """uint8 [H, W, 3] RGB."""
        with self._device.on_stream(self._board.stream):
            self._board.begin(mark)
            stepped = self._retoucher.step(self._retoucher.sent(shot.frame_u8, shot.located))
            return self._retoucher.composite(shot.frame_u8, stepped)

    def works(self, shot: Shot) -> Mapping[str, tuple[Work, ...]]:
        """Of the stages on the device."""
        step = self._step * len(shot.located.faces)
        return {"crop": crop_work(shot), "step": step, "paste": paste_work(shot, self._residual_bytes)}
