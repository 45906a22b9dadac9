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
from stream.engine import DeviceEngine
from stream.kernels.board import Board, DeviceArray
from stream.kernels.launch import Launch


class WatchedBoard:
    """A board that marks the stages of a frame; see stream.kernels.board.Board.

    The first upload is the frame. What comes after a crop and before the next call is the step. All other
    uploads and kernels are the paste's.
    """

    def __init__(self, board: Board) -> None:
        self.stream = board.stream
        self._board = board
        self.begin(lambda _: None)

    def begin(self, mark: Callable[[str], None]) -> None:
        """A new frame."""
        self._mark, self._uploaded, self._stepping = mark, False, False

    def _stepped(self) -> None:
        if self._stepping:
            self._mark("step")
            self._stepping = False

    def zeros(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> DeviceArray:
        """As the board's."""
        return self._board.zeros(shape, dtype)

    def upload(self, rows: npt.NDArray[np.uint8], pitch: int) -> DeviceArray:
        """As the board's."""
        self._stepped()
        array = self._board.upload(rows, pitch)
        self._mark("paste" if self._uploaded else "upload")
        self._uploaded = True
        return array

    def download(self, array: DeviceArray) -> Callable[[], npt.NDArray[Any]]:
        """As the board's."""
        self._stepped()
        finish = self._board.download(array)
        self._mark("download")
        return finish

    def copy(self, to: int, to_pitch: int, source: int, width: int, rows: int) -> None:
        """As the board's."""
        self._board.copy(to, to_pitch, source, width, rows)

    def run(self, launch: Launch) -> None:
        """As the board's."""
        self._stepped()
        self._board.run(launch)
        self._stepping = launch.variant.kernel == "crop"
        self._mark("crop" if self._stepping else "paste")


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
        self._retoucher = DeviceRetoucher(engine, self._board, max_faces=1, finder=NoFinder())

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
