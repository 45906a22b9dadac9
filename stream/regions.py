"""Regions of a face as polygons over face-mesh landmarks: oval, eyes, brows, lips, cheeks and more.

Landmark numbers are those of the 468-point mesh; left and right are the subject's, so "right" lies left in
the picture.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Polygon = tuple[int, ...]

SKIN, FOREHEAD, NOSE, CHEEKS, JAW, UNDER_EYE, UPPER_LIP, OVAL = 1, 2, 4, 8, 16, 32, 64, 128
_SUBPIXEL_BITS = 4
_NOSE_ROOT = 9
_FOREHEAD_RAISE = 0.3

# fmt: off
FACE_OVAL: Polygon = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)
RIGHT_EYE: Polygon = (130, 25, 110, 24, 23, 22, 26, 112, 243, 190, 56, 28, 27, 29, 30, 247)
LEFT_EYE: Polygon = (359, 255, 339, 254, 253, 252, 256, 341, 463, 414, 286, 258, 257, 259, 260, 467)
RIGHT_BROW: Polygon = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46)
LEFT_BROW: Polygon = (300, 293, 334, 296, 336, 285, 295, 282, 283, 276)
LIPS: Polygon = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
RIGHT_NOSTRIL: Polygon = (166, 79, 239, 238, 242, 20, 99, 60, 240, 75)
LEFT_NOSTRIL: Polygon = (392, 309, 459, 458, 462, 250, 328, 290, 460, 305)
_FOREHEAD: Polygon = (
    127, 162, 21, 54, 103, 67, 109, 10, 338, 297, 332, 284, 251, 389, 356,
    300, 293, 334, 296, 336, 9, 107, 66, 105, 63, 70,
)
_NOSE: Polygon = (
    168, 193, 245, 188, 174, 217, 198, 209, 129, 64, 98, 97, 2,
    326, 327, 294, 358, 429, 420, 437, 399, 412, 465, 417,
)
_RIGHT_CHEEK: Polygon = (
    127, 234, 93, 132, 58, 138, 192, 207, 206, 203, 129, 209, 126, 100, 121, 120, 119, 118, 117, 111, 143, 34,
)
_LEFT_CHEEK: Polygon = (
    356, 454, 323, 361, 288, 367, 416, 427, 426, 423, 358, 429, 355, 329, 350, 349, 348, 347, 346, 340, 372,
    264,
)
_JAW: Polygon = (
    132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361, 416, 434, 432, 287,
    291, 375, 321, 405, 314, 17, 84, 181, 91, 146, 61, 57, 212, 214, 192,
)
_RIGHT_UNDER_EYE: Polygon = (
    130, 25, 110, 24, 23, 22, 26, 112, 243, 128, 121, 120, 119, 118, 117, 111, 35, 226,
)
_LEFT_UNDER_EYE: Polygon = (
    359, 255, 339, 254, 253, 252, 256, 341, 463, 357, 350, 349, 348, 347, 346, 340, 265, 446,
)
_UPPER_LIP: Polygon = (
    98, 97, 2, 326, 327, 423, 426, 436, 287, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185, 61, 57, 216, 206,
    203,
)
# fmt: on

BY_BIT: dict[int, tuple[Polygon, ...]] = {
    FOREHEAD: (_FOREHEAD,),
    NOSE: (_NOSE,),
    CHEEKS: (_RIGHT_CHEEK, _LEFT_CHEEK),
    JAW: (_JAW,),
    UNDER_EYE: (_RIGHT_UNDER_EYE, _LEFT_UNDER_EYE),
    UPPER_LIP: (_UPPER_LIP,),
    OVAL: (FACE_OVAL,),
}
# Each feature with how far its hair, lashes or rim reach beyond the mesh's outline, in face pixels.
FEATURES: tuple[tuple[Polygon, int], ...] = (
    (RIGHT_EYE, 2),
    (LEFT_EYE, 2),
    (RIGHT_BROW, 5),
    (LEFT_BROW, 5),
    (LIPS, 3),
    (RIGHT_NOSTRIL, 2),
    (LEFT_NOSTRIL, 2),
)


def with_whole_forehead(landmarks_px: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The landmarks with the top of the oval raised to about the hairline, which the mesh stops short of.

    Args:
        landmarks_px: float32 [N, 2] of an upright face (aligned, or its canvas).

    Returns:
        A copy; of the oval, what lies above the root of the nose moves up in proportion, all else stays.
    """
    raised = landmarks_px.copy()
    oval = list(FACE_OVAL)
    above = np.maximum(0, raised[_NOSE_ROOT, 1] - raised[oval, 1])
    raised[oval, 1] -= _FOREHEAD_RAISE * above
    return raised


def fill(
    mask_u8: npt.NDArray[np.uint8],
    landmarks_px: npt.NDArray[np.float32],
    polygon: Polygon,
    value: int,
    grow_px: int = 0,
) -> None:
    """Fill one polygon over landmarks_px float32 [N, 2] into mask_u8 uint8 [H, W], in place, to 1/16 pixel.

    grow_px widens it by that many pixels on every side.
    """
    corners = np.clip(landmarks_px[list(polygon)], -8192, 8192)
    fixed = np.round(corners * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    cv2.fillPoly(mask_u8, [fixed], (value,), shift=_SUBPIXEL_BITS)
    if grow_px:
        cv2.polylines(mask_u8, [fixed], True, (value,), 2 * grow_px, shift=_SUBPIXEL_BITS)


def polygon_mask(
    landmarks_px: npt.NDArray[np.float32], size: tuple[int, int], polygons: tuple[Polygon, ...]
) -> npt.NDArray[np.uint8]:
    """uint8 [H, W], 255 inside the polygons and 0 outside; size is (width, height)."""
    mask = np.zeros((size[1], size[0]), np.uint8)
    for polygon in polygons:
        fill(mask, landmarks_px, polygon, 255)
    return mask


def skin_mask(landmarks_px: npt.NDArray[np.float32], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """uint8 [H, W], 255 on the face oval less eyes, brows, lips and nostrils; size is (width, height).

    landmarks_px: float32 [N, 2] at the scale of the aligned face, whatever the canvas's margin.
    """
    mask = polygon_mask(with_whole_forehead(landmarks_px), size, (FACE_OVAL,))
    for polygon, grow_px in FEATURES:
        fill(mask, landmarks_px, polygon, 0, grow_px)
    return mask


def region_bits(landmarks_px: npt.NDArray[np.float32], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """uint8 [H, W] bit field of FOREHEAD..OVAL (2..128), clipped to the oval; size is (width, height)."""
    bits = np.zeros((size[1], size[0]), np.uint8)
    landmarks_px = with_whole_forehead(landmarks_px)
    oval = polygon_mask(landmarks_px, size, BY_BIT[OVAL]) > 0
    for bit, polygons in BY_BIT.items():
        inside = (polygon_mask(landmarks_px, size, polygons) > 0) & oval
        bits[inside] |= np.uint8(bit)
    return bits
