"""The network on ONNX Runtime: the only file that imports onnxruntime.

Every buffer of the graph is made once for each state and bound by its address. A plain state has two buffers
that take turns as input and output; a ring takes the one new slot over its oldest. So nothing is allocated or
copied but that slot and what a step gives.
"""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from stream.crop import FACE_PX
from stream.engine import Seen, WeightsFile
from stream.errors import EngineError, WeightsError, first_line

METADATA_KEY = "vretouch"
CONTRACT_VERSION = 5
SPIN_US = 200
OUTPUTS = {
    "residual_cells": (1, 12, FACE_PX // 2, FACE_PX // 2),
    "map_cells": (1, 4, FACE_PX // 2, FACE_PX // 2),
    "kept": (1, 2, FACE_PX // 4, FACE_PX // 4),
}
_GPU_INSTALL = "`pip install 'onnxruntime-gpu[cuda,cudnn]'`"
# The place in its own source with which ONNX Runtime begins some errors.
_PLACE = re.compile(r"^/\S+\.cc:\d+ .*?\) ")
Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class StateSpec:
    """One state of the streaming contract.

    plain: `<name>_out` becomes the next `<name>_in`. ring: `<name>_out` is one slot (length 1 on slot_axis)
    that takes the place of the oldest slot of `<name>_in`.
    """

    name: str
    ring: bool
    shape: tuple[int, ...]
    slot_axis: int

    def slots(self) -> int:
        """How many slots the ring has; 1 for a plain state."""
        return self.shape[self.slot_axis] if self.ring else 1

    def out_shape(self) -> tuple[int, ...]:
        """Shape of `<name>_out`."""
        if not self.ring:
            return self.shape
        return tuple(1 if axis == self.slot_axis else size for axis, size in enumerate(self.shape))


@dataclass(frozen=True)
class Contract:
    """What the file's metadata says: the preset and the states, in order."""

    preset: str
    states: tuple[StateSpec, ...]


def parse_contract(text: str | None, source: str) -> Contract:
    """The streaming contract from the metadata's JSON; `source` names the file in errors."""
    try:
        said = json.loads(text or "")
        version, face_px = said["version"], said["face_px"]
        contract = Contract(str(said["preset"]), tuple(_spec(state) for state in said["states"]))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise WeightsError(
            f"{source} has no readable streaming contract in its metadata ({type(error).__name__}: {error}); "
            "export it with `python -m export`"
        ) from error
    if version != CONTRACT_VERSION or face_px != FACE_PX:
        raise WeightsError(
            f"{source} follows contract version {version} with faces of {face_px} px, this program version "
            f"{CONTRACT_VERSION} with {FACE_PX} px; install matching weights and program"
        )
    return contract


def _spec(said: dict[str, Any]) -> StateSpec:
    if said["kind"] not in ("plain", "ring"):
        raise ValueError(f"state kind {said['kind']!r}")
    ring = said["kind"] == "ring"
    shape = tuple(int(size) for size in said["shape"])
    axis = int(said["slot_axis"]) if ring else 0
    if not 0 <= axis < len(shape):
        raise ValueError(f"slot_axis {axis} of shape {shape}")
    return StateSpec(str(said["name"]), ring, shape, axis)


class OnnxState:
    """Buffers and bindings of one face's stream. Every buffer starts as zeros: a fresh state."""

    def __init__(self, session: ort.InferenceSession, contract: Contract) -> None:
        self.time = 0
        self.face = np.zeros((1, 3, FACE_PX, FACE_PX), np.float32)
        self.outputs = {name: np.zeros(shape, np.float32) for name, shape in OUTPUTS.items()}
        self.planes_u8 = np.zeros((3, FACE_PX, FACE_PX), np.uint8)
        self.rings = {s.name: np.zeros(s.shape, np.float32) for s in contract.states if s.ring}
        self.slots = {s.name: np.zeros(s.out_shape(), np.float32) for s in contract.states if s.ring}
        self.plain = {
            s.name: (np.zeros(s.shape, np.float32), np.zeros(s.shape, np.float32))
            for s in contract.states
            if not s.ring
        }
        self.bindings = [self._bind(session, turn) for turn in (0, 1)]

    def _bind(self, session: ort.InferenceSession, turn: int) -> Any:
        """The binding for even or odd steps: they differ in which plain buffer is read, which written."""
        binding = session.io_binding()
        reads: dict[str, Array] = {"face": self.face}
        reads |= {f"{name}_in": ring for name, ring in self.rings.items()}
        reads |= {f"{name}_in": pair[turn] for name, pair in self.plain.items()}
        writes = self.outputs | {f"{name}_out": slot for name, slot in self.slots.items()}
        writes |= {f"{name}_out": pair[1 - turn] for name, pair in self.plain.items()}
        for name, array in reads.items():
            binding.bind_input(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        for name, array in writes.items():
            binding.bind_output(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        return binding

    def push(self, specs: tuple[StateSpec, ...]) -> None:
        """Put each ring's new slot over its oldest, and let the plain buffers change places."""
        for spec in specs:
            if spec.ring:
                oldest = self.time % spec.slots()
                where = (slice(None),) * spec.slot_axis + (slice(oldest, oldest + 1),)
                np.copyto(self.rings[spec.name][where], self.slots[spec.name])
        self.time += 1


class OnnxEngine:
    """A preset's ONNX file on the CPU."""

    name = "onnx-cpu"

    def __init__(self, weights: WeightsFile, threads: int) -> None:
        self._session = _session(weights, threads)
        meta = self._session.get_modelmeta().custom_metadata_map
        self._contract = parse_contract(meta.get(METADATA_KEY), str(weights.path))
        self.preset = self._contract.preset
        self.threads = threads
        self._second = ThreadPoolExecutor(1, "vretouch-step") if threads > 1 else None
        check_names(self._session, self._contract, str(weights.path))

    def new_state(self) -> OnnxState:
        """The memory of a face not yet seen."""
        return OnnxState(self._session, self._contract)

    def step(self, face_rgb_u8: npt.NDArray[np.uint8], state: OnnxState) -> Seen:
        """One causal step; see stream.engine.Engine.step."""
        self._by_rows(
            FACE_PX,
            lambda rows: to_planes(face_rgb_u8[rows], state.planes_u8[:, rows], state.face[0][:, rows]),
        )
        self._session.run_with_iobinding(state.bindings[state.time % 2])
        state.push(self._contract.states)
        residual, seen = (
            np.empty((3, FACE_PX, FACE_PX), np.float32),
            np.empty((1, FACE_PX, FACE_PX), np.float32),
        )

        def lay_out_rows(rows: slice) -> None:
            places = slice(2 * rows.start, 2 * rows.stop)
            shown = state.outputs["map_cells"][:, :, rows]
            lay_out(state.outputs["residual_cells"][:, :, rows], shown, residual[:, places])
            lay_out(shown, None, seen[:, places])

        self._by_rows(FACE_PX // 2, lay_out_rows)
        # The planes seen as [512, 512, 3]: nothing is moved.
        return Seen(residual.transpose(1, 2, 0), seen[0], state.outputs["kept"][0].copy())

    def _by_rows(self, rows: int, work: Callable[[slice], None]) -> None:
        """Work on all the rows: the upper half in a second thread, if there is one."""
        if self._second is None:
            work(slice(0, rows))
            return
        upper = self._second.submit(work, slice(0, rows // 2))
        work(slice(rows // 2, rows))
        upper.result()


def to_planes(face_rgb_u8: npt.NDArray[np.uint8], planes_u8: npt.NDArray[np.uint8], planes: Array) -> None:
    """uint8 [H, W, 3] RGB into planes float32 [3, H, W] RGB in [0, 1]; planes_u8, alike, is written over."""
    cv2.split(face_rgb_u8, list(planes_u8))
    np.multiply(planes_u8, np.float32(1.0 / 255.0), out=planes)


def lay_out(cells: Array, times: Array | None, planes: Array) -> None:
    """Cells float32 [1, 4 C, h, w] into planes float32 [C, 2 h, 2 w], multiplied by cells [1, 4, h, w] if
    given (see export.contract)."""
    _, parts, h, w = cells.shape
    placed = planes.reshape(parts // 4, h, 2, w, 2)
    for pixel in range(4):
        place = placed[:, :, pixel // 2, :, pixel % 2]
        if times is None:
            np.copyto(place, cells[0, pixel::4])
        else:
            np.multiply(cells[0, pixel::4], times[0, pixel], out=place)


def _session(weights: WeightsFile, threads: int) -> ort.InferenceSession:
    options = _options()
    options.intra_op_num_threads = threads
    # Waking a sleeping thread for each node of the graph costs 3 ms a step, but threads that spin for long,
    # or between steps, take the encoder's core. 200 us of spinning keeps the gain and avoids the loss.
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    options.add_session_config_entry("session.intra_op.spin_duration_us", str(SPIN_US))
    options.add_session_config_entry("session.force_spinning_stop", "1")
    try:
        return ort.InferenceSession(str(weights.path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise WeightsError(
            f"{weights.path} cannot be loaded ({first_line(error)}); "
            "install vretouch again or run `python -m export` anew"
        ) from error


def gpu_session(weights: WeightsFile, wanted: dict[str, dict[str, str]]) -> ort.InferenceSession:
    """A session on the providers of a GPU that are named with their options, the first one preferred; the CPU
    does what none of them knows.

    Raises:
        EngineError: this ONNX Runtime lacks one of them, or one does not work here or take the file.
    """
    first, *_ = map(_short, wanted)
    for provider in wanted:
        if provider not in providers():
            raise EngineError(
                f"the installed ONNX Runtime does not know {_short(provider)}; "
                f"`pip uninstall onnxruntime onnxruntime-gpu`, then {_GPU_INSTALL}, or choose another engine"
            )
    lacking = _load_cuda()
    chosen = [*wanted.items(), "CPUExecutionProvider"]
    try:
        # Its own fallback prints a banner on the standard output, where a video may go.
        session = ort.InferenceSession(str(weights.path), _options(), providers=chosen, enable_fallback=0)
    except Exception as error:
        reason = lacking or _PLACE.sub("", first_line(error))
        raise EngineError(
            f"ONNX Runtime could not load {weights.path} on {first} ({reason}); choose another engine"
        ) from error
    for provider in wanted:
        if provider not in session.get_providers():
            raise EngineError(
                f"ONNX Runtime could not start {_short(provider)} ({lacking or 'its own log says why'}); "
                f"{_GPU_INSTALL} brings CUDA's libraries, for which the driver must be new enough; or choose "
                "another engine"
            )
    return session


def _load_cuda() -> str:
    """Loads CUDA's and cuDNN's libraries from where pip puts them, which ONNX Runtime does not do by itself;
    gives what it says if one cannot be loaded."""
    with redirect_stdout(io.StringIO()) as said:
        ort.preload_dlls()
    return said.getvalue().strip().partition("\n")[0]


def _short(provider: str) -> str:
    return provider.removesuffix("ExecutionProvider")


def run_options() -> ort.RunOptions:
    """Of a run that is set going and not waited for."""
    options = ort.RunOptions()
    options.add_run_config_entry("disable_synchronize_execution_providers", "1")
    return options


def _options() -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return options


def check_names(session: ort.InferenceSession, contract: Contract, source: str) -> None:
    """The graph must have what the contract names, in the contract's sizes."""
    wanted: dict[str, tuple[int, ...]] = {"face": (1, 3, FACE_PX, FACE_PX), **OUTPUTS}
    for spec in contract.states:
        wanted |= {f"{spec.name}_in": spec.shape, f"{spec.name}_out": spec.out_shape()}
    found = {node.name: node.shape for node in (*session.get_inputs(), *session.get_outputs())}
    for name, shape in wanted.items():
        if name not in found:
            raise WeightsError(f"{source} lacks {name!r}, which its contract names; export it anew")
        fixed = all(isinstance(size, int) for size in found[name])
        if fixed and math.prod(found[name]) != math.prod(shape):
            raise WeightsError(
                f"{source} has {name!r} of shape {found[name]}, but its contract says {list(shape)}; "
                "export it anew"
            )


def providers() -> list[str]:
    """The execution providers of the installed ONNX Runtime, for diagnosis."""
    return list(ort.get_available_providers())
