"""Which cameras there are and which one is meant: by name, number or path, on Linux, macOS and Windows."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stream.camera.errors import CameraError

FORMATS = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}
"""FFmpeg's input device of each system."""
_SCREEN = "capture screen"
"""How AVFoundation's input device names the screens that it lists among the cameras."""
_VIRTUAL_WORDS = ("virtual", "unity video capture")


@dataclass(frozen=True)
class Device:
    """A camera. url: what FFmpeg's input device `form` opens. virtual: it shows a program's pictures."""

    number: int
    url: str
    name: str
    form: str
    virtual: bool = False

    @property
    def label(self) -> str:
        """The camera for a person."""
        if self.form != "v4l2" or self.name == self.url:
            return self.name
        return f"{self.name} ({self.url})"


def cameras(system: str = sys.platform) -> list[Device]:
    """Every camera of this machine, virtual ones too."""
    if system == "linux":
        return _linux_cameras()
    return _listed_cameras(_format_of(system))


def _format_of(system: str) -> str:
    if system not in FORMATS:
        raise CameraError(f"cameras of {system} are not known here; use Linux, macOS or Windows")
    return FORMATS[system]


def _linux_cameras() -> list[Device]:
    from stream.camera.v4l2 import CAPTURE, capabilities, nodes

    found = []
    for node in nodes():
        able = capabilities(node.path)
        # A webcam has a second device, for metadata; one that may not be opened is listed all the same.
        if able is None or able & CAPTURE:
            found.append(Device(node.number, node.path, node.name, "v4l2", node.loopback))
    return found


def _listed_cameras(form: str) -> list[Device]:
    from stream.camera.capture import listed

    found = []
    for place, (name, description) in enumerate(listed(form)):
        url = f"video={name}" if form == "dshow" else f"{name}:none"
        words = description or name
        if form == "avfoundation" and words.lower().startswith(_SCREEN):
            continue
        virtual = any(word in words.lower() for word in _VIRTUAL_WORDS)
        found.append(Device(place, url, words, form, virtual))
    return found


def choose(wanted: str | None, devices: Sequence[Device], system: str = sys.platform) -> Device:
    """The camera that is meant: by number, path or name (or a part of it); None is the first real one."""
    if wanted is None:
        if real := [device for device in devices if not device.virtual]:
            return real[0]
        raise CameraError(f"there is no camera here; {_remedy_for_none(system)}")
    if wanted.isdecimal():
        found = [device for device in devices if device.number == int(wanted)]
    elif system == "linux" and "/" in wanted:
        path = os.path.realpath(wanted)
        found = [device for device in devices if device.url == path]
        found = found or [Device(-1, wanted, Path(wanted).name, "v4l2")]
    else:
        found = _named(wanted, devices)
    if len(found) == 1:
        return found[0]
    here = _enumerated(found or devices)
    if found:
        raise CameraError(f"{wanted!r} is the name of several cameras ({here}); choose one by its number")
    raise CameraError(f"there is no camera {wanted!r}; here: {here}")


def _named(wanted: str, devices: Sequence[Device]) -> list[Device]:
    word = wanted.casefold()
    exact = [device for device in devices if device.name.casefold() == word]
    return exact or [device for device in devices if word in device.name.casefold()]


def _enumerated(devices: Sequence[Device]) -> str:
    return ", ".join(f"{device.number} {device.name}" for device in devices) or "none"


def _remedy_for_none(system: str) -> str:
    if system == "linux":
        return "plug one in, and in a container or virtual machine hand /dev/video* through"
    return "plug one in, and allow cameras in the system's privacy settings"


def found_again(was: Device, devices: Sequence[Device], before: Sequence[Device] = ()) -> Device:
    """The camera after it was away: a camera plugged in again may have another number. before: those that
    were here when it was chosen; another of the same name is not taken for it."""
    if was.number < 0 or was in devices:
        return was
    new = [device for device in devices if device not in before]
    if same := [device for device in new if device.name == was.name and device.form == was.form]:
        return same[0]
    raise CameraError(f"{was.label} is not there; plug it in again")
