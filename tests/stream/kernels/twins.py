"""What the kernels must give, by NumPy and OpenCV: the references of their tests.

Of an RGB frame crop and paste are what every CPU run does, `stream.crop` and `stream.composite`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from stream import traits
from stream.composite import Box, Guard, add_residual
from stream.crop import FACE_PX, crop_face, part_read, scale_of
from stream.frame import ColourTags
from stream.kernels.launch import UNTAGGED
from stream.planes import LAYOUTS, add_residual_to_planes, rgb_to_yuv, yuv_to_rgb

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[Any]


def crop(
    planes: Sequence[Bytes],
    to_face: npt.NDArray[np.float64],
    dtype: npt.DTypeLike = np.float32,
    *,
    pixels: bool = False,
    tags: ColourTags = UNTAGGED,
) -> npt.NDArray[Any]:
    """The aligned face of an RGB, NV12 or I420 frame.

    planes: RGB [H, W, 3]; or Y [H, W] and UV [h, w, 2]; or Y, U and V [h, w], where h and w are half, rounded
    up. tags: colours of YUV. Returns [3, 512, 512], or with pixels [512, 512, 3], of dtype float16 or float32
    in [0, 1] or uint8 in levels; whole levels in either case.
    """
    levels = crop_face(planes[0], to_face) if len(planes) == 1 else _crop_yuv(planes, to_face, tags)
    face = levels if pixels else np.ascontiguousarray(levels.transpose(2, 0, 1))
    if np.dtype(dtype) == np.uint8:
        return face
    return np.multiply(face, np.float32(1.0 / 255.0), dtype=np.float32).astype(dtype)


def _crop_yuv(planes: Sequence[Bytes], to_face: npt.NDArray[np.float64], tags: ColourTags) -> Bytes:
    """Cropped as YUV, each chroma sample standing for its 2x2 pixels, and then made RGB."""
    size, yuv = (FACE_PX, FACE_PX), _yuv_of(planes)
    part = part_read(yuv.shape, to_face, size, 1.0 / max(scale_of(to_face), 1e-6))
    warped = cv2.warpAffine(
        part.of(yuv).astype(np.float32),
        part.matrix,
        size,
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return _rgb_of(np.asarray(warped), tags, yuv.shape[0])


def _yuv_of(planes: Sequence[Bytes]) -> Bytes:
    """uint8 [H, W, 3], each chroma sample standing for its 2x2 pixels."""
    (height, width), chroma = planes[0].shape, planes[1] if len(planes) == 2 else np.dstack(planes[1:])
    wide = chroma.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
    return np.dstack([planes[0], wide])


def _rgb_of(yuv: Floats, tags: ColourTags, lines: int) -> Bytes:
    matrix, black = yuv_to_rgb(tags, lines)
    rgb = (yuv - np.array([black, 128.0, 128.0], np.float32)) @ matrix.T
    return np.asarray(np.clip(np.rint(rgb), 0, 255), np.uint8)


def warp(image: Floats, flow: Floats) -> Floats:
    """Backward warp of image [N, C, H, W] by flow [N, 2, H, W] in pixels (x, y); see launch.warp."""
    height, width = image.shape[-2:]
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    u = np.clip(xs + flow[:, 0].astype(np.float32), 0, width - 1)
    v = np.clip(ys + flow[:, 1].astype(np.float32), 0, height - 1)
    left, top = np.floor(u).astype(np.intp), np.floor(v).astype(np.intp)
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    fx, fy = (u - left)[:, None], (v - top)[:, None]
    flat = image.reshape(*image.shape[:2], -1).astype(np.float32)

    def read(rows: npt.NDArray[np.intp], columns: npt.NDArray[np.intp]) -> Floats:
        places = (rows * width + columns).reshape(len(image), 1, -1)
        return np.take_along_axis(flat, places, axis=2).reshape(image.shape)

    upper = read(top, left) * (1 - fx) + read(top, right) * fx
    lower = read(bottom, left) * (1 - fx) + read(bottom, right) * fx
    return np.asarray(upper * (1 - fy) + lower * fy).astype(image.dtype)


def guard(skin: Guard, kept: Floats, keep: Collection[str]) -> Guard:
    """The guard uint8 [512, 512] of skin, lowered where kept [2, 128, 128] shows what is in keep."""
    face = np.zeros((FACE_PX, FACE_PX, 3), np.uint8)
    shares = traits.shares_of(kept.astype(np.float32), face, frozenset(keep), skin)
    return traits.spared(skin, shares)


def paste(
    frame_rgb_u8: Bytes, residual: Floats, guard: Guard, to_face: npt.NDArray[np.float64], amount: float
) -> Box | None:
    """Add amount * residual [3, 512, 512], of any float, times guard to the frame; see add_residual."""
    levels = residual.astype(np.float32).transpose(1, 2, 0)
    return add_residual(frame_rgb_u8, levels, guard, to_face, amount)


def paste_yuv(
    planes: Sequence[Bytes],
    residual: Floats,
    guard: Guard,
    to_face: npt.NDArray[np.float64],
    amount: float,
    tags: ColourTags = UNTAGGED,
) -> None:
    """The same in an NV12 or I420 frame: what RGB gains, in whole levels, carried to its planes."""
    before = rgb_of(planes, tags)
    after = before.copy()
    paste(after, residual, guard, to_face, amount)
    carry(planes, before, after, tags)


def rgb_of(planes: Sequence[Bytes], tags: ColourTags) -> Bytes:
    """uint8 [H, W, 3] RGB of an NV12 or I420 frame."""
    yuv = _yuv_of(planes)
    return _rgb_of(yuv, tags, yuv.shape[0])


def carry(planes: Sequence[Bytes], before: Bytes, after: Bytes, tags: ColourTags) -> None:
    """Add to an NV12 or I420 frame what its RGB gained, as stream.planes.add_residual_to_planes does."""
    change = np.asarray(cv2.subtract(after, before, dtype=cv2.CV_32F))
    chroma = cv2.split(planes[1]) if len(planes) == 2 else planes[1:]
    apart = [planes[0].copy(), *(plane.copy() for plane in chroma)]
    to_yuv = rgb_to_yuv(tags, planes[0].shape[0])
    add_residual_to_planes(apart, change, (0, 0), LAYOUTS["yuv420p"], to_yuv)
    together = [apart[0], np.dstack(apart[1:])] if len(planes) == 2 else apart
    for plane, retouched in zip(planes, together, strict=True):
        plane[...] = retouched


def residual_of(residual_cells: Floats, map_cells: Floats) -> npt.NDArray[np.float32]:
    """The residual [3, 512, 512] of the network's two factors [12, 256, 256] and [4, 256, 256]."""
    half = FACE_PX // 2
    cells = residual_cells.astype(np.float32).reshape(3, 2, 2, half, half)
    cells = cells * map_cells.astype(np.float32).reshape(1, 2, 2, half, half)
    return np.ascontiguousarray(cells.transpose(0, 3, 1, 4, 2)).reshape(3, FACE_PX, FACE_PX)
