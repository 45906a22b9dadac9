"""Opening a camera, in a thread that can be left alone."""

from __future__ import annotations

import threading

import pytest

from stream.camera.errors import CameraError
from stream.camera.opening import Opening
from stream.camera.reader import Source
from tests.stream.camera.scripted import ScriptedSource, flat, unplugged, wait_until


def opening_threads() -> int:
    return sum(thread.name == "camera opening" for thread in threading.enumerate())


def test_the_camera_comes_with_its_first_frame_and_stays_open() -> None:
    source = ScriptedSource(flat(7), flat(8))
    opening = Opening(lambda: source)
    opened = opening.wait(20.0)
    assert opened is not None
    assert opened[0] is source and opened[1].rgb_u8[0, 0, 0] == 7
    assert source.reads == 1
    # The thread that opened it is there until it is no more used.
    assert opening_threads() == 1
    opening.close()
    wait_until(lambda: opening_threads() == 0)
    assert not source.closed


def test_a_camera_that_cannot_be_opened_says_why() -> None:
    def busy() -> Source:
        raise CameraError("Webcam is in use; close it there")

    opening = Opening(busy)
    with pytest.raises(CameraError, match="is in use"):
        opening.wait(20.0)
    opening.close()


def test_a_camera_without_a_first_frame_is_closed_and_says_why() -> None:
    source = ScriptedSource(unplugged())
    opening = Opening(lambda: source)
    with pytest.raises(CameraError, match="was unplugged"):
        opening.wait(20.0)
    assert source.closed
    opening.close()


@pytest.mark.parametrize("hangs", ["open", "read"])
def test_a_camera_that_hangs_is_left_and_closed_when_it_comes(hangs: str) -> None:
    let_go = threading.Event()
    source = ScriptedSource(flat(7))

    def open_source() -> Source:
        if hangs == "open":
            assert let_go.wait(30.0)
        else:
            source.read = lambda: let_go.wait(30.0)  # type: ignore[method-assign,assignment,return-value]
        return source

    opening = Opening(open_source)
    assert opening.wait(0.05) is None
    assert opening.wait(0.0) is None
    opening.close()
    assert not source.closed
    let_go.set()
    wait_until(lambda: source.closed)
    wait_until(lambda: opening_threads() == 0)
