"""The bench of sound and picture: claps are paired, and what the way adds is told from the source's own."""

from __future__ import annotations

import pytest

from bench.budgets import SYNC, judge
from bench.report import BenchError
from bench.sync import PERIOD_MS, figures_of, lateness

SEEN_MS = [1000.0 * number for number in range(1, 9)]


def test_each_clap_is_paired_with_its_own_sound() -> None:
    assert lateness(SEEN_MS, [at + 40.0 for at in SEEN_MS]) == pytest.approx([40.0] * 8)
    assert lateness(SEEN_MS, [at - 60.0 for at in SEEN_MS]) == pytest.approx([-60.0] * 8)


def test_claps_that_were_seen_or_heard_only_are_left_out() -> None:
    heard_ms = [at + 20.0 for at in SEEN_MS[2:]]
    assert lateness(SEEN_MS, heard_ms) == pytest.approx([20.0] * 6)
    assert lateness(SEEN_MS[2:], [at + 20.0 for at in SEEN_MS]) == pytest.approx([20.0] * 6)


@pytest.mark.parametrize("heard_ms", [[], [1020.0, 2020.0], [at + 0.6 * PERIOD_MS for at in SEEN_MS[-1:]]])
def test_too_few_are_no_figure(heard_ms: list[float]) -> None:
    with pytest.raises(BenchError, match="claps were both seen and heard"):
        lateness(SEEN_MS, heard_ms)


@pytest.mark.parametrize(("viewer", "early", "late"), [([70.0], 0.0, 60.0), ([-50.0], 60.0, 0.0)])
def test_the_source_s_own_lateness_is_taken_off(viewer: list[float], early: float, late: float) -> None:
    figures = figures_of([9.0, 10.0, 11.0], viewer)
    assert figures == {"sound_early_ms": early, "sound_late_ms": late}
    assert [verdict.met for verdict in judge(SYNC, figures)] == [early <= 45.0, late <= 125.0]
