"""Frames faster than allowed are thinned out evenly; others all pass."""

from __future__ import annotations

import random

import pytest

from stream.relay.pace import Pace


def passed(fps: float, times_s: list[float]) -> list[float]:
    """Those that pass of frames that come in their own time."""
    pace = Pace(fps)
    return [time_s for time_s in times_s if pace.admits(time_s, time_s)]


@pytest.mark.parametrize("fps", [10, 15, 24, 30])
def test_a_rate_within_the_cap_passes_whole_even_with_jitter(fps: int) -> None:
    chance = random.Random(1)
    times = [number / fps + chance.uniform(-0.2, 0.2) / 30.0 for number in range(300)]
    assert passed(30.0, times) == times


@pytest.mark.parametrize(("fps", "kept"), [(60, 0.5), (90, 1 / 3), (45, 2 / 3), (1000, 0.03)])
def test_a_faster_one_is_thinned_to_the_cap(fps: int, kept: float) -> None:
    times = [number / fps for number in range(10 * fps)]
    assert len(passed(30.0, times)) == pytest.approx(kept * len(times), rel=0.02)


def test_after_a_pause_and_after_times_that_jump_it_goes_on() -> None:
    pace = Pace(30.0)
    came = [(0.0, 0.0), (10.0, 10.0), (10.001, 10.001), (3.0, 11.2), (3.001, 11.201), (3.04, 11.24)]
    assert [pts_s for pts_s, arrival_s in came if pace.admits(pts_s, arrival_s)] == [0.0, 10.0, 3.0, 3.04]


def test_frames_stamped_far_apart_are_no_way_past_the_cap() -> None:
    pace = Pace(30.0)
    passed_s = [number for number in range(1000) if pace.admits(2.0 * number, number / 200.0)]
    assert len(passed_s) <= 5
