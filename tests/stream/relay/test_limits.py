"""Limits of each address: how much, how fast again, and in how much memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.relay.limits import AddressLimit


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def taken(limit: AddressLimit, address: str, count: int) -> int:
    """How many of `count` requests are let in."""
    return sum(limit.take(address) == 0.0 for _ in range(count))


def test_a_burst_then_a_rate():
    clock = Clock()
    limit = AddressLimit(per_s=2.0, burst=5, clock=clock)
    assert taken(limit, "10.0.0.1", 20) == 5
    assert limit.take("10.0.0.1") == pytest.approx(0.5)
    clock.now_s += 1.0
    assert taken(limit, "10.0.0.1", 20) == 2
    clock.now_s += 3600.0
    assert taken(limit, "10.0.0.1", 20) == 5


def test_addresses_do_not_share():
    limit = AddressLimit(per_s=1.0, burst=3, clock=Clock())
    assert taken(limit, "10.0.0.1", 9) == 3
    assert taken(limit, "10.0.0.2", 9) == 3


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2001:db8::1", "2001:db8::ffff:2"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("fe80::1%eth0", "fe80::2%eth1"),
        ("no address", "none either"),
    ],
)
def test_what_one_household_or_attacker_has_is_one_address(one, other):
    limit = AddressLimit(per_s=1.0, burst=3, clock=Clock())
    assert taken(limit, one, 2) + taken(limit, other, 5) == 3


def test_other_households_of_ipv6_are_others():
    limit = AddressLimit(per_s=1.0, burst=3, clock=Clock())
    assert taken(limit, "2001:db8:0:1::1", 9) + taken(limit, "2001:db8:0:2::1", 9) == 6


def test_asking_how_long_to_wait_counts_nothing():
    clock = Clock()
    limit = AddressLimit(per_s=0.5, burst=1, clock=clock)
    assert [limit.wait_s("10.0.0.1") for _ in range(5)] == [0.0] * 5
    assert limit.take("10.0.0.1") == 0.0
    assert limit.wait_s("10.0.0.1") == pytest.approx(2.0)
    clock.now_s += 2.0
    assert limit.wait_s("10.0.0.1") == 0.0


def test_a_flood_from_everywhere_neither_fills_memory_nor_frees_the_flooders():
    clock = Clock()
    limit = AddressLimit(per_s=1.0, burst=2, room=50, clock=clock)
    let_in = sum(taken(limit, f"10.0.{k // 250}.{k % 250}", 2) for k in range(5000))
    # Fifty addresses of their own, and one bucket for the rest.
    assert let_in == 2 * 50 + 2
    assert len(limit) == 50
    assert limit.take("10.0.0.0") > 0.0
    assert limit.wait_s("172.16.0.1") > 0.0
    clock.now_s += 2.0
    assert taken(limit, "172.16.0.1", 9) == 2


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.floats(0.0, 2.0)), max_size=200))
def test_never_more_than_promised(requests):
    """Over any stretch an address gets at most burst + rate x time."""
    clock = Clock()
    limit = AddressLimit(per_s=1.5, burst=4, room=3, clock=clock)
    let_in = dict.fromkeys("abcdef", 0)
    for name, passed_s in requests:
        clock.now_s += passed_s
        wait_s = limit.take(f"10.0.0.{ord(name)}")
        assert 0.0 <= wait_s <= 1.0 / 1.5
        let_in[name] += wait_s == 0.0
    most = 4 + 1.5 * (clock.now_s - 100.0)
    # The shared bucket is one more that an address may have drawn on.
    assert all(count <= 2 * most + 1e-6 for count in let_in.values())
    assert len(limit) <= 3
