"""What the retoucher is compared with: nothing at all, and the smoothing filter that is in common use."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from bench.metrics import Pixels

# Skin in Y Cr Cb after Chai and Ngan (1999), the rule that most published skin-smoothing snippets use.
_SKIN_LOW, _SKIN_HIGH = (0, 133, 77), (255, 173, 127)
_DIAMETER_PX, _SIGMA_LEVELS, _SIGMA_PX = 9, 75.0, 75.0


def nothing(frame_rgb_u8: Pixels) -> Pixels:
    """The frame as it is."""
    return frame_rgb_u8


def bilateral(frame_rgb_u8: Pixels) -> Pixels:
    """OpenCV's bilateral filter (d 9, sigmas 75), blended in by a soft mask of skin colour; uint8 [H, W,
    3]."""
    smooth = cv2.bilateralFilter(frame_rgb_u8, _DIAMETER_PX, _SIGMA_LEVELS, _SIGMA_PX)
    skin = cv2.inRange(cv2.cvtColor(frame_rgb_u8, cv2.COLOR_RGB2YCrCb), _SKIN_LOW, _SKIN_HIGH)
    skin = cv2.morphologyEx(skin, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    weight = cv2.GaussianBlur(skin, (0, 0), 3.0).astype(np.float32)[..., None] / 255.0
    mixed = frame_rgb_u8 + weight * (smooth.astype(np.float32) - frame_rgb_u8)
    return np.asarray(np.rint(mixed), np.uint8)


BASELINES: dict[str, Callable[[Pixels], Pixels]] = {"do nothing": nothing, "bilateral filter": bilateral}
