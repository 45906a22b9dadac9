"""The network on ONNX Runtime's providers of a GPU: CUDA and TensorRT.

Every buffer lies on the GPU, is made once for each state and bound by its address; a plain state has two that
take turns, a ring takes the new slot over its oldest (see onnx_). A step is set going on the board's stream,
and not recorded as a CUDA graph: any thread's allocation breaks ONNX Runtime's recording, and a session never
gives one back.
"""

from __future__ import annotations

import math
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stream.crop import FACE_PX
from stream.engine import Buffers, Seen, WeightsFile
from stream.engines.onnx_ import (
    METADATA_KEY,
    OUTPUTS,
    Contract,
    StateSpec,
    check_names,
    gpu_session,
    lay_out,
    parse_contract,
    run_options,
)
from stream.errors import EngineError
from stream.kernels import launch
from stream.kernels.board import Board, DeviceArray
from stream.kernels.launch import Surface

PROVIDERS = {"onnx-cuda": "CUDAExecutionProvider", "onnx-tensorrt": "TensorrtExecutionProvider"}
_FLOAT_BYTES = 4
_FACE_SHAPE = (1, 3, FACE_PX, FACE_PX)


class OnnxGpuState:
    """Buffers and bindings of one face's stream; all noughts at first."""

    def __init__(self, session: Any, contract: Contract, board: Board, device: str) -> None:
        def zeros(shape: tuple[int, ...]) -> DeviceArray:
            return board.zeros(shape, np.float32)

        self.time = 0
        self.face = zeros(_FACE_SHAPE)
        self.outputs = {name: zeros(shape) for name, shape in OUTPUTS.items()}
        self.rings = {s.name: zeros(s.shape) for s in contract.states if s.ring}
        self.slots = {s.name: zeros(s.out_shape()) for s in contract.states if s.ring}
        self.plain = {s.name: (zeros(s.shape), zeros(s.shape)) for s in contract.states if not s.ring}
        self._device = device
        self.bindings = [self._bind(session, contract, turn) for turn in (0, 1)]

    def _bind(self, session: Any, contract: Contract, turn: int) -> Any:
        """The binding for even or odd steps: they differ in which plain buffer is read, which written."""
        binding = session.io_binding()

        def reads(name: str, array: DeviceArray, shape: tuple[int, ...]) -> None:
            binding.bind_input(name, self._device, 0, np.float32, shape, array.address)

        def writes(name: str, array: DeviceArray, shape: tuple[int, ...]) -> None:
            binding.bind_output(name, self._device, 0, np.float32, shape, array.address)

        reads("face", self.face, _FACE_SHAPE)
        for name, shape in OUTPUTS.items():
            writes(name, self.outputs[name], shape)
        for spec in contract.states:
            name = spec.name
            reads(f"{name}_in", self.rings[name] if spec.ring else self.plain[name][turn], spec.shape)
            out = self.slots[name] if spec.ring else self.plain[name][1 - turn]
            writes(f"{name}_out", out, spec.out_shape())
        return binding


class OnnxGpuEngine:
    """A preset's ONNX file on a GPU; name: one of PROVIDERS.

    Raises:
        EngineError: its provider is not there or does not take the file. WeightsError: the file does not
        follow the contract.
    """

    def __init__(self, name: str, weights: WeightsFile, board: Board) -> None:
        # What TensorRT does not know, CUDA does on the same stream: the CPU would copy and wait.
        wanted = {
            PROVIDERS[each]: provider_options(each, board.stream, cache_folder())
            for each in (name, "onnx-cuda")
        }
        session = gpu_session(weights, wanted)
        self._start(name, session, weights, board, "cuda")

    def _start(self, name: str, session: Any, weights: WeightsFile, board: Board, device: str) -> None:
        self.name = name
        self._session, self.board, self._device = session, board, device
        meta = session.get_modelmeta().custom_metadata_map
        self._contract = parse_contract(meta.get(METADATA_KEY), str(weights.path))
        self.preset = self._contract.preset
        check_names(session, self._contract, str(weights.path))
        self._turn = threading.Lock()
        self._options = run_options()

    def new_state(self) -> OnnxGpuState:
        """The memory of a face not yet seen."""
        return OnnxGpuState(self._session, self._contract, self.board, self._device)

    def step(self, face_rgb_u8: npt.NDArray[np.uint8], state: OnnxGpuState) -> Seen:
        """One causal step; see stream.engine.Engine.step."""
        pitch = 3 * FACE_PX
        pixels = self.board.upload(np.ascontiguousarray(face_rgb_u8).reshape(FACE_PX, pitch), pitch)
        surface = Surface("rgb24", FACE_PX, FACE_PX, (pixels.address,), (pitch,))
        self.board.run(launch.crop(surface, np.eye(2, 3), state.face.address))
        self.begin(state, self.board.stream)
        cells, shown, kept = (self.board.download(state.outputs[name]) for name in OUTPUTS)
        residual = np.empty((3, FACE_PX, FACE_PX), np.float32)
        seen = np.empty((1, FACE_PX, FACE_PX), np.float32)
        lay_out(cells(), shown(), residual)
        lay_out(shown(), None, seen)
        return Seen(residual.transpose(1, 2, 0), seen[0], kept()[0].copy())

    def buffers(self, state: OnnxGpuState) -> Buffers:
        """See stream.engine.DeviceEngine."""
        residual, shown, kept = (state.outputs[name].address for name in OUTPUTS)
        return Buffers(state.face.address, residual, kept, "float32", shown, face_planes=True)

    def begin(self, state: OnnxGpuState, stream: int) -> None:
        """See stream.engine.DeviceEngine; the stream must be the board's, to which the session is bound."""
        if stream != self.board.stream:
            raise EngineError(
                f"the engine {self.name} was made for another CUDA stream; give it its own board"
            )
        with self._turn:
            self._session.run_with_iobinding(state.bindings[state.time % 2], self._options)
            for spec in self._contract.states:
                if spec.ring:
                    self._push(spec, state)
        state.time += 1

    def _push(self, spec: StateSpec, state: OnnxGpuState) -> None:
        """The new slot over the oldest."""
        width = math.prod(spec.shape[spec.slot_axis + 1 :]) * _FLOAT_BYTES
        rows = math.prod(spec.shape[: spec.slot_axis])
        oldest = state.rings[spec.name].address + state.time % spec.slots() * width
        self.board.copy(oldest, spec.slots() * width, state.slots[spec.name].address, width, rows)


def provider_options(name: str, stream: int, cache: Path) -> dict[str, str]:
    """ONNX Runtime's options for the provider of the engine. stream: handle of the CUDA stream to run on;
    cache: where TensorRT keeps what it built."""
    shared = {"device_id": "0", "user_compute_stream": str(stream)}
    if name == "onnx-cuda":
        return shared | {"cudnn_conv_algo_search": "EXHAUSTIVE"}
    return shared | {
        "trt_fp16_enable": "1",
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(cache),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(cache),
    }


def cache_folder() -> Path:
    """Where built engines are kept, by the XDG base directory specification."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vretouch" / "tensorrt"
