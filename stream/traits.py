"""What a person is known by, kept where it was asked for: moles, freckles, lines and texture.

The network is taught to leave all of them. This guards them a second time, and so costs some of what lies on
or beside them: moles and freckles where the network's localizer sees them, lines where the face has a dark
valley that is long and narrow, texture by taking nothing from the picture that is finer than TEXTURE_PX.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from stream.crop import FACE_PX
from stream.keep import FRECKLES, LINES, MOLES

# In the order of the network's output `kept` (export.contract); lines come last.
SPOTS = (MOLES, FRECKLES)
SHOWN = (*SPOTS, LINES)
SIDE = FACE_PX // 2
# How likely a spot is one to stay: below the first it is not guarded, from the second on wholly. Freckles are
# faint, so that the network is never sure of them, and whoever asks for them would rather keep a mark.
SURE = {MOLES: (0.3, 0.6), FRECKLES: (0.02, 0.06)}
# A crease, at half size: how much darker than both its sides (second derivative, levels a squared px), how
# much more across than along, how long; and narrower than what, by how many levels.
VALLEY_FROM, VALLEY_AT, ROUND, LONG_PX, ANGLES = 0.6, 1.2, 0.4, 11, 8
WIDE_PX, DEEP_FROM, DEEP_AT = 9, 1.5, 3.0
TEXTURE_PX = 4.0

Plane = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]


def shares_of(kept: Plane | None, face_u8: Bytes, keep: frozenset[str], guard: Bytes) -> Plane:
    """How sure it is that each 2x2 pixels belong to each of SHOWN: float32 [3, 256, 256] in [0, 1]; zeros for
    what is not in `keep`, and off the skin.

    kept: float32 [2, 128, 128] in [0, 1], moles and freckles as the network sees them, or None. face_u8:
    uint8 [512, 512, 3] RGB. guard: uint8 [512, 512], 255 on the skin.
    """
    shares = np.zeros((len(SHOWN), SIDE, SIDE), np.float32)
    for number, trait in enumerate(SPOTS):
        if kept is not None and trait in keep:
            sure = cv2.resize(kept[number], (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
            low, high = SURE[trait]
            shares[number] = np.clip((sure - np.float32(low)) / np.float32(high - low), 0.0, 1.0)
    if LINES in keep:
        shares[-1] = lines_of(face_u8)
    skin = cv2.resize(guard, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    shares *= skin * np.float32(1.0 / 255.0)
    return shares


def lines_of(face_u8: Bytes) -> Plane:
    """Where creases and wrinkles are, float32 [256, 256] in [0, 1]: valleys of brightness (largest curvature
    of the Hessian, Frangi et al., 1998) that are filled by a closing of WIDE_PX, as the inner side of an edge
    is not, and that a straight rod of LONG_PX fits into."""
    gray = cv2.cvtColor(face_u8, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(gray, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    smooth = cv2.GaussianBlur(small, (0, 0), 1.2)
    xx, yy, xy = (
        cv2.Sobel(smooth, cv2.CV_32F, dx, dy, ksize=3, scale=scale)
        for dx, dy, scale in ((2, 0, 0.25), (0, 2, 0.25), (1, 1, 0.25))
    )
    half, root = 0.5 * (xx + yy), np.sqrt(np.square(0.5 * (xx - yy)) + np.square(xy))
    across, along = half + root, np.abs(half - root)
    valley = np.clip((across - VALLEY_FROM) / (VALLEY_AT - VALLEY_FROM), 0.0, 1.0)
    valley *= np.clip(2.0 - along / (ROUND * np.maximum(across, VALLEY_FROM)), 0.0, 1.0)
    deep = cv2.morphologyEx(smooth, cv2.MORPH_BLACKHAT, _DISC)
    valley *= np.clip((deep - DEEP_FROM) / (DEEP_AT - DEEP_FROM), 0.0, 1.0)
    found = np.zeros_like(valley)
    for rod in _RODS:
        found = np.maximum(found, cv2.morphologyEx(valley, cv2.MORPH_OPEN, rod))
    return np.asarray(cv2.dilate(found, np.ones((3, 3), np.uint8)), np.float32)


def _rod(turn: float) -> Bytes:
    """A straight line of LONG_PX as a structuring element."""
    rod, middle = np.zeros((LONG_PX, LONG_PX), np.uint8), LONG_PX // 2
    reach = np.rint(middle * np.array([np.cos(turn), np.sin(turn)])).astype(int)
    cv2.line(rod, (middle - reach[0], middle - reach[1]), (middle + reach[0], middle + reach[1]), 1)
    return rod


_DISC = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (WIDE_PX, WIDE_PX))
_RODS = [_rod(np.pi * k / ANGLES) for k in range(ANGLES)]


def spared(guard: Bytes, shares: Plane) -> Bytes:
    """The guard uint8 [512, 512], lowered where one of the shares says that something is to be kept; itself
    where none does."""
    if not shares.any():
        return guard
    through = 1.0 - shares.max(0)
    larger = cv2.resize(through, (FACE_PX, FACE_PX), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.multiply(guard, larger, dtype=cv2.CV_8U), np.uint8)


def coarse(residual: Plane) -> Plane:
    """The residual float32 [512, 512, 3] without what is finer than TEXTURE_PX."""
    small = cv2.resize(np.ascontiguousarray(residual), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    smooth = cv2.GaussianBlur(small, (0, 0), TEXTURE_PX / 4.0)
    return np.asarray(cv2.resize(smooth, (FACE_PX, FACE_PX), interpolation=cv2.INTER_LINEAR), np.float32)
