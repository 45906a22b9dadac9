"""stream.regions: polygons over the mesh."""

import numpy as np
import pytest

from stream import regions
from stream.regions import BY_BIT, FEATURES, OVAL, polygon_mask, region_bits, skin_mask
from tests.stream.fakes import template_landmarks

SIZE = (512, 512)


def test_skin_is_the_oval_less_its_features() -> None:
    marks = template_landmarks()
    skin = skin_mask(marks, SIZE) > 0
    oval = polygon_mask(regions.with_whole_forehead(marks), SIZE, (regions.FACE_OVAL,)) > 0
    assert not (skin & ~oval).any()
    for polygon, _ in FEATURES:
        assert not (skin & (polygon_mask(marks, SIZE, (polygon,)) > 0)).any()
    assert 0.6 < skin.sum() / oval.sum() < 0.95


def test_the_forehead_reaches_above_the_mesh_and_the_chin_stays() -> None:
    marks = template_landmarks()
    raised = regions.with_whole_forehead(marks)
    forehead = marks[9, 1] - marks[10, 1]
    assert raised[10, 1] == pytest.approx(marks[10, 1] - 0.3 * forehead, abs=0.01)
    assert (raised[152] == marks[152]).all()
    assert (raised[:, 0] == marks[:, 0]).all()
    assert skin_mask(marks, SIZE)[int(marks[10, 1]) - 10, int(marks[10, 0])] == 255


def test_features_are_widened_by_their_margin() -> None:
    marks = template_landmarks()
    skin = skin_mask(marks, SIZE)
    top = int(marks[list(regions.RIGHT_BROW), 1].min())
    assert skin[top - 3, 180] == 0
    assert skin[top - 9, 180] == 255


def test_every_region_bit_lies_in_the_oval_and_is_not_empty() -> None:
    bits = region_bits(template_landmarks(), SIZE)
    oval = bits & OVAL > 0
    for bit in BY_BIT:
        inside = bits & bit > 0
        assert inside.any()
        assert not (inside & ~oval).any()
    assert not (bits & regions.SKIN).any()


def test_masks_follow_the_landmarks() -> None:
    marks = template_landmarks()
    moved = polygon_mask(marks + np.float32(20), SIZE, (regions.LIPS,))
    np.testing.assert_array_equal(moved[20:, 20:], polygon_mask(marks, SIZE, (regions.LIPS,))[:-20, :-20])


@pytest.mark.parametrize("shift", [-1e6, 1e6, 600.0])
def test_polygons_far_outside_fill_nothing(shift: float) -> None:
    assert not skin_mask(template_landmarks() + np.float32(shift), SIZE).any()


def test_left_and_right_polygons_mirror_each_other_in_length() -> None:
    assert len(regions.RIGHT_EYE) == len(regions.LEFT_EYE)
    assert len(regions.RIGHT_BROW) == len(regions.LEFT_BROW)
    assert len(regions.RIGHT_NOSTRIL) == len(regions.LEFT_NOSTRIL)
    for polygon in (*[p for p, _ in FEATURES], *[p for ps in BY_BIT.values() for p in ps]):
        assert len(set(polygon)) == len(polygon)
        assert max(polygon) < 468
