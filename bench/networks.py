"""The network that a bench times, and engines that run it: trained where weights are there, else seeded."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from bench.delta import quiet
from bench.device import Device
from bench.report import BenchError
from export.onnx import export_onnx
from model.config import PRESETS
from model.vretoucher import VRetouchEr
from model.weights import load_preset, preset_path, untrained_network
from stream.engine import GPU_ENGINES, Engine, WeightsFile
from stream.engines.onnx_ import OnnxEngine
from stream.engines.torch_ import TorchEngine

CPU_ENGINES = ("onnx-cpu", "torch-cpu")
UNTRAINED = "the weights are seeded and not trained: of use for timing, of none for retouching"


def check_preset(preset: str) -> None:
    """Raise BenchError unless there is such a network."""
    if preset not in PRESETS:
        raise BenchError(f"there is no preset {preset!r}; choose one of {', '.join(PRESETS)}")


def is_trained(preset: str) -> bool:
    """Whether there are weights of the preset."""
    return preset_path(preset).is_file()


def network_of(preset: str, delta: int | None = None) -> VRetouchEr:
    """The preset's network, trained where it can be, with a ring of `delta` slots (its own by default)."""
    network = load_preset(preset) if is_trained(preset) else untrained_network(preset)
    return network if delta is None else with_ring(network, delta)


def with_ring(network: VRetouchEr, delta: int) -> VRetouchEr:
    """The network with a ring of `delta` slots, on which no weight depends."""
    if delta == network.config.delta:
        return network
    other = VRetouchEr(replace(network.config, delta=delta)).eval()
    other.load_state_dict(network.state_dict())
    return other


def engine_named(name: str, device: Device) -> str:
    """The engine's name, `auto` being the first of the device's own."""
    own = GPU_ENGINES if device.kind == "cuda" else CPU_ENGINES
    if name == "auto":
        return own[0]
    if name not in own:
        raise BenchError(
            f"the engine {name} does not run on the device {device.kind}; choose one of {', '.join(own)}"
        )
    return name


def dtype_of(name: str, device: Device) -> torch.dtype:
    """What the engine of this name computes in; ONNX files hold single precision, of which TensorRT makes
    half floats."""
    if name.startswith("torch-"):
        return device.dtype
    return torch.float16 if name == "onnx-tensorrt" else torch.float32


def loader(
    name: str, network: VRetouchEr, threads: int, folder: Path, dtype: torch.dtype | None = None
) -> Callable[[], Engine]:
    """Loads the engine with this network; what can be made ready beforehand, in `folder`, is. dtype: of a
    torch engine."""
    preset = network.config.preset
    if name.startswith("torch-"):
        own = copy.deepcopy(network)
        return lambda: TorchEngine(preset, threads, name.removeprefix("torch-"), dtype, own)
    path = folder / f"{preset}{network.config.delta}.onnx"
    with quiet():
        export_onnx(copy.deepcopy(network), path)
    weights = WeightsFile(path, {})
    return partial(OnnxEngine, weights, threads) if name == "onnx-cpu" else partial(_on_gpu, name, weights)


def _on_gpu(name: str, weights: WeightsFile) -> Engine:
    try:
        from stream.engines.onnx_gpu import OnnxGpuEngine
        from stream.kernels.cupy_ import CupyBoard
    except ImportError as error:
        raise BenchError(
            f"the engine {name} needs CuPy ({error}); install it with `pip install vretouch[gpu]`"
        ) from error
    return OnnxGpuEngine(name, weights, CupyBoard())
