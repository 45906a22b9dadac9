"""The preview window, on a real (if unseen) screen."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import ImageGrab

from stream.camera import preview
from stream.camera.errors import PreviewError
from stream.camera.preview import EVERY_S, Preview, keys_of
from tests.conftest import missing


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The name of an X display without a monitor; Tk ends the process if it goes away between two tests."""
    # A part of Python that its builds may leave out, and no package brings.
    pytest.importorskip("tkinter")
    program = shutil.which("Xvfb")
    if program is None:
        missing("Xvfb is not installed")
    reading, writing = os.pipe()
    with subprocess.Popen(
        [program, "-displayfd", str(writing), "-screen", "0", "800x600x24", "-nolisten", "tcp"],
        pass_fds=[writing],
        stderr=subprocess.DEVNULL,
    ) as process:
        os.close(writing)
        with os.fdopen(reading) as told:
            yield f":{told.readline().strip()}"
        gc.collect()
        process.terminate()


@pytest.fixture
def screen(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("DISPLAY", server)
    return server


def shown(screen: str) -> np.ndarray:
    """uint8 [600, 800, 3]: what is on the screen."""
    return np.asarray(ImageGrab.grab(xdisplay=screen).convert("RGB"))


def test_pictures_are_drawn_small_in_their_colours_until_the_window_is_closed(screen: str) -> None:
    window = Preview((1280, 720))
    picture = np.zeros((720, 1280, 3), np.uint8)
    picture[:, :640], picture[:, 640:] = (200, 60, 40), (10, 20, 250)
    for _ in range(3):
        window.show(picture)
        time.sleep(EVERY_S)
    seen = shown(screen).reshape(-1, 3)
    assert 0.95 < (seen == (200, 60, 40)).all(axis=1).sum() / (320 * 360) <= 1.0
    assert 0.95 < (seen == (10, 20, 250)).all(axis=1).sum() / (320 * 360) <= 1.0
    window.close()
    assert window.closed
    window.show(picture)
    window.close()


def test_the_users_own_closing_is_noticed(screen: str) -> None:
    window = Preview((320, 240))
    window._window.after(0, window._window.tk.eval, window._window.protocol("WM_DELETE_WINDOW"))
    window.show(np.zeros((240, 320, 3), np.uint8))
    assert window.closed
    window.show(np.zeros((240, 320, 3), np.uint8))


def test_keys_are_those_of_the_terminal_and_each_comes_once(screen: str) -> None:
    window = Preview((320, 240))
    window._window.focus_force()
    picture = np.zeros((240, 320, 3), np.uint8)
    window.show(picture)
    for key in ("space", "plus", "Left", "M", "Escape", "Return", "Shift_L", "Alt-x", "Control-q", "q"):
        window._window.event_generate(f"<{key}>" if "-" in key else f"<Key-{key}>")
    time.sleep(EVERY_S)
    window.show(picture)
    assert window.pressed() == ["space", "+", "left", "m", "q"]
    assert window.pressed() == []
    assert not window.closed
    window.close()
    assert window.pressed() == []


@pytest.mark.parametrize(
    ("keysym", "char", "keys"),
    [
        ("space", " ", ["space"]),
        ("Up", "", ["up"]),
        ("KP_Left", "", ["left"]),
        ("Right", "\uf703", ["right"]),
        ("KP_Add", "+", ["+"]),
        ("minus", "-", ["-"]),
        ("equal", "=", ["="]),
        ("underscore", "_", ["_"]),
        ("X", "X", ["x"]),
        ("question", "?", ["?"]),
        ("Escape", "\x1b", []),
        ("Return", "\r", []),
        ("Delete", "\x7f", []),
        ("c", "\x03", []),
        ("Shift_L", "", []),
    ],
)
def test_what_tk_tells_of_a_key(keysym: str, char: str, keys: list[str]) -> None:
    assert keys_of(keysym, char) == keys


def test_a_window_taken_away_is_noticed(screen: str) -> None:
    window = Preview((320, 240))
    window._window.destroy()
    window.show(np.zeros((240, 320, 3), np.uint8))
    assert window.closed


def test_it_is_drawn_no_more_than_15_times_a_second(screen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [100.0]
    monkeypatch.setattr(preview, "time", SimpleNamespace(monotonic=lambda: now_s[0]))
    window, drawn = Preview((320, 240)), []
    monkeypatch.setattr(window._image, "configure", lambda **_: drawn.append(now_s[0]))
    for _ in range(61):
        window.show(np.zeros((240, 320, 3), np.uint8))
        now_s[0] += 1 / 60
    assert 10 <= len(drawn) <= 16
    window.close()


def test_without_a_desktop_there_is_a_sentence(screen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":987654")
    with pytest.raises(
        PreviewError, match=r"cannot be opened .*; leave out --preview, or see yourself in the"
    ):
        Preview((320, 240))


def test_without_tk_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def without(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(preview.importlib, "import_module", without)
    with pytest.raises(PreviewError, match=r"needs Tk .*`sudo apt install python3-tk`"):
        Preview((320, 240))
