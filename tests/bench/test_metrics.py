"""The figures against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench import metrics
from tests.conftest import require

EVERYWHERE = np.ones((4, 4), np.bool_)


def flat(level: int, side: int = 4) -> np.ndarray:
    return np.full((side, side, 3), level, np.uint8)


def test_psnr_of_a_difference_of_ten_levels() -> None:
    require("skimage")
    # MSE 100: 10 log10(255^2 / 100)
    assert metrics.psnr_db(flat(110), flat(100), EVERYWHERE) == pytest.approx(28.1308, abs=1e-3)


def test_psnr_counts_only_the_mask_and_is_capped() -> None:
    image = flat(100)
    image[0, 0] = 255
    where = EVERYWHERE.copy()
    where[0, 0] = False
    assert metrics.psnr_db(image, flat(100), where) == metrics.EXACT_DB


def test_absolute_error_sums_channels_inside_the_mask() -> None:
    image = flat(100)
    image[1, 1] = (103, 95, 100)
    image[2, 2] = 0
    where = np.zeros((4, 4), np.bool_)
    where[1, 1] = True
    assert metrics.absolute_error(image, flat(100), where) == 8.0


def test_soft_iou_by_hand() -> None:
    seen = np.array([[0.5, 0.0, 1.0]], np.float32)
    true = np.array([[1.0, 0.5, 1.0]], np.float32)
    where = np.array([[True, True, True]])
    assert metrics.soft_iou(seen, true, where) == pytest.approx(1.5 / 2.5)
    assert metrics.soft_iou(seen, true, np.array([[False, False, True]])) == 1.0
    assert metrics.soft_iou(0 * seen, 0 * true, where) == 1.0


def test_ssim_is_one_for_equal_maps_and_falls_with_difference() -> None:
    require("skimage")
    true = np.random.default_rng(0).random((32, 32)).astype(np.float32)
    assert metrics.ssim(true, true) == pytest.approx(1.0)
    near = metrics.ssim(np.clip(true + 0.05, 0, 1), true)
    far = metrics.ssim(1.0 - true, true)
    assert far < 0.0 < near < 1.0


def test_ssim_of_a_grey_frame_is_that_of_the_map() -> None:
    require("skimage")
    image, target = np.random.default_rng(0).integers(0, 256, (2, 32, 32), np.uint8)
    maps = [(picture / 255.0).astype(np.float32) for picture in (image, target)]
    frames = [np.stack([picture] * 3, axis=2) for picture in (image, target)]
    assert metrics.ssim(*frames) == pytest.approx(metrics.ssim(*maps), abs=1e-5)


def test_changed_bytes_counts_bytes_not_pixels() -> None:
    image = flat(9)
    image[0, 0, :2] = 8
    image[3, 3] = 0
    where = EVERYWHERE.copy()
    assert metrics.changed_bytes(image, flat(9), where) == 5
    where[3, 3] = False
    assert metrics.changed_bytes(image, flat(9), where) == 2


def test_lab_shift_of_grey() -> None:
    # L* of sRGB 119 is 50.03, of 100 is 42.37 (CIE 1976, D65).
    light, _ = metrics.lab_shift(flat(119), flat(100), EVERYWHERE)
    assert light == pytest.approx(7.66, abs=0.05)


def test_hue_shift_takes_the_short_way_round() -> None:
    def tinted(colour: tuple[int, int, int]) -> np.ndarray:
        return np.broadcast_to(np.array(colour, np.uint8), (4, 4, 3)).copy()

    blue_to_red = metrics.lab_shift(tinted((255, 0, 0)), tinted((0, 0, 255)), EVERYWHERE)[1]
    # Hue angles 40.0 and 306.3 degrees.
    assert blue_to_red == pytest.approx(93.7, abs=0.5)


def test_temporal_deviation_of_two_values_is_half_their_difference() -> None:
    deviation = metrics.TemporalDeviation((4, 4, 3))
    low, high = np.zeros((4, 4, 3), np.float32), np.zeros((4, 4, 3), np.float32)
    high[0, 0] = 4.0
    for picture in (low, high):
        deviation.add(picture, EVERYWHERE)
    corner = np.zeros((4, 4), np.bool_)
    corner[0, 0] = True
    assert deviation.mean_deviation(corner, 2) == pytest.approx(2.0)
    assert deviation.mean_deviation(EVERYWHERE, 2) == pytest.approx(2.0 / 16)


def test_temporal_deviation_leaves_out_what_was_not_always_seen() -> None:
    deviation = metrics.TemporalDeviation((4, 4, 3))
    hidden = EVERYWHERE.copy()
    hidden[0, 0] = False
    deviation.add(np.zeros((4, 4, 3), np.float32), EVERYWHERE)
    deviation.add(np.full((4, 4, 3), 2.0, np.float32), hidden)
    assert deviation.mean_deviation(EVERYWHERE, 2) == pytest.approx(1.0)
    assert math.isnan(deviation.mean_deviation(~hidden, 2))


def test_warp_error_is_zero_along_the_true_flow() -> None:
    before = np.random.default_rng(1).integers(0, 255, (16, 16, 3), np.uint8)
    now = np.roll(before, 2, axis=1)
    flow = np.zeros((16, 16, 2), np.float32)
    flow[..., 0] = -2.0  # what is at x was at x - 2
    everywhere = np.ones((16, 16), np.bool_)
    assert metrics.warp_error(now, before, flow, everywhere) == 0.0
    assert metrics.warp_error(now, before, 0 * flow, everywhere) > 0.01


def test_warp_error_of_a_brighter_frame_by_hand() -> None:
    flow = np.zeros((4, 4, 2), np.float32)
    assert metrics.warp_error(flat(151), flat(100), flow, EVERYWHERE) == pytest.approx(0.04)


def marked(depth: float, at: tuple[int, int] = (20, 20), base: float = 180.0) -> np.ndarray:
    picture = np.full((40, 40, 3), base, np.float32)
    y, x = at
    picture[y - 2 : y + 3, x - 2 : x + 3] -= depth
    return picture


def mask_at(at: tuple[int, int] = (20, 20)) -> np.ndarray:
    mask = np.zeros((40, 40), np.bool_)
    y, x = at
    mask[y - 2 : y + 3, x - 2 : x + 3] = True
    return mask


NOWHERE = np.zeros((40, 40), np.bool_)


@pytest.mark.parametrize(("left", "survives"), [(40.0, 1), (28.5, 1), (27.5, 0), (0.0, 0), (-40.0, 0)])
def test_a_mole_survives_with_seven_tenths_of_its_contrast(left: float, survives: int) -> None:
    kept = metrics.identity_kept(marked(left), marked(40.0), mask_at(), NOWHERE)
    assert kept == metrics.Kept(survives, 1)


def test_a_change_of_brightness_is_no_loss_of_contrast() -> None:
    assert metrics.identity_kept(marked(40.0, base=150.0), marked(40.0), mask_at(), NOWHERE).survived == 1


def test_marks_that_touch_an_imperfection_do_not_count() -> None:
    assert metrics.identity_kept(marked(0.0), marked(40.0), mask_at(), mask_at()) == metrics.Kept(0, 0)


def test_faint_and_tiny_marks_do_not_count() -> None:
    assert metrics.identity_kept(marked(0.0), marked(3.0), mask_at(), NOWHERE).marks == 0
    tiny = np.zeros((40, 40), np.bool_)
    tiny[20, 20:22] = True
    assert metrics.identity_kept(marked(40.0), marked(40.0), tiny, NOWHERE).marks == 0


def test_two_marks_are_judged_apart() -> None:
    target = np.minimum(marked(40.0, (10, 10)), marked(40.0, (30, 30)))
    image = marked(40.0, (10, 10))
    both = mask_at((10, 10)) | mask_at((30, 30))
    assert metrics.identity_kept(image, target, both, NOWHERE) == metrics.Kept(1, 2)
