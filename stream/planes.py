"""Add a residual, given in RGB, to a frame's own Y, U and V planes of any depth and subsampling.

The frame is not carried to RGB and back: samples that the residual does not reach keep every bit. YUV is
linear in R'G'B', so a change of RGB is a change of YUV by the matrix of ITU-T H.273, eq. 31 to 51, without
its offsets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from stream.frame import ColourTags

HD_LINES = 720
LIMITED, FULL = 1, 2
UNSAID = 2
_WEIGHTS = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}


@dataclass(frozen=True)
class PlaneLayout:
    """Bits of a sample, and log2 of the chroma's subsampling across and down."""

    bits: int
    shift_x: int
    shift_y: int


LAYOUTS = {
    "yuv420p": PlaneLayout(8, 1, 1),
    "yuv422p": PlaneLayout(8, 1, 0),
    "yuv444p": PlaneLayout(8, 0, 0),
    "yuv420p10le": PlaneLayout(10, 1, 1),
    "yuv422p10le": PlaneLayout(10, 1, 0),
    "yuv444p10le": PlaneLayout(10, 0, 0),
}


def known_matrix(matrix: int) -> bool:
    """Whether frames of this matrix (H.273) can be carried to RGB; unsaid (2, or 0) counts as known."""
    return matrix in _WEIGHTS or matrix in (0, UNSAID)


def matrix_of(tags: ColourTags, lines: int) -> int:
    """The matrix to use: the tag, or where it is unsaid what players take, BT.709 from 720 lines on, else
    BT.601."""
    if tags.matrix in _WEIGHTS:
        return tags.matrix
    return 1 if lines >= HD_LINES else 6


def rgb_to_yuv(tags: ColourTags, lines: int) -> npt.NDArray[np.float32]:
    """float32 [3, 3] taking RGB in 8-bit levels to Y, U, V in 8-bit codes, offsets left out."""
    kr, kb = _WEIGHTS[matrix_of(tags, lines)]
    luma = np.array([kr, 1.0 - kr - kb, kb])
    blue = (np.array([0.0, 0.0, 1.0]) - luma) / (2.0 * (1.0 - kb))
    red = (np.array([1.0, 0.0, 0.0]) - luma) / (2.0 * (1.0 - kr))
    y_scale, uv_scale = (1.0, 1.0) if tags.range == FULL else (219.0 / 255.0, 224.0 / 255.0)
    return np.stack([y_scale * luma, uv_scale * blue, uv_scale * red]).astype(np.float32)


def yuv_to_rgb(tags: ColourTags, lines: int) -> tuple[npt.NDArray[np.float32], float]:
    """float32 [3, 3] taking Y, U, V in 8-bit codes, less their offsets, to RGB in 8-bit levels; and Y's
    offset (that of U and V is 128)."""
    inverse = np.linalg.inv(rgb_to_yuv(tags, lines).astype(np.float64))
    return inverse.astype(np.float32), 0.0 if tags.range == FULL else 16.0


def add_residual_to_planes(
    planes: Sequence[npt.NDArray[Any]],
    residual: npt.NDArray[np.float32],
    origin: tuple[int, int],
    layout: PlaneLayout,
    to_yuv: npt.NDArray[np.float32],
) -> None:
    """Add a residual to the planes, in place.

    planes: Y [H, W], U and V [ceil(H >> shift_y), ceil(W >> shift_x)], uint8 or uint16, stored orientation.
    residual: float32 [h, w, 3] RGB in 8-bit levels, its first pixel at origin (x, y), a place on the chroma
    grid. to_yuv: see rgb_to_yuv.
    """
    gain = float(1 << (layout.bits - 8))
    x, y = origin
    h, w = residual.shape[:2]
    _add(planes[0][y : y + h, x : x + w], cv2.transform(residual, gain * to_yuv[:1]), layout.bits)
    chroma = cv2.transform(_shrunk(residual, layout), gain * to_yuv[1:])
    cy, cx = y >> layout.shift_y, x >> layout.shift_x
    for plane, change in zip(planes[1:], cv2.split(chroma), strict=True):
        _add(plane[cy : cy + change.shape[0], cx : cx + change.shape[1]], change, layout.bits)


def _shrunk(residual: npt.NDArray[np.float32], layout: PlaneLayout) -> npt.NDArray[np.float32]:
    """Means over the pixels that share a chroma sample."""
    step_x, step_y = 1 << layout.shift_x, 1 << layout.shift_y
    if step_x == step_y == 1:
        return residual
    right, below = -residual.shape[1] % step_x, -residual.shape[0] % step_y
    if right or below:
        residual = np.asarray(
            cv2.copyMakeBorder(residual, 0, below, 0, right, cv2.BORDER_REPLICATE), np.float32
        )
    size = (residual.shape[1] // step_x, residual.shape[0] // step_y)
    return np.asarray(cv2.resize(residual, size, interpolation=cv2.INTER_AREA), np.float32)


def _add(samples: npt.NDArray[Any], change: npt.NDArray[Any], bits: int) -> None:
    """samples + round(change), kept within the sample's range, in place."""
    rounded = np.rint(change.reshape(samples.shape)).astype(np.int16)
    if bits == 8:
        cv2.add(samples, rounded, dst=samples, dtype=cv2.CV_8U)
    else:
        np.copyto(samples, np.clip(samples + rounded, 0, (1 << bits) - 1), casting="unsafe")
