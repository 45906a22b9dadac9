"""Pictures of any size into one size."""

from __future__ import annotations

import numpy as np

from stream.live.fit import fitted
from tests.stream.fakes import noise_frame


def test_the_right_size_is_the_same_picture() -> None:
    frame = noise_frame(48, 64)
    assert fitted(frame, (64, 48)) is frame


def test_another_shape_is_set_on_black_in_the_middle() -> None:
    white = np.full((40, 40, 3), 255, np.uint8)
    wide = fitted(white, (80, 40))
    assert wide.shape == (40, 80, 3)
    assert (wide[:, 20:60] == 255).all()
    assert not wide[:, :20].any()
    assert not wide[:, 60:].any()
    tall = fitted(white, (20, 50))
    assert (tall[15:35] == 255).all()
    assert not tall[:15].any()


def test_the_same_shape_is_scaled_only() -> None:
    assert (fitted(np.full((36, 64, 3), 9, np.uint8), (128, 72)) == 9).all()
