"""A residual on the planes: as the matrices say, at its place, at every depth and subsampling."""

from __future__ import annotations

import numpy as np
import pytest

from stream.frame import ColourTags
from stream.planes import LAYOUTS, add_residual_to_planes, known_matrix, matrix_of, rgb_to_yuv

BT709_LIMITED = rgb_to_yuv(ColourTags(1, 1, 1, 1), 720)


def gray_planes(name: str, width: int = 16, height: int = 12) -> list[np.ndarray]:
    layout = LAYOUTS[name]
    dtype = np.uint8 if layout.bits == 8 else np.uint16
    chroma = (-(-height >> layout.shift_y), -(-width >> layout.shift_x))
    middle = 1 << (layout.bits - 1)
    return [np.full(shape, middle, dtype) for shape in ((height, width), chroma, chroma)]


def test_matrix_rows_are_those_of_bt709():
    full = rgb_to_yuv(ColourTags(1, 2, 1, 1), 720)
    assert full[0] == pytest.approx([0.2126, 0.7152, 0.0722], abs=1e-6)
    assert full[1] == pytest.approx([-0.114572, -0.385428, 0.5], abs=1e-5)
    assert full[2] == pytest.approx([0.5, -0.454153, -0.045847], abs=1e-5)
    assert BT709_LIMITED[0] == pytest.approx(full[0] * 219 / 255, abs=1e-6)
    assert BT709_LIMITED[1:] == pytest.approx(full[1:] * 224 / 255, abs=1e-6)


def test_gray_changes_no_chroma_whatever_the_matrix():
    for matrix in (1, 4, 5, 6, 7, 9):
        assert rgb_to_yuv(ColourTags(matrix, 1), 720) @ np.ones(3) == pytest.approx(
            [219 / 255, 0, 0], abs=1e-6
        )


def test_what_is_unsaid_is_taken_as_players_take_it():
    assert matrix_of(ColourTags(2), 720) == 1
    assert matrix_of(ColourTags(2), 576) == 6
    assert matrix_of(ColourTags(9), 576) == 9
    assert known_matrix(2)
    assert not known_matrix(8)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_flat_residual_lands_in_its_box_and_nowhere_else(name):
    layout, planes = LAYOUTS[name], gray_planes(name)
    before = [plane.copy() for plane in planes]
    residual = np.zeros((6, 8, 3), np.float32)
    residual[...] = (30.0, -10.0, 4.0)
    add_residual_to_planes(planes, residual, (4, 2), layout, BT709_LIMITED)
    wanted = np.rint((1 << (layout.bits - 8)) * BT709_LIMITED @ np.array([30.0, -10.0, 4.0])).astype(int)
    boxes = [(slice(2, 8), slice(4, 12))] + 2 * [
        (slice(2 >> layout.shift_y, 8 >> layout.shift_y), slice(4 >> layout.shift_x, 12 >> layout.shift_x))
    ]
    for plane, old, box, change in zip(planes, before, boxes, wanted, strict=True):
        difference = plane.astype(int) - old
        assert np.all(difference[box] == change)
        difference[box] = 0
        assert not difference.any()


def test_nothing_changes_where_the_residual_is_below_half_a_code():
    planes = gray_planes("yuv420p")
    before = [plane.copy() for plane in planes]
    add_residual_to_planes(
        planes, np.full((12, 16, 3), 0.3, np.float32), (0, 0), LAYOUTS["yuv420p"], BT709_LIMITED
    )
    assert all(np.array_equal(plane, old) for plane, old in zip(planes, before, strict=True))


@pytest.mark.parametrize(("name", "top"), [("yuv420p", 255), ("yuv420p10le", 1023)])
def test_samples_stay_in_range(name, top):
    planes = gray_planes(name)
    add_residual_to_planes(
        planes, np.full((12, 16, 3), 255.0, np.float32), (0, 0), LAYOUTS[name], BT709_LIMITED
    )
    assert planes[0].max() == top
    add_residual_to_planes(
        planes, np.full((12, 16, 3), -999.0, np.float32), (0, 0), LAYOUTS[name], BT709_LIMITED
    )
    assert planes[0].max() == 0


def test_odd_sizes_reach_the_last_row_and_column():
    planes = gray_planes("yuv420p", 15, 11)
    residual = np.zeros((3, 5, 3), np.float32)
    residual[...] = (40.0, 0.0, 0.0)
    add_residual_to_planes(planes, residual, (10, 8), LAYOUTS["yuv420p"], BT709_LIMITED)
    red = np.rint(BT709_LIMITED @ np.array([40.0, 0.0, 0.0])).astype(int)
    assert planes[0][10, 14] == 128 + red[0]
    assert planes[2].shape == (6, 8)
    assert planes[2][5, 7] == 128 + red[2]
