"""The figures of DESIGN's table as functions of arrays: 8-bit RGB pixels, maps in [0, 1], bool masks.

Known metrics (PSNR, SSIM) are scikit-image's; the rest is written out here and checked by hand in the tests.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

MAP_FULL_LEVELS = 0.08 * 255.0
IMPERFECT_FROM = 0.1
CLEAN_BELOW = 0.01
EXACT_DB = 99.0
SURVIVES_FROM = 0.7
FALSE_ALARM_LEVELS = 2
_VISIBLE_LEVELS = 4.0
_LEAST_MARK_PX = 6


def psnr_db(image: Pixels, target: Pixels, where: Mask) -> float:
    """PSNR in dB over the pixels of `where` [H, W], at most EXACT_DB; image and target uint8 [H, W, 3]."""
    from skimage import metrics

    if np.array_equal(image[where], target[where]):
        return EXACT_DB
    return min(EXACT_DB, float(metrics.peak_signal_noise_ratio(target[where], image[where], data_range=255)))


def absolute_error(image: Pixels, other: Pixels, where: Mask) -> float:
    """Sum over `where` and RGB of abs(image - other), in levels."""
    return float(cv2.absdiff(image, other)[where].sum(dtype=np.int64))


def soft_iou(seen: Floats, true: Floats, where: Mask) -> float:
    """Sum of minima over sum of maxima of two maps [H, W] in [0, 1]; 1 where both are empty."""
    a, b = seen[where], true[where]
    union = float(np.maximum(a, b).sum(dtype=np.float64))
    return float(np.minimum(a, b).sum(dtype=np.float64)) / union if union > 0.0 else 1.0


def ssim(image: Pixels | Floats, target: Pixels | Floats) -> float:
    """Mean SSIM (Wang et al. 2004, Gaussian window) of two frames uint8 [H, W, 3], over RGB, or of two maps
    float32 [H, W] in [0, 1]."""
    from skimage import metrics

    kind = {"data_range": 1.0} if image.ndim == 2 else {"data_range": 255, "channel_axis": 2}
    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(metrics.structural_similarity(target, image, **kind, **window))


def changed_share(image: Pixels, other: Pixels, where: Mask, levels: int) -> float:
    """Share of the pixels of `where` [H, W] that differ by more than `levels` in some channel; nan if it is
    empty."""
    seen = cv2.absdiff(image, other)[where]
    return float((seen.max(axis=1) > levels).mean()) if len(seen) else math.nan


def changed_bytes(image: Pixels, other: Pixels, where: Mask) -> int:
    """How many bytes of uint8 [H, W, 3] differ in `where` [H, W]."""
    return int(np.count_nonzero((image != other) & where[..., None]))


def lab_shift(image: Pixels, other: Pixels, where: Mask) -> tuple[float, float]:
    """(dL*, dhue in degrees) of the mean colour of image against other over `where`, CIE L*a*b* (D65)."""
    light, hue = _light_and_hue(image, where)
    light_before, hue_before = _light_and_hue(other, where)
    turn = (hue - hue_before + 180.0) % 360.0 - 180.0
    return light - light_before, turn


def _light_and_hue(image: Pixels, where: Mask) -> tuple[float, float]:
    pixels = image[where].astype(np.float32).reshape(1, -1, 3) / 255.0
    lab = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2Lab)).reshape(-1, 3).mean(axis=0, dtype=np.float64)
    return float(lab[0]), math.degrees(math.atan2(float(lab[2]), float(lab[1])))


class TemporalDeviation:
    """Standard deviation over time of each pixel of pictures [H, W, C], from running sums of those seen."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._sum = np.zeros(shape)
        self._squares = np.zeros(shape)
        self._count = np.zeros((*shape[:2], 1))

    def add(self, picture: Floats, seen: Mask) -> None:
        """One more picture, of which only the pixels of `seen` [H, W] count."""
        shown = np.where(seen[..., None], picture, 0.0)
        self._sum += shown
        self._squares += shown * shown
        self._count += seen[..., None]

    def mean_deviation(self, where: Mask, frames: int) -> float:
        """Mean of the deviation over the pixels of `where` [H, W] that every one of the frames showed."""
        always = where & (self._count[..., 0] == frames)
        if not always.any():
            return math.nan
        mean = self._sum[always] / frames
        variance = np.maximum(self._squares[always] / frames - mean * mean, 0.0)
        return float(np.sqrt(variance).mean())


def warp_error(now: Pixels, before: Pixels, flow: Floats, where: Mask) -> float:
    """E_warp of one pair: mean over `where` of (now - warped before)^2, RGB in [0, 1] (Lai et al. 2018).

    flow float32 [H, W, 2] px: what is at x was at x + flow in `before`. What came from outside is left out.
    """
    height, width = where.shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    from_x, from_y = x + flow[..., 0], y + flow[..., 1]
    inside = where & (from_x >= 0) & (from_y >= 0) & (from_x <= width - 1) & (from_y <= height - 1)
    if not inside.any():
        return math.nan
    source = before.astype(np.float32)
    warped = cv2.remap(source, from_x, from_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    difference = (now.astype(np.float32) - warped)[inside] / 255.0
    return float(np.square(difference).mean(dtype=np.float64))


@dataclass(frozen=True)
class Kept:
    """Of `marks` moles and freckles that could be judged, `survived` are still there."""

    survived: int
    marks: int


def identity_kept(image: Floats, target: Floats, keep: Mask, avoid: Mask) -> Kept:
    """How many marks of `keep` [H, W] survive in image float32 [H, W, 3] (levels), judged against target.

    A mark is a connected part of `keep`. Its contrast is its mean colour less that of the ring around it.
    It survives if the contrast in image, along the target's, is at least SURVIVES_FROM of the target's.
    Marks that touch `avoid` (imperfections, whose removal changes them rightly), are too small, or are not
    seen in target, do not count.
    """
    count, label_map, stats, _ = cv2.connectedComponentsWithStats(keep.astype(np.uint8), connectivity=8)
    labels = np.asarray(label_map, np.int32)
    usable_ring = ~(keep | avoid)
    survived = marks = 0
    for label in range(1, count):
        if stats[label, cv2.CC_STAT_AREA] < _LEAST_MARK_PX:
            continue
        share = _contrast_share(image, target, _window(labels, stats[label], label), usable_ring, avoid)
        if share is not None:
            marks += 1
            survived += share >= SURVIVES_FROM
    return Kept(survived, marks)


def _window(
    labels: npt.NDArray[np.integer], stat: npt.NDArray[np.integer], label: int
) -> tuple[tuple[slice, slice], Mask]:
    """The part of the picture around one label, and the label's mask in it."""
    x, y, width, height = (int(v) for v in stat[:4])
    part = slice(max(0, y - 8), y + height + 8), slice(max(0, x - 8), x + width + 8)
    return part, labels[part] == label


def _contrast_share(
    image: Floats, target: Floats, window: tuple[tuple[slice, slice], Mask], usable: Mask, avoid: Mask
) -> float | None:
    part, inside = window
    wide = cv2.dilate(inside.astype(np.uint8), np.ones((13, 13), np.uint8)) > 0
    near = cv2.dilate(inside.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    ring = wide & ~near & usable[part]
    if (avoid[part] & near).any() or ring.sum() < _LEAST_MARK_PX:
        return None
    wanted = target[part][inside].mean(axis=0) - target[part][ring].mean(axis=0)
    found = image[part][inside].mean(axis=0) - image[part][ring].mean(axis=0)
    if float(np.abs(wanted).mean()) < _VISIBLE_LEVELS:
        return None
    return float(found @ wanted) / float(wanted @ wanted)
