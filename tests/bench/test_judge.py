"""A clip's figures where all is known: perfect, half, drifting, flickering."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.judge import ClipFigures, ClipJudge, Ground, truth_of
from tests.bench import staged
from tests.bench.staged import FRAMES, StagedPath
from tests.conftest import require

require("skimage")


def judged(path: StagedPath) -> ClipFigures:
    footage = staged.footage()
    ground, judge = Ground(footage), ClipJudge(footage)
    for t in range(FRAMES):
        truth = truth_of(footage, t)
        ground.add(truth, footage.keep[t])
        out = path.frame(truth.raw)
        judge.add(truth, out.out_u8, out.map, out.found)
    return judge.result(ground)


def test_a_perfect_retouch() -> None:
    figures = judged(StagedPath())
    assert figures.psnr_db == 99.0
    assert figures.removal == 1.0
    assert figures.drift == 0.0
    assert figures.soft_iou == 1.0
    assert figures.map_ssim == pytest.approx(1.0)
    assert figures.flicker == pytest.approx(0.0, abs=1e-3)
    assert figures.e_warp == pytest.approx(0.0, abs=1e-9)
    assert (figures.kept, figures.marks) == (1, 1)
    assert figures.bytes_outside_head == 0
    assert figures.found == 1.0


def test_half_of_the_mark_is_six_decibels_and_half_removed() -> None:
    figures = judged(StagedPath(share=0.5))
    assert figures.gain_db == pytest.approx(20.0 * math.log10(2.0), abs=1e-6)
    assert figures.removal == pytest.approx(0.5)
    assert figures.drift == 0.0


def test_nothing_done_gains_nothing() -> None:
    figures = judged(StagedPath(share=0.0))
    assert figures.gain_db == 0.0
    assert figures.removal == 0.0


def test_two_levels_everywhere_are_two_levels_of_drift_and_bytes_outside_the_head() -> None:
    figures = judged(StagedPath(everywhere=2))
    assert figures.drift == pytest.approx(2.0)
    assert figures.bytes_outside_head > 1000
    assert figures.d_light == pytest.approx(0.78, abs=0.05)
    assert figures.d_hue == pytest.approx(0.0, abs=5.0)
    assert figures.flicker == pytest.approx(0.0, abs=1e-3)


def test_flicker_is_the_deviation_over_time() -> None:
    # Frames 1 and 3 of five are 10 levels brighter: sqrt(0.4 * 0.6) * 10.
    figures = judged(StagedPath(flickers=10))
    assert figures.flicker == pytest.approx(math.sqrt(0.24) * 10.0, abs=0.01)
    assert figures.e_warp == pytest.approx((10.0 / 255.0) ** 2, rel=1e-3)


def test_a_removed_mole_is_lost() -> None:
    figures = judged(StagedPath(mole=False))
    assert (figures.kept, figures.marks) == (0, 1)


def test_the_truth_of_a_frame() -> None:
    truth = truth_of(staged.footage(), 2)
    assert int(truth.imperfect.sum()) == 64
    assert np.argwhere(truth.imperfect).min(axis=0).tolist() == [40, 42]
    assert not (truth.clean & truth.imperfect).any()
    assert not (truth.face & truth.outside_head).any()
    assert truth.outside_head[0, 0]


def test_a_clip_without_imperfections_has_no_gain() -> None:
    footage = staged.footage()
    footage.map[:] = 0.0
    ground, judge = Ground(footage), ClipJudge(footage)
    truth = truth_of(footage, 0)
    ground.add(truth, footage.keep[0])
    judge.add(truth, truth.raw, None)
    figures = judge.result(ground)
    assert math.isnan(figures.gain_db)
    assert math.isnan(figures.removal)
    assert math.isnan(figures.soft_iou)
