"""Faces near one another: each mesh goes to the face it fits best, and a face that another covers is hidden.

Each is looked for where it would be at constant speed. Of all ways to give the meshes found to the faces the
one of least cost is taken (stream.identity); where another would be nearly as good, the face starts anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from stream.boxes import Box, area, around_both, covers, grown, overlap, shared
from stream.face import box_around
from stream.identity import ALIKE, TOO_DEAR, UNLIKE, Look, assigned, cost, doubtful, look_at, unlikeness
from stream.track import Track

SAME_FACE_IOU = 0.3
# Faces are near where the regions looked at meet.
NEAR_MARGIN = 0.25
# A face is hidden where another's head covers so much of its box.
COVERED = 0.25

Landmarks = npt.NDArray[np.float32]
Mesh = Callable[[Landmarks], Landmarks | None]


def groups_of(faces: Sequence[Track], dt_s: float) -> list[list[Track]]:
    """The faces, those together that are near one another or will be if they move on as they did."""
    if len(faces) < 2:
        return [[face] for face in faces]
    groups: list[list[tuple[Track, Box]]] = []
    for face in faces:
        way = around_both(face.box_px, box_around(face.expected_px(dt_s)))
        reach = grown(way, NEAR_MARGIN)
        joined, apart = [(face, reach)], []
        for group in groups:
            if any(shared(reach, other) > 0.0 for _, other in group):
                joined += group
            else:
                apart.append(group)
        groups = [*apart, joined]
    return [[face for face, _ in group] for group in groups]


def tell_apart(
    frame_rgb_u8: npt.NDArray[np.uint8],
    group: Sequence[Track],
    mesh: Mesh,
    elsewhere: Sequence[Box],
    dt_s: float,
) -> None:
    """Follow, hide or miss each face of the group. mesh: landmarks [468, 2] of the face near those given, in
    frame pixels, or None. elsewhere: boxes of faces outside the group, already followed."""
    expected = [box_around(face.expected_px(dt_s)) for face in group]
    found = _found(group, mesh, elsewhere, dt_s)
    boxes = [box_around(landmarks) for landmarks in found]
    before = [heads_before(box, boxes) for box in boxes]
    looks = [look_at(frame_rgb_u8, *one) for one in zip(found, before, strict=True)]
    costs, unlike = _costs(group, expected, boxes, looks)
    chosen = assigned(costs)
    doubts = doubtful(costs, chosen)
    heads: list[Box] = []
    missing: list[int] = []
    for row, face in enumerate(group):
        its = chosen[row]
        if its is None or not (face.seen or may_be(face, unlike[row, its], before[its])):
            missing.append(row)
            continue
        _take(face, found[its], unlike[row, its], dt_s, doubt=doubts[row])
        heads.append(grown(face.box_px, NEAR_MARGIN))
    for row in missing:
        _lose(group[row], expected[row], heads, dt_s)


def _costs(
    group: Sequence[Track], expected: Sequence[Box], boxes: Sequence[Box], looks: Sequence[Look]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """What it costs to take each mesh for each face, and how unlike it looks; nan where it is too far away
    to look."""
    costs = np.full((len(group), len(boxes)), np.inf)
    unlike = np.full(costs.shape, np.nan)
    for row, face in enumerate(group):
        for column, box in enumerate(boxes):
            if cost(expected[row], face.unseen_s, box, np.nan) < TOO_DEAR:
                unlike[row, column] = unlikeness(face.look, looks[column])
                costs[row, column] = cost(expected[row], face.unseen_s, box, unlike[row, column])
    return costs, unlike


def heads_before(box: Box, others: Sequence[Box]) -> list[Box]:
    """What may lie before a face: the heads of larger ones, which are nearer, where they touch it."""
    heads = [grown(other, NEAR_MARGIN) for other in others if area(other) > area(box)]
    return [head for head in heads if shared(head, box) > 0.0]


def may_be(face: Track, unlike: float, heads: Sequence[Box]) -> bool:
    """Whether what was found may be a face that was not seen: it does not look like another, and a hidden one
    is let out from behind a head only when it is known again."""
    known_again = unlike <= ALIKE or not face.hidden or not heads
    return known_again and not unlike >= UNLIKE


def _take(face: Track, landmarks_px: Landmarks, unlike: float, dt_s: float, *, doubt: bool) -> None:
    """The face is there; its memory is its own only if there is no doubt."""
    if face.hidden:
        doubt |= not unlike <= ALIKE
        face.come_back(landmarks_px, dt_s)
    else:
        face.follow(landmarks_px, dt_s)
    if doubt:
        face.start_anew()


def _lose(face: Track, expected: Box, heads: Sequence[Box], dt_s: float) -> None:
    """The face was not found: one of the heads hides it, or it is lost."""
    if face.hidden or any(shared(head, expected) > COVERED * area(expected) for head in heads):
        face.hide(dt_s)
    else:
        face.miss(dt_s)


def _found(group: Sequence[Track], mesh: Mesh, elsewhere: Sequence[Box], dt_s: float) -> list[Landmarks]:
    """Landmarks of the faces where those of the group are expected, each face once."""
    found: list[tuple[float, Landmarks]] = []
    for face in group:
        expected = face.expected_px(dt_s)
        landmarks = mesh(expected)
        if landmarks is None and not face.hidden:
            landmarks = mesh(face.landmarks_px)
        if landmarks is not None:
            found.append((float(np.abs(landmarks - expected).mean()), landmarks))
    # Of two meshes on one face the one from the nearer region is the better.
    found.sort(key=lambda one: one[0])
    distinct: list[Landmarks] = []
    taken = list(elsewhere)
    for _, landmarks in found:
        box = box_around(landmarks)
        if not any(overlap(box, other) > SAME_FACE_IOU for other in taken):
            distinct.append(landmarks)
            taken.append(box)
    boxes = [box_around(landmarks) for landmarks in distinct]
    return [
        landmarks
        for landmarks, box in zip(distinct, boxes, strict=True)
        if not any(area(other) > area(box) and covers(other, box) for other in boxes)
    ]
