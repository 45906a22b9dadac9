"""Orientation: the same as Pillow's EXIF, the same as FFmpeg's display matrix, and undone exactly."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageOps

from stream.frame import Orientation, orientation_from_exif, orientation_from_matrix

ALL = [Orientation(turns, mirrored) for turns in range(4) for mirrored in (False, True)]


def numbered(height: int = 5, width: int = 7) -> np.ndarray:
    return np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)


@pytest.mark.parametrize("tag", range(1, 9))
def test_upright_is_what_pillow_makes_of_the_exif_tag(tag):
    image = Image.fromarray(numbered())
    image.getexif()[0x0112] = tag
    wanted = np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal(orientation_from_exif(tag).upright(numbered()), wanted)


def test_an_unknown_exif_tag_means_upright():
    assert orientation_from_exif(0).plain
    assert orientation_from_exif(9).plain


@pytest.mark.parametrize("orientation", ALL)
def test_stored_undoes_upright(orientation):
    picture = numbered()
    assert np.array_equal(orientation.stored(orientation.upright(picture)), picture)


@pytest.mark.parametrize("orientation", ALL)
def test_a_box_of_the_upright_picture_holds_the_same_pixels_in_the_stored_one(orientation):
    picture = numbered()
    upright = orientation.upright(picture)
    x0, y0, x1, y1 = orientation.stored_box((1, 2, 4, 5), upright.shape)
    assert np.array_equal(orientation.upright(picture[y0:y1, x0:x1]), upright[2:5, 1:4])


@pytest.mark.parametrize(
    ("matrix", "wanted"),
    [
        ((1, 0, 0, 1), Orientation()),
        ((0, 1, -1, 0), Orientation(1)),
        ((-1, 0, 0, -1), Orientation(2)),
        ((0, -1, 1, 0), Orientation(3)),
        ((-1, 0, 0, 1), Orientation(0, True)),
        ((1, 0, 0, -1), Orientation(2, True)),
    ],
)
def test_display_matrices(matrix, wanted):
    a, b, c, d = (value * 65536 for value in matrix)
    assert orientation_from_matrix(np.array([a, b, 0, c, d, 0, 0, 0, 1 << 30], np.int32)) == wanted


def test_a_slightly_turned_display_matrix_is_taken_for_the_nearest():
    turned = np.array([6000, 65000, 0, -65000, 6000, 0, 0, 0, 1 << 30], np.int32)
    assert orientation_from_matrix(turned) == Orientation(1)
