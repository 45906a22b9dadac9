"""Carry a residual back from the aligned face into the frame, through a feathered guard of skin.

frame' = frame + round(strength * fade * uncrop(residual) * uncrop(guard)), inside the frame's own pixels. The
frame is never warped: what the residual does not change keeps every byte.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from stream.crop import ANTIALIAS_FROM, FACE_PX, invert, scale_of, transform
from stream.regions import skin_mask

FEATHER_PX = 7
# A strip of the frame with its layers in float32 stays inside a core's own cache.
_STRIP_PIXELS = 65536
Guard = npt.NDArray[np.uint8]
Plane = npt.NDArray[np.float32]
# x0, y0, x1, y1 in whole pixels, the last two exclusive.
Box = tuple[int, int, int, int]


def skin_guard(face_landmarks_px: npt.NDArray[np.float32]) -> Guard:
    """uint8 [512, 512]: 255 on skin, 0 off it, rising over FEATHER_PX inside the outlines.

    The outlines are those of stream.regions.skin_mask. face_landmarks_px: float32 [468, 2] in face pixels.
    """
    mask = skin_mask(face_landmarks_px, (FACE_PX, FACE_PX))
    # Shrinking by half the feather's width before blurring by that width keeps the ramp inside the outlines.
    kernel = np.ones((FEATHER_PX, FEATHER_PX), np.uint8)
    inner = cv2.erode(mask, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray(cv2.blur(inner, (FEATHER_PX, FEATHER_PX), borderType=cv2.BORDER_CONSTANT), np.uint8)


def add_residual(
    frame_rgb_u8: npt.NDArray[np.uint8],
    residual: npt.NDArray[np.float32],
    guard: Guard,
    to_face: npt.NDArray[np.float64],
    amount: float,
) -> Box | None:
    """Add amount * residual * guard to the frame, in place; the box outside which no byte was written.

    frame_rgb_u8: uint8 [H, W, 3] RGB, contiguous. residual: float32 [512, 512, 3] RGB in 8-bit levels, face
    pixels. guard: uint8 [512, 512]. to_face: float64 [2, 3], frame to face pixels. amount in [0, 1]: strength
    times fade. The residual is rounded half to even before it is added, so less than half a level changes
    nothing.
    """
    place = placed(guard, to_face, frame_rgb_u8.shape) if amount > 0.0 else None
    if place is None:
        return None
    (fx0, fy0, fx1, fy1), (x0, y0, x1, y1) = place.part, place.box
    layers = _layers(residual[fy0:fy1, fx0:fx1], guard[fy0:fy1, fx0:fx1], place.block)
    rows = max(1, _STRIP_PIXELS // (x1 - x0))
    for top in range(y0, y1, rows):
        strip = frame_rgb_u8[top : min(top + rows, y1), x0:x1]
        _add_strip(strip, layers, _from_origin(place.inward, x0, top), amount)
    return place.box


@dataclass(frozen=True)
class Placed:
    """Where the guarded part of a face falls.

    part: that part, in face pixels. box: the frame's pixels it falls on. block: where the frame's pixels are
    much larger than the face's, the guarded residual is averaged first, in cells of block x block. inward:
    float64 [2, 3], from frame pixels to those cells, (0, 0) being the part's first.
    """

    part: Box
    box: Box
    block: int
    inward: npt.NDArray[np.float64]


def placed(guard: Guard, to_face: npt.NDArray[np.float64], shape: tuple[int, ...]) -> Placed | None:
    """Where the guarded part falls in a frame of this shape (height, width, ...); None where it does not."""
    part = _guarded_part(guard)
    box = None if part is None else _frame_box(part, to_face, shape)
    if part is None or box is None:
        return None
    x0, y0, x1, y1 = part
    scale = scale_of(to_face)
    block = 1 if scale < ANTIALIAS_FROM else min(math.ceil(scale - 0.5), x1 - x0, y1 - y0)
    # A block's centre lies (block - 1) / 2 from its first pixel.
    shift = to_face[:, 2] - np.array([x0, y0]) - (block - 1) / 2.0
    return Placed(part, box, block, np.column_stack([to_face[:, :2], shift]) / block)


def _guarded_part(guard: Guard) -> Box | None:
    """x0, y0, x1, y1 (exclusive) of the guard that is not 0, one pixel wider where there is room."""
    x, y, width, height = cv2.boundingRect(guard)
    if width == 0 or height == 0:
        return None
    return max(0, x - 1), max(0, y - 1), min(FACE_PX, x + width + 1), min(FACE_PX, y + height + 1)


def _frame_box(part: Box, to_face: npt.NDArray[np.float64], shape: tuple[int, ...]) -> Box | None:
    """x0, y0, x1, y1 (exclusive) of the frame pixels that fall on that part of the face, or None."""
    x0, y0, x1, y1 = part
    on_face = np.array([[x0, y0], [x1 - 1, y0], [x0, y1 - 1], [x1 - 1, y1 - 1]], np.float64)
    corners = transform(on_face, invert(to_face))
    low, high = corners.min(axis=0), corners.max(axis=0)
    left, top = max(0, math.ceil(low[0])), max(0, math.ceil(low[1]))
    right, bottom = min(shape[1], math.floor(high[0]) + 1), min(shape[0], math.floor(high[1]) + 1)
    return (left, top, right, bottom) if left < right and top < bottom else None


def _from_origin(inward: npt.NDArray[np.float64], x: int, y: int) -> npt.NDArray[np.float64]:
    """inward, of a part of the frame that begins at pixel (x, y)."""
    return np.column_stack([inward[:, :2], inward[:, 2] + inward[:, :2] @ np.array([x, y], np.float64)])


@dataclass(frozen=True)
class _Layers:
    """Part of the face. planes: red, green, blue residual, float32 [h, w] in levels. guard: float32 [h, w].

    Kept apart, which OpenCV warps several times faster than three channels together.
    """

    planes: tuple[Plane, Plane, Plane]
    guard: Plane


def _layers(levels: npt.NDArray[np.float32], weight: Guard, block: int) -> _Layers:
    """The layers of residual [h, w, 3] and guard uint8 [h, w], averaged where block is more than 1."""
    soft = weight * np.float32(1.0 / 255.0)
    red, green, blue = (_rows_contiguous(levels[:, :, channel]) for channel in range(3))
    if block == 1:
        return _Layers((red, green, blue), soft)
    red, green, blue = (_block_means(plane * soft, block) for plane in (red, green, blue))
    return _Layers((red, green, blue), np.ones_like(red))


def _rows_contiguous(plane: Plane) -> Plane:
    """The plane as OpenCV can read it: a view where its rows are contiguous, else a copy."""
    return plane if plane.strides[1] == plane.itemsize else np.ascontiguousarray(plane)


def _block_means(plane: Plane, block: int) -> Plane:
    """Means over block x block pixels; what does not fill a block at the right and bottom is left out."""
    rows, columns = plane.shape[0] // block, plane.shape[1] // block
    whole = plane[: rows * block, : columns * block]
    return np.asarray(cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA), np.float32)


def _add_strip(
    strip_rgb_u8: npt.NDArray[np.uint8], layers: _Layers, inward: npt.NDArray[np.float64], amount: float
) -> None:
    """Un-crop into one strip of the frame, guard, round and add, in place; beyond the layers add nothing."""
    size = (strip_rgb_u8.shape[1], strip_rgb_u8.shape[0])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP

    def uncrop(plane: Plane) -> Plane:
        seen = cv2.warpAffine(plane, inward, size, flags=flags, borderMode=cv2.BORDER_CONSTANT)
        return np.asarray(seen, np.float32)

    guard = uncrop(layers.guard)
    rounded = [cv2.multiply(uncrop(plane), guard, scale=amount, dtype=cv2.CV_16S) for plane in layers.planes]
    cv2.add(strip_rgb_u8, cv2.merge(rounded), dst=strip_rgb_u8, dtype=cv2.CV_8U)
