"""What sort of imperfection each place of a residual takes away: marks, or one of three broad kinds.

The network gives one residual. What is broad in it is what a morphological opening leaves: a mark, and most
clusters of marks, are narrower than BROAD_PX; shadow under the eyes is low, but as wide as LONG_PX. Of the
broad part, what makes the skin darker takes shine away; the rest is shadow under the eyes, or redness. The
shares of a place and that of its marks sum to 1.
"""

from __future__ import annotations

from collections.abc import Collection

import cv2
import numpy as np
import numpy.typing as npt

from stream.crop import FACE_PX
from stream.errors import OptionError
from stream.regions import BY_BIT, UNDER_EYE, polygon_mask

UNDER_THE_EYES, REDNESS, SHINE = "under-eye", "redness", "shine"
BROAD_KINDS = (UNDER_THE_EYES, REDNESS, SHINE)
CELL_PX = 8
SIDE = FACE_PX // CELL_PX
# An odd number of cells each way: OpenCV opens with an even rectangle out of place.
BROAD_PX, LONG_PX = (40, 40), (8, 40)
LEAST_LEVELS = 0.25

Shares = npt.NDArray[np.float32]


def checked(also: Collection[str]) -> frozenset[str]:
    """The kinds asked for.

    Raises:
        OptionError: one of them is no kind, or a text was given for a collection of texts.
    """
    chosen = frozenset(also)
    if isinstance(also, str) or not chosen <= set(BROAD_KINDS):
        raise OptionError(f"also must be some of {', '.join(BROAD_KINDS)}, as in {{'redness'}}; not {also!r}")
    return chosen


def shares_of(residual: npt.NDArray[np.float32], face_landmarks_px: npt.NDArray[np.float32]) -> Shares:
    """How much of what is done to each cell of 8x8 pixels is of each of BROAD_KINDS.

    residual: float32 [512, 512, 3] RGB in 8-bit levels. face_landmarks_px: float32 [468, 2], face pixels.
    Returns float32 [3, 64, 64] in [0, 1].
    """
    planes = [_cells(residual[:, :, channel]) for channel in range(3)]
    light = (planes[0] + planes[1] + planes[2]) / np.float32(3.0)
    much = np.maximum.reduce([np.abs(plane) for plane in planes])
    corners = face_landmarks_px / np.float32(CELL_PX)
    eyes = cv2.blur(polygon_mask(corners, (SIDE, SIDE), BY_BIT[UNDER_EYE]), (3, 3)) * np.float32(1.0 / 255.0)
    broad, long = (_share_of_opening(much, size_px) for size_px in (BROAD_PX, LONG_PX))
    shine = broad * (light < 0.0)
    shadow = np.maximum(broad, long) * (light >= 0.0) * eyes
    return np.stack([shadow, (broad - shine) * (1.0 - eyes), shine]).astype(np.float32)


def _share_of_opening(much: npt.NDArray[np.float32], size_px: tuple[int, int]) -> npt.NDArray[np.float32]:
    """The part of `much` [64, 64] that holds a rectangle of this size (height, width)."""
    kernel = np.ones([side // CELL_PX for side in size_px], np.uint8)
    opened = cv2.morphologyEx(much, cv2.MORPH_OPEN, kernel, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(opened / np.maximum(much, LEAST_LEVELS), np.float32)


def _cells(plane: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Means over cells, float32 [64, 64]."""
    rows = plane if plane.strides[1] == plane.itemsize else np.ascontiguousarray(plane)
    return np.asarray(cv2.resize(rows, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.float32)


def without(guard: npt.NDArray[np.uint8], shares: Shares, also: frozenset[str]) -> npt.NDArray[np.uint8]:
    """The guard uint8 [512, 512], lowered where what is done is of a kind that was not asked for."""
    left_out = np.array([kind not in also for kind in BROAD_KINDS], np.float32)
    through = np.float32(1.0) - np.tensordot(left_out, shares, 1)
    wide = cv2.resize(through, (FACE_PX, FACE_PX), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.multiply(guard, wide, dtype=cv2.CV_8U), np.uint8)
