"""Times of a live source on one clock: across reconnections, bursts, and clocks that begin anew."""

from __future__ import annotations

import pytest

from stream.broadcast.timeline import AHEAD_S, Timeline

S, P = "sound", "pictures"


def test_pictures_and_sound_keep_their_distance_whatever_the_network_does() -> None:
    line = Timeline()
    assert line.place(P, 50.0, 7.0) == 7.0
    assert line.place(S, 50.02, 7.5) == pytest.approx(7.02)
    assert line.place(P, 51.0, 7.5) == pytest.approx(8.0)
    assert line.place(P, 50.9, 9.9) == pytest.approx(7.9)


def test_a_loss_is_a_gap_and_a_burst_before_it_does_not_turn_time_back() -> None:
    line = Timeline()
    line.place(P, 0.0, 7.0)
    line.place(P, 5.0, 7.1)
    line.connected()
    assert line.place(P, 0.0, 9.0) == pytest.approx(12.01)
    line.connected()
    assert line.place(P, 400.0, 60.0) == 60.0


def test_a_clock_that_begins_anew_goes_on_for_both_kinds_at_once() -> None:
    line = Timeline()
    line.place(P, 100.0, 7.0)
    line.place(S, 100.0, 7.0)
    line.place(P, 103.4, 10.4)
    assert line.place(S, 0.02, 12.0) == 12.0
    # One that was still under way in the decoder.
    assert line.place(P, 103.43, 12.0) == pytest.approx(10.43)
    assert line.place(P, 0.0, 12.1) == pytest.approx(11.98)
    assert line.place(S, 0.04, 12.1) == pytest.approx(12.02)
    assert line.place(P, 0.033, 12.2) == pytest.approx(12.013)


def test_a_jump_ahead_is_none_if_so_much_time_has_passed() -> None:
    line = Timeline()
    line.place(P, 0.0, 7.0)
    far = AHEAD_S + 60.0
    assert line.place(P, far, 7.0 + far) == pytest.approx(7.0 + far)
    assert line.place(P, 2 * far, 7.1 + far) == pytest.approx(7.1 + far, abs=0.02)
