"""Who is who among faces that meet: by where each is expected, how large it is and what it looks like."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stream.boxes import Box, area
from stream.crop import alignment, invert, scale_of, transform, warp

PATCH_PX = 8
# The middle of the face, in face pixels: no hair, no background.
PATCH_FROM, PATCH_TO = 96.0, 416.0
# Unlikeness (1 - correlation) of one person's faces, talking or in other light, was at most 0.05 in 99 of 100
# pairs; of two people's it was below 0.13 in one of 100, 0.23 in one of 20, and 0.6 in half of them.
ALIKE = 0.1
UNLIKE = 0.3
NEW_LOOK = 0.2
# A pair costs its distance in face sizes, the log of its ratio of sizes and its unlikeness, all added up.
TOO_DEAR = 1.25
DOUBT = 0.15
SPREAD_PER_S = 2.0
UNSEEN_COST = 0.25

_STEP_PX = (PATCH_TO - PATCH_FROM) / PATCH_PX
_SHIFT = (0.5 - PATCH_FROM) / _STEP_PX - 0.5
_PLACES = (np.arange(PATCH_PX) - _SHIFT) * _STEP_PX
_PLACES_PX = np.stack(np.meshgrid(_PLACES, _PLACES), axis=-1).reshape(-1, 2)  # [64, 2], in face pixels


@dataclass(frozen=True)
class Look:
    """What a face looks like: its aligned middle, very small. patch float32 [64, 3], 8-bit RGB; known bool
    [64]: where no other face lies before it."""

    patch: npt.NDArray[np.float32]
    known: npt.NDArray[np.bool_]

    def blended(self, other: Look) -> Look:
        """This look, moved a little towards another."""
        return Look(self.patch + np.float32(NEW_LOOK) * (other.patch - self.patch), self.known)


def look_at(
    frame_rgb_u8: npt.NDArray[np.uint8], landmarks_px: npt.NDArray[np.float32], before: Sequence[Box] = ()
) -> Look:
    """The look of a face in the frame uint8 [H, W, 3], landmarks float32 [468, 2] in frame pixels; before:
    boxes of what may hide parts of it."""
    to_face = alignment(landmarks_px)
    to_patch = to_face / _STEP_PX
    to_patch[:, 2] += _SHIFT
    patch = warp(frame_rgb_u8, to_patch, (PATCH_PX, PATCH_PX)).reshape(-1, 3).astype(np.float32)
    known = np.ones(len(patch), bool)
    if before:
        places = transform(_PLACES_PX, invert(to_face))
        cell = 0.5 * _STEP_PX / scale_of(to_face)
        for box in before:
            known &= ~((places > box[:2] - cell) & (places < box[2:] + cell)).all(axis=1)
    return Look(patch, known)


def unlikeness(one: Look | None, other: Look | None) -> float:
    """1 - correlation of two looks where both are known, 0 (alike) to 2; nan where too little is known.
    Brightness and contrast do not count."""
    if one is None or other is None:
        return math.nan
    both = one.known & other.known
    if both.sum() * 2 < both.size:
        return math.nan
    a, b = one.patch[both], other.patch[both]
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return 1.0 - float((a * b).sum()) / norm if norm > 0.0 else math.nan


def cost(expected: Box, unseen_s: float, found: Box, unlike: float) -> float:
    """What it costs to take a face found for one expected elsewhere, and not seen for so long."""
    ways = (found[:2] + found[2:] - expected[:2] - expected[2:]) / 2.0
    size = math.sqrt(max(area(expected), 1.0))
    away = math.hypot(float(ways[0]), float(ways[1])) / size / (1.0 + SPREAD_PER_S * unseen_s)
    larger = abs(math.log(max(area(found), 1.0) / max(area(expected), 1.0))) / 2.0
    return away + larger + (0.0 if math.isnan(unlike) else unlike) + (UNSEEN_COST if unseen_s > 0.0 else 0.0)


def assigned(costs: npt.NDArray[np.float64]) -> list[int | None]:
    """For each row of costs [rows, columns] its column in the assignment of least cost; None where it has
    none, which costs TOO_DEAR. Exact, by going through the sets of columns taken: for a few faces."""
    best: dict[int, tuple[float, list[int | None]]] = {0: (0.0, [])}
    for row in costs:
        options: list[tuple[int | None, float]] = [(None, TOO_DEAR)]
        options += [(column, float(c)) for column, c in enumerate(row) if c < TOO_DEAR]
        longer: dict[int, tuple[float, list[int | None]]] = {}
        for taken, (so_far, chosen) in best.items():
            for column, more in options:
                bit = 0 if column is None else 1 << column
                if taken & bit:
                    continue
                total = so_far + more
                if taken | bit not in longer or total < longer[taken | bit][0]:
                    longer[taken | bit] = (total, [*chosen, column])
        best = longer
    return min(best.values(), key=lambda one: one[0])[1]


def doubtful(costs: npt.NDArray[np.float64], chosen: Sequence[int | None], row: int) -> bool:
    """Whether the row's column could nearly as well be another row's: the best assignment that gives it to
    another costs hardly more."""
    column = chosen[row]
    for other in range(len(costs)):
        if other == row or column is None or not costs[other, column] < TOO_DEAR:
            continue
        forced = costs.copy()
        forced[:, column] = np.inf
        forced[other, :] = np.inf
        swapped = assigned(forced)
        swapped[other] = column
        if _total(costs, swapped) - _total(costs, chosen) < DOUBT:
            return True
    return False


def _total(costs: npt.NDArray[np.float64], chosen: Sequence[int | None]) -> float:
    return sum(TOO_DEAR if c is None else float(costs[r, c]) for r, c in enumerate(chosen))
