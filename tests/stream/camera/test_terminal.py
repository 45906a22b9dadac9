"""The command on a terminal of its own, as a person starts it: keys, figures, and every way out."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from stream.camera import command
from tests.conftest import REPOSITORY, require

require("pyvirtualcam")
pty, termios = require("pty"), require("termios")

SETUP = """
import fcntl, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
import pyvirtualcam
from stream.camera.job import CameraJob
from stream.camera.session import Parts, run_camera
from tests.stream.camera.scripted import BACKEND, KeptBackend, ScriptedSource, device_called, flat
from stream.retoucher import Retoucher
from tests.stream.fakes import FakeEngine, FakeFinder
pyvirtualcam.camera.BACKENDS.clear()
pyvirtualcam.register_backend(BACKEND, KeptBackend)
def run(source):
    run_camera(CameraJob(), Parts(lambda *_: source, lambda: [device_called("Webcam")],
               lambda: Retoucher("live", FakeEngine(), finder=FakeFinder())))
"""
CHILD = f"""{SETUP}
run(ScriptedSource(flat(90)))
print("closed", KeptBackend.newest.closed, "pictures", len(KeptBackend.newest.pictures) > 0)
"""
SILENT_CHILD = f"""{SETUP}
run(ScriptedSource(flat(90), pause_s=3600.0))
print("left", KeptBackend.newest)
"""


class Terminal:
    """A child process with a terminal of its own, as a user's shell would give it."""

    def __init__(self, code: str) -> None:
        self.said = ""
        self.far, self._near = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=self._near,
            stdout=self._near,
            stderr=self._near,
            cwd=REPOSITORY,
            start_new_session=True,
        )

    def wait_for(self, words: str, limit_s: float = 60.0) -> None:
        end_s = time.monotonic() + limit_s
        while words not in self.said:
            assert time.monotonic() < end_s, self.said
            if select.select([self.far], [], [], 0.1)[0]:
                self.said += os.read(self.far, 65536).decode("utf-8", "replace")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.far)
        os.close(self._near)


@pytest.fixture
def child() -> Iterator[Terminal]:
    terminal = Terminal(CHILD)
    yield terminal
    terminal.close()


def local_modes(handle: int) -> int:
    return int(termios.tcgetattr(handle)[3])


@pytest.mark.parametrize("way", ["q", "Ctrl-C", "SIGTERM"])
def test_on_every_way_out_the_terminal_is_as_before_and_the_virtual_camera_closed(
    way: str, child: Terminal
) -> None:
    before = local_modes(child.far)
    child.wait_for("fps | ")
    assert not local_modes(child.far) & (termios.ICANON | termios.ECHO)
    os.write(child.far, b"-")
    child.wait_for("strength 0.9")
    if way == "SIGTERM":
        child.process.send_signal(signal.SIGTERM)
    else:
        os.write(child.far, {"q": b"q", "Ctrl-C": b"\x03"}[way])
    child.wait_for("closed 1 pictures True")
    assert local_modes(child.far) == before
    assert child.process.wait(20.0) == 0
    assert "Traceback" not in child.said
    assert "Webcam (/dev/video0) -> kept camera, 64x48" in child.said and command.HELP in child.said


@pytest.mark.parametrize("way", ["Ctrl-C", "SIGTERM"])
def test_a_camera_that_never_gives_a_picture_does_not_hold_up_who_leaves(way: str) -> None:
    terminal = Terminal(SILENT_CHILD)
    try:
        terminal.wait_for("waiting for a picture of Webcam (/dev/video0); ")
        if way == "SIGTERM":
            terminal.process.send_signal(signal.SIGTERM)
        else:
            os.write(terminal.far, b"\x03")
        terminal.wait_for("left None")
        assert terminal.process.wait(20.0) == 0
        assert "Traceback" not in terminal.said
    finally:
        terminal.close()
