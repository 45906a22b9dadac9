"""Batches made ahead come in order, and an error comes where its batch would."""

import threading
import time

import pytest

from model.data.ahead import made_ahead


def test_results_come_in_order_however_long_each_takes() -> None:
    def make(k: int) -> int:
        time.sleep(0.02 * (k % 3 == 0))
        return k * k

    assert list(made_ahead(make, range(10), 3)) == [k * k for k in range(10)]


def test_only_so_many_are_made_ahead() -> None:
    begun: list[int] = []
    lock = threading.Lock()

    def make(k: int) -> int:
        with lock:
            begun.append(k)
        return k

    results = made_ahead(make, range(100), 2)
    assert next(results) == 0
    time.sleep(0.05)
    assert sorted(begun) == [0, 1, 2]
    results.close()  # type: ignore[attr-defined]


def test_the_next_batch_is_made_while_this_one_is_used() -> None:
    begun: list[int] = []
    results = made_ahead(lambda k: begun.append(k) or k, range(100), 2, ahead=10)
    assert [next(results) for _ in range(10)] == list(range(10))
    deadline = time.monotonic() + 10
    while len(begun) < 20 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sorted(begun) == list(range(20))
    results.close()  # type: ignore[attr-defined]


def test_an_error_comes_where_its_result_would() -> None:
    def make(k: int) -> int:
        if k == 2:
            raise ValueError("picture 2 is broken")
        return k

    results = made_ahead(make, range(5), 2)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="picture 2"):
        next(results)
