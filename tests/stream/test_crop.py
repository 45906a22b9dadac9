"""stream.crop: the alignment and the antialiased warp."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.crop import (
    CANONICAL_PX,
    FACE_PX,
    STABLE_LANDMARKS,
    alignment,
    crop_face,
    fit_similarity,
    invert,
    scale_of,
    transform,
    warp,
)
from tests.stream.fakes import face_at, noise_frame, template_landmarks

number = st.floats(-500, 500)


@settings(max_examples=50, deadline=None)
@given(st.floats(0.05, 20), st.floats(-3.1, 3.1), number, number)
def test_fit_similarity_recovers_a_similarity(scale: float, turn: float, x: float, y: float) -> None:
    cos, sin = scale * np.cos(turn), scale * np.sin(turn)
    matrix = np.array([[cos, -sin, x], [sin, cos, y]])
    points = np.random.default_rng(1).uniform(-100, 100, (12, 2))
    np.testing.assert_allclose(
        fit_similarity(points, points @ matrix[:, :2].T + matrix[:, 2]), matrix, atol=1e-6
    )


def test_fit_similarity_is_the_least_squares_one() -> None:
    rng = np.random.default_rng(2)
    source, target = rng.uniform(0, 100, (9, 2)), rng.uniform(0, 100, (9, 2))
    best = fit_similarity(source, target)

    def error(matrix: np.ndarray) -> float:
        return float(np.square(source @ matrix[:, :2].T + matrix[:, 2] - target).sum())

    for change in ([1e-3, 0, 0], [0, 1e-3, 0], [0, 0, 1e-2]):
        a, b, shift = change
        assert error(best) < error(best + np.array([[a, -b, shift], [b, a, 0.0]]))


def test_coinciding_points_give_a_shift_not_a_division_by_zero() -> None:
    matrix = fit_similarity(np.full((5, 2), 3.0), np.full((5, 2), 10.0))
    np.testing.assert_array_equal(matrix, [[1, 0, 7], [0, 1, 7]])


def test_alignment_of_the_canonical_face_is_the_identity() -> None:
    np.testing.assert_allclose(alignment(template_landmarks()), [[1, 0, 0], [0, 1, 0]], atol=1e-5)


def test_alignment_undoes_where_the_face_is() -> None:
    face = face_at(300, 200, scale=0.4, turn=0.3)
    matrix = alignment(face)
    np.testing.assert_allclose(transform(face, matrix)[STABLE_LANDMARKS], CANONICAL_PX, atol=1e-2)
    assert scale_of(matrix) == pytest.approx(1 / 0.4, rel=1e-5)


def test_alignment_takes_478_landmarks_as_468() -> None:
    face = face_at(300, 200)
    longer = np.concatenate([face, np.zeros((10, 2), np.float32)])
    np.testing.assert_array_equal(alignment(longer), alignment(face))


def test_invert_is_the_inverse() -> None:
    matrix = alignment(face_at(50, 60, 0.7, -0.2))
    points = np.array([[1.0, 2.0], [300.0, 40.0]])
    np.testing.assert_allclose(transform(transform(points, matrix), invert(matrix)), points, atol=1e-3)


def test_identity_warp_keeps_every_byte() -> None:
    frame = noise_frame(FACE_PX, FACE_PX)
    np.testing.assert_array_equal(crop_face(frame, np.eye(2, 3)), frame)


def test_a_whole_pixel_shift_moves_pixels_unchanged() -> None:
    frame = noise_frame(700, 800)
    crop = crop_face(frame, np.array([[1.0, 0, -100], [0, 1, -50]]))
    np.testing.assert_array_equal(crop, frame[50:562, 100:612])


@pytest.mark.parametrize("shrink", [1.6, 2.0, 3.0, 4.7])
def test_shrinking_averages_fine_detail_away(shrink: float) -> None:
    rows, columns = np.mgrid[0:900, 0:900]
    checks = np.where((rows + columns) % 2 == 0, 255, 0).astype(np.uint8)
    frame = np.ascontiguousarray(np.stack([checks] * 3, axis=2))
    size = int(900 / shrink) - 4
    matrix = np.array([[1 / shrink, 0, 0], [0, 1 / shrink, 0]])
    inner = warp(frame, matrix, (size, size))[4:-4, 4:-4].astype(float)
    naive = cv2.warpAffine(frame, matrix, (size, size), flags=cv2.INTER_LINEAR)[4:-4, 4:-4].astype(float)
    assert np.abs(inner - 127.5).max() < 40
    assert np.abs(inner - 127.5).mean() < np.abs(naive - 127.5).mean() / 3


@pytest.mark.parametrize("scale", [1 / 3.2, 1 / 1.7, 0.8, 2.5])
def test_warp_places_a_ramp_exactly(scale: float) -> None:
    rows, columns = np.mgrid[0:400, 0:400].astype(np.float64)
    ramp = np.round(columns * 0.4 + rows * 0.2).astype(np.uint8)
    matrix = np.array([[scale, 0.0, 7.3], [0.0, scale, -3.6]])
    warped = warp(np.ascontiguousarray(np.stack([ramp] * 3, axis=2)), matrix, (100, 100))
    y, x = np.mgrid[0:100, 0:100].astype(np.float64)
    source_x, source_y = (x - 7.3) / scale, (y + 3.6) / scale
    inside = (source_x > 4) & (source_x < 395) & (source_y > 4) & (source_y < 395)
    expected = source_x * 0.4 + source_y * 0.2
    assert np.abs(warped[..., 0].astype(float) - expected)[inside].max() < 1.3
    assert abs((warped[..., 0].astype(float) - expected)[inside].mean()) < 0.1


@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (3, 900), (901, 7)])
@pytest.mark.parametrize("scale", [0.05, 0.5, 1.0, 40.0])
def test_any_frame_size_gives_a_full_crop(shape: tuple[int, int], scale: float) -> None:
    frame = np.full((*shape, 3), 77, np.uint8)
    crop = crop_face(frame, np.array([[scale, 0, 0], [0, scale, 0]]))
    assert crop.shape == (FACE_PX, FACE_PX, 3)
    np.testing.assert_array_equal(crop, np.full_like(crop, 77))


def test_a_face_wholly_outside_repeats_the_edge() -> None:
    frame = np.full((50, 60, 3), 9, np.uint8)
    np.testing.assert_array_equal(np.unique(crop_face(frame, np.array([[1.0, 0, 5000], [0, 1, 5000]]))), [9])
