"""Frame pixels to face pixels: the aligned 512x512 face crop, and the antialiased warp that makes it.

The alignment is a similarity (turn, uniform scale, shift) fitted by least squares from a fixed subset of the
face mesh to canonical positions. An integer coordinate is a pixel's centre, as in OpenCV.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

FACE_PX = 512
ANTIALIAS_FROM = 1.5
MAX_BLOCK = 96

# Canonical positions in face pixels, by landmark number of the 468-point mesh: eye corners and rims, nose
# bridge and base, cheekbones, temples, hairline. No lips, chin, lids or brows, which move with speech and
# expression. Generalised Procrustes median of 498 portraits (250 real), made symmetrical, with landmarks 10
# and 152 at (256, 83) and (256, 453).
_CANONICAL: dict[int, tuple[float, float]] = {
    2: (256.0, 306.7),
    6: (256.0, 210.6),
    10: (256.0, 83.0),
    33: (155.2, 202.3),
    35: (129.2, 211.0),
    67: (177.8, 90.6),
    68: (133.4, 140.1),
    98: (217.7, 300.8),
    103: (144.7, 104.3),
    111: (130.0, 230.5),
    117: (139.4, 240.5),
    128: (225.4, 223.8),
    129: (209.5, 285.1),
    130: (150.9, 203.3),
    133: (216.6, 205.9),
    139: (112.0, 184.7),
    143: (117.9, 213.6),
    168: (256.0, 192.9),
    188: (234.4, 222.9),
    193: (238.8, 195.4),
    226: (141.5, 207.1),
    234: (104.3, 244.7),
    263: (356.8, 202.3),
    265: (382.8, 211.0),
    297: (334.2, 90.6),
    298: (378.6, 140.1),
    327: (294.3, 300.8),
    332: (367.3, 104.3),
    340: (382.0, 230.5),
    346: (372.6, 240.5),
    357: (286.6, 223.8),
    358: (302.5, 285.1),
    359: (361.1, 203.3),
    362: (295.4, 205.9),
    368: (400.0, 184.7),
    372: (394.1, 213.6),
    412: (277.6, 222.9),
    417: (273.2, 195.4),
    446: (370.5, 207.1),
    454: (407.7, 244.7),
}
STABLE_LANDMARKS: npt.NDArray[np.intp] = np.array(list(_CANONICAL), np.intp)
CANONICAL_PX: npt.NDArray[np.float64] = np.array(list(_CANONICAL.values()), np.float64)


def fit_similarity(
    source_px: npt.NDArray[np.floating], target_px: npt.NDArray[np.floating]
) -> npt.NDArray[np.float64]:
    """Least-squares similarity taking source to target (Umeyama 1991, in its closed form for the plane).

    source_px, target_px: [N, 2]. Returns float64 [2, 3]. Source points that all coincide give a pure shift.
    """
    source, target = np.asarray(source_px, np.float64), np.asarray(target_px, np.float64)
    source_mid, target_mid = source.mean(axis=0), target.mean(axis=0)
    s, t = source - source_mid, target - target_mid
    spread = float((s * s).sum())
    if spread < 1e-12:
        return np.column_stack([np.eye(2), target_mid - source_mid])
    a = float((s * t).sum()) / spread
    b = float((s[:, 0] * t[:, 1] - s[:, 1] * t[:, 0]).sum()) / spread
    turn = np.array([[a, -b], [b, a]])
    return np.column_stack([turn, target_mid - turn @ source_mid])


def alignment(landmarks_px: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """float64 [2, 3] taking frame to face pixels, from landmarks float32 [468 or 478, 2] in frame pixels."""
    return fit_similarity(landmarks_px[STABLE_LANDMARKS], CANONICAL_PX)


def scale_of(matrix: npt.NDArray[np.float64]) -> float:
    """Uniform scale of a similarity [2, 3]: destination pixels per source pixel."""
    return math.hypot(matrix[0, 0], matrix[1, 0])


def transform(points: npt.NDArray[np.floating], matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Points [N, 2] through matrix [2, 3]: float32 [N, 2]."""
    return (points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)


def invert(matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The inverse of an affine [2, 3], float64 [2, 3]."""
    return np.asarray(cv2.invertAffineTransform(matrix), np.float64)


def crop_face(frame_rgb_u8: npt.NDArray[np.uint8], to_face: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    """The aligned face, uint8 [512, 512, 3] RGB, of a frame uint8 [H, W, 3] RGB."""
    return warp(frame_rgb_u8, to_face, (FACE_PX, FACE_PX))


def warp(
    image: npt.NDArray[np.uint8],
    matrix: npt.NDArray[np.float64],
    size: tuple[int, int],
    *,
    enlarge: int = cv2.INTER_LINEAR,
) -> npt.NDArray[np.uint8]:
    """Antialiased similarity warp of uint8 [H, W, 3] to size (width, height); edges repeat outwards.

    Shrinking by 1.5 or more averages over whole blocks of source pixels first, on a grid that stays put in
    the source so that a moving window does not shimmer. `enlarge` is the interpolation used when not
    shrinking.
    """
    shrink = 1.0 / max(scale_of(matrix), 1e-6)
    flags = enlarge if shrink <= 1.0 else cv2.INTER_LINEAR
    part = part_read(image.shape, matrix, size, shrink)
    # With a fourth channel OpenCV's vector code applies: half the time, both conversions included.
    four = cv2.cvtColor(part.of(image), cv2.COLOR_RGB2RGBA)
    warped = cv2.warpAffine(four, part.matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.cvtColor(warped, cv2.COLOR_RGBA2RGB), np.uint8)


@dataclass(frozen=True)
class Part:
    """The part of a source that a warp reads: cells of block x block pixels, each averaged to one.

    x0, y0: its first pixel. columns, rows: how many cells. blurred: whether the cells are then blurred by
    (1, 2, 1) / 4 both ways, edges repeated. matrix: float64 [2, 3], from cells to the destination.
    """

    x0: int
    y0: int
    columns: int
    rows: int
    block: int
    blurred: bool
    matrix: npt.NDArray[np.float64]

    def of(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """The cells of image uint8 [H, W, C], uint8 [rows, columns, C]."""
        bottom, right = self.y0 + self.rows * self.block, self.x0 + self.columns * self.block
        part = image[self.y0 : bottom, self.x0 : right]
        if self.block > 1:
            size = (self.columns, self.rows)
            part = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8)
        if self.blurred:
            part = np.asarray(cv2.GaussianBlur(part, (3, 3), 0, borderType=cv2.BORDER_REPLICATE), np.uint8)
        return part


def part_read(
    shape: tuple[int, ...], matrix: npt.NDArray[np.float64], size: tuple[int, int], shrink: float
) -> Part:
    """The part of a source of this shape (height, width, ...) under a destination of `size`."""
    block = max(1, min(int(shrink), MAX_BLOCK)) if shrink >= ANTIALIAS_FROM else 1
    x0, y0, x1, y1 = _source_box(shape, matrix, size, margin=2 * block + 2)
    block = max(1, min(block, x1 - x0, y1 - y0))
    x0, y0 = x0 - x0 % block, y0 - y0 % block
    # A block's centre lies (block - 1) / 2 from its first pixel.
    shift = np.array([x0 + (block - 1) / 2.0, y0 + (block - 1) / 2.0])
    inward = np.column_stack([matrix[:, :2] * block, matrix[:, 2] + matrix[:, :2] @ shift])
    columns, rows = (x1 - x0) // block, (y1 - y0) // block
    return Part(x0, y0, columns, rows, block, shrink / block >= ANTIALIAS_FROM, inward)


def _source_box(
    shape: tuple[int, ...], matrix: npt.NDArray[np.float64], size: tuple[int, int], margin: int
) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 (exclusive) of the source pixels under a destination of `size`; never empty."""
    width, height = size
    corners = np.array([[0.0, 0.0], [width, 0.0], [0.0, height], [width, height]])
    inside = transform(corners, invert(matrix))
    low, high = inside.min(axis=0), inside.max(axis=0)
    x0 = int(np.clip(math.floor(low[0]) - margin, 0, shape[1] - 1))
    y0 = int(np.clip(math.floor(low[1]) - margin, 0, shape[0] - 1))
    x1 = int(np.clip(math.ceil(high[0]) + margin, x0 + 1, shape[1]))
    y1 = int(np.clip(math.ceil(high[1]) + margin, y0 + 1, shape[0]))
    return x0, y0, x1, y1
