"""stream.identity: looks, costs and the assignment of faces to those known."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest

from stream.identity import ALIKE, DOUBT, TOO_DEAR, UNLIKE, assigned, cost, doubtful, look_at, unlikeness
from tests.stream.crowd import Crowd, Person, walk
from tests.stream.fakes import face_at

BOX = np.array([100, 100, 200, 220], np.float32)


def frame_and_face(look: int, x_px: float, scale: float) -> tuple[np.ndarray, np.ndarray]:
    crowd = Crowd(Person(look, scale, walk((x_px, 180), (0.0, 0.0))))
    return crowd.draw(0.0), face_at(x_px, 180, scale)


def test_a_look_stays_with_place_size_and_light_and_differs_between_people() -> None:
    frame, face = frame_and_face(1, 200, 0.4)
    one = look_at(frame, face)
    elsewhere, moved = frame_and_face(1, 420, 0.25)
    assert unlikeness(one, look_at(elsewhere, moved)) < ALIKE / 2
    darker = (frame * 0.6 + 20).astype(np.uint8)
    assert unlikeness(one, look_at(darker, face)) < ALIKE / 2
    for look in range(2, 12):
        assert unlikeness(one, look_at(*frame_and_face(look, 200, 0.4))) > UNLIKE


def test_what_lies_under_anothers_box_does_not_count() -> None:
    frame, face = frame_and_face(1, 200, 0.4)
    clear = look_at(frame, face)
    spoilt = frame.copy()
    spoilt[:, 215:] = 255
    box = np.array([215, 0, 640, 360], np.float32)
    assert unlikeness(clear, look_at(spoilt, face)) > UNLIKE
    assert unlikeness(clear, look_at(spoilt, face, [box])) < ALIKE
    most = np.array([150, 0, 640, 360], np.float32)
    assert math.isnan(unlikeness(clear, look_at(spoilt, face, [most])))
    assert math.isnan(unlikeness(clear, None))
    assert math.isnan(unlikeness(None, None))


def test_plain_colour_says_nothing() -> None:
    plain = look_at(np.full((360, 640, 3), 90, np.uint8), face_at(200, 180, 0.4))
    assert math.isnan(unlikeness(plain, plain))


def test_a_face_costs_more_the_farther_the_larger_and_the_less_alike() -> None:
    assert cost(BOX, 0.0, BOX, 0.0) == 0.0
    assert cost(BOX, 0.0, BOX, math.nan) == 0.0
    far, farther = BOX + np.float32(30), BOX + np.float32(60)
    larger = np.array([90, 88, 210, 232], np.float32)
    assert 0 < cost(BOX, 0.0, far, 0.0) < cost(BOX, 0.0, farther, 0.0)
    assert cost(BOX, 0.0, larger, 0.0) == pytest.approx(math.log(1.2), abs=1e-3)
    assert cost(BOX, 0.0, BOX, 0.4) == pytest.approx(0.4)
    assert cost(BOX, 0.1, BOX, 0.0) > 0.1
    distances = [cost(BOX, s, farther, 0.0) - cost(BOX, s, BOX, 0.0) for s in (0.1, 0.5, 1.0)]
    assert distances == sorted(distances, reverse=True)
    points = np.zeros(4, np.float32)
    assert math.isfinite(cost(points, 0.0, points, 0.0))


def brute(costs: np.ndarray, forced: tuple[int, int] | None = None) -> float:
    """The least cost, by trying every assignment; forced: a row and the column it must have."""
    rows, columns = costs.shape
    options = itertools.product([None, *range(columns)], repeat=rows)
    valid = (o for o in options if len({c for c in o if c is not None}) == sum(c is not None for c in o))
    fits = (o for o in valid if forced is None or o[forced[0]] == forced[1])
    return min(total(costs, o) for o in fits)


def total(costs: np.ndarray, chosen: Sequence[int | None]) -> float:
    return sum(TOO_DEAR if c is None else float(costs[r, c]) for r, c in enumerate(chosen))


def some_costs(rng: np.random.Generator) -> np.ndarray:
    """Costs of up to four rows and columns, some pairs forbidden, some as good as others."""
    costs = rng.uniform(0.0, 1.6, rng.integers(1, 5, 2))
    if rng.random() < 0.3:
        costs = np.round(costs, 1)
    costs[rng.random(costs.shape) < 0.2] = np.inf
    return costs


def test_the_assignment_is_the_best_there_is() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        costs = some_costs(rng)
        chosen = assigned(costs)
        taken = [c for c in chosen if c is not None]
        assert len(set(taken)) == len(taken)
        assert all(costs[r, c] < TOO_DEAR for r, c in enumerate(chosen) if c is not None)
        assert total(costs, chosen) == pytest.approx(brute(costs))


def test_doubt_is_found_wherever_trying_every_assignment_finds_it() -> None:
    rng, doubts = np.random.default_rng(1), 0
    for _ in range(150):
        costs = some_costs(rng) * rng.choice([0.3, 1.0])
        chosen = assigned(costs)
        others = [
            [brute(costs, (o, c)) for o in range(len(costs)) if o != r and costs[o, c] < TOO_DEAR]
            if c is not None
            else []
            for r, c in enumerate(chosen)
        ]
        least = [min(costs_of, default=math.inf) - total(costs, chosen) for costs_of in others]
        if any(abs(more - DOUBT) < 1e-6 for more in least):
            continue
        assert doubtful(costs, chosen) == [more < DOUBT for more in least]
        doubts += sum(more < DOUBT for more in least)
    assert doubts > 50


def test_many_faces_in_a_row_are_assigned_though_every_way_could_never_be_tried() -> None:
    row = np.arange(64.0)
    costs = np.abs(row[:, None] - row - 0.4)
    chosen = assigned(costs)
    assert total(costs, chosen) == pytest.approx(64 * 0.4)
    assert doubtful(costs, chosen) == [False] * 64
    assert all(doubtful(0.1 * costs, assigned(0.1 * costs)))


def test_nobody_found_nobody_assigned() -> None:
    assert assigned(np.zeros((3, 0))) == [None, None, None]
    assert assigned(np.zeros((0, 2))) == []


def test_doubt_is_another_assignment_that_is_nearly_as_good() -> None:
    near = np.array([[0.1, 0.4], [0.4, 0.1 + 0.6 - DOUBT + 0.01]])
    assert assigned(near) == [0, 1]
    assert doubtful(near, [0, 1]) == [True, True]
    clear = np.array([[0.1, 0.8], [0.8, 0.1]])
    assert doubtful(clear, assigned(clear)) == [False, False]
    one_for_two = np.array([[0.2], [0.2 + DOUBT / 2]])
    assert doubtful(one_for_two, assigned(one_for_two)) == [True, False]
    impossible = np.array([[0.2], [np.inf]])
    assert doubtful(impossible, [0, None]) == [False, False]
    assert doubtful(np.zeros((2, 0)), [None, None]) == [False, False]
