"""stream.composite: the guard and the un-cropped residual."""

import cv2
import numpy as np
import pytest

from stream import composite
from stream.composite import FEATHER_PX, add_residual, skin_guard
from stream.crop import FACE_PX, alignment, transform
from stream.regions import skin_mask
from tests.stream.fakes import PATCH, face_at, noise_frame, template_landmarks

IDENTITY = np.eye(2, 3)
OPEN = np.full((FACE_PX, FACE_PX), 255, np.uint8)


def even(levels: float) -> np.ndarray:
    return np.full((FACE_PX, FACE_PX, 3), levels, np.float32)


def test_guard_is_zero_outside_the_skin_outline_and_full_inside() -> None:
    marks = template_landmarks()
    guard, skin = skin_guard(marks), skin_mask(marks, (FACE_PX, FACE_PX))
    assert not guard[skin == 0].any()
    assert (guard[PATCH] == 255).all()


def test_guard_rises_over_the_feather() -> None:
    guard = skin_guard(template_landmarks())
    middle = guard[:, 256].astype(int)
    first = int(np.flatnonzero(middle)[0])
    ramp = middle[first : first + FEATHER_PX + 2]
    assert ramp[0] < 60
    assert (np.diff(ramp) >= 0).all()
    assert ramp[-1] == 255
    assert (np.diff(ramp) < 80).all()


def test_identity_adds_the_residual_itself() -> None:
    frame = noise_frame(FACE_PX, FACE_PX)
    expected = frame.astype(int)
    expected[PATCH] += 10
    residual = np.zeros((FACE_PX, FACE_PX, 3), np.float32)
    residual[PATCH] = 10
    add_residual(frame, residual, OPEN, IDENTITY, 1.0)
    np.testing.assert_array_equal(frame[1:-1, 1:-1], expected[1:-1, 1:-1])


def test_amount_scales_and_channels_stay_apart() -> None:
    frame = np.full((FACE_PX, FACE_PX, 3), 100, np.uint8)
    residual = np.zeros((FACE_PX, FACE_PX, 3), np.float32)
    residual[...] = [8, -4, 2]
    add_residual(frame, residual, OPEN, IDENTITY, 0.5)
    np.testing.assert_array_equal(frame[256, 256], [104, 98, 101])


@pytest.mark.parametrize(
    ("levels", "added"), [(0.49, 0), (-0.49, 0), (0.5, 0), (1.5, 2), (2.5, 2), (-1.5, -2), (0.51, 1)]
)
@pytest.mark.parametrize("value", [100, 101])
def test_rounding_is_half_to_even_whatever_the_pixel(levels: float, added: int, value: int) -> None:
    frame = np.full((FACE_PX, FACE_PX, 3), value, np.uint8)
    add_residual(frame, even(levels), OPEN, IDENTITY, 1.0)
    assert (frame[100:400, 100:400] == value + added).all()


def test_saturates_instead_of_wrapping() -> None:
    frame = np.full((FACE_PX, FACE_PX, 3), 250, np.uint8)
    add_residual(frame, even(20), OPEN, IDENTITY, 1.0)
    assert frame[256, 256, 0] == 255
    add_residual(frame, even(-300), OPEN, IDENTITY, 1.0)
    assert frame[256, 256, 0] == 0


def test_amount_zero_and_empty_guard_change_nothing() -> None:
    frame = noise_frame(300, 400)
    before = frame.copy()
    add_residual(frame, even(50), OPEN, IDENTITY, 0.0)
    add_residual(frame, even(50), np.zeros_like(OPEN), IDENTITY, 1.0)
    np.testing.assert_array_equal(frame, before)


@pytest.mark.parametrize(("scale", "turn"), [(0.15, 0.0), (0.3, 0.4), (0.7, -0.8), (1.4, 0.1), (2.6, 3.0)])
def test_bytes_off_the_skin_are_identical(scale: float, turn: float) -> None:
    frame = noise_frame(900, 1200)
    before = frame.copy()
    marks = face_at(560.3, 441.8, scale, turn)
    matrix = alignment(marks)
    inside = transform(marks, matrix)
    add_residual(frame, even(30), skin_guard(inside), matrix, 1.0)
    rows, columns = np.nonzero((frame != before).any(axis=2))
    assert rows.size > 0
    places = transform(np.stack([columns, rows], axis=1).astype(float), matrix).round().astype(int)
    # Bilinear reading reaches one face pixel past a skin pixel, and a block of them when averaging.
    reach = 2 * max(1, round(1 / scale)) + 1
    skin = cv2.dilate(skin_mask(inside, (FACE_PX, FACE_PX)), np.ones((reach, reach), np.uint8))
    assert (skin[places[:, 1], places[:, 0]] > 0).all()


def _inverse(matrix: np.ndarray) -> np.ndarray:
    linear = np.linalg.inv(matrix[:, :2])
    return np.column_stack([linear, -linear @ matrix[:, 2]])


@pytest.mark.parametrize("scale", [0.12, 0.3, 0.5, 0.66, 1.0, 1.9])
def test_an_even_residual_arrives_in_full_at_every_size(scale: float) -> None:
    frame = np.full((1100, 1100, 3), 100, np.uint8)
    marks = face_at(550, 550, scale)
    matrix = alignment(marks)
    add_residual(frame, even(20), skin_guard(transform(marks, matrix)), matrix, 1.0)
    cheek = transform(np.array([[170.0, 280.0]]), _inverse(matrix))[0]
    x, y = cheek.round().astype(int)
    assert tuple(frame[y, x]) == (120, 120, 120)


def test_small_faces_get_the_average_of_the_residual_not_a_sample() -> None:
    residual = even(0)
    residual[::2] = 40
    frame = np.full((200, 200, 3), 100, np.uint8)
    add_residual(frame, residual, OPEN, np.array([[6.0, 0, -300], [0, 6.0, -300]]), 1.0)
    middle = frame[70:110, 70:110].astype(int)
    assert abs(middle.mean() - 120) < 1
    assert middle.std() < 1.5


@pytest.mark.parametrize("centre", [(-20.0, 40.0), (640.0, 300.0), (310.0, 370.0), (5.0, 5.0)])
def test_faces_partly_outside_the_frame(centre: tuple[float, float]) -> None:
    frame = np.full((360, 640, 3), 100, np.uint8)
    marks = face_at(*centre, 0.4)
    matrix = alignment(marks)
    add_residual(frame, even(20), skin_guard(transform(marks, matrix)), matrix, 1.0)
    assert (frame == 120).any()
    assert (frame == 100).any()


def test_a_face_wholly_outside_changes_nothing() -> None:
    frame = noise_frame(100, 100)
    before = frame.copy()
    add_residual(frame, even(20), OPEN, np.array([[1.0, 0, 9000], [0, 1, 9000]]), 1.0)
    np.testing.assert_array_equal(frame, before)


def test_strips_make_no_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    residual = np.random.default_rng(0).normal(0, 20, (FACE_PX, FACE_PX, 3)).astype(np.float32)
    marks = face_at(300, 260, 0.9, 0.2)
    matrix = alignment(marks)
    guard = skin_guard(transform(marks, matrix))
    whole, strips = noise_frame(500, 600), noise_frame(500, 600)
    monkeypatch.setattr(composite, "_STRIP_PIXELS", 10**9)
    add_residual(whole, residual, guard, matrix, 1.0)
    monkeypatch.setattr(composite, "_STRIP_PIXELS", 3000)
    add_residual(strips, residual, guard, matrix, 1.0)
    assert np.abs(whole.astype(int) - strips).max() <= 1
    assert (whole != strips).mean() < 1e-3


@pytest.mark.parametrize("scale", [0.3, 0.8])
def test_a_residual_in_planes_gives_the_same_as_one_in_pixels(scale: float) -> None:
    residual = np.random.default_rng(0).normal(0, 20, (FACE_PX, FACE_PX, 3)).astype(np.float32)
    strided = np.ascontiguousarray(residual.transpose(2, 0, 1)).transpose(1, 2, 0)
    marks = face_at(300, 260, scale, 0.2)
    matrix = alignment(marks)
    guard = skin_guard(transform(marks, matrix))
    one, other = noise_frame(500, 600), noise_frame(500, 600)
    assert add_residual(one, residual, guard, matrix, 1.0) == add_residual(other, strided, guard, matrix, 1.0)
    np.testing.assert_array_equal(one, other)
