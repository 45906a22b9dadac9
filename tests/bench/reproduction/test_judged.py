"""Judging: what cannot be measured is none, with the reason, and not the best that there is."""

from __future__ import annotations

import numpy as np
import pytest

from tests.conftest import require

require("torch")

from bench.reproduction.judged import HeldOut, judge, without_map  # noqa: E402
from bench.scores import seers  # noqa: E402


def clip(equal: bool) -> HeldOut:
    """Skin whose raw and target differ everywhere by a level, or only in the left half."""
    side, frames = 64, 2
    target = np.random.default_rng(1).integers(90, 160, (frames, side, side, 3)).astype(np.uint8)
    wrong = np.zeros((frames, side, side, 3), np.uint8)
    wrong[:, :, : side // 2 if equal else side] = 20
    places = (wrong[..., 0] > 0)[:, None].astype(np.float16)
    flow = np.zeros((frames, 2, side, side), np.float16)
    return HeldOut(target + wrong, target, places, flow, np.ones((frames, 1, side, side), np.float16))


@pytest.mark.parametrize("equal", [True, False])
def test_drift_is_measured_only_where_a_pixel_is_equal(equal: bool) -> None:
    found = judge(without_map(lambda frame: frame + np.uint8(9)), [clip(equal)], seers(None))
    if equal:
        assert found.figures["drift"] == pytest.approx(9.0, abs=1e-3)
        assert "drift" not in found.reasons
    else:
        assert found.figures["drift"] is None
        assert found.reasons["drift"] == "no pixel is equal in raw and target"


def test_a_clip_without_drift_does_not_take_it_from_the_others() -> None:
    found = judge(without_map(lambda frame: frame + np.uint8(9)), [clip(True), clip(False)], seers(None))
    assert found.figures["drift"] == pytest.approx(9.0, abs=1e-3)
