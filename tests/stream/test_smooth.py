"""stream.smooth: steady at rest, prompt in motion."""

import math

import numpy as np
import pytest

from stream.crop import alignment, invert, scale_of, transform
from stream.smooth import OneEuro, OneEuroGains, SmoothAlignment
from tests.stream.fakes import face_at

CORNERS = np.array([[60.0, 60], [450, 60], [256, 256], [60, 450], [450, 450]])
DT_S = 1 / 30


def jitter(matrices: list[np.ndarray], frame_points: np.ndarray) -> tuple[float, float]:
    """Standard deviation, and root mean square from frame to frame, of fixed frame points in face pixels."""
    places = np.stack([transform(frame_points, m) for m in matrices])
    return float(places.std(axis=0).max()), float(np.sqrt(np.square(np.diff(places, axis=0)).mean()))


def test_a_still_face_with_noisy_landmarks_rests() -> None:
    rng, smooth = np.random.default_rng(0), SmoothAlignment()
    face = face_at(640, 360, 0.75)
    points = transform(CORNERS, invert(alignment(face)))
    raw, kept = [], []
    for _ in range(150):
        # As measured on a still face with camera noise of three levels; neighbours' errors go together.
        noisy = face + rng.normal(0, 0.18, (1, 2)) + rng.normal(0, 0.5, face.shape)
        raw.append(alignment(noisy.astype(np.float32)))
        kept.append(smooth(noisy.astype(np.float32), DT_S)[0])
    spread, step = jitter(kept[30:], points)
    assert jitter(raw[30:], points)[1] > 0.25
    assert spread < 0.1
    assert step < 0.03


@pytest.mark.parametrize("speed_px_s", [50.0, 200.0, 800.0])
def test_motion_is_followed_within_a_few_pixels(speed_px_s: float) -> None:
    smooth = SmoothAlignment()
    for step in range(90):
        face = face_at(100 + speed_px_s * step * DT_S, 300, 0.6, turn=0.1)
        _, inside = smooth(face, DT_S)
    lag = transform(face, alignment(face)) - inside
    assert np.abs(lag).max() < 16


def test_landmarks_lie_in_the_smoothed_face_not_behind_it() -> None:
    smooth = SmoothAlignment()
    for step in range(60):
        face = face_at(100 + 6 * step, 300, 0.6)
        matrix, inside = smooth(face, DT_S)
    assert np.abs(transform(face, matrix) - inside).max() < 1.5


def test_the_first_alignment_is_the_raw_one() -> None:
    face = face_at(200, 210, 0.8, turn=-0.4)
    matrix, inside = SmoothAlignment()(face, 1.0)
    np.testing.assert_allclose(matrix, alignment(face), atol=1e-6)
    np.testing.assert_allclose(inside, transform(face, matrix), atol=1e-3)


def test_a_turn_through_half_a_circle_has_no_jump() -> None:
    smooth = SmoothAlignment()
    turns = []
    for step in range(120):
        matrix, _ = smooth(face_at(300, 300, 0.5, turn=2.6 + step * 0.01), DT_S)
        turns.append(math.atan2(matrix[1, 0], matrix[0, 0]))
    assert np.abs(np.diff(np.unwrap(turns))).max() < 0.05
    assert scale_of(matrix) == pytest.approx(2.0, rel=0.02)


def test_smoothing_is_by_time_not_by_count() -> None:
    """Half the frame rate gives the same rest filter over the same second, nearly."""
    gains = OneEuroGains(rest_hz=1.0, gain=0.0)
    ends = []
    for rate in (30, 60, 120):
        low_pass = OneEuro(gains, shared=True)
        low_pass(np.zeros(2), 1.0)
        for _ in range(rate // 4):
            value = low_pass(np.ones(2), 1 / rate)
        ends.append(value[0])
    assert max(ends) - min(ends) < 0.05
    assert 0.5 < ends[0] < 0.95
