"""Video4Linux by its own means: which devices there are, who holds one, and whether anyone reads a loopback.

Numbers and layouts are those of linux/videodev2.h and, for the event of v4l2loopback, of its v4l2loopback.c.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SYSFS = Path("/sys/class/video4linux")
PROC = Path("/proc")
DEV = Path("/dev")

CAPTURE, OUTPUT = 0x1, 0x2
_QUERYCAP, _SUBSCRIBE_EVENT, _DQEVENT = 0x80685600, 0x4020565A, 0x80885659
_CAPABILITY_BYTES, _DEVICE_CAPS_AT = 104, 88
_EVENT_BYTES, _EVENT_COUNT_AT = 136, 8
_EVENT_PRIVATE_START = 0x08000000
CLIENT_USAGE = _EVENT_PRIVATE_START + 0x08E00000 + 1
"""V4L2_EVENT_PRI_CLIENT_USAGE: v4l2loopback (0.12.8 and later) says how many programs stream from it."""
_SEND_INITIAL = 0x1


@dataclass(frozen=True)
class Node:
    """A /dev/video* device. loopback: it is one of v4l2loopback's."""

    number: int
    path: str
    name: str
    loopback: bool


@dataclass(frozen=True)
class Holder:
    """A process that has a device open."""

    pid: int
    name: str

    def __str__(self) -> str:
        return f"{self.name} (process {self.pid})"


def nodes(sysfs: Path = SYSFS, dev: Path = DEV) -> list[Node]:
    """Every video device the kernel knows, by number."""
    found = []
    for folder in sysfs.glob("video*"):
        if match := re.fullmatch(r"video(\d+)", folder.name):
            name = _read(folder / "name") or folder.name
            # Only v4l2loopback's devices have this attribute.
            loopback = (folder / "max_openers").exists()
            found.append(Node(int(match[1]), str(dev / folder.name), name, loopback))
    return sorted(found, key=lambda node: node.number)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def loopback_loaded(modules: Path = Path("/sys/module")) -> bool:
    """Whether the kernel module v4l2loopback is loaded."""
    return (modules / "v4l2loopback").is_dir()


def capabilities(path: str) -> int | None:
    """The device_caps of VIDIOC_QUERYCAP; None where the device does not say or may not be opened."""
    answer = bytearray(_CAPABILITY_BYTES)
    try:
        handle = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        fcntl.ioctl(handle, _QUERYCAP, answer)
    except OSError:
        return None
    finally:
        os.close(handle)
    return int(struct.unpack_from("=I", answer, _DEVICE_CAPS_AT)[0])


def holders(path: str, proc: Path = PROC) -> list[Holder]:
    """Other processes that have the device open, as far as this user may see them."""
    device = os.path.realpath(path)
    found = []
    for folder in proc.glob("[0-9]*"):
        if int(folder.name) != os.getpid() and _holds(folder / "fd", device):
            found.append(Holder(int(folder.name), _read(folder / "comm") or "a program"))
    return sorted(found, key=lambda holder: holder.pid)


def _holds(descriptors: Path, device: str) -> bool:
    # Processes end, and those of others may not be looked at.
    with contextlib.suppress(OSError):
        for link in descriptors.iterdir():
            with contextlib.suppress(OSError):
                if str(link.readlink()) == device:
                    return True
    return False


def _ioctl(handle: int, request: int, answer: bytearray) -> None:
    fcntl.ioctl(handle, request, answer)


def _event_waits(handle: int) -> bool:
    waiting = select.poll()
    waiting.register(handle, select.POLLPRI)
    return any(mask & select.POLLPRI for _, mask in waiting.poll(0))


class Readers:
    """How many programs stream from a loopback device, as the module itself says.

    A look at who has the device open would count programs that merely list cameras, and miss those of other
    users; a module without the event is therefore one that does not tell. ioctl, waits: the system's, or a
    test's.
    """

    def __init__(
        self,
        path: str,
        ioctl: Callable[[int, int, bytearray], None] = _ioctl,
        waits: Callable[[int], bool] = _event_waits,
    ) -> None:
        self._ioctl, self._waits = ioctl, waits
        self._count: int | None = None
        self._handle: int | None = None
        try:
            self._handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            wanted = struct.pack("=8I", CLIENT_USAGE, 0, _SEND_INITIAL, *(0,) * 5)
            ioctl(self._handle, _SUBSCRIBE_EVENT, bytearray(wanted))
        except OSError:
            self.close()

    def count(self) -> int | None:
        """Programs that stream from the device; None where the module does not tell."""
        try:
            while self._handle is not None and self._waits(self._handle):
                event = bytearray(_EVENT_BYTES)
                self._ioctl(self._handle, _DQEVENT, event)
                if struct.unpack_from("=I", event)[0] == CLIENT_USAGE:
                    self._count = int(struct.unpack_from("=I", event, _EVENT_COUNT_AT)[0])
        except OSError:
            # The device is gone: who writes to it will hear of it.
            self.close()
        return self._count

    def close(self) -> None:
        """Stop listening."""
        handle, self._handle = self._handle, None
        self._count = None
        if handle is not None:
            os.close(handle)
