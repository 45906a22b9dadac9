"""The bitrate follows the viewers' estimates where these say something, slowly, and within bounds."""

from __future__ import annotations

import itertools

from stream.relay.rate import DOWN_A_SECOND, UP_A_SECOND, RateControl


def settle(rate: RateControl, from_s: float, seconds: float) -> list[int]:
    steps = [from_s + 0.5 * number for number in range(1, int(seconds * 2) + 1)]
    return [rate.step(now_s) for now_s in steps]


def test_it_stays_where_it_began_while_nothing_is_known() -> None:
    rate = RateControl(2000, 4000)
    assert set(settle(rate, 0.0, 10.0)) == {2000}


def test_an_estimate_below_what_is_sent_lowers_it_by_steps() -> None:
    rate = RateControl(2000, 4000)
    rate.step(0.0)
    rate.estimated("a", 600, sent_kbps=1900, now_s=0.0)
    targets = settle(rate, 0.0, 4.0)
    assert targets[-1] == 600
    assert all(after >= before * DOWN_A_SECOND**0.5 - 2 for before, after in itertools.pairwise(targets))


def test_low_estimates_of_a_still_picture_lower_nothing() -> None:
    rate = RateControl(2000, 4000)
    rate.step(0.0)
    rate.estimated("a", 400, sent_kbps=300, now_s=0.0)
    rate.estimated("b", 20, sent_kbps=40, now_s=0.0)
    assert set(settle(rate, 0.0, 3.0)) == {2000}


def test_it_recovers_slowly_once_the_way_is_free() -> None:
    rate = RateControl(2000, 4000)
    rate.step(0.0)
    rate.estimated("a", 500, sent_kbps=1900, now_s=0.0)
    assert settle(rate, 0.0, 4.0)[-1] == 500
    targets = []
    for second in range(4, 24):
        rate.estimated("a", 3000, sent_kbps=480, now_s=float(second))
        targets += settle(rate, float(second), 1.0)
    assert targets[-1] == 3000
    assert all(after <= before * UP_A_SECOND**0.5 + 2 for before, after in itertools.pairwise(targets))


def test_the_slowest_viewer_counts_but_not_below_the_floor() -> None:
    rate = RateControl(2000, 4000)
    rate.step(0.0)
    for second in range(10):
        rate.estimated("fast", 9000, sent_kbps=1900, now_s=float(second))
        rate.estimated("slow", 30, sent_kbps=1900, now_s=float(second))
        settle(rate, float(second), 1.0)
    assert rate.target_kbps == 250


def test_a_viewer_that_left_or_fell_silent_counts_no_more() -> None:
    for leave in (True, False):
        rate = RateControl(2000, 4000)
        rate.step(0.0)
        rate.estimated("a", 500, sent_kbps=1900, now_s=0.0)
        assert settle(rate, 0.0, 4.0)[-1] == 500
        if leave:
            rate.forget("a")
        assert settle(rate, 6.0, 30.0)[-1] == 2000


def test_it_rises_to_the_most_where_all_can_carry_it() -> None:
    rate = RateControl(2000, 4000)
    rate.step(0.0)
    for second in range(20):
        rate.estimated("a", 20_000, sent_kbps=1900, now_s=float(second))
        settle(rate, float(second), 1.0)
    assert rate.target_kbps == 4000


def test_much_loss_lowers_it_and_a_little_does_not() -> None:
    rate = RateControl(2000, 4000)
    rate.step(0.0)
    rate.lost("a", 0.05, 0.0)
    assert settle(rate, 0.0, 2.0)[-1] == 2000
    rate.lost("a", 0.5, 2.0)
    assert settle(rate, 2.0, 2.0)[-1] == 1500
