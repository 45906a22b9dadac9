"""What sort of imperfection each place of a residual takes away: marks, or one of three broad kinds.

The network gives one residual. What is broad in it is the level that is left of its size by a morphological
opening: marks are narrower than BROAD_PX and stand out from it, even where they lie on redness. Shadow under
the eyes is low, but as wide as LONG_PX; retouching darkens hardly anything but shine, from SHINE_PX on.
What is broad and neither is called redness, though it may be any uneven tone. Where marks are so dense that
no skin is seen between them, a part of them counts as redness.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from stream.broad import BROAD_KINDS
from stream.crop import FACE_PX
from stream.regions import BY_BIT, UNDER_EYE, polygon_mask

CELL_PX = 8
CELLS = FACE_PX // CELL_PX
# Shares are worked out for 2x2 pixels at once: a quarter of the time, and no mark is so small.
SIDE = FACE_PX // 2
# Height and width, an odd number of cells each: OpenCV opens with an even rectangle out of place.
BROAD_PX, LONG_PX, SHINE_PX = (40, 40), (8, 40), (8, 8)
LEAST_LEVELS = 0.25
RAMP_LEVELS = 2.0

Plane = npt.NDArray[np.float32]
Shares = npt.NDArray[np.float32]


def shares_of(residual: npt.NDArray[np.float32], face_landmarks_px: npt.NDArray[np.float32]) -> Shares:
    """How much of what is done to each 2x2 pixels is of each of BROAD_KINDS; the rest of 1 is of marks.

    residual: float32 [512, 512, 3] RGB in 8-bit levels. face_landmarks_px: float32 [468, 2], face pixels.
    Returns float32 [3, 256, 256] in [0, 1].
    """
    red, green, blue = (_resized(np.ascontiguousarray(residual[:, :, k]), SIDE) for k in range(3))
    much = cv2.max(cv2.max(np.abs(red), np.abs(green)), np.abs(blue))
    # From 0, where retouching darkens, to 1; no sudden change, which would flicker.
    brighter = np.clip((red + green + blue) * np.float32(1 / 3 / RAMP_LEVELS) + np.float32(0.5), 0.0, 1.0)
    rising, falling = much * brighter, much * (np.float32(1.0) - brighter)
    scale = np.float32(1.0) / np.maximum(much, np.float32(LEAST_LEVELS))
    cells = _least_of_cells(rising)
    broad = _opened(cells, BROAD_PX, rising) * scale
    shadow = np.maximum(broad, _opened(cells, LONG_PX, rising) * scale)
    shine = _opened(_least_of_cells(falling), SHINE_PX, falling) * scale
    # A pixel's centre is at a whole number, here as there.
    mask = polygon_mask((face_landmarks_px - 0.5) / 2.0, (SIDE, SIDE), BY_BIT[UNDER_EYE])
    eyes = cv2.blur(mask, (CELL_PX + 1,) * 2) * np.float32(1.0 / 255.0)
    return np.stack([shadow * eyes, broad * (np.float32(1.0) - eyes), shine]).astype(np.float32)


def _least_of_cells(plane: Plane) -> Plane:
    """Of each cell of 8x8 pixels the least of its quarters' means, float32 [64, 64]: skin between marks."""
    quarters = _resized(plane, 2 * CELLS).reshape(CELLS, 2, CELLS, 2)
    return np.asarray(quarters.min(axis=(1, 3)), np.float32)


def _resized(plane: Plane, side: int) -> Plane:
    """The plane at another size: means where it shrinks, bilinear where it grows."""
    how = cv2.INTER_AREA if side < len(plane) else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(plane, (side, side), interpolation=how), np.float32)


def _opened(cells: Plane, size_px: tuple[int, int], at_most: Plane) -> Plane:
    """The level that holds a rectangle of this size, float32 [256, 256], bounded by `at_most`."""
    kernel = np.ones([side // CELL_PX for side in size_px], np.uint8)
    opened = cv2.morphologyEx(cells, cv2.MORPH_OPEN, kernel, borderType=cv2.BORDER_REPLICATE)
    # The least of a cell on a border is what lies outside: one cell more, and no more than there is.
    opened = cv2.dilate(opened, np.ones((3, 3), np.uint8))
    return np.asarray(cv2.min(_resized(np.asarray(opened, np.float32), SIDE), at_most), np.float32)


def without(guard: npt.NDArray[np.uint8], shares: Shares, also: frozenset[str]) -> npt.NDArray[np.uint8]:
    """The guard uint8 [512, 512], lowered where what is done is of a kind that was not asked for."""
    through = np.ones_like(shares[0])
    for share, kind in zip(shares, BROAD_KINDS, strict=True):
        if kind not in also:
            through -= share
    return np.asarray(cv2.multiply(guard, _resized(through, FACE_PX), dtype=cv2.CV_8U), np.uint8)
