"""The network in torch itself, on a CPU or a GPU; here alone stream imports torch and model."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.config import PATCH_CHANNELS
from model.state import State
from model.vretoucher import VRetouchEr
from model.warp import Warp
from model.warp import warp as warp_by_torch
from model.weights import load_preset
from stream.crop import FACE_PX
from stream.engine import Buffers, Seen
from stream.errors import EngineError, WeightsError, first_line
from stream.kernels import launch
from stream.kernels.launch import Launch

LEVELS = 255.0
# What a GPU does for the first time (choosing kernels, say) must be done before it is recorded.
UNRECORDED_STEPS = 3
# Of pictures in [0, 1]: four times what half floats round off.
WARP_BOUND = 1e-3

_LOG = logging.getLogger("vretouch.engine")


class KernelWarp:
    """model.warp.warp by the kernel of stream.kernels.launch.warp: one launch, set going on torch's current
    stream. Without gradients.

    run: starts a launch on a CUDA stream by its handle, as stream.kernels.cupy_.run does.
    """

    def __init__(self, run: Callable[[Launch, int], object]) -> None:
        self._run = run

    def __call__(self, image: Tensor, flow: Tensor) -> Tensor:
        """image: [B, C, H, W], float16 or float32; flow: [B, 2, H, W] pixels, either too. Both as planes or
        channels last; the image that comes back is laid out as the one given."""
        image, last = _dense(image)
        flow, flow_last = _dense(flow)
        out = torch.empty_like(image)
        to_warp = launch.warp(
            image.data_ptr(),
            flow.data_ptr(),
            out.data_ptr(),
            image.shape,
            _name(image.dtype),
            _name(flow.dtype),
            channels_last=last,
            flow_channels_last=flow_last,
        )
        self._run(to_warp, torch.cuda.current_stream(image.device).cuda_stream if image.is_cuda else 0)
        return out


def _dense(tensor: Tensor) -> tuple[Tensor, bool]:
    """A tensor as planes or channels last, copied only if it is neither; and whether it is the latter."""
    if tensor.is_contiguous():
        return tensor, False
    return tensor.contiguous(memory_format=torch.channels_last), True


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def kernel_warp(device: torch.device, dtype: torch.dtype) -> Warp | None:
    """The kernel, compiled and tried beside torch; None where it cannot be had or gives something else, which
    is said in a warning."""
    try:
        from stream.kernels.cupy_ import run

        by_kernel = KernelWarp(run)
        _try_beside_torch(by_kernel, device, dtype)
    except Exception as error:  # CuPy raises whatever CUDA, its compiler or the disk has to say
        reason = first_line(error.__cause__ or error)
        _LOG.warning("the step warps with torch, in more launches, and not with its kernel (%s)", reason)
        return None
    return by_kernel


def _try_beside_torch(by_kernel: Warp, device: torch.device, dtype: torch.dtype) -> None:
    """Every variant that a step needs, so that none is compiled later; EngineError unless they are right."""
    random = torch.Generator().manual_seed(0)
    for layout, flow_layout in product((torch.contiguous_format, torch.channels_last), repeat=2):
        image = torch.rand((2, PATCH_CHANNELS, 24, 40), generator=random)
        flow = 3 * torch.randn((2, 2, 24, 40), generator=random)
        image, flow = image.to(device, dtype), flow.to(device, dtype)
        got = by_kernel(*(t.contiguous(memory_format=f) for t, f in ((image, layout), (flow, flow_layout))))
        apart = float((got.float() - warp_by_torch(image.float(), flow.float())).abs().max())
        if not apart <= WARP_BOUND:
            raise EngineError(f"its pictures are {apart:.2g} apart from torch's")


class TorchState:
    """Buffers of one face's stream, or of several that step together, made once: what the network reads, what
    it writes, what it remembers.

    faces_u8: uint8 [B, 512, 512, 3] RGB. residuals: [B, 3, 512, 512] in 8-bit levels. maps: [B, 512, 512] and
    kepts: [B, 2, 128, 128], in [0, 1]. face_u8, residual, map and kept: the first stream's part of them.
    memory: see model.state.State; all zeros at first, changed in place; slot: see model.state.push_. They
    lie on the engine's device, the residuals, maps, kepts and memory in its dtype.
    """

    def __init__(self, memory: State, device: torch.device, dtype: torch.dtype) -> None:
        streams = len(memory.valid)

        def zeros(*shape: int) -> Tensor:
            return torch.zeros((streams, *shape), device=device, dtype=dtype)

        self.memory = memory
        self.slot = torch.zeros(1, device=device, dtype=torch.int64)
        self.faces_u8 = torch.zeros((streams, FACE_PX, FACE_PX, 3), device=device, dtype=torch.uint8)
        self.residuals = zeros(3, FACE_PX, FACE_PX)
        self.maps, self.kepts = zeros(FACE_PX, FACE_PX), zeros(2, FACE_PX // 4, FACE_PX // 4)
        self.face_u8, self.residual = self.faces_u8[0], self.residuals[0]
        self.map, self.kept = self.maps[0], self.kepts[0]
        self.steps = 0
        self.recording: Any = None


class TorchEngine:
    """A preset's torch weights, or a network that is given, which is then the engine's own.

    device: `cpu` or `cuda`. dtype: by default torch.float32, on a GPU torch.float16 (over 13 frames at most
    0.36 levels from float32, the map 0.01; bfloat16 1.2 and 0.03). On a GPU a step is recorded
    once for each state as a CUDA graph and replayed, so that a step is one launch and nothing in it waits
    for the device; what it gives is copied to the host after it. warp: what the step warps by; by default on
    a GPU the kernel, where it works (see kernel_warp), else torch.

    Raises:
        WeightsError: the weights are missing or damaged. EngineError: there is no such device.
    """

    def __init__(
        self,
        preset: str,
        threads: int,
        device: str = "cpu",
        dtype: torch.dtype | None = None,
        network: VRetouchEr | None = None,
        warp: Warp | None = None,
    ) -> None:
        if device == "cuda" and not torch.cuda.is_available():
            raise EngineError(
                "the engine torch-cuda needs an NVIDIA GPU and torch for CUDA, but "
                f"torch {torch.__version__} sees none; install that torch and the driver, or choose onnx-cpu"
            )
        self.name = f"torch-{device}"
        self.preset = preset
        self.threads = threads
        self.device = torch.device(device)
        self.dtype = dtype or (torch.float32 if device == "cpu" else torch.float16)
        if device == "cpu":
            torch.set_num_threads(threads)
        if network is None:
            try:
                network = load_preset(preset)
            except ValueError as error:
                raise WeightsError(str(error)) from error
        self._layout = torch.contiguous_format if device == "cpu" else torch.channels_last
        self._network = network.to(self.device, self.dtype)
        for weights in network.parameters():
            if weights.dim() == 4:
                weights.data = weights.data.contiguous(memory_format=self._layout)
        warp = warp or (kernel_warp(self.device, self.dtype) if device == "cuda" else None)
        if warp is not None:
            self._network.warp_by(warp)
        self._turn = threading.Lock()

    def new_state(self, streams: int = 1) -> TorchState:
        """The memory of a face not yet seen; or of several, for `run` alone."""
        face = torch.zeros((streams, 3, FACE_PX, FACE_PX), device=self.device, dtype=self.dtype)
        memory = self._network.fresh_state(face)
        # As the step lays pictures out: else it would lay this one out anew each time.
        patches = memory.patches_prev.contiguous(memory_format=self._layout)
        return TorchState(replace(memory, patches_prev=patches), self.device, self.dtype)

    def step(self, face_rgb_u8: npt.NDArray[np.uint8], state: TorchState) -> Seen:
        """One causal step; see stream.engine.Engine.step."""
        with torch.inference_mode(), self._turn:
            state.face_u8.copy_(torch.from_numpy(face_rgb_u8))
            self.run(state)
            residual, seen, kept = (t.float().cpu() for t in (state.residual, state.map, state.kept))
        if self.device.type == "cpu":  # there `float` and `cpu` copy nothing
            residual, seen, kept = residual.clone(), seen.clone(), kept.clone()
        return Seen(residual.permute(1, 2, 0).numpy(), seen.numpy(), kept.numpy())

    def buffers(self, state: TorchState) -> Buffers:
        """See stream.engine.DeviceEngine."""
        face, residual, kept = (t.data_ptr() for t in (state.face_u8, state.residual, state.kept))
        return Buffers(face, residual, kept, _name(self.dtype))

    def begin(self, state: TorchState, stream: int) -> None:
        """See stream.engine.DeviceEngine."""
        with torch.inference_mode(), self._turn, self._on(stream):
            self.run(state)

    def _on(self, stream: int) -> AbstractContextManager[object]:
        if self.device.type == "cpu":
            return nullcontext()
        other = torch.cuda.ExternalStream(stream)  # type: ignore[no-untyped-call]
        return torch.cuda.stream(other)

    def run(self, state: TorchState) -> None:
        """The step between the state's own buffers; on a GPU only set going, not waited for. One thread at a
        time, in inference mode."""
        state.steps += 1
        if state.recording is not None:
            state.recording.replay()
        elif self.device.type == "cpu" or state.steps <= UNRECORDED_STEPS:
            self.compute(state)
        else:
            state.recording = self._recorded(state)
            state.recording.replay()

    def _recorded(self, state: TorchState) -> Any:
        """The step as a CUDA graph: recorded, not yet done."""
        torch.cuda.synchronize(self.device)
        graph = torch.cuda.CUDAGraph()
        # Another thread may allocate meanwhile: only this one's calls belong to the recording.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            self.compute(state)
        return graph

    def compute(self, state: TorchState) -> None:
        """The step itself, operation by operation."""
        face = state.faces_u8.permute(0, 3, 1, 2).to(self.dtype) / LEVELS  # [B, 3, 512, 512]
        face = face.contiguous(memory_format=self._layout)
        result = self._network.step_(face, state.memory, state.slot)
        state.residuals.copy_(result.residual * LEVELS)
        state.maps.copy_(result.map[:, 0])
        state.kepts.copy_(result.kept)
