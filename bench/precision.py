"""What an engine's rounding costs: its retouched faces beside those of the network in single precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from bench.metrics import Mask, Pixels, psnr_db
from stream.engine import Engine


@dataclass(frozen=True)
class Precision:
    """levels: the largest difference of a byte. gain_lost_db: how much less is gained over the raw faces;
    None where the retouched faces are not known."""

    levels: float
    gain_lost_db: float | None


def compare(
    engine: Engine, reference: Engine, faces: Sequence[Pixels], targets: Sequence[Pixels] | None
) -> Precision:
    """The engine beside the reference over faces uint8 [512, 512, 3] RGB in a row; targets: what they should
    become."""
    got, wanted = retouched(engine, faces), retouched(reference, faces)
    levels = max(float(cv2.absdiff(a, b).max()) for a, b in zip(got, wanted, strict=True))
    if targets is None:
        return Precision(levels, None)
    gains = [psnr_db(np.stack(some), np.stack(targets), _everywhere(targets)) for some in (wanted, got)]
    return Precision(levels, gains[0] - gains[1])


def retouched(engine: Engine, faces: Sequence[Pixels]) -> list[Pixels]:
    """The faces as the engine would have them, uint8 [512, 512, 3] RGB each."""
    state = engine.new_state()
    residuals = [engine.step(face, state)[0].copy() for face in faces]
    return [
        np.clip(face + np.rint(residual), 0, 255).astype(np.uint8)
        for face, residual in zip(faces, residuals, strict=True)
    ]


def _everywhere(pictures: Sequence[Pixels]) -> Mask:
    return np.ones((len(pictures), *pictures[0].shape[:2]), np.bool_)
