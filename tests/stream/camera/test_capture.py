"""Cameras through PyAV: FFmpeg's test pictures through the very path of a device, and what devices refuse."""

from __future__ import annotations

import errno
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.device
import av.error
import cv2
import numpy as np
import pytest

from stream.camera import capture, v4l2
from stream.camera.capture import CameraSource, Wish, attempts, listed, lost, refused
from stream.camera.devices import Device
from stream.camera.errors import CameraError
from stream.camera.v4l2 import Holder

WISH = Wish((320, 240), 30.0)
WEBCAM = Device(0, "/dev/video0", "Webcam", "v4l2")


def pattern(graph: str) -> Device:
    """A camera that shows what a filter graph of FFmpeg makes."""
    return Device(0, graph, "pattern", "lavfi")


def read_all(device: Device, count: int) -> list[capture.CapturedFrame]:
    source = CameraSource(device, WISH)
    try:
        return [source.read() for _ in range(count)]
    finally:
        source.close()


def test_frames_come_with_their_times_at_the_cameras_rate() -> None:
    began_ns = time.monotonic_ns()
    frames = read_all(pattern("testsrc=size=320x240:rate=25,realtime"), 15)
    assert [frame.pts * frame.time_base for frame in frames] == [Fraction(n, 25) for n in range(15)]
    arrivals = [frame.arrival_ns for frame in frames]
    assert arrivals == sorted(arrivals)
    assert began_ns < arrivals[0] and arrivals[-1] - arrivals[0] > 0.3e9
    assert all(frame.size == (320, 240) and frame.rgb_u8.shape == (240, 320, 3) for frame in frames)
    assert not np.array_equal(frames[0].rgb_u8, frames[-1].rgb_u8)


@pytest.mark.parametrize("size", ["320x240", "1280x720"])
@pytest.mark.parametrize("form", ["yuyv422", "nv12", "yuv420p"])
def test_untagged_colours_are_taken_for_bt601_at_any_size(size: str, form: str) -> None:
    # FFmpeg's own scaler makes BT.601 of RGB, and leaves it untagged where setparams says so.
    graph = f"color=c=0xC83C28:size={size}:rate=30,format={form},setparams=colorspace=unknown"
    middle = read_all(pattern(graph), 1)[0].rgb_u8[100, 100].astype(int)
    assert abs(middle - [200, 60, 40]).max() <= 3


def test_tagged_colours_are_taken_at_their_word() -> None:
    graph = "color=c=0xC83C28:size=320x240:rate=30,scale=out_color_matrix=bt709,format=yuv420p"
    middle = read_all(pattern(f"{graph},setparams=colorspace=bt709"), 1)[0].rgb_u8[100, 100].astype(int)
    assert abs(middle - [200, 60, 40]).max() <= 3


def motion_jpeg(path: Path, *pictures: bytes) -> Device:
    path.write_bytes(b"".join(pictures))
    return Device(0, str(path), "jpegs", "mjpeg")


def jpeg(level: int) -> bytes:
    return bytes(cv2.imencode(".jpg", np.full((240, 320, 3), level, np.uint8))[1])


def test_jpegs_are_of_full_range_and_damaged_ones_left_out(tmp_path: Path) -> None:
    whole = [jpeg(level) for level in (20, 128, 235, 255)]
    broken = whole[0][:300] + b"\xff\xd9"
    source = CameraSource(motion_jpeg(tmp_path / "a.mjpeg", whole[0], broken, *whole[1:]), WISH)
    levels = [int(source.read().rgb_u8[100, 100, 0]) for _ in range(4)]
    assert levels[0] == 20 and levels[-1] == 255
    assert set(levels) <= {20, 128, 235, 255}
    source.close()


def test_a_camera_that_ends_says_so(tmp_path: Path) -> None:
    source = CameraSource(motion_jpeg(tmp_path / "a.mjpeg", jpeg(1), jpeg(2)), WISH)
    source.read()
    source.read()
    with pytest.raises(CameraError, match="jpegs ended; plug it in again"):
        source.read()
    source.close()


class Script:
    """A container of av whose packets are scripted: errors are raised, and lists are a packet's frames."""

    def __init__(self, *steps: Any) -> None:
        self.steps = list(steps)
        self.closed = False
        self.streams = type("Streams", (), {"video": [type("Video", (), {"thread_type": ""})()]})()

    def demux(self, _: Any) -> Any:
        while self.steps:
            step = self.steps.pop(0)
            if isinstance(step, BaseException):
                raise step
            yield type("Packet", (), {"decode": lambda self, step=step: step})()

    def close(self) -> None:
        self.closed = True


def scripted(monkeypatch: pytest.MonkeyPatch, *steps: Any) -> CameraSource:
    monkeypatch.setattr(av, "open", lambda *_, **__: Script(*steps))
    monkeypatch.setattr(CameraSource, "_captured", lambda _, native: native)
    return CameraSource(WEBCAM, WISH)


def test_a_device_that_has_nothing_yet_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = av.error.BlockingIOError(errno.EAGAIN, "nothing yet")
    source = scripted(monkeypatch, ["first"], nothing, nothing, [], ["second", "third"])
    assert [source.read() for _ in range(3)] == ["first", "second", "third"]


def test_a_device_that_has_nothing_for_ever_was_unplugged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "SILENT_S", 0.05)
    nothing = [av.error.BlockingIOError(errno.EAGAIN, "nothing yet") for _ in range(10_000)]
    source = scripted(monkeypatch, ["first"], *nothing)
    source.read()
    with pytest.raises(CameraError, match="was unplugged; plug it in again"):
        source.read()


def test_an_unplugged_camera_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    source = scripted(monkeypatch, ["first"], OSError(errno.ENODEV, "No such device"))
    source.read()
    with pytest.raises(CameraError, match=r"^Webcam \(/dev/video0\) was unplugged; plug it in again$"):
        source.read()


def test_a_camera_that_sends_only_damage_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    damage = av.error.InvalidDataError(1094995529, "damaged")
    source = scripted(monkeypatch, *[damage] * 30, ["whole"], *[damage] * 61)
    assert source.read() == "whole"
    with pytest.raises(CameraError, match="pictures that cannot be decoded; try another --size"):
        source.read()


def test_a_device_without_pictures_is_closed_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    container = Script()
    container.streams.video = []
    monkeypatch.setattr(av, "open", lambda *_, **__: container)
    with pytest.raises(CameraError, match="gives no pictures; choose another camera"):
        CameraSource(WEBCAM, WISH)
    assert container.closed


def test_the_best_way_that_a_camera_takes_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[dict[str, str]] = []

    def open_with(url: str, mode: str, *, format: str, options: dict[str, str]) -> Script:
        tried.append(options)
        if len(tried) < 3:
            raise av.error.ArgumentError(errno.EINVAL, "Invalid argument")
        return Script()

    monkeypatch.setattr(av, "open", open_with)
    CameraSource(WEBCAM, Wish((1280, 720), 30.0))
    assert tried == attempts("v4l2", Wish((1280, 720), 30.0))[:3]


@pytest.mark.parametrize(
    ("form", "size", "first"),
    [
        ("v4l2", (640, 480), {"video_size": "640x480", "framerate": "29.97"}),
        ("v4l2", (1280, 720), {"video_size": "1280x720", "framerate": "29.97", "input_format": "mjpeg"}),
        ("dshow", (1280, 720), {"video_size": "1280x720", "framerate": "29.97", "vcodec": "mjpeg"}),
        ("avfoundation", (1280, 720), {"video_size": "1280x720", "framerate": "29.97"}),
    ],
)
def test_what_a_camera_is_asked_for_first_and_last(
    form: str, size: tuple[int, int], first: dict[str, str]
) -> None:
    asked = attempts(form, Wish(size, 30000 / 1001))
    assert first.items() <= asked[0].items()
    assert not {"video_size", "framerate"} & asked[-1].keys()


@pytest.mark.parametrize(
    ("number", "system", "said"),
    [
        (errno.ENOENT, "linux", "there is no camera Webcam (/dev/video0); `vretouch camera --list` shows"),
        (errno.EBUSY, "linux", "is in use by zoom (process 7) and pipewire (process 9); close it there"),
        (errno.EACCES, "linux", "permission denied); add yourself to the group video with `sudo usermod"),
        (errno.EACCES, "darwin", "allow your terminal in System Settings > Privacy & Security > Camera"),
        (errno.ENOTTY, "linux", "is no camera; `vretouch camera --list` shows those that are here"),
        (errno.EIO, "win32", "close other programs that use it, and let desktop apps use the camera"),
        (errno.EINVAL, "linux", "cannot be opened (Invalid argument); try another --size or --fps"),
    ],
)
def test_each_refusal_is_a_sentence_with_the_remedy(
    number: int, system: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(v4l2, "holders", lambda _: [Holder(7, "zoom"), Holder(9, "pipewire")])
    words = {errno.EINVAL: "Invalid argument"}.get(number, "")
    sentence = refused(WEBCAM, OSError(number, words), system)
    assert said in sentence and "\n" not in sentence


def test_a_busy_device_whose_holder_cannot_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(v4l2, "holders", lambda _: [])
    assert "is in use by another program; " in refused(WEBCAM, OSError(errno.EBUSY, ""), "linux")


def test_a_refusal_that_is_final_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def refuse(*_: Any, **__: Any) -> None:
        tried.append(1)
        raise av.error.PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(av, "open", refuse)
    with pytest.raises(CameraError, match="permission denied"):
        CameraSource(WEBCAM, WISH)
    assert len(tried) == 1


@pytest.mark.parametrize("url", ["/dev/video99", "/dev/null"])
def test_the_systems_own_refusals_on_linux(url: str) -> None:
    if "v4l2" not in str(av.formats_available):
        pytest.skip("Video4Linux is Linux's")
    with pytest.raises(CameraError, match=r"(there is no camera|is no camera)"):
        CameraSource(Device(99, url, "strange", "v4l2"), WISH)


def test_an_input_device_that_is_not_built_in() -> None:
    said = "this build of PyAV has no input device nonsense; install it anew with `pip install av`"
    with pytest.raises(CameraError, match=said):
        CameraSource(Device(0, "x", "x", "nonsense"), WISH)
    with pytest.raises(CameraError, match=said):
        listed("nonsense")


def test_only_video_devices_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    def info(name: str, kinds: list[str]) -> Any:
        return av.device.DeviceInfo(name, f"device {name}", False, kinds)

    there = [info("0", ["video"]), info("1", ["audio"]), info("2", []), info("3", ["video", "audio"])]
    monkeypatch.setattr(av.device, "enumerate_input_devices", lambda _: there)
    assert listed("dshow") == [("0", "device 0"), ("2", "device 2"), ("3", "device 3")]


def test_cameras_that_may_not_be_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: str) -> None:
        raise av.error.OSError(errno.EIO, "no")

    monkeypatch.setattr(av.device, "enumerate_input_devices", refuse)
    with pytest.raises(CameraError, match="privacy settings"):
        listed("avfoundation")


def test_why_a_camera_stopped() -> None:
    assert lost(WEBCAM, OSError(errno.ETIMEDOUT, "Timed out")) == (
        "Webcam (/dev/video0) stopped (Timed out); plug it in again"
    )
