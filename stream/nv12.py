"""NV12 made, read and retouched on the host: what frames on a GPU are compared with.

A frame is uint8 [3 H / 2, W]: Y, and below it U and V by turns. H and W are even; colours are untagged.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from stream.kernels.launch import UNTAGGED, Surface
from stream.planes import LAYOUTS, add_residual_to_planes, rgb_to_yuv, yuv_to_rgb

Bytes = npt.NDArray[np.uint8]
_GREY = 128.0
_GAP_ROWS, _PITCH_BYTES = 8, 256


def nv12_of(rgb_u8: Bytes) -> Bytes:
    """The frame of uint8 [H, W, 3] RGB."""
    height, width = rgb_u8.shape[:2]
    yuv = cv2.transform(rgb_u8.astype(np.float32), rgb_to_yuv(UNTAGGED, height))
    chroma = cv2.resize(yuv[:, :, 1:], (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    rows = [yuv[:, :, 0] + yuv_to_rgb(UNTAGGED, height)[1], chroma.reshape(height // 2, width) + _GREY]
    return np.asarray(np.clip(np.rint(np.concatenate(rows)), 0, 255), np.uint8)


def rgb_of_nv12(frame: Bytes) -> Bytes:
    """uint8 [H, W, 3] RGB, each sample of chroma standing for its 2 x 2 pixels."""
    luma, chroma = _parts(frame)
    matrix, black = yuv_to_rgb(UNTAGGED, len(luma))
    yuv = np.dstack([luma, chroma.repeat(2, axis=0).repeat(2, axis=1)])
    rgb = cv2.transform(yuv - np.array([black, _GREY, _GREY], np.float32), matrix)
    return np.asarray(np.clip(np.rint(rgb), 0, 255), np.uint8)


def retouched_nv12(frame: Bytes, rgb_u8: Bytes, retouched_rgb_u8: Bytes) -> Bytes:
    """The frame, whose RGB is rgb_u8, with what was retouched of that, as a file is written on the CPU."""
    luma, chroma = _parts(frame)
    planes = [luma.copy(), *(np.ascontiguousarray(chroma[:, :, k]) for k in range(2))]
    change = np.asarray(cv2.subtract(retouched_rgb_u8, rgb_u8, dtype=cv2.CV_32F), np.float32)
    to_yuv = rgb_to_yuv(UNTAGGED, len(luma))
    add_residual_to_planes(planes, change, (0, 0), LAYOUTS["yuv420p"], to_yuv)
    return np.concatenate([planes[0], np.dstack(planes[1:]).reshape(len(luma) // 2, -1)])


def laid_out(frame: Bytes) -> Bytes:
    """The frame as decoders lay it out: rows further apart than they are long, and rows of nothing between
    luma and chroma."""
    rows, width = frame.shape
    spaced = np.insert(frame, [rows * 2 // 3] * _GAP_ROWS, 0, axis=0)
    return np.pad(spaced, ((0, 0), (0, -width % _PITCH_BYTES)))


def as_it_was(laid: Bytes, shape: tuple[int, ...]) -> Bytes:
    """The frame, of that shape, out of what `laid_out` made of it."""
    height = shape[0] * 2 // 3
    return np.delete(laid, range(height, height + _GAP_ROWS), axis=0)[:, : shape[1]]


def surface_at(address: int, shape: tuple[int, ...]) -> Surface:
    """A frame of this shape on a GPU, `laid_out`, by its address."""
    rows, width = shape
    height, pitch = rows * 2 // 3, width + -width % _PITCH_BYTES
    return Surface("nv12", width, height, (address, address + (height + _GAP_ROWS) * pitch), (pitch, pitch))


def _parts(frame: Bytes) -> tuple[Bytes, Bytes]:
    """Y [H, W], and U and V [H / 2, W / 2, 2]."""
    height = len(frame) * 2 // 3
    return frame[:height], frame[height:].reshape(height // 2, -1, 2)
