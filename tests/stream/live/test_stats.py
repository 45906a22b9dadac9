"""Figures over the last seconds."""

from __future__ import annotations

import pytest

from stream.live.stats import WINDOW_S, Stats, Window


def test_rate_and_times_of_even_frames() -> None:
    window = Window()
    for frame in range(100):
        window.add(10.0 + frame % 2, 20.0, now_s=frame / 20)
    stats = window.figures(Stats(frames_in=100), now_s=99 / 20)
    assert stats.fps == pytest.approx(20.0)
    assert stats.retouch_p50_ms == pytest.approx(10.5)
    assert stats.retouch_p95_ms == pytest.approx(11.0)
    assert stats.delay_p95_ms == pytest.approx(20.0)
    assert stats.frames_in == 100


def test_what_is_long_past_is_forgotten() -> None:
    window = Window()
    window.add(100.0, 100.0, now_s=0.0)
    window.add(10.0, 10.0, now_s=WINDOW_S + 1.0)
    assert window.figures(Stats(), now_s=WINDOW_S + 1.0).delay_p95_ms == 10.0
    assert window.figures(Stats(), now_s=10 * WINDOW_S) == Stats()
