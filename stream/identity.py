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
    none, which costs TOO_DEAR. Exact: shortest augmenting paths (Jonker and Volgenant 1987)."""
    rows, columns = costs.shape
    # A column more for each row, which it can have instead.
    padded = np.full((rows, columns + rows), TOO_DEAR)
    padded[:, :columns] = np.where(costs < TOO_DEAR, costs, TOO_DEAR)
    owner = np.full(columns + rows, -1)
    of_row, of_column = np.zeros(rows), np.zeros(columns + rows)
    for start in range(rows):
        away = np.full(columns + rows, np.inf)
        before = np.full(columns + rows, -1)
        done = np.zeros(columns + rows, bool)
        row, column, so_far = start, -1, 0.0
        while row >= 0:
            through = so_far + padded[row] - of_row[row] - of_column
            nearer = ~done & (through < away)
            away[nearer], before[nearer] = through[nearer], column
            column = int(np.argmin(np.where(done, np.inf, away)))
            so_far, row, done[column] = float(away[column]), int(owner[column]), True
        done[column] = False
        of_row[start] += so_far
        of_row[owner[done]] += so_far - away[done]
        of_column[done] -= so_far - away[done]
        while column >= 0:
            owner[column] = owner[before[column]] if before[column] >= 0 else start
            column = int(before[column])
    chosen: list[int | None] = [None] * rows
    for column, row in enumerate(owner[:columns]):
        if row >= 0 and costs[row, column] < TOO_DEAR:
            chosen[row] = column
    return chosen


def doubtful(costs: npt.NDArray[np.float64], chosen: Sequence[int | None]) -> list[bool]:
    """For each row of the best assignment, whether its column could nearly as well be another row's: the best
    assignment that gives it to another costs hardly more."""
    rows = len(costs)
    own = np.array([TOO_DEAR if c is None else costs[r, c] for r, c in enumerate(chosen)])
    # What it costs more that one row takes another's column; the last place stands for all that are free.
    more = np.full((rows + 1, rows + 1), np.inf)
    for row, column in enumerate(chosen):
        if column is not None:
            more[:rows, row] = np.where(costs[:, column] < TOO_DEAR, costs[:, column] - own, np.inf)
    free = [column for column in range(costs.shape[1]) if column not in chosen]
    more[:rows, rows] = np.minimum(costs[:, free].min(axis=1, initial=TOO_DEAR), TOO_DEAR) - own
    more[rows, :] = 0.0
    # Least over every chain of rows that make way for one another (Floyd and Warshall): each other assignment
    # is a ring of such steps.
    chain = more.copy()
    for k in range(rows + 1):
        chain = np.minimum(chain, chain[:, k, None] + chain[k])
    ring = more[:rows, :rows] + chain[:rows, :rows].T
    np.fill_diagonal(ring, np.inf)
    return [bool(least < DOUBT) for least in ring.min(axis=0, initial=np.inf)]
