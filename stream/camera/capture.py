"""Frames of a camera through PyAV. Adapter of av for `vretouch camera`."""

from __future__ import annotations

import errno
import sys
import time
from collections.abc import Generator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Any

import av
import av.device
import av.error

from stream.camera.devices import Device
from stream.camera.errors import CameraError
from stream.frame import ColourTags, RgbImage
from stream.native import rgb_of, tags_of
from stream.planes import UNSAID

BT601 = 6
RETRY_S, SILENT_S = 0.005, 10.0
MAX_DAMAGED = 60
VGA_PIXELS = 640 * 480
_FINAL = (errno.EBUSY, errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENODEV, errno.ENXIO)
_MICROSECOND = Fraction(1, 1_000_000)

AvError = av.error.FFmpegError | OSError


@dataclass(frozen=True)
class Wish:
    """What a camera is asked for; it may give something else. size: width, height. fps: frames a second."""

    size: tuple[int, int]
    fps: float


@dataclass(frozen=True)
class CapturedFrame:
    """A picture of a camera, converted to RGB when it is first asked for.

    native: the decoder's own frame. pts counts time_base. arrival_ns: monotonic clock when it was decoded.
    """

    native: Any
    tags: ColourTags
    pts: int
    time_base: Fraction
    arrival_ns: int

    @cached_property
    def rgb_u8(self) -> RgbImage:
        """uint8 [H, W, 3] RGB."""
        return rgb_of(self.native, self.tags)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return int(self.native.width), int(self.native.height)


def listed(form: str) -> list[tuple[str, str]]:
    """(name, description) of each camera that FFmpeg's input device `form` lists."""
    try:
        found = av.device.enumerate_input_devices(form)
    except ValueError:
        raise CameraError(_not_built(form)) from None
    except (av.error.FFmpegError, OSError) as error:
        raise CameraError(
            f"the cameras cannot be listed ({error}); allow cameras in the system's privacy settings"
        ) from error
    return [(device.name, device.description) for device in found if "audio" not in device.media_types[:1]]


class CameraSource:
    """An open camera. `read` gives its next frame; all calls come from one thread."""

    def __init__(self, device: Device, wish: Wish) -> None:
        self.device = device
        self._container = _open(device, wish)
        try:
            self._video = self._container.streams.video[0]
        except IndexError:
            self._container.close()
            raise CameraError(f"{device.label} gives no pictures; choose another camera") from None
        # Threads by frame would hold pictures back.
        self._video.thread_type = "SLICE"
        self._frames = self._decoded()

    def read(self) -> CapturedFrame:
        """The next frame, waited for; raises CameraError when the camera went away."""
        return next(self._frames)

    def close(self) -> None:
        """Give the camera back."""
        self._frames.close()
        self._container.close()

    def _decoded(self) -> Generator[CapturedFrame]:
        damaged, heard_s = 0, time.monotonic()
        while True:
            try:
                for packet in self._container.demux(self._video):
                    for native in packet.decode():
                        damaged, heard_s = 0, time.monotonic()
                        yield self._captured(native)
                break
            except av.error.InvalidDataError:
                # The first pictures of many webcams are cut short.
                damaged += 1
                if damaged > MAX_DAMAGED:
                    raise CameraError(
                        f"{self.device.label} sends pictures that cannot be decoded; try another --size"
                    ) from None
            except (av.error.FFmpegError, OSError) as error:
                # Some systems say for ever that a camera which was unplugged has no picture yet.
                if error.errno != errno.EAGAIN or time.monotonic() - heard_s > SILENT_S:
                    raise CameraError(lost(self.device, error)) from None
                time.sleep(RETRY_S)
        raise CameraError(f"{self.device.label} ended; plug it in again")

    def _captured(self, native: Any) -> CapturedFrame:
        tags = tags_of(native, self._video.codec_context.name)
        if tags.matrix == UNSAID:
            # USB Video Class 1.5, 3.9.2.6: BT.601 where a camera says nothing, whatever its size.
            tags = replace(tags, matrix=BT601)
        arrival_ns = time.monotonic_ns()
        base = native.time_base or self._video.time_base
        if native.pts is None or not base:
            return CapturedFrame(native, tags, arrival_ns // 1000, _MICROSECOND, arrival_ns)
        return CapturedFrame(native, tags, int(native.pts), Fraction(base), arrival_ns)


def _open(device: Device, wish: Wish) -> Any:
    first: AvError | None = None
    for options in attempts(device.form, wish):
        try:
            return av.open(device.url, "r", format=device.form, options=options)
        except (av.error.FFmpegError, OSError) as error:
            first = first or error
            if error.errno in _FINAL:
                first = error
                break
        except ValueError:
            raise CameraError(_not_built(device.form)) from None
    assert first is not None
    raise CameraError(refused(device, first)) from first


def _not_built(form: str) -> str:
    return f"this build of PyAV has no input device {form}; install it anew with `pip install av`"


def attempts(form: str, wish: Wish) -> list[dict[str, str]]:
    """FFmpeg's options for the camera, the best first; the last ones take whatever it gives."""
    if form not in ("v4l2", "avfoundation", "dshow"):
        return [{}]
    rate = {"framerate": f"{wish.fps:g}"}
    sized = {"video_size": f"{wish.size[0]}x{wish.size[1]}", **rate}
    if form == "avfoundation":
        return [sized, rate, {"framerate": "30"}, {}]
    jpeg = {"input_format": "mjpeg"} if form == "v4l2" else {"vcodec": "mjpeg"}
    room = {} if form == "v4l2" else {"rtbufsize": "64M"}
    # Over USB 2 raw pictures larger than VGA come at 10 a second or less.
    kinds = [{}, jpeg] if wish.size[0] * wish.size[1] <= VGA_PIXELS else [jpeg, {}]
    return [*({**sized, **room, **kind} for kind in kinds), {**rate, **room}, room]


def refused(device: Device, error: AvError, system: str = sys.platform) -> str:
    """Why a camera could not be opened, and what to do."""
    number, name = error.errno, device.label
    if number in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return f"there is no camera {name}; `vretouch camera --list` shows those that are here"
    if number == errno.EBUSY:
        return f"{name} is in use by {_users(device)}; close it there, or choose another camera"
    if number in (errno.EACCES, errno.EPERM):
        return f"{name} may not be opened (permission denied); {_permission(system)}"
    if number in (errno.ENOTTY, errno.EISDIR):
        return f"{name} is no camera; `vretouch camera --list` shows those that are here"
    if system != "linux":
        return (
            f"{name} cannot be opened ({_reason(error)}); close other programs that use it, and "
            f"{_permission(system)}"
        )
    return f"{name} cannot be opened ({_reason(error)}); try another --size or --fps, or plug it in anew"


def lost(device: Device, error: AvError) -> str:
    """Why a camera that was running gives no more pictures."""
    if error.errno in (errno.ENODEV, errno.ENXIO, errno.EIO, errno.EAGAIN):
        return f"{device.label} was unplugged; plug it in again"
    return f"{device.label} stopped ({_reason(error)}); plug it in again"


def _users(device: Device) -> str:
    if device.form == "v4l2":
        from stream.camera.v4l2 import holders

        if found := holders(device.url):
            return " and ".join(str(holder) for holder in found)
    return "another program"


def _permission(system: str) -> str:
    if system == "darwin":
        return "allow your terminal in System Settings > Privacy & Security > Camera"
    if system == "win32":
        return "let desktop apps use the camera in Settings > Privacy & security > Camera"
    return "add yourself to the group video with `sudo usermod -aG video $USER` and log in anew"


def _reason(error: AvError) -> str:
    return error.strerror or str(error)
