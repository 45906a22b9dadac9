"""What is left of each sort of imperfection: by its size and by what it does to the skin."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from bench.metrics import Floats, Mask, Pixels

SEEN_FROM = 0.05
# Equivalent diameter over the width of the face: below, it is of that size.
SIZES = (("small", 0.02), ("medium", 0.05), ("large", 0.15), ("broad", math.inf))
RED_FROM = 2.2


@dataclass(frozen=True)
class Share:
    """Of a clip's squared error the part `before` that one sort of imperfection makes up, and how much is
    left of it; `count` of its connected parts."""

    before: float
    left: float
    count: int

    def __add__(self, other: Share) -> Share:
        return Share(self.before + other.before, self.left + other.left, self.count + other.count)


Shares = dict[tuple[str, str], Share]


def shares(raw: Pixels, out: Pixels, target: Pixels, true_map: Floats, face: Mask) -> Shares:
    """Shares by (size, colour) of one frame: pictures uint8 [H, W, 3] RGB, true_map float32 [H, W] in [0, 1],
    face bool [H, W]. What is too faint for the map to show is of no sort, so sums of `before` are just below
    1; what touches is one part, marks on redness too."""
    before = np.square(raw.astype(np.float32) - target)
    whole = float(before[face].sum())
    if whole == 0.0:
        return {}
    left = np.square(out.astype(np.float32) - target)
    count, found_labels = cv2.connectedComponents(((true_map > SEEN_FROM) & face).astype(np.uint8))
    labels = np.asarray(found_labels, np.int32)
    area, painted, kept = (
        _summed(labels, what, count) for what in (np.ones(labels.shape), before.sum(-1), left.sum(-1))
    )
    change = np.stack(
        [_summed(labels, target[..., k].astype(np.float64) - raw[..., k], count) for k in range(3)], 1
    )
    width = float(np.ptp(np.nonzero(face)[1])) + 1.0
    found: Shares = {}
    for part in range(1, count):
        key = _size(float(area[part]), width), _colour(change[part])
        share = Share(float(painted[part]) / whole, float(kept[part]) / whole, 1)
        found[key] = found[key] + share if key in found else share
    return found


def _summed(
    labels: npt.NDArray[np.int32], what: npt.NDArray[np.floating], count: int
) -> npt.NDArray[np.float64]:
    return np.asarray(np.bincount(labels.ravel(), what.ravel(), count), np.float64)


def _size(area_px: float, face_px: float) -> str:
    across = 2.0 * math.sqrt(area_px / math.pi) / face_px
    return next(name for name, below in SIZES if across < below)


def _colour(change: npt.NDArray[np.float64]) -> str:
    """What retouching does there: darkens what shines, or takes red away, or brown and grey."""
    if change.mean() < 0:
        return "bright"
    return "red" if change[1] > RED_FROM * change[0] else "dark"


def summed(many: Iterable[Shares]) -> Shares:
    """Mean over frames of clips that have anything painted."""
    total: Shares = {}
    frames = [one for one in many if one]
    for one in frames:
        for key, share in one.items():
            total[key] = total[key] + share if key in total else share
    return {
        key: Share(share.before / len(frames), share.left / len(frames), share.count)
        for key, share in sorted(total.items(), key=lambda item: -item[1].left)
    }
