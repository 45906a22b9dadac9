"""Optical flow carries a face on: known motions of a drawn texture come back as they were."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from stream.crop import STABLE_LANDMARKS, transform
from stream.face import box_around
from stream.glide import Glide
from tests.stream.fakes import face_at


def texture(seed: int = 0) -> npt.NDArray[np.uint8]:
    """uint8 [480, 640, 3]: soft blotches, as a face has them at this scale."""
    noise = np.random.default_rng(seed).normal(128.0, 1.0, (480, 640, 3)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 5.0)
    return np.clip(128.0 + 500.0 * (soft - 128.0), 0, 255).astype(np.uint8)


def turned(angle: float, scale: float, dx: float, dy: float) -> npt.NDArray[np.float64]:
    """A similarity about the middle of the frame."""
    matrix = cv2.getRotationMatrix2D((320.0, 240.0), angle, scale)
    return np.asarray(matrix, np.float64) + np.array([[0.0, 0.0, dx], [0.0, 0.0, dy]])


@pytest.mark.parametrize(
    ("angle", "scale", "dx", "dy"),
    [(0.0, 1.0, 0.0, 0.0), (0.0, 1.0, 7.3, -4.6), (2.0, 1.02, -3.0, 5.0), (-1.5, 0.97, 12.0, 2.0)],
)
def test_a_known_motion_is_found(angle: float, scale: float, dx: float, dy: float) -> None:
    before, motion = texture(), turned(angle, scale, dx, dy)
    now = np.asarray(cv2.warpAffine(before, motion, (640, 480), borderMode=cv2.BORDER_REPLICATE), np.uint8)
    face = face_at(320.0, 240.0, 0.6)
    glide = Glide()
    glide.remember(before, box_around(face))
    found = glide(now, face[STABLE_LANDMARKS])
    assert found is not None
    missed = np.linalg.norm(transform(face, found) - transform(face, motion), axis=1)
    assert missed.max() < 0.6


def test_a_hand_over_part_of_the_face_does_not_drag_it_along() -> None:
    before, motion = texture(), turned(0.0, 1.0, 3.0, 0.0)
    now = np.array(cv2.warpAffine(before, motion, (640, 480), borderMode=cv2.BORDER_REPLICATE), np.uint8)
    now[:, 340:] = texture(7)[:, 340:]
    face = face_at(320.0, 240.0, 0.6)
    glide = Glide()
    glide.remember(before, box_around(face))
    found = glide(now, face[STABLE_LANDMARKS])
    assert found is not None
    missed = np.linalg.norm(transform(face, found) - transform(face, motion), axis=1)
    assert float(np.median(missed)) < 2.0


def test_nothing_is_claimed_where_the_picture_says_nothing() -> None:
    glide, face = Glide(), face_at(320.0, 240.0, 0.6)
    assert glide(texture(), face[STABLE_LANDMARKS]) is None
    glide.remember(texture(1), box_around(face))
    assert glide(texture(2), face[STABLE_LANDMARKS]) is None


def test_a_face_beside_the_frame_is_not_looked_at() -> None:
    glide, face = Glide(), face_at(-400.0, 240.0, 0.3)
    glide.remember(texture(), box_around(face))
    assert glide(texture(), face[STABLE_LANDMARKS]) is None
