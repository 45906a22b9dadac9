"""stream.track: how a face moves, and when what it looks like says that another has come in its place."""

import math

import numpy as np
import pytest

from stream.identity import ALIKE, UNLIKE, look_at, unlikeness
from stream.track import SETTLED_S, SUDDEN_WITHIN_S, Track
from stream.tracker import Tracker
from tests.stream.crowd import Crowd, Person, walk
from tests.stream.fakes import face_at

DT_S = 1 / 30
FACE = face_at(320, 180, 0.3)


def picture(look: int) -> np.ndarray:
    return Crowd(Person(look, 0.3, walk((320, 180), (0.0, 0.0)))).draw(0.0)


ONE, OTHER = picture(1), picture(2)


def under_a_hand(x_px: float, y_px: float) -> np.ndarray:
    """The first face with something over a quarter of it, its middle so far from the face's."""
    frame, x, y = ONE.copy(), round(320 + x_px), round(180 + y_px)
    frame[y - 30 : y + 30, x - 25 : x + 25] = (235, 190, 160)
    return frame


def known() -> Track:
    track = Track(0, FACE, 1.0)
    for _ in range(10):
        track.learn(ONE, DT_S, apart=True)
    return track


def shown(track: Track, frames: list[np.ndarray], dt_s: float = DT_S) -> list[int]:
    """The track's epoch after each frame."""
    epochs = []
    for frame in frames:
        track.learn(frame, dt_s, apart=True)
        epochs.append(track.epoch)
    return epochs


def test_who_comes_in_a_faces_place_starts_it_anew_once_and_is_known_then() -> None:
    track, other = known(), look_at(OTHER, FACE)
    epochs = shown(track, [OTHER] * 30)
    begun = epochs.index(1)
    assert SETTLED_S / DT_S <= begun <= SETTLED_S / DT_S + 1
    assert epochs[-1] == 1
    assert unlikeness(track.look, other) < 1e-3
    assert shown(track, [ONE] * 30)[-1] == 2


def test_a_stranger_whom_nobody_follows_has_not_the_memory_of_a_face_nearby() -> None:
    """Within a leap, so that the mesh goes from one to the other."""
    crowd = Crowd(
        Person(1, 0.30, walk((320, 180), (0.0, 0.0))),
        Person(2, 0.31, walk((330, 180), (0.0, 0.0), begin_s=0.65)),
        Person(3, 0.25, walk((540, 180), (0.0, 0.0))),
    )
    tracker = Tracker(crowd, 2)
    epochs = []
    for k in range(36):
        for track in tracker.update(crowd.draw(k * DT_S), DT_S):
            track.align()
            if track.id == 0:
                epochs.append((crowd.owner(track), track.epoch))
    assert (0, 1) not in epochs
    assert epochs[-1] == (1, 1)
    assert epochs.count((1, 0)) <= SETTLED_S / DT_S + 1


def test_one_who_becomes_somebody_else_little_by_little_is_the_same() -> None:
    track, steps = known(), np.linspace(0.0, 1.0, 16)
    frames = [(ONE + s * (OTHER.astype(np.float32) - ONE)).astype(np.uint8) for s in steps]
    assert unlikeness(look_at(frames[0], FACE), look_at(frames[-1], FACE)) > UNLIKE
    assert set(shown(track, frames + [OTHER] * 60)) == {0}
    assert unlikeness(track.look, look_at(OTHER, FACE)) < ALIKE


@pytest.mark.parametrize("lasts", [1, 3, 5])
def test_a_glare_now_and_then_starts_nothing_and_is_not_learnt(lasts: int) -> None:
    track = known()
    look = track.look
    assert set(shown(track, [OTHER] * lasts)) == {0}
    assert track.look is look
    assert set(shown(track, 5 * ([ONE] * 10 + [OTHER] * lasts) + [ONE])) == {0}
    assert unlikeness(track.look, look_at(ONE, FACE)) < ALIKE


def test_a_hand_that_moves_before_a_face_starts_nothing() -> None:
    track = known()
    ways = np.arange(90) * DT_S * 2.0 * np.pi * 1.3
    frames = [under_a_hand(20.0 * np.cos(way), 20.0 * np.sin(way)) for way in ways]
    assert all(unlikeness(track.look, look_at(frame, FACE)) > UNLIKE for frame in frames)
    assert set(shown(track, frames + [ONE] * 30)) == {0}


def test_a_hand_held_before_a_face_starts_it_anew_no_more_than_as_it_comes_and_as_it_goes() -> None:
    track = known()
    assert unlikeness(track.look, look_at(under_a_hand(15, 20), FACE)) > UNLIKE
    trembles = [under_a_hand(15 + k % 3, 20 - k % 2) for k in range(150)]
    assert shown(track, trembles)[-1] <= 1
    assert shown(track, [ONE] * 60)[-1] <= 2


def test_what_lies_between_two_looks_is_not_sudden_if_it_was_not_seen() -> None:
    track = known()
    for _ in range(10):
        track.learn(ONE, DT_S, apart=False)
    assert set(shown(track, [OTHER] * 60)) == {0}
    assert set(shown(known(), [OTHER] * 30, 1.5 * SUDDEN_WITHIN_S)) == {0}


def moving(step_px: float) -> Track:
    """A face that went to the right by so much a frame."""
    track = Track(0, FACE, 1.0)
    for k in range(10):
        track.align()
        track.follow(FACE + np.array([step_px * k, 0.0], np.float32), DT_S)
        track.learn(ONE, DT_S, apart=True)
    assert track.speed_px[0] > 0.5 * step_px / DT_S
    return track


def test_a_leap_is_no_speed_and_ends_the_one_before() -> None:
    track = moving(3.0)
    track.align()
    track.follow(FACE + np.float32(150.0), DT_S)
    assert track.speed_px.tolist() == [0.0, 0.0]
    track.learn(ONE, DT_S, apart=True)
    assert track.speed_px.tolist() == [0.0, 0.0]


def test_the_speed_of_a_face_fades_while_it_is_not_apart() -> None:
    track = moving(3.0)
    before = float(track.speed_px[0])
    for _ in range(15):
        track.learn(ONE, DT_S, apart=False)
    assert track.speed_px[0] == pytest.approx(before * math.exp(-0.5), rel=0.02)
    track.learn(ONE, 2.0, apart=False)
    assert track.speed_px.tolist() == [0.0, 0.0]


def test_a_face_that_comes_back_is_where_it_is_found() -> None:
    track, elsewhere = known(), FACE + np.float32(20.0)
    track.align()
    track.hide(DT_S)
    track.come_back(elsewhere, DT_S)
    track.align()
    new = Track(1, elsewhere, 1.0)
    new.align()
    np.testing.assert_array_equal(track.alignment, new.alignment)
