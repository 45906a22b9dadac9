"""Stand-ins for devices: cameras that follow a script, and a virtual camera that keeps what it is sent."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from stream.camera.devices import Device
from stream.camera.errors import CameraError

BACKEND = "kept"


@dataclass(frozen=True)
class Still:
    """A frame of one picture, uint8 [H, W, 3]."""

    rgb_u8: npt.NDArray[np.uint8]
    pts: int
    time_base: Fraction = Fraction(1, 1000)
    arrival_ns: int = field(default_factory=time.monotonic_ns)


class ScriptedSource:
    """A camera whose read() follows `script`, an item every pause_s seconds and the last again and again: a
    picture, or an error to raise."""

    def __init__(self, *script: Any, pause_s: float = 0.01) -> None:
        self.script = list(script)
        self.pause_s = pause_s
        self.closed = False
        self.reads = 0

    def read(self) -> Still:
        assert not self.closed
        time.sleep(self.pause_s)
        self.reads += 1
        item = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(item, BaseException):
            raise item
        return Still(item, time.monotonic_ns() // 1_000_000)

    def close(self) -> None:
        assert not self.closed
        self.closed = True


class KeptBackend:
    """A pyvirtualcam backend that keeps its pictures, RGB [H, W, 3]; the newest instance is `newest`."""

    newest: ClassVar[KeptBackend | None] = None
    refuse: ClassVar[Exception | None] = None

    def __init__(
        self, *, width: int, height: int, fps: float, fourcc: int, device: str | None, **_: Any
    ) -> None:
        if self.refuse is not None:
            raise self.refuse
        self.size, self.fps, self.fourcc = (width, height), fps, fourcc
        self.name = device or "kept camera"
        self.pictures: list[npt.NDArray[np.uint8]] = []
        self.times_s: list[float] = []
        self.closed = 0
        type(self).newest = self

    def send(self, frame: npt.NDArray[np.uint8]) -> None:
        assert not self.closed
        width, height = self.size
        self.pictures.append(frame.reshape(height, width, 3).copy())
        self.times_s.append(time.monotonic())

    def close(self) -> None:
        self.closed += 1

    def device(self) -> str:
        return self.name

    def native_fourcc(self) -> int | None:
        return None


class KeptSink:
    """A virtual camera without pyvirtualcam. count: programs that read it."""

    def __init__(self, size: tuple[int, int] = (64, 48), count: int | None = None) -> None:
        self.size, self.label, self.count = size, "kept sink", count
        self.pictures: list[npt.NDArray[np.uint8]] = []

    def send(self, picture_rgb_u8: npt.NDArray[np.uint8]) -> None:
        assert picture_rgb_u8.shape == (self.size[1], self.size[0], 3)
        self.pictures.append(picture_rgb_u8.copy())

    def readers(self) -> int | None:
        return self.count


def device_called(name: str, number: int = 0) -> Device:
    return Device(number, f"/dev/video{number}", name, "v4l2")


def unplugged() -> CameraError:
    return CameraError("the camera was unplugged; plug it in again")


def flat(level: int, size: tuple[int, int] = (64, 48)) -> npt.NDArray[np.uint8]:
    """uint8 [H, W, 3] of one level."""
    return np.full((size[1], size[0], 3), level, np.uint8)


def wait_until(true: Callable[[], bool], limit_s: float = 20.0) -> None:
    """Wait until it is true; fails after limit_s seconds."""
    end_s = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end_s, "it did not come true in time"
        time.sleep(0.005)


def in_thread(work: Callable[[], object]) -> threading.Thread:
    """The work, started in a thread."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread
