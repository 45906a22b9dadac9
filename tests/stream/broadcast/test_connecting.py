"""What becomes of the pictures that come while a live output's connection is being made."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from stream.broadcast.sender import Outgoing, Sender, Shown
from tests.stream.broadcast import card
from tests.stream.broadcast.camera import free_port, taken, until
from tests.stream.broadcast.viewer import Viewer

WAITED_S = 2.0


@contextmanager
def feeding(sender: Sender) -> Iterator[Callable[[], int]]:
    """Put the card into it in real time; how many pictures were put so far."""
    count, enough = 0, threading.Event()

    def feed() -> None:
        nonlocal count
        began_s = time.monotonic()
        while not enough.wait(max(0.0, began_s + count / card.FPS - time.monotonic())):
            sender.pictures.put(Shown(card.drawn(count % card.COUNT), began_s + count / card.FPS))
            count += 1

    thread = threading.Thread(target=feed)
    thread.start()
    try:
        yield lambda: count
    finally:
        enough.set()
        thread.join()


def watched(sender: Sender, url: str, wait_s: float) -> tuple[int, Any, Any]:
    """Somebody comes after so long and sees thirty pictures: how many were put before, times of those seen in
    seconds, and which they were."""
    with feeding(sender) as put:
        until(lambda: taken(urlsplit(url).port or 0), "nobody listens")
        time.sleep(wait_s)
        before, viewer = put(), Viewer(url)
        until(lambda: len(viewer.shown) > 30, "nothing comes")
        sender.finish()
    viewer.join()
    assert None not in viewer.numbers
    times_s, numbers = np.array(viewer.shown, float).T
    return before, times_s, numbers[0] + np.cumsum(np.diff(numbers, prepend=numbers[0]) % card.COUNT)


@pytest.mark.parametrize("audio", [False, True])
def test_who_comes_late_sees_what_is_now_and_is_not_late_for_ever(audio: bool) -> None:
    url = f"tcp://127.0.0.1:{free_port()}"
    sender = Sender(Outgoing(f"{url}?listen=1", card.SIZE, card.FPS, audio, 800), threading.Event())
    before, times_s, numbers = watched(sender, url, WAITED_S)
    # Two pictures say what comes, so that a connection can be made; the next one is of now.
    assert numbers[1] < before - card.FPS
    assert numbers[2] >= before - 1
    # Whoever plays it by its times is late by no more than those two.
    assert times_s[:3] - times_s[0] == pytest.approx(np.arange(3) / card.FPS, abs=0.005)
    assert times_s[2:] - times_s[2] == pytest.approx((numbers[2:] - numbers[2]) / card.FPS, abs=0.005)


def test_of_a_file_what_comes_while_one_connects_is_kept() -> None:
    url = f"tcp://127.0.0.1:{free_port()}"
    outgoing = Outgoing(f"{url}?listen=1", card.SIZE, card.FPS, False, 800)
    before, times_s, numbers = watched(Sender(outgoing, threading.Event(), live=False), url, 1.0)
    assert (numbers < before).sum() > 10
    assert times_s - times_s[0] == pytest.approx((numbers - numbers[0]) / card.FPS, abs=0.005)
