"""The virtual camera: pictures arrive as they are, and what is missing or busy is said with the remedy."""

from __future__ import annotations

import builtins
import importlib
import re
import sys
from typing import Any

import numpy as np
import pytest

from stream.camera import v4l2, virtual
from stream.camera.errors import VirtualCameraError
from stream.camera.v4l2 import Holder, Node
from stream.camera.virtual import VirtualCamera, backends, loopbacks
from tests.conftest import require
from tests.stream.camera.scripted import BACKEND, KeptBackend

pyvirtualcam = require("pyvirtualcam")

LOADED = Node(9, "/dev/video9", "vretouch", True)
OTHER = Node(10, "/dev/video10", "second", True)


@pytest.fixture(autouse=True)
def kept(monkeypatch: pytest.MonkeyPatch) -> type[KeptBackend]:
    """The backends of this system, and the one that keeps its pictures."""
    monkeypatch.setattr(pyvirtualcam.camera, "BACKENDS", dict(pyvirtualcam.camera.BACKENDS))
    monkeypatch.setattr(KeptBackend, "newest", None)
    pyvirtualcam.register_backend(BACKEND, KeptBackend)
    return KeptBackend


def test_pictures_arrive_bit_for_bit_in_order(kept: type[KeptBackend]) -> None:
    camera = VirtualCamera((64, 48), 30.0, "my camera", BACKEND)
    assert (camera.label, camera.size, camera.readers(), camera.notes) == ("my camera", (64, 48), None, [])
    pictures = np.random.default_rng(1).integers(0, 256, (5, 48, 64, 3), np.uint8)
    for picture in pictures:
        camera.send(picture[:, ::-1])
    assert kept.newest is not None
    assert np.array_equal(kept.newest.pictures, pictures[:, :, ::-1])
    assert pyvirtualcam.util.decode_fourcc(kept.newest.fourcc) == pyvirtualcam.PixelFormat.RGB.value
    camera.close()
    camera.close()
    assert kept.newest.closed == 1


@pytest.mark.parametrize(("asked", "made"), [((641, 481), (640, 480)), ((1, 1), (2, 2))])
def test_sizes_are_even(asked: tuple[int, int], made: tuple[int, int], kept: type[KeptBackend]) -> None:
    assert VirtualCamera(asked, 30.0, None, BACKEND).size == made
    assert kept.newest is not None and kept.newest.size == made


def test_without_a_name_the_first_backend_that_works_is_used(kept: type[KeptBackend]) -> None:
    class Broken(KeptBackend):
        refuse = RuntimeError("no such thing")

    pyvirtualcam.camera.BACKENDS.clear()
    pyvirtualcam.register_backend("broken", Broken)
    pyvirtualcam.register_backend(BACKEND, kept)
    assert VirtualCamera((64, 48), 30.0).label == "kept camera"
    assert backends() == ("broken", BACKEND)


def test_a_backend_that_is_not_known_is_refused_with_those_that_are() -> None:
    with pytest.raises(VirtualCameraError, match=f"no virtual camera backend 'x'; choose from .*{BACKEND}"):
        VirtualCamera((64, 48), 30.0, None, "x")


@pytest.mark.parametrize(
    ("backend", "said"),
    [
        ("obs", "the OBS virtual camera cannot be used (not found); install OBS Studio, start and stop its"),
        ("other", "the virtual camera backend other cannot be used (not found); choose another with"),
    ],
)
def test_a_backend_that_does_not_start_is_said_with_the_remedy(
    backend: str, said: str, kept: type[KeptBackend], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "refuse", RuntimeError("not found."))
    pyvirtualcam.register_backend(backend, kept)
    with pytest.raises(VirtualCameraError) as error:
        VirtualCamera((64, 48), 30.0, None, backend)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_a_virtual_camera_that_takes_no_more_is_an_error(
    kept: type[KeptBackend], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise RuntimeError("gone")

    camera = VirtualCamera((64, 48), 30.0, None, BACKEND)
    monkeypatch.setattr(kept, "send", refuse)
    with pytest.raises(VirtualCameraError, match=r"kept camera takes no more pictures \(gone\)"):
        camera.send(np.zeros((48, 64, 3), np.uint8))


def test_without_the_library_the_command_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("pyvirtualcam"):
            raise ModuleNotFoundError("No module named 'pyvirtualcam'")
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", without)
    remedy = re.escape(f"install it with `{sys.executable} -m pip install 'pyvirtualcam>=0.15'`")
    for call in (lambda: VirtualCamera((64, 48), 30.0), backends):
        with pytest.raises(VirtualCameraError, match=remedy):
            call()


def test_the_module_imports_without_the_library() -> None:
    assert "pyvirtualcam" not in vars(virtual)


linux = pytest.mark.skipif(sys.platform != "linux", reason="v4l2loopback is Linux's")


def machine(
    monkeypatch: pytest.MonkeyPatch, *there: Node, loaded: bool = True, holders: tuple[Holder, ...] = ()
) -> None:
    """A Linux machine with these devices, held by these processes."""
    monkeypatch.setattr(v4l2, "nodes", lambda: list(there))
    monkeypatch.setattr(v4l2, "loopback_loaded", lambda: loaded)
    monkeypatch.setattr(v4l2, "holders", lambda _: list(holders))
    monkeypatch.setattr(v4l2, "capabilities", lambda _: 0x05200002)


@linux
@pytest.mark.parametrize("wanted", [None, "/dev/video9", "9", "vretouch"])
def test_a_loopback_is_meant_by_path_number_or_name(
    wanted: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, Node(0, "/dev/video0", "Webcam", False), LOADED)
    assert loopbacks(wanted) == (["/dev/video9"], "")


@linux
def test_what_is_no_loopback_is_refused_with_those_that_are(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, Node(0, "/dev/video0", "Webcam", False), LOADED)
    said = "/dev/video0 is no virtual camera; choose from /dev/video9 (vretouch)"
    assert loopbacks("/dev/video0") == ([], said)


@linux
def test_a_missing_module_or_device_is_said_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, loaded=False)
    with pytest.raises(VirtualCameraError, match=r"v4l2loopback is not loaded; install it .* `sudo"):
        VirtualCamera((64, 48), 30.0, None, "v4l2loopback")
    machine(monkeypatch, loaded=True)
    with pytest.raises(VirtualCameraError, match="v4l2loopback has no device; load it anew"):
        VirtualCamera((64, 48), 30.0, None, "v4l2loopback")


class FakeLoopback(KeptBackend):
    """v4l2loopback's backend; its devices refuse as `answers` says."""

    answers: dict[str, str]

    def __init__(self, *, device: str | None, **rest: Any) -> None:
        assert device is not None
        if said := self.answers.get(device):
            raise RuntimeError(said)
        super().__init__(device=device, **rest)


def loopback(monkeypatch: pytest.MonkeyPatch, **answers: str) -> None:
    monkeypatch.setattr(
        FakeLoopback, "answers", {f"/dev/{n}": said for n, said in answers.items()}, raising=False
    )
    pyvirtualcam.register_backend("v4l2loopback", FakeLoopback)


@linux
def test_the_first_loopback_that_is_free_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, LOADED, OTHER)
    loopback(monkeypatch, video9="could not be configured: Device or resource busy")
    camera = VirtualCamera((64, 48), 30.0)
    assert camera.label == "/dev/video10"
    # /dev/video10 does not exist here, so nothing tells of readers.
    assert camera.readers() is None
    camera.close()


@linux
@pytest.mark.parametrize(
    ("answer", "holders", "said"),
    [
        (
            "could not be configured: Invalid argument",
            (Holder(5, "obs"),),
            "/dev/video9 is in use by obs (process 5)",
        ),
        ("could not be configured: Invalid argument", (), "/dev/video9 cannot be used (could not be"),
        ("Could not access /dev/video9 due to missing permissions.", (), "add yourself to the group video"),
    ],
)
def test_a_loopback_that_refuses_is_said_with_the_remedy(
    answer: str, holders: tuple[Holder, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, LOADED, holders=holders)
    loopback(monkeypatch, video9=answer)
    with pytest.raises(VirtualCameraError) as error:
        VirtualCamera((64, 48), 30.0, "9", "v4l2loopback")
    assert said in str(error.value) and "; " in str(error.value)


@linux
@pytest.mark.parametrize(("able", "noted"), [(0x05200003, True), (0x05200002, False), (None, False)])
def test_a_loopback_that_chrome_would_not_show_is_noted(
    able: int | None, noted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, LOADED)
    loopback(monkeypatch)
    monkeypatch.setattr(v4l2, "capabilities", lambda _: able)
    assert any("exclusive_caps=1" in note for note in VirtualCamera((64, 48), 30.0).notes) == noted


@linux
def test_a_loopbacks_readers_are_those_the_module_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, LOADED)
    loopback(monkeypatch)
    closed = []

    class Counted:
        def __init__(self, path: str) -> None:
            assert path == "/dev/video9"

        def count(self) -> int:
            return 2

        def close(self) -> None:
            closed.append(1)

    monkeypatch.setattr(v4l2, "Readers", Counted)
    camera = VirtualCamera((64, 48), 30.0)
    assert camera.readers() == 2
    camera.close()
    assert closed == [1]


@linux
def test_a_real_loopback_takes_pictures() -> None:
    """Where the kernel has one: a picture goes through it and is read back, and the reader is counted."""
    free = [node.path for node in v4l2.nodes() if node.loopback]
    if not free:
        pytest.skip("there is no v4l2loopback device, which takes a kernel module")
    from stream.camera.capture import CameraSource, Wish
    from stream.camera.devices import Device
    from tests.stream.camera.scripted import in_thread, wait_until

    camera = VirtualCamera((320, 240), 30.0, free[0])
    picture = np.full((240, 320, 3), (200, 60, 40), np.uint8)
    camera.send(picture)
    source = CameraSource(Device(-1, free[0], "loopback", "v4l2"), Wish((320, 240), 30.0))
    read: list[Any] = []
    reading = in_thread(lambda: read.append(source.read().rgb_u8))
    wait_until(lambda: bool(read or camera.send(picture)))
    reading.join()
    assert abs(read[0][100, 100].astype(int) - [200, 60, 40]).max() <= 4
    assert camera.readers() in (None, 1)
    source.close()
    camera.close()
