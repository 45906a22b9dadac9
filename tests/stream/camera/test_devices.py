"""Which cameras there are, and which one is meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream.camera import capture, v4l2
from stream.camera.devices import Device, cameras, choose, found_again
from stream.camera.errors import CameraError
from stream.camera.v4l2 import Node
from tests.stream.camera.scripted import device_called

WEBCAM, BRIO = device_called("Webcam C920", 0), device_called("BRIO", 4)
LOOPBACK = Device(9, "/dev/video9", "vretouch", "v4l2", virtual=True)
HERE = [LOOPBACK, WEBCAM, BRIO]


@pytest.mark.parametrize(
    ("wanted", "meant"),
    [
        (None, WEBCAM),
        ("4", BRIO),
        ("9", LOOPBACK),
        ("brio", BRIO),
        ("c920", WEBCAM),
        ("/dev/video4", BRIO),
    ],
)
def test_a_camera_is_meant_by_number_name_or_path(wanted: str | None, meant: Device) -> None:
    assert choose(wanted, HERE, "linux") == meant


def test_a_path_may_be_a_link_and_a_strange_one_is_left_to_the_system(tmp_path: Path) -> None:
    target = tmp_path / "video4"
    target.touch()
    (tmp_path / "by-id").symlink_to(target)
    brio = Device(4, str(target), "BRIO", "v4l2")
    assert choose(str(tmp_path / "by-id"), [brio], "linux") == brio
    strange = choose("/dev/video77", HERE, "linux")
    assert strange.url == "/dev/video77" and strange.number < 0


def test_an_exact_name_wins_over_a_part_of_another() -> None:
    plain, pro = device_called("Cam", 0), device_called("Cam Pro", 1)
    assert choose("cam", [pro, plain], "linux") == plain


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("7", "there is no camera '7'; here: 9 vretouch, 0 Webcam C920, 4 BRIO"),
        ("nikon", "there is no camera 'nikon'; here: 9 vretouch, 0 Webcam C920, 4 BRIO"),
        ("r", "'r' is the name of several cameras (9 vretouch, 4 BRIO); choose one by its number"),
    ],
)
def test_what_is_not_there_or_not_clear_is_said_with_what_is(wanted: str, said: str) -> None:
    with pytest.raises(CameraError) as error:
        choose(wanted, HERE, "linux")
    assert str(error.value) == said


def test_without_a_real_camera_there_is_no_default() -> None:
    for system, remedy in (("linux", "/dev/video*"), ("darwin", "privacy settings")):
        with pytest.raises(CameraError, match="there is no camera here; plug one in") as error:
            choose(None, [LOOPBACK], system)
        assert remedy in str(error.value)
    with pytest.raises(CameraError, match="there is no camera '0'; here: none"):
        choose("0", [], "linux")


def test_a_camera_plugged_in_again_may_have_another_number() -> None:
    moved = Device(2, "/dev/video2", WEBCAM.name, "v4l2")
    assert found_again(WEBCAM, [BRIO, WEBCAM]) == WEBCAM
    assert found_again(WEBCAM, [BRIO, moved]) == moved
    # Its twin was here all along, and is not the one that was plugged in again.
    twin = Device(1, "/dev/video1", WEBCAM.name, "v4l2")
    assert found_again(WEBCAM, [twin, moved], [WEBCAM, twin]) == moved
    with pytest.raises(CameraError, match="is not there; plug it in again"):
        found_again(WEBCAM, [twin], [WEBCAM, twin])
    given = Device(-1, "/dev/v4l/by-id/x", "x", "v4l2")
    assert found_again(given, []) == given
    with pytest.raises(CameraError, match=r"Webcam C920 \(/dev/video0\) is not there; plug it in again"):
        found_again(WEBCAM, [BRIO])


def test_on_linux_devices_that_cannot_capture_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    there = [
        Node(0, "/dev/video0", "Webcam", False),
        Node(1, "/dev/video1", "Webcam", False),
        Node(2, "/dev/video2", "forbidden", False),
        Node(9, "/dev/video9", "vretouch", True),
    ]
    able = {"/dev/video0": 0x04200001, "/dev/video1": 0x04A00000, "/dev/video9": 0x05200001}
    monkeypatch.setattr(v4l2, "nodes", lambda: there)
    monkeypatch.setattr(v4l2, "capabilities", able.get)
    assert [(device.number, device.virtual) for device in cameras("linux")] == [
        (0, False),
        (2, False),
        (9, True),
    ]


def test_elsewhere_ffmpeg_lists_them(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {
        "avfoundation": [
            ("0", "FaceTime HD Camera"),
            ("1", "OBS Virtual Camera"),
            ("2", "Capture screen 0"),
        ],
        "dshow": [("@device_pnp_1", "Integrated Camera")],
    }
    monkeypatch.setattr(capture, "listed", said.__getitem__)
    assert cameras("darwin") == [
        Device(0, "0:none", "FaceTime HD Camera", "avfoundation"),
        Device(1, "1:none", "OBS Virtual Camera", "avfoundation", virtual=True),
    ]
    assert cameras("win32") == [Device(0, "video=@device_pnp_1", "Integrated Camera", "dshow")]
    assert choose(None, cameras("darwin"), "darwin").label == "FaceTime HD Camera"
    with pytest.raises(CameraError, match="cameras of plan9 are not known here"):
        cameras("plan9")
