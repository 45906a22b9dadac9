"""The ways a clip goes through the retoucher: the whole frame path, or the network alone on aligned faces."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from bench.metrics import Floats, Pixels
from bench.report import BenchError
from stream.crop import FACE_PX
from stream.engine import Engine, WeightsFile, load_engine
from stream.retoucher import Retoucher


@dataclass(frozen=True)
class Retouched:
    """One frame: uint8 [H, W, 3] RGB, its map float32 [H, W] in frame pixels, and whether a face was
    found."""

    out_u8: Pixels
    map: Floats
    found: bool


class ClipPath(Protocol):
    """Frames of one clip in order; `begin` before each clip."""

    def begin(self) -> None:
        """Forget the clip before."""
        ...

    def frame(self, raw_u8: Pixels) -> Retouched:
        """The next frame, uint8 [H, W, 3] RGB."""
        ...


def uncrop_map(face_map: Floats, to_face: npt.NDArray[np.float64], shape: tuple[int, ...]) -> Floats:
    """The map float32 [512, 512] of a face as float32 [H, W] of the frame; 0 outside. to_face: frame to
    face px."""
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    seen = cv2.warpAffine(
        face_map, to_face, (shape[1], shape[0]), flags=flags, borderMode=cv2.BORDER_CONSTANT
    )
    return np.asarray(seen, np.float32)


class FramePath:
    """The path a user's frames take: locate, align, crop, step, un-crop, add."""

    def __init__(self, retoucher: Retoucher) -> None:
        self._retoucher = retoucher

    def begin(self) -> None:
        """A new stream."""
        self._retoucher.reset()

    def frame(self, raw_u8: Pixels) -> Retouched:
        """One frame through Retoucher.process; the maps of several faces are joined by their maximum."""
        out = self._retoucher.process(raw_u8)
        joined = np.zeros(raw_u8.shape[:2], np.float32)
        for face in self._retoucher.last.faces:
            np.maximum(joined, uncrop_map(face.map, face.alignment, raw_u8.shape), out=joined)
        return Retouched(out, joined, bool(self._retoucher.last.faces))


class NetworkPath:
    """The network alone: frames are aligned faces already, and the residual is added as it comes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.begin()

    def begin(self) -> None:
        """A fresh state."""
        self._state = self._engine.new_state()

    def frame(self, raw_u8: Pixels) -> Retouched:
        """One step on uint8 [512, 512, 3] RGB."""
        if raw_u8.shape != (FACE_PX, FACE_PX, 3):
            raise BenchError(
                f"a face must be {FACE_PX} x {FACE_PX} px, not {list(raw_u8.shape)}; give aligned faces"
            )
        residual, seen = self._engine.step(raw_u8, self._state)[:2]
        out = np.clip(raw_u8 + np.rint(residual), 0, 255).astype(np.uint8)
        return Retouched(out, seen, True)


def engine_for(name: str, preset: str, model: Path | None, threads: int | None = None) -> Engine:
    """The engine of a preset's shipped weights, or of the ONNX file `model` with the streaming contract."""
    if model is None:
        return load_engine(name, preset, threads)
    if not model.is_file():
        raise BenchError(f"{model} is not a file; give an ONNX file made by `python -m export`")
    from stream.engine import default_threads
    from stream.engines.onnx_ import OnnxEngine

    return OnnxEngine(WeightsFile(model, {}), default_threads() if threads is None else threads)
