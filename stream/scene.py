"""Cuts: whether a frame shows another scene than the one before."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

_THUMB_SIZE = (32, 18)
_CUT_LEVELS = 18.0
_CUT_CORRELATION = 0.55


class Scene:
    """Remembers what the last frame looked like."""

    def __init__(self) -> None:
        self._thumb: npt.NDArray[np.float32] | None = None
        self._size: tuple[int, ...] = ()

    def changed(self, frame_rgb_u8: npt.NDArray[np.uint8]) -> bool:
        """Whether the frame uint8 [H, W, 3] is of another scene than the one before, or of another size, so
        that its pixels say nothing about where faces were; False for the first."""
        before, self._thumb = self._thumb, _thumbnail(frame_rgb_u8)
        size, self._size = self._size, frame_rgb_u8.shape
        return before is not None and (size != frame_rgb_u8.shape or is_cut(before, self._thumb))


def _thumbnail(frame_rgb_u8: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """A small picture float32 [18, 32] of the frame's green, from every n-th pixel only."""
    rows = max(1, frame_rgb_u8.shape[0] // (4 * _THUMB_SIZE[1]))
    columns = max(1, frame_rgb_u8.shape[1] // (4 * _THUMB_SIZE[0]))
    sparse = np.ascontiguousarray(frame_rgb_u8[::rows, ::columns, 1])
    return np.asarray(cv2.resize(sparse, _THUMB_SIZE, interpolation=cv2.INTER_AREA), np.float32)


def is_cut(before: npt.NDArray[np.float32], now: npt.NDArray[np.float32]) -> bool:
    """Whether two thumbnails show different scenes: they differ, and not by a change of light alone."""
    if float(np.abs(now - before).mean()) < _CUT_LEVELS:
        return False
    a, b = before - before.mean(), now - now.mean()
    norm = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return norm < 1e-3 or float((a * b).sum()) / norm < _CUT_CORRELATION
