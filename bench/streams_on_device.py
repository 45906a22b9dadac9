"""Many streams whose frames lie on one GPU: each frame goes there once, and comes back once, retouched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import torch

from bench.device import Device
from bench.metrics import Pixels
from bench.pipeline import Shot
from bench.streams import NoFinder
from stream.device import DeviceRetoucher, LocatedOnDevice
from stream.engine import Buffers, DeviceEngine, Seen
from stream.engines.torch_ import TorchEngine, TorchState
from stream.errors import EngineError
from stream.kernels.board import Board
from stream.results import Stepped


class OneByOneOnDevice:
    """The engine steps one stream after the other; nothing is waited for until all are under way.

    threads: so many send frames, while the streams whose frames were sent are set going.
    Stages, by the board's stream: the paste has the frame's way back in it, and any may have a later stream's
    upload in it.
    """

    def __init__(
        self, engine: DeviceEngine, board: Board, device: Device, threads: int, streams: int
    ) -> None:
        self._board, self._device = board, device
        self._senders = ThreadPoolExecutor(threads, "bench-send")
        self._retouchers = [DeviceRetoucher(engine, board, finder=NoFinder()) for _ in range(streams)]

    def tick(self, shots: Sequence[Shot], mark: Callable[[str], None]) -> list[Pixels]:
        """The retouched frames."""
        with self._device.on_stream(self._board.stream):
            under_way: list[Stepped] = []
            sent = self._senders.map(_sent, self._retouchers, shots)
            for retoucher, located in zip(self._retouchers, sent, strict=True):
                mark("upload")
                seen = retoucher.seen(located)
                mark("crop, step")
                under_way.append(retoucher.pasted(located, seen))
                mark("paste")
            return _back(self._retouchers, shots, under_way)


class BatchedOnDevice:
    """All streams step at once, between buffers in which their faces lie side by side.

    threads, stages: see OneByOneOnDevice.
    """

    def __init__(self, engine: TorchEngine, board: Board, device: Device, threads: int, streams: int) -> None:
        self._engine, self._board, self._device = engine, board, device
        self._senders = ThreadPoolExecutor(threads, "bench-send")
        self._state = engine.new_state(streams)
        self._retouchers = [
            DeviceRetoucher(OneOfMany(engine, self._state, place), board, finder=NoFinder())
            for place in range(streams)
        ]

    def tick(self, shots: Sequence[Shot], mark: Callable[[str], None]) -> list[Pixels]:
        """The retouched frames."""
        with self._device.on_stream(self._board.stream):
            seen: list[tuple[LocatedOnDevice, Stepped]] = []
            sent = self._senders.map(_sent, self._retouchers, shots)
            for retoucher, located in zip(self._retouchers, sent, strict=True):
                mark("upload")
                seen.append((located, retoucher.seen(located)))
                mark("crop")
            self._engine.begin(self._state, self._board.stream)
            mark("step")
            under_way: list[Stepped] = []
            for retoucher, (located, stepped) in zip(self._retouchers, seen, strict=True):
                under_way.append(retoucher.pasted(located, stepped))
                mark("paste")
            return _back(self._retouchers, shots, under_way)


class OneOfMany:
    """An engine for one of the streams that share a state: it tells where its buffers are and leaves
    the step to whoever begins that of all."""

    def __init__(self, engine: TorchEngine, state: TorchState, place: int) -> None:
        self.name, self.preset = engine.name, engine.preset
        self._state, self._place = state, place
        self._dtype = str(engine.dtype).removeprefix("torch.")

    def new_state(self) -> TorchState:
        """The one of all streams."""
        return self._state

    def buffers(self, state: TorchState) -> Buffers:
        """Of this stream; see stream.engine.DeviceEngine."""
        parts = (buffer[self._place] for buffer in (state.faces_u8, state.residuals, state.kepts))
        face, residual, kept = (part.data_ptr() for part in parts)
        return Buffers(face, residual, kept, self._dtype)

    def begin(self, state: TorchState, stream: int) -> None:
        """Nothing yet: the other streams' faces are not there."""

    def step(self, face_rgb_u8: npt.NDArray[np.uint8], state: TorchState) -> Seen:
        """Refused: it would step the other streams too."""
        del face_rgb_u8, state
        raise EngineError("streams that step at once step on the device only; give frames that fit there")


def give_back() -> None:
    """Free what torch and CuPy hold in reserve, of which the other could have none."""
    from stream.kernels.cupy_ import give_back as give_back_cupys

    torch.cuda.empty_cache()
    give_back_cupys()


def _sent(retoucher: DeviceRetoucher, shot: Shot) -> LocatedOnDevice:
    located = retoucher.sent(shot.frame_u8, shot.located)
    assert isinstance(located, LocatedOnDevice)  # no frame of bench.pipeline.RESOLUTIONS is too large
    return located


def _back(
    retouchers: Sequence[DeviceRetoucher], shots: Sequence[Shot], under_way: Sequence[Stepped]
) -> list[Pixels]:
    """The frames, waited for."""
    return [
        retoucher.composite(shot.frame_u8, stepped)
        for retoucher, shot, stepped in zip(retouchers, shots, under_way, strict=True)
    ]
