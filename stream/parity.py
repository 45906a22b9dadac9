"""Whether an engine computes what another one does, and how fast."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from stream.crop import FACE_PX
from stream.engine import Engine

# Twice the ring of six references and one frame more.
FRAMES = 13
WARM_UP = 3
LEVELS = 1.0
MAP = 0.02
# A residual as faint as this would prove nothing: every engine that gives nought would pass.
LEAST_LEVELS = 4.0
_SKIN_RGB = (0.78, 0.58, 0.48)
_REDNESS_RGB = (0.1, 0.35, 0.35)


@dataclass(frozen=True)
class Parity:
    """Largest absolute differences over FRAMES chained frames, and times.

    residual_levels: in 8-bit levels. map: in [0, 1]. largest_levels: the reference's largest residual.
    first_ms: the first step, with all that has to be made ready for it; step_ms: the median of the others
    but WARM_UP.
    """

    residual_levels: float
    map: float
    largest_levels: float
    first_ms: float
    step_ms: float

    @property
    def objection(self) -> str:
        """Why the engine cannot be trusted, or nothing."""
        if not self.largest_levels >= LEAST_LEVELS:
            return f"the weights change spotted skin by {self.largest_levels:.2g} levels only"
        if not self.residual_levels <= LEVELS:
            return f"its residual is off by {self.residual_levels:.2g} levels"
        if not self.map <= MAP:
            return f"its map is off by {self.map:.2g}"
        return ""


def measure(engine: Engine, reference: Engine) -> Parity:
    """The engine beside the reference, each streaming the same faces from a new state."""
    states = engine.new_state(), reference.new_state()
    times_ms: list[float] = []
    residual = seen = largest = 0.0
    for face in spotted_faces():
        began_ns = time.perf_counter_ns()
        got = engine.step(face, states[0])
        times_ms.append((time.perf_counter_ns() - began_ns) / 1e6)
        wanted = reference.step(face, states[1])
        residual = _worse(residual, got.residual, wanted.residual)
        seen = _worse(seen, got.map, wanted.map)
        largest = max(largest, float(np.abs(wanted.residual).max()))
    return Parity(residual, seen, largest, times_ms[0], statistics.median(times_ms[WARM_UP:]))


def _worse(before: float, got: npt.NDArray[np.float32], wanted: npt.NDArray[np.float32]) -> float:
    """The larger of the difference so far and this one; what is not a number is endlessly far off."""
    if got.shape != wanted.shape or not np.isfinite(got).all():
        return float("inf")
    return max(before, float(np.abs(got - wanted).max()))


def spotted_faces(frames: int = FRAMES) -> list[npt.NDArray[np.uint8]]:
    """Skin with reddish spots that drifts by a few pixels a frame, uint8 [512, 512, 3] RGB each: every part
    of the network has work, and no picture of anyone is needed."""
    random = np.random.default_rng(0)
    side = FACE_PX + 2 * frames
    shade = _grown(random.random((8, 8)), side)
    spots = _grown((random.random((side // 8, side // 8)) > 0.96).astype(np.float64), side).clip(0.0, 1.0)
    skin = np.multiply.outer(0.8 + 0.3 * shade, _SKIN_RGB)
    wide = skin * np.exp(-np.multiply.outer(spots, _REDNESS_RGB))
    wide_u8 = np.round(wide.clip(0.0, 1.0) * 255.0).astype(np.uint8)
    corners = ((t, 2 * t) for t in range(frames))
    return [np.ascontiguousarray(wide_u8[y : y + FACE_PX, x : x + FACE_PX]) for y, x in corners]


def _grown(small: npt.NDArray[np.float64], side: int) -> npt.NDArray[np.float64]:
    return np.asarray(cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC), np.float64)
