"""`vretouch camera --list`: the cameras and virtual cameras of a machine, or what it lacks."""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import Any

import pytest

from stream.camera import command, v4l2
from stream.camera.command import add_arguments
from stream.camera.devices import Device
from stream.camera.session import listing
from stream.camera.v4l2 import Node
from tests.conftest import require
from tests.stream.camera.scripted import BACKEND, KeptBackend, device_called

pyvirtualcam = require("pyvirtualcam")

WEBCAM = device_called("Webcam")


@pytest.fixture(autouse=True)
def kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pyvirtualcam.camera, "BACKENDS", {BACKEND: KeptBackend})


@pytest.mark.skipif(sys.platform != "linux", reason="v4l2loopback is Linux's")
def test_the_list_names_cameras_and_virtual_cameras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(v4l2, "nodes", lambda: [Node(9, "/dev/video9", "vretouch", True)])
    loopback = Device(9, "/dev/video9", "vretouch", "v4l2", virtual=True)
    assert listing([WEBCAM, loopback]) == [
        "cameras:",
        "  0  Webcam (/dev/video0)",
        "virtual cameras:",
        "  9  vretouch (/dev/video9)",
    ]


def test_a_machine_without_any_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(v4l2, "nodes", lambda: [])
    monkeypatch.setattr(v4l2, "loopback_loaded", lambda: False)
    pyvirtualcam.camera.BACKENDS.clear()
    lines = listing([], "linux")
    assert lines[:3] == ["cameras:", "  none", "virtual cameras:"]
    assert "sudo modprobe v4l2loopback exclusive_caps=1" in lines[3]
    assert listing([], "darwin")[3] == "  none: pyvirtualcam knows no virtual camera of darwin"
    pyvirtualcam.register_backend("obs", KeptBackend)
    assert listing([], "darwin")[3] == "  through obs"


def test_the_command_lists(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert command.run(parser.parse_args(["--list"])) == 0
    assert capsys.readouterr().out.startswith("cameras:\n")


def test_the_list_works_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    def without(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(v4l2, "nodes", lambda: [])
    monkeypatch.setattr(importlib, "import_module", without)
    assert "-m pip install 'pyvirtualcam>=0.15'" in listing([WEBCAM], "linux")[3]
