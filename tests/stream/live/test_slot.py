"""The newest-only slot: replaces, counts, wakes."""

from __future__ import annotations

import threading

from stream.live.slot import Newest


def test_the_newest_item_is_taken_and_the_replaced_ones_are_counted() -> None:
    slot: Newest[int] = Newest()
    for item in (1, 2, 3):
        slot.put(item)
    assert slot.take() == 3
    assert slot.dropped == 2
    assert slot.take(0.01) is None


def test_taking_waits_for_what_another_thread_puts() -> None:
    slot: Newest[int] = Newest()
    threading.Timer(0.05, slot.put, (7,)).start()
    assert slot.take(5.0) == 7
    assert slot.dropped == 0


def test_closing_wakes_who_waits_and_refuses_what_comes() -> None:
    slot: Newest[int] = Newest()
    threading.Timer(0.05, slot.close).start()
    assert slot.take() is None
    slot.put(1)
    assert slot.closed
    assert slot.take() is None
    assert slot.dropped == 0
