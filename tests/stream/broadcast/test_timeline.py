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
    for index in range(6):
        line.place(P, float(index), 7.0 + 0.02 * index)
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


@pytest.mark.parametrize("kind", [P, S])
@pytest.mark.parametrize("wrong_s", [20.0, -10.0, 100.0, -1000.0, 1.5])
def test_a_single_wrong_stamp_moves_nothing_that_follows(kind: str, wrong_s: float) -> None:
    line = Timeline()
    for index in range(100):
        stamp_s = 0.04 * index
        for each in (P, S):
            wrong = wrong_s if each == kind and index == 30 else 0.0
            at_s = line.place(each, 500.0 + stamp_s + wrong, 7.0 + stamp_s)
            if not wrong:
                assert at_s == pytest.approx(7.0 + stamp_s), (each, index)
            elif abs(wrong) > 2.0:
                assert at_s == pytest.approx(7.0 + stamp_s, abs=0.02)
    # Nor does it reach across a loss.
    line.connected()
    if wrong_s != 1.5:
        assert line.place(P, 0.0, 12.0) == 12.0


def test_a_clock_that_begins_anew_after_a_wrong_stamp_goes_on_for_both_kinds() -> None:
    line = Timeline()
    for kind in (P, S):
        line.place(kind, 100.0, 7.0)
    line.place(P, 90.0, 7.02)
    assert line.place(P, 100.04, 7.04) == pytest.approx(7.04)
    assert line.place(P, 0.0, 12.0) == 12.0
    assert line.place(S, 0.02, 12.02) == pytest.approx(12.02)


def test_a_wrong_stamp_in_a_burst_moves_nothing_that_follows() -> None:
    line = Timeline()
    for index in range(100):
        stamp_s, now_s = 0.1 * index, 7.0 + 0.005 * index
        for kind in (P, S):
            wrong = -5.0 if kind == P and index == 60 else 0.0
            at_s = line.place(kind, stamp_s + wrong, now_s)
            assert wrong or at_s == pytest.approx(7.0 + stamp_s), (kind, index)


def test_the_pictures_of_a_file_may_stand_far_apart() -> None:
    line = Timeline(live=False)
    for index in range(5):
        assert line.place(P, 5.0 * index, 7.0) == pytest.approx(7.0 + 5.0 * index)
