"""`vretouch camera` as a whole: FFmpeg's patterns as the camera, the real filter, a kept virtual camera."""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pytest

from stream.camera import command, session
from stream.camera.capture import CameraSource, Wish
from stream.camera.command import add_arguments, job_of
from stream.camera.devices import Device
from stream.camera.errors import CameraError, VirtualCameraError
from stream.camera.job import CameraJob
from stream.camera.session import Parts, run_camera
from stream.camera.virtual import VirtualCamera
from stream.engine import available_presets
from stream.errors import OptionError
from stream.live.settings import Settings
from stream.retoucher import Retoucher
from tests.conftest import REPOSITORY, missing, require
from tests.stream.camera.scripted import (
    BACKEND,
    KeptBackend,
    ScriptedSource,
    device_called,
    flat,
    in_thread,
    unplugged,
    wait_until,
)
from tests.stream.fakes import FakeEngine, FakeFinder, face_at

pyvirtualcam = require("pyvirtualcam")

FACE = REPOSITORY / "stream" / "assets" / "astronaut-raw.png"
WEBCAM = device_called("Webcam")


@pytest.fixture(autouse=True)
def kept(monkeypatch: pytest.MonkeyPatch) -> type[KeptBackend]:
    monkeypatch.setattr(pyvirtualcam.camera, "BACKENDS", {BACKEND: KeptBackend})
    monkeypatch.setattr(KeptBackend, "newest", None)
    return KeptBackend


def options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(arguments)


def job(*arguments: str) -> CameraJob:
    return job_of(options(*arguments))


def pattern(graph: str) -> Device:
    return Device(0, graph, "pattern", "lavfi")


def retoucher() -> Retoucher:
    return Retoucher("live", FakeEngine(), finder=FakeFinder(face_at(160.0, 120.0, 0.4)))


class Running:
    """The command in a thread. type: press keys."""

    def __init__(self, given: CameraJob, **parts: Any) -> None:
        self.out, self._keys, self.error = io.StringIO(), [], None
        used = {"devices": lambda: [WEBCAM], "make_retoucher": retoucher, **parts}
        self.parts = Parts(keys=self._typed, out=self.out, **used)
        self.thread = in_thread(lambda: self._run(given))

    def _typed(self) -> list[str]:
        keys, self._keys = self._keys, []
        return keys

    def _run(self, given: CameraJob) -> None:
        try:
            run_camera(given, self.parts)
        except BaseException as error:
            self.error = error

    def type(self, *keys: str) -> None:
        self._keys = list(keys)

    @property
    def pictures(self) -> list[Any]:
        assert self.error is None, self.error
        return KeptBackend.newest.pictures if KeptBackend.newest is not None else []

    def end(self) -> None:
        self.type("q")
        self.thread.join(20.0)
        assert not self.thread.is_alive()


def test_a_camera_of_ffmpeg_through_the_real_filter_to_the_virtual_camera() -> None:
    graph = "color=c=0xC83C28:size=320x240:rate=30,format=yuyv422,realtime"
    running = Running(job("--fps", "30"), devices=lambda: [pattern(graph)])
    wait_until(lambda: len(running.pictures) > 10)
    assert KeptBackend.newest is not None and KeptBackend.newest.size == (320, 240)
    # The corner is as it was, in the right colours; the fake engine's patch on the cheek is brighter.
    wait_until(lambda: bool(running.pictures[-1].any()))
    picture = running.pictures[-1].astype(int)
    corner = picture[5, 5]
    assert abs(corner - [200, 60, 40]).max() <= 3
    wait_until(lambda: bool((running.pictures[-1].astype(int) - corner).max() >= 12))
    running.type("space")
    wait_until(lambda: bool((running.pictures[-1] == corner).all()))
    running.end()
    assert running.error is None
    assert KeptBackend.newest.closed == 1
    assert running.out.getvalue().splitlines() == [
        "pattern -> kept camera, 320x240; Ctrl-C ends it",
        "effect off",
    ]


def test_moving_pictures_come_in_order_and_no_faster_than_asked() -> None:
    graph = "color=c=black:size=320x240:rate=30,geq=lum='mod(N,250)':cb=128:cr=128,format=gray,realtime"
    running = Running(
        job("--fps", "30"),
        devices=lambda: [pattern(graph)],
        make_retoucher=lambda: Retoucher("live", FakeEngine(), finder=FakeFinder()),
    )
    wait_until(lambda: len({int(picture[100, 100, 0]) for picture in running.pictures}) > 45)
    running.end()
    levels = [int(picture[100, 100, 0]) for picture in running.pictures]
    assert levels == sorted(levels)
    assert KeptBackend.newest is not None
    times_s = KeptBackend.newest.times_s
    assert len(times_s) / (times_s[-1] - times_s[0]) < 33.0


def test_the_real_network_changes_the_face_and_nothing_else() -> None:
    if "live" not in available_presets() or not FACE.is_file():
        missing("the weights or the portrait are not here")
    require("mediapipe")
    graph = f"movie={FACE},loop=loop=-1:size=1,fps=15,scale=512:512,format=rgb24,realtime"
    running = Running(
        job("--fps", "15", "--threads", "1", "--size", "512x512"),
        devices=lambda: [pattern(graph)],
        make_retoucher=None,
    )
    source = CameraSource(pattern(graph), Wish((512, 512), 15.0))
    raw = source.read().rgb_u8.astype(int)
    source.close()

    def changed() -> Any:
        return np.abs(running.pictures[-1].astype(int) - raw).max(axis=2)

    wait_until(lambda: len(running.pictures) > 5 and running.pictures[-1].any() and changed().max() > 8, 60.0)
    rows, columns = np.nonzero(changed())
    running.end()
    assert len(rows) > 100
    # The portrait's face lies in the upper middle; the suit and the flag are untouched.
    assert rows.min() > 30 and rows.max() < 330
    assert columns.min() > 100 and columns.max() < 400


def test_size_compare_mirror_and_device_are_obeyed() -> None:
    raw = flat(100, (320, 240))
    raw[:, :30] = 180
    given = job("--size", "200x100", "--mirror", "--compare", "split", "--device", "mine")
    running = Running(given, open_source=lambda *_: ScriptedSource(raw))
    wait_until(lambda: len(running.pictures) > 5 and bool(running.pictures[-1].any()))
    picture = running.pictures[-1]
    running.end()
    assert picture.shape == (100, 200, 3)
    # 320x240 fits into 200x100 as 133x100; mirrored, the bright edge is on the right.
    assert not picture[:, :30].any() and not picture[:, 170:].any()
    assert picture[5, 40, 0] == 100 and picture[5, 162, 0] == 180
    assert picture[5, 95:105].max() > 180
    assert KeptBackend.newest is not None and KeptBackend.newest.name == "mine"
    assert running.out.getvalue().splitlines()[1:] == [
        "note: the camera gives 320x240, which is fitted into that"
    ]


class Window:
    """A preview whose user presses keys."""

    newest: ClassVar[Window]

    def __init__(self, size: tuple[int, int]) -> None:
        self.size, self.keys, self.closed = size, list[str](), False
        type(self).newest = self

    def show(self, picture_rgb_u8: npt.NDArray[np.uint8]) -> None:
        assert picture_rgb_u8.shape == (self.size[1], self.size[0], 3)

    def pressed(self) -> list[str]:
        keys, self.keys = self.keys, []
        return keys

    def close(self) -> None:
        self.closed = True


def test_keys_pressed_in_the_preview_do_what_those_of_the_terminal_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session, "Preview", Window)
    running = Running(job("--preview"), open_source=lambda *_: ScriptedSource(flat(100, (320, 240))))
    wait_until(lambda: bool(running.pictures) and bool(running.pictures[-1].max() == 113))
    assert running.out.getvalue().splitlines()[1:] == [command.HELP]
    running.type("-")
    Window.newest.keys = ["space"]
    wait_until(lambda: bool(running.pictures[-1].max() == 100))
    Window.newest.keys = ["q"]
    running.thread.join(20.0)
    assert not running.thread.is_alive() and running.error is None
    assert Window.newest.closed
    assert sorted(running.out.getvalue().splitlines()[2:]) == ["effect off", "strength 0.9"]


def test_strength_is_obeyed() -> None:
    running = Running(job("--strength", "0.5"), open_source=lambda *_: ScriptedSource(flat(100, (320, 240))))
    wait_until(lambda: bool(running.pictures) and bool(running.pictures[-1].max() == 106))
    running.end()
    # The fake engine's imperfection is 10 levels, and 13 from its fourth step on.
    assert max(int(picture.max()) for picture in running.pictures) <= 107


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--fps", "1000"), "--fps must be from 1 to 120, not 1000"),
        (("--fps", "1/2"), "--fps must be from 1 to 120, not 0.5"),
        (("--size", "9000x100"), "--size must be from 2x2 to 4096x4096, not 9000x100"),
        (("--size", "1x1"), "--size must be from 2x2 to 4096x4096, not 1x1"),
    ],
)
def test_options_out_of_range(arguments: tuple[str, ...], said: str) -> None:
    parts = Parts(lambda *_: pytest.fail("no camera is opened"), lambda: [WEBCAM], retoucher)
    with pytest.raises(OptionError) as error:
        run_camera(job(*arguments), parts)
    assert str(error.value) == said


def test_an_unknown_camera_is_refused_before_anything_is_started() -> None:
    parts = Parts(
        lambda *_: pytest.fail("no camera is opened"), lambda: [WEBCAM], lambda: pytest.fail("no network")
    )
    with pytest.raises(CameraError, match="there is no camera 'nikon'; here: 0 Webcam"):
        run_camera(job("nikon"), parts)


def test_a_camera_that_does_not_start_ends_the_command_in_a_sentence() -> None:
    source = ScriptedSource(unplugged())
    with pytest.raises(CameraError, match="was unplugged"):
        run_camera(job(), Parts(lambda *_: source, lambda: [WEBCAM], retoucher))
    assert source.closed


def test_a_camera_that_is_slow_with_its_first_picture_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "STALL_S", 0.2)
    monkeypatch.setattr(session, "LOOK_S", 0.05)
    source = ScriptedSource(flat(90), pause_s=1.0)
    running = Running(job(), open_source=lambda *_: source)
    wait_until(
        lambda: "waiting for a picture of Webcam (/dev/video0); Ctrl-C ends that" in running.out.getvalue()
    )
    source.pause_s = 0.01
    wait_until(lambda: bool(running.pictures))
    running.end()
    assert running.error is None and running.out.getvalue().count("waiting") == 1


def test_a_virtual_camera_that_does_not_start_gives_the_camera_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KeptBackend, "refuse", RuntimeError("broken"))
    source = ScriptedSource(flat(1))
    with pytest.raises(VirtualCameraError, match="broken"):
        run_camera(job(), Parts(lambda *_: source, lambda: [WEBCAM], retoucher))
    assert source.closed


def test_the_virtual_camera_is_closed_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[VirtualCamera] = []
    monkeypatch.setattr(VirtualCamera, "close", lambda camera: closed.append(camera))
    running = Running(job(), open_source=lambda *_: ScriptedSource(flat(90)))
    wait_until(lambda: len(running.pictures) > 2)
    running.end()
    assert running.error is None and len(closed) == 1


def test_the_virtual_camera_cannot_be_its_own_source() -> None:
    loop = device_called("loop", 9)
    source = ScriptedSource(flat(1))
    with pytest.raises(CameraError, match="/dev/video9 is the virtual camera itself; choose another"):
        run_camera(job("9", "--device", "/dev/video9"), Parts(lambda *_: source, lambda: [loop], retoucher))
    assert source.closed and KeptBackend.newest is not None and KeptBackend.newest.closed == 1


def test_an_unplugged_camera_is_found_under_its_new_number() -> None:
    moved, asked = device_called("Webcam", 3), []
    sources = [ScriptedSource(*[flat(90)] * 5, unplugged()), ScriptedSource(flat(180))]
    here = [WEBCAM]

    def open_scripted(device: Device, *_: Any) -> ScriptedSource:
        asked.append(device)
        here[:] = [moved]
        return sources.pop(0)

    running = Running(job(), devices=lambda: here, open_source=open_scripted)
    wait_until(lambda: bool(running.pictures) and running.pictures[-1][0, 0, 0] == 180)
    running.end()
    assert asked == [WEBCAM, moved]


def test_the_options_are_known_without_the_libraries_that_run_it() -> None:
    code = "import sys, stream.camera.command; print({'av', 'cv2', 'pyvirtualcam'} & sys.modules.keys())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


def test_the_command_runs_the_job_that_its_options_describe(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[CameraJob] = []
    monkeypatch.setattr(session, "run_camera", seen.append)
    arguments = (
        "brio --size 640x480 --fps 25 --device 9 --backend obs --mirror --compare map --preview --never-idle "
        "--quiet --strength 0.5 --preset studio --engine onnx-cpu --max-faces 2 --threads 3 "
        "--also shine --keep moles,lines"
    )
    assert command.run(options(*arguments.split())) == 0
    assert seen == [
        CameraJob(
            camera="brio",
            size=(640, 480),
            fps=25.0,
            device="9",
            backend="obs",
            mirror=True,
            settings=Settings(strength=0.5, view="map", also={"shine"}, keep={"moles", "lines"}),
            preview=True,
            never_idle=True,
            quiet=True,
            preset="studio",
            engine="onnx-cpu",
            max_faces=2,
            threads=3,
        )
    ]
    assert job() == CameraJob()


def test_standard_input_that_is_no_terminal_is_not_read(tmp_path: Path) -> None:
    typed = tmp_path / "typed"
    typed.write_text("qqq")
    with typed.open(encoding="utf-8") as stdin, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", stdin)
        running = Running(job(), open_source=lambda *_: ScriptedSource(flat(90)))
        wait_until(lambda: len(running.pictures) > 10)
        assert running.thread.is_alive() and command.HELP not in running.out.getvalue()
        running.end()
        assert stdin.read() == "qqq"
