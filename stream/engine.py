"""What runs the network: the protocol every engine follows, and `load_engine`, which makes one by name."""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from stream.errors import EngineError, OptionError, VretouchError, WeightsError, first_line

PRESETS = ("live", "studio", "paper")
ENGINES = ("auto", "onnx-cpu", "torch-cpu", "torch-cuda", "onnx-cuda", "onnx-tensorrt")
GPU_ENGINES = ("torch-cuda", "onnx-cuda", "onnx-tensorrt")
# What came before, in torch and with weights of the user's own.
EARLIER_SYSTEMS = ("autoretouch", "bpfre")
# Those that `auto` looks at where there is a GPU; TensorRT builds for minutes when it is first used.
AUTO_ENGINES = ("torch-cuda", "onnx-cuda")
MAX_DEFAULT_THREADS = 4
MAX_THREADS = 256

_LOG = logging.getLogger("vretouch.engine")

# What an engine remembers of one face between two steps; made, read and changed by that engine alone.
EngineState = Any


class Seen(NamedTuple):
    """What a network makes of one face.

    residual: float32 [512, 512, 3] RGB in 8-bit levels. map: float32 [512, 512] in [0, 1], the imperfections.
    kept: float32 [2, 128, 128] in [0, 1], where moles and freckles are, or None of a network that does not
    say.
    """

    residual: npt.NDArray[np.float32]
    map: npt.NDArray[np.float32]
    kept: npt.NDArray[np.float32] | None = None


class Buffers(NamedTuple):
    """Addresses of one face's buffers on a GPU, as long as its state lives.

    face: of uint8 [512, 512, 3], or float32 [3, 512, 512] in [0, 1] where face_planes says so. residual: of
    [3, 512, 512] in 8-bit levels; or, where map_cells is not 0, of the network's residual_cells
    [12, 256, 256], and map_cells of [4, 256, 256] (see export.contract). kept: of [2, 128, 128]. dtype: of
    residual, map_cells and kept, float16 or float32.
    """

    face: int
    residual: int
    kept: int
    dtype: str
    map_cells: int = 0
    face_planes: bool = False


class Engine(Protocol):
    """One loaded network. Streams share it without a lock: all memory is in the state."""

    name: str
    preset: str

    def new_state(self) -> EngineState:
        """The memory of a face not yet seen."""
        ...

    def step(self, face_rgb_u8: npt.NDArray[np.uint8], state: EngineState) -> Seen:
        """One causal step on face uint8 [512, 512, 3] RGB; the state is changed in place, the arrays given
        are new."""
        ...


@runtime_checkable
class DeviceEngine(Engine, Protocol):
    """An engine that also steps between buffers on a GPU."""

    def buffers(self, state: EngineState) -> Buffers:
        """Where the state's step finds the face and leaves what it makes of it."""
        ...

    def begin(self, state: EngineState, stream: int) -> None:
        """One causal step, set going on a CUDA stream by its handle and not waited for."""
        ...


@dataclass(frozen=True)
class WeightsFile:
    """An ONNX file whose hash was checked. card: the JSON beside it."""

    path: Path
    card: dict[str, Any]


def load_engine(name: str = "auto", preset: str = "live", threads: int | None = None) -> Engine:
    """The engine `name` (one of ENGINES) with the weights of `preset` (one of PRESETS).

    auto: onnx-cpu, or where there is a GPU the fastest of AUTO_ENGINES that computes the same (see
    stream.auto); it is logged which and why, and which had to be left out. One of GPU_ENGINES by its name is
    checked too, and refused where it computes something else. threads: cores used by one step; by default all
    physical ones up to four.
    """
    check_preset(preset)
    if name not in ENGINES:
        raise EngineError(f"there is no engine {name!r}; choose one of {', '.join(ENGINES)}")
    count = default_threads() if threads is None else threads
    if not 1 <= count <= MAX_THREADS:
        raise OptionError(
            f"threads must be from 1 to {MAX_THREADS}, not {threads}; leave it out for the default"
        )
    if name == "auto":
        return _fastest(preset, count) if has_gpu() else _load("onnx-cpu", preset, count)
    engine = _load(name, preset, count)
    return _checked(engine, preset, count) if name in GPU_ENGINES else engine


def load_earlier(system: str, weights: Path, name: str = "auto", threads: int | None = None) -> Engine:
    """AutoRetouch or BPFRe (`system`, one of EARLIER_SYSTEMS) with the weights at a path, on the engine
    `name`: auto or torch-cpu, or torch-cuda."""
    if system not in EARLIER_SYSTEMS:
        raise EngineError(f"there is no system {system!r}; choose one of {', '.join(EARLIER_SYSTEMS)}")
    if name not in ("auto", "torch-cpu", "torch-cuda"):
        raise EngineError(f"{system} does not run on {name}; choose torch-cpu, torch-cuda or auto")
    _needs_torch(system, "leave --system out")
    device = "cpu" if name == "auto" else name.removeprefix("torch-")
    with _loading(f"{system} on torch-{device}", "leave --system out"):
        from stream.engines.earlier_ import EarlierEngine

        return EarlierEngine(system, weights, default_threads() if threads is None else threads, device)


def _load(name: str, preset: str, threads: int) -> Engine:
    """The engine, not yet checked."""
    if name == "onnx-cpu":
        from stream.engines.onnx_ import OnnxEngine

        return OnnxEngine(find_weights(preset), threads)
    with _loading(f"the engine {name}", "choose onnx-cpu"):
        if name in ("onnx-cuda", "onnx-tensorrt"):
            return _load_onnx_gpu(name, preset)
        _needs_torch(f"the engine {name}", "choose onnx-cpu")
        from stream.engines.torch_ import TorchEngine

        return TorchEngine(preset, threads, name.removeprefix("torch-"))


@contextmanager
def _loading(what: str, otherwise: str) -> Iterator[None]:
    """Says in a sentence what a library raises of its own: a broken install, a GPU that it was not built
    for, no memory left."""
    try:
        yield
    except VretouchError:
        raise
    except Exception as error:
        raise EngineError(f"{what} cannot be loaded ({first_line(error)}); {otherwise}") from error


def _needs_torch(what: str, otherwise: str) -> None:
    if not has_torch():
        raise EngineError(
            f"{what} needs torch, which is not installed; "
            f"install it with `pip install vretouch[train]` or {otherwise}"
        )


def _load_onnx_gpu(name: str, preset: str) -> Engine:
    if importlib.util.find_spec("cupy") is None:
        raise EngineError(
            f"the engine {name} needs CuPy, which is not installed; "
            "install it with `pip install vretouch[gpu]` or choose onnx-cpu"
        )
    from stream.engines.onnx_gpu import OnnxGpuEngine
    from stream.kernels.cupy_ import CupyBoard

    return OnnxGpuEngine(name, find_weights(preset), CupyBoard())


def _fastest(preset: str, threads: int) -> Engine:
    from stream.auto import Candidate, fastest

    candidates = [Candidate(name, partial(_load, name, preset, threads)) for name in AUTO_ENGINES]
    choice = fastest(_load("onnx-cpu", preset, threads), candidates)
    if choice.left_out:
        _LOG.warning("; ".join(choice.left_out))
    _LOG.info(choice.said)
    return choice.engine


def _checked(engine: Engine, preset: str, threads: int) -> Engine:
    from stream.auto import checked

    try:
        checked(engine, _load("onnx-cpu", preset, threads))
    except EngineError as error:
        raise EngineError(f"engine {engine.name} cannot be used: {error}; choose onnx-cpu or auto") from error
    return engine


def check_preset(preset: str) -> None:
    """Raise EngineError unless the preset is known."""
    if preset not in PRESETS:
        raise EngineError(f"there is no preset {preset!r}; choose one of {', '.join(PRESETS)}")


def weights_folder() -> Path:
    """Where the installed package keeps its ONNX files."""
    return Path(str(resources.files("stream"))) / "weights"


def available_presets(folder: Path | None = None) -> list[str]:
    """The presets whose ONNX file is in the folder (by default the package's own)."""
    place = weights_folder() if folder is None else folder
    return [preset for preset in PRESETS if (place / f"{preset}.onnx").is_file()]


def find_weights(preset: str, folder: Path | None = None) -> WeightsFile:
    """The preset's ONNX file and card, after comparing the file's SHA-256 with the card's."""
    place = weights_folder() if folder is None else folder
    path = place / f"{preset}.onnx"
    card = _read_card(path, preset, place)
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        raise WeightsError(_missing(path, preset, place)) from None
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror}); check its rights") from error
    if card.get("untrained"):
        raise WeightsError(
            f"{path} holds untrained weights, which are for timing alone; train {preset} with "
            "`python -m model.train` and export it, or choose another preset"
        )
    if found != card["sha256"]:
        raise WeightsError(
            f"{path} is not the file its card describes (SHA-256 {found[:12]}..., expected "
            f"{str(card['sha256'])[:12]}...); install vretouch again or run `python -m export` anew"
        )
    return WeightsFile(path, card)


def _read_card(path: Path, preset: str, place: Path) -> dict[str, Any]:
    card_path = path.with_suffix(".json")
    try:
        card = json.loads(card_path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if not path.is_file():
            raise WeightsError(_missing(path, preset, place)) from None
        raise WeightsError(
            f"{card_path} is missing, so {path.name} cannot be trusted; install vretouch again"
        ) from None
    except (OSError, ValueError) as error:
        raise WeightsError(f"{card_path} cannot be read ({error}); install vretouch again") from error
    if not isinstance(card, dict) or not isinstance(card.get("sha256"), str):
        raise WeightsError(f"{card_path} names no sha256; install vretouch again")
    return card


def _missing(path: Path, preset: str, place: Path) -> str:
    there = ", ".join(available_presets(place)) or "none"
    return (
        f"the weights of preset {preset!r} are not at {path} (here: {there}); "
        f"choose a preset that is here, or make them with `python -m export --preset {preset}`"
    )


def default_threads(spared: int = 0) -> int:
    """Physical cores this process may use, less the spared ones, at most MAX_DEFAULT_THREADS; at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    physical = _physical_cores() or allowed
    return max(1, min(min(physical, allowed) - spared, MAX_DEFAULT_THREADS))


def live_threads() -> int:
    """The default for a live stream: a core is spared for what decodes, encodes and sends meanwhile, but a
    frame does not wait for one thread alone where there are two cores."""
    return max(default_threads(spared=1), min(2, default_threads()))


def _physical_cores() -> int | None:
    """Physical cores from Linux's sysfs, without the second threads of each; None elsewhere."""
    siblings = Path("/sys/devices/system/cpu").glob("cpu[0-9]*/topology/thread_siblings_list")
    try:
        return len({path.read_text() for path in siblings}) or None
    except OSError:
        return None


def has_torch() -> bool:
    """Whether the torch engines' library is installed."""
    return importlib.util.find_spec("torch") is not None


@cache
def has_gpu() -> bool:
    """Whether NVIDIA's driver is here and sees a GPU; asked of the driver itself, for no library is sure to
    be here."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
        count = ctypes.c_int(0)
        return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0
    except (OSError, AttributeError):
        return False
