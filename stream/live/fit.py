"""Pictures of any size into one size: scaled, and set on black where the shapes differ."""

from __future__ import annotations

import cv2
import numpy as np

from stream.frame import RgbImage


def fitted(picture_rgb_u8: RgbImage, size: tuple[int, int]) -> RgbImage:
    """uint8 [H, W, 3] as uint8 [size[1], size[0], 3], its shape kept; itself if it is of that size."""
    height, width = picture_rgb_u8.shape[:2]
    if (width, height) == size:
        return picture_rgb_u8
    scale = min(size[0] / width, size[1] / height)
    inner = (max(1, round(width * scale)), max(1, round(height * scale)))
    by = cv2.INTER_AREA if scale < 1.0 else cv2.INTER_LINEAR
    scaled = cv2.resize(picture_rgb_u8, inner, interpolation=by)
    if inner == size:
        return np.asarray(scaled, np.uint8)
    fitted_u8 = np.zeros((size[1], size[0], 3), np.uint8)
    x, y = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    fitted_u8[y : y + inner[1], x : x + inner[0]] = scaled
    return fitted_u8
