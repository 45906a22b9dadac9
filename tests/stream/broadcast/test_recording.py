"""A live source into a file, over this machine's own ports: cameras die, come back changed, stay away."""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from stream.broadcast import broadcast as broadcast_module
from stream.broadcast import recorder as recorder_module
from stream.broadcast.broadcast import Broadcast, BroadcastJob, BroadcastReport, report_lines
from stream.cli import main
from stream.errors import SourceError
from stream.file import Interrupts
from stream.live.settings import Settings
from stream.output import OutputError
from stream.wholeness import missing_bytes
from tests.stream.broadcast.camera import WAIT_S, Camera, free_port, pressed, until, write_clip
from tests.stream.broadcast.rtsp import answering
from tests.stream.broadcast.test_broadcast import make_retoucher


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4")


@pytest.fixture
def camera() -> Iterator[Camera]:
    camera = Camera()
    yield camera
    camera.kill()


def broadcast_of(camera: Camera, out: Path, **options: Any) -> Broadcast:
    job = BroadcastJob(camera.url, str(out), Settings(effect=False), quiet=True, **options)
    return Broadcast(job, make_retoucher)


def recorded(broadcast: Broadcast, events: Callable[[], None]) -> BroadcastReport:
    """The run, ended by `stopped` once the events have taken place."""

    def live() -> None:
        try:
            events()
        finally:
            broadcast.stopped.set()

    thread = threading.Thread(target=live)
    thread.start()
    try:
        return broadcast.run()
    finally:
        thread.join(WAIT_S)


def seen(broadcast: Broadcast, more: int) -> None:
    assert broadcast.recorder is not None
    wanted = broadcast.recorder.frames + more
    until(lambda: broadcast.recorder is not None and broadcast.recorder.frames >= wanted, "no pictures came")


def pictures(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Times in seconds of all pictures, and their mean levels."""
    with av.open(str(path)) as container:
        found = [(float(f.time), f.to_ndarray(format="gray").mean()) for f in container.decode(video=0)]
    return np.array([at for at, _ in found]), np.array([level for _, level in found])


def sound(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Times in seconds of all samples of the first channel, and they themselves."""
    times, samples = [], []
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            times.append(float(frame.time) + np.arange(frame.samples) / frame.sample_rate)
            samples.append(frame.to_ndarray()[0])
    return np.concatenate(times), np.concatenate(samples)


def onsets(times: np.ndarray, loud: np.ndarray) -> np.ndarray:
    """When it becomes loud, or light, after half a second or more of neither."""
    at = times[loud]
    return at[np.diff(at, prepend=-1.0) > 0.5]


def whole(path: Path) -> bool:
    """Whether it is all there, under its own name alone."""
    return missing_bytes(path) == 0 and list(path.parent.iterdir()) == [path]


def test_a_camera_that_dies_and_comes_back_is_one_recording(
    camera: Camera, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.mp4"
    camera.start(clip)
    broadcast = broadcast_of(camera, out)
    lost_s = 0.0

    def events() -> None:
        nonlocal lost_s
        seen(broadcast, 60)
        camera.kill()
        lost_s = time.monotonic()
        until(lambda: broadcast.receiver.reconnections >= 1, "the loss was not seen")
        # What came before is recorded by now.
        time.sleep(0.5)
        camera.start(clip)
        seen(broadcast, 1)
        lost_s = time.monotonic() - lost_s
        seen(broadcast, 45)

    report = recorded(broadcast, events)
    assert whole(out)
    assert report.reconnections >= 1
    times, levels = pictures(out)
    steps = np.diff(times)
    assert steps.min() > 0.0
    gap = int(steps.argmax())
    assert steps[gap] == pytest.approx(lost_s, abs=1.0)
    assert steps[gap] > 3.0 * np.delete(steps, gap).max()
    # It plays at the right speed on both sides of the gap, sound and pictures together.
    heard_s, wave = sound(out)
    assert np.diff(heard_s).max() == pytest.approx(steps[gap], abs=0.5)
    flashes, beeps = onsets(times, levels > 180), onsets(heard_s, np.abs(wave) > 0.2)
    for side in (slice(0, gap + 1), slice(gap + 1, None)):
        first, last = times[side][[0, -1]] + [0.2, -0.2]
        lights = flashes[(flashes > first) & (flashes < last)]
        assert len(lights) >= 1
        assert np.abs(np.diff(lights) - np.round(np.diff(lights))).max(initial=0.0) < 0.08
        assert max(np.abs(beeps - light).min() for light in lights) < 0.08
    said = capsys.readouterr().err
    assert "is lost (" in said
    assert f"out.mp4: {len(times)} pictures in {times[-1]:.1f} s" in report_lines(report)[0]


def test_a_camera_that_comes_back_otherwise_is_fitted_in(
    camera: Camera, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_clip(tmp_path / "other.mp4", (160, 160), 48_000)
    out = tmp_path / "there" / "out.mkv"
    out.parent.mkdir()
    camera.start(clip)
    broadcast = broadcast_of(camera, out)

    def events() -> None:
        seen(broadcast, 20)
        camera.kill()
        camera.start(other)
        seen(broadcast, 40)

    recorded(broadcast, events)
    assert "the source now is 160x160; it is fitted into the recording's 320x240" in capsys.readouterr().err
    assert whole(out)
    with av.open(str(out)) as container:
        last = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)][-1]
    assert last.shape == (240, 320)
    assert last[:, :30].mean() < 30
    assert last[100:140, 100:220].mean() > 60
    heard_s, wave = sound(out)
    assert heard_s[-1] > pictures(out)[0][-1] - 0.5
    assert np.abs(wave[heard_s > heard_s[-1] - 1.2]).max() > 0.2


def test_what_cannot_go_on_ends_the_recording_whole(
    camera: Camera, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mute = write_clip(tmp_path / "sound.mp4", pictures=False)
    out = tmp_path / "there" / "out.mp4"
    out.parent.mkdir()
    camera.start(clip)
    broadcast = broadcast_of(camera, out)

    def events() -> None:
        seen(broadcast, 20)
        camera.kill()
        camera.start(mute)
        until(broadcast.receiver.ended.is_set, "it goes on")

    with pytest.raises(SourceError, match="has no video in it"):
        recorded(broadcast, events)
    assert whole(out)
    assert f"{out} holds the {len(pictures(out)[0])} pictures that came before" in capsys.readouterr().err


def test_a_sender_that_counts_anew_behind_a_datagram_address_goes_on(clip: Path, tmp_path: Path) -> None:
    camera, out = Camera("udp"), tmp_path / "out.mp4"
    camera.start(clip)
    broadcast = broadcast_of(camera, out)
    lost_s = 0.0

    def events() -> None:
        nonlocal lost_s
        try:
            seen(broadcast, 100)
            camera.kill()
            lost_s = time.monotonic()
            camera.start(clip)
            seen(broadcast, 60)
            lost_s = time.monotonic() - lost_s
        finally:
            camera.kill()

    report = recorded(broadcast, events)
    assert whole(out)
    assert report.reconnections == 0
    times = pictures(out)[0]
    # Were the new times taken as they are, sixty pictures would stand within a few ms.
    assert times[-1] - times[-60] == pytest.approx(2.0, abs=1.5)
    assert times[-1] - times[-60] <= lost_s + 0.5


def test_a_duration_counts_from_the_first_picture(
    camera: Camera, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.webm"
    camera.start(clip)
    broadcast = broadcast_of(camera, out, duration_s=2.0)
    report = broadcast.run()
    assert whole(out)
    assert not report.interrupted
    times, heard_s = pictures(out)[0], sound(out)[0]
    assert times[0] == 0.0
    assert 1.5 < times[-1] < 2.0
    assert 1.5 < heard_s[-1] < 2.1
    kept: list[float] = []
    monkeypatch.setattr(broadcast.recorder, "sound", lambda _, at_s: kept.append(at_s - began_s))
    began_s = broadcast._began_s
    assert began_s is not None
    for at_s in (0.0, 1.9, 2.1):
        broadcast._sound(None, began_s + at_s)
    assert kept == pytest.approx([0.0, 1.9])


def test_a_source_that_stays_away_ends_the_recording_if_that_is_wanted(
    camera: Camera, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.mp4"
    camera.start(clip)
    broadcast = broadcast_of(camera, out, give_up_s=1.5)

    def events() -> None:
        seen(broadcast, 20)
        camera.kill()
        until(broadcast.receiver.ended.is_set, "it waits")

    recorded(broadcast, events)
    assert whole(out)
    assert len(pictures(out)[0]) >= 20
    assert "has been gone for 1.5 s (connection refused), which ends it" in capsys.readouterr().err


def test_ctrl_c_leaves_a_whole_file(camera: Camera, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    camera.start(clip)
    broadcast = broadcast_of(camera, out)

    def press() -> None:
        seen(broadcast, 20)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    report = broadcast.run()
    thread.join(WAIT_S)
    assert report.interrupted
    assert whole(out)
    assert len(pictures(out)[0]) >= 20


def test_a_second_ctrl_c_leaves_nothing(
    camera: Camera, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupts = Interrupts()
    monkeypatch.setattr(broadcast_module, "Interrupts", lambda: interrupts)
    camera.start(clip)
    broadcast = broadcast_of(camera, tmp_path / "out.mp4")

    def events() -> None:
        seen(broadcast, 5)
        assert [path.suffix for path in tmp_path.iterdir()] == [".part"]
        # What the second one does before the process ends.
        interrupts.remove()
        assert not list(tmp_path.iterdir())

    # The process goes on here, and its recording has no file to put in its place.
    with pytest.raises(OutputError, match=r"out\.mp4 cannot be written"):
        recorded(broadcast, events)
    assert not list(tmp_path.iterdir())


def test_ctrl_c_while_a_source_is_waited_for_leaves_nothing(camera: Camera, tmp_path: Path) -> None:
    said: list[str] = []
    broadcast = broadcast_of(camera, tmp_path / "out.mp4", wait_s=WAIT_S)
    broadcast.receiver._say = said.append
    with pressed(lambda: bool(said)), pytest.raises(KeyboardInterrupt):
        broadcast.run()
    assert "is not there yet (connection refused); trying again in" in said[0]
    assert not list(tmp_path.iterdir())


def test_ctrl_c_before_the_first_picture_leaves_nothing(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        camera = Camera()
        camera.url = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        broadcast = broadcast_of(camera, tmp_path / "out.mp4")
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            broadcast.run()
    assert not list(tmp_path.iterdir())


def test_a_disk_that_runs_full_ends_the_recording_whole(
    camera: Camera,
    clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out.mp4"
    camera.start(clip)
    broadcast = broadcast_of(camera, out)
    usage = type("Usage", (), {"free": 50_000_000})

    def events() -> None:
        seen(broadcast, 20)
        monkeypatch.setattr(recorder_module.shutil, "disk_usage", lambda _: usage)
        until(lambda: broadcast.recorder is not None and broadcast.recorder.full, "it goes on")

    recorded(broadcast, events)
    assert whole(out)
    assert len(pictures(out)[0]) >= 20
    assert "hardly any room left" in capsys.readouterr().err


def test_a_write_that_fails_is_an_error_and_what_came_before_is_kept(
    camera: Camera,
    clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out.mp4"
    camera.start(clip)
    broadcast = broadcast_of(camera, out)

    def fails(*_: object) -> None:
        raise OutputError("it cannot be written")

    def events() -> None:
        seen(broadcast, 20)
        monkeypatch.setattr(recorder_module.RecordingSink, "write", fails)
        until(lambda: broadcast.recorder is not None and broadcast.recorder.error is not None, "it goes on")

    with pytest.raises(OutputError, match="it cannot be written"):
        recorded(broadcast, events)
    assert whole(out)
    assert f"{out} holds the {len(pictures(out)[0])} pictures that came before" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (lambda: f"rtsp://127.0.0.1:{free_port()}/stream", r"cannot be opened \(connection refused\); check"),
        (lambda: f"rtsp://127.0.0.1:{free_port()}/live.png", r"png cannot be opened \(connection refused\)"),
        (
            lambda: "rtsp://camera.invalid/stream",
            r"\(there is no host camera.invalid\); check the host's name",
        ),
        (lambda: answering("401 Unauthorized"), r"right name and password\); write them into the address"),
        (lambda: answering("404 Not Found"), r"\(there is no such stream\); check the path"),
        (lambda: "rtsp://[::1/stream", r"IN is no address; check its host"),
        (lambda: "nosuch://127.0.0.1/stream", r"nosuch://127.0.0.1/stream is not a video"),
    ],
)
def test_what_cannot_be_opened_is_said_in_a_sentence_and_leaves_nothing(
    url: Callable[[], str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["file", url(), str(tmp_path / "out.mp4"), "--quiet"]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert re.search(said, lines[0])
    assert not list(tmp_path.iterdir())
