"""The recorder by itself: times, sound that changes, lossless colours, what cannot be recorded."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from stream.broadcast import recorder as recorder_module
from stream.broadcast.recorder import (
    HELD_PICTURES,
    INDEX_BYTES,
    ROOM_BYTES,
    Recorder,
    Recording,
    RecordingSink,
    recording_lines,
)
from stream.broadcast.sender import Shown
from stream.cli import main
from stream.output import OutputError
from tests.stream.broadcast.camera import until

COLOUR = (200, 60, 40)
# Of a machine that has been up for days.
NOW_S = 4e6


def picture(width: int = 320, height: int = 240) -> np.ndarray:
    return np.full((height, width, 3), COLOUR, np.uint8)


def put(recorder: Recorder, at_s: float, shown: np.ndarray | None = None) -> None:
    """A picture, waited for until it is written or left out."""
    recorder.pictures.put(Shown(picture() if shown is None else shown, NOW_S + at_s))
    until(lambda: recorder.pictures._item is None, "it is not taken")
    time.sleep(0.02)


def heard(level: float, rate: int, layout: str = "stereo", samples: int = 960) -> Any:
    channels = 1 if layout == "mono" else 2
    frame = av.AudioFrame.from_ndarray(np.full((channels, samples), level, np.float32), "fltp", layout)
    frame.sample_rate = rate
    return frame


def times_of(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        return [float(frame.time) for frame in container.decode(video=0)]


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.webm", "out.mov"])
def test_every_picture_stands_at_its_own_time_in_every_container(name: str, tmp_path: Path) -> None:
    recorder = Recorder(Recording(str(tmp_path / name)), lambda: False)
    # An hour's gap, and one that does not come after the one before it.
    for at_s in (0.0, 0.04, 0.1, 0.1, 3600.1, 3600.13):
        put(recorder, at_s)
    recorder.finish()
    assert recorder.error is None
    assert times_of(tmp_path / name) == pytest.approx([0.0, 0.04, 0.1, 3600.1, 3600.13], abs=0.002)
    assert recorder.frames == 5
    assert recorder.seconds == pytest.approx(3600.13)


def test_sound_that_shakes_is_even_and_sound_that_changes_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "out.nut"
    recorder = Recorder(Recording(str(out), "nut"), lambda: True)
    rng = np.random.default_rng(0)
    put(recorder, 0.0)
    recorder.sound(heard(0.9, 48_000), NOW_S - 0.5)
    for index in range(50):
        recorder.sound(heard(0.5, 48_000), NOW_S + 0.02 * index + rng.uniform(-0.003, 0.003) * (index > 0))
    for index in range(50):
        recorder.sound(heard(0.25, 32_000, "mono", 640), NOW_S + 3.0 + 0.02 * index)
    put(recorder, 4.0)
    recorder.finish()
    assert recorder.error is None
    with av.open(str(out)) as container:
        frames = list(container.decode(audio=0))
    at = np.concatenate([float(f.time) + np.arange(f.samples) / f.sample_rate for f in frames])
    wave = np.concatenate([f.to_ndarray().reshape(-1, 2)[:, 0] for f in frames]) / 32768.0
    # Whole seconds of it, without a seam but for the gap.
    ends = np.array([float(f.time) + f.samples / f.sample_rate for f in frames[:-1]])
    seams = np.array([float(f.time) for f in frames[1:]]) - ends
    assert np.sort(np.abs(seams))[-2] < 0.001
    assert seams.max() == pytest.approx(2.0, abs=0.01)
    assert wave[at < 1.0] == pytest.approx(0.5, abs=0.001)
    assert wave[(at > 3.01) & (at < 3.98)] == pytest.approx(0.25, abs=0.1)


def slow(index: int) -> float:
    return 0.99 * 0.02 * index


def back(index: int) -> float:
    return 0.02 * index - 0.3 * (index >= 200)


@pytest.mark.parametrize("stamped_s", [slow, back])
@pytest.mark.parametrize("name", ["out.mp4", "out.mkv"])
def test_sound_whose_times_fall_behind_its_samples_stays_near_them(
    stamped_s: Callable[[int], float], name: str, tmp_path: Path
) -> None:
    out = tmp_path / name
    recorder = Recorder(Recording(str(out), size=(32, 32)), lambda: True)
    put(recorder, 0.0)
    for index in range(600):
        recorder.sound(heard(0.0 if index < 500 else 0.5, 48_000), NOW_S + stamped_s(index))
    put(recorder, 12.0)
    recorder.finish()
    assert recorder.error is None
    with av.open(str(out)) as container:
        frames = list(container.decode(audio=0))
    times = np.array([float(frame.time) for frame in frames])
    assert np.diff(times).min() > 0.0
    loud = [
        float(f.time) for f in frames if np.abs(f.to_ndarray()).max() > 0.1 * (32768 if "nut" in name else 1)
    ]
    assert loud[0] == pytest.approx(stamped_s(500), abs=0.08)
    assert times[-1] == pytest.approx(stamped_s(600), abs=0.1)


def test_lossless_is_without_loss(tmp_path: Path) -> None:
    out = tmp_path / "out.mkv"
    recorder = Recorder(Recording(str(out), lossless=True, size=(160, 120)), lambda: False)
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (120, 160, 3), dtype=np.uint8)
    put(recorder, 0.0, noise)
    recorder.finish()
    with av.open(str(out)) as container:
        assert np.array_equal(next(container.decode(video=0)).to_ndarray(format="rgb24"), noise)


def test_odd_sides_are_made_even_and_sound_that_comes_late_is_said(tmp_path: Path) -> None:
    out, said = tmp_path / "out.mp4", list[str]()
    recorder = Recorder(Recording(str(out)), lambda: False, said.append)
    put(recorder, 0.0, picture(321, 241))
    recorder.sound(heard(0.5, 48_000), NOW_S)
    recorder.sound(heard(0.5, 48_000), NOW_S + 0.02)
    put(recorder, 0.1, picture(321, 241))
    recorder.finish()
    assert recorder.error is None
    with av.open(str(out)) as container:
        assert not container.streams.audio
        seen = next(container.decode(video=0))
    assert (seen.width, seen.height) == (320, 240)
    shown = seen.to_ndarray(format="rgb24", src_colorspace="ITU709", src_color_range="MPEG")
    assert np.abs(shown.reshape(-1, 3).mean(axis=0) - COLOUR).max() < 3.0
    assert said == ["the source has sound now, which the recording began without; it is left out"]


def fails(*_: object) -> None:
    raise OutputError("out.mp4 cannot be written")


@pytest.mark.parametrize("method", ["write", "sound"])
def test_a_write_that_fails_ends_the_recording_whole_and_is_why(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.mp4"
    recorder = Recorder(Recording(str(out)), lambda: True)
    for index in range(10):
        put(recorder, 0.1 * index)
    monkeypatch.setattr(RecordingSink, method, fails)
    recorder.sound(heard(0.5, 48_000), NOW_S)
    put(recorder, 1.0)
    recorder.finish()
    assert isinstance(recorder.error, OutputError)
    assert recorder.kept == str(out)
    assert len(times_of(out)) == recorder.frames >= 10
    assert list(tmp_path.iterdir()) == [out]


def test_a_first_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RecordingSink, "write", fails)
    recorder = Recorder(Recording(str(tmp_path / "out.mp4")), lambda: False)
    put(recorder, 0.0)
    recorder.finish()
    assert isinstance(recorder.error, OutputError)
    assert recorder.kept is None
    assert not list(tmp_path.iterdir())


def test_an_end_that_fails_too_leaves_nothing_and_the_first_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(Recording(str(tmp_path / "out.mp4")), lambda: False)
    put(recorder, 0.0)
    monkeypatch.setattr(RecordingSink, "write", fails)

    def refuses(*_: object) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr(RecordingSink, "_mux_video", refuses)
    put(recorder, 0.1)
    recorder.finish()
    assert str(recorder.error) == "out.mp4 cannot be written"
    assert recorder.kept is None
    assert not list(tmp_path.iterdir())


def test_two_recordings_under_one_name_are_both_kept(tmp_path: Path) -> None:
    out, said = tmp_path / "out.mp4", list[str]()
    recorders = [Recorder(Recording(str(out)), lambda: False, said.append) for _ in range(2)]
    for recorder, pictures in zip(recorders, (2, 3), strict=True):
        for index in range(pictures):
            put(recorder, 0.1 * index)
    for recorder in recorders:
        recorder.finish()
        assert recorder.error is None
    assert len(times_of(out)) == 2
    assert len(times_of(tmp_path / "out-2.mp4")) == 3
    assert len(list(tmp_path.iterdir())) == 2
    assert said == [f"{out} appeared while it was being recorded; the recording is {tmp_path / 'out-2.mp4'}"]
    assert recording_lines(recorders[1], str(out))[0].startswith(f"{tmp_path / 'out-2.mp4'}: 3 pictures")


def test_a_disk_that_fills_fast_ends_the_recording_before_it_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def usage(_: object) -> Any:
        return type("Usage", (), {"free": 1_000_000_000 - 200_000_000 * recorder.frames})

    monkeypatch.setattr(recorder_module.shutil, "disk_usage", usage)
    recorder = Recorder(Recording(str(tmp_path / "out.mp4")), lambda: False)
    for index in range(10):
        put(recorder, 0.03 * index)
    recorder.finish()
    assert recorder.full
    assert recorder.frames == len(times_of(tmp_path / "out.mp4")) == 5


def test_room_is_kept_for_what_the_encoder_holds_back_and_for_the_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = ROOM_BYTES + HELD_PICTURES * 3 * 320 * 240 + 3 * INDEX_BYTES
    monkeypatch.setattr(recorder_module.shutil, "disk_usage", lambda _: type("Usage", (), {"free": free}))
    recorder = Recorder(Recording(str(tmp_path / "out.mp4")), lambda: False)
    for index in range(6):
        put(recorder, 0.03 * index)
    recorder.finish()
    assert recorder.full
    assert recorder.frames == 4


def test_no_picture_no_file(tmp_path: Path) -> None:
    recorder = Recorder(Recording(str(tmp_path / "out.mp4")), lambda: True)
    recorder.sound(heard(0.5, 48_000), NOW_S)
    recorder.finish()
    assert recorder.error is None
    assert not list(tmp_path.iterdir())


LIVE = "rtsp://127.0.0.1:9/stream"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([LIVE, "out.png"], "a live stream is no image; name a video in place of out.png"),
        ([LIVE, "out.txt"], "out.txt ends in .txt"),
        ([LIVE, "out.mp4", "--compare", "side"], "side is for files"),
        ([LIVE, "out.mp4", "--start", "3"], "--start is for files, and IN is a live address"),
        ([LIVE, "out.mp4", "--pix-fmt", "nv12"], "--pix-fmt is for files, and IN is a live address"),
        ([LIVE, "out.mp4", "--format", "rawvideo"], "rawvideo holds no times"),
        ([LIVE, "out.mp4", "--duration", "0"], "--duration 0 leaves nothing"),
        ([LIVE, "rtmp://127.0.0.1:9/a/b", "--force"], "--force is for files, and OUT is a live address"),
        ([LIVE, "there.mp4"], "there.mp4 is there already; add --force"),
        (["in.mp4", "rtmp://127.0.0.1:9/a/b.png", "--compare", "side"], "side is for files"),
        (["in.mp4", "out.mp4", "--give-up", "3"], "--give-up is for a live IN"),
        (["in.mp4", "out.mp4", "--wait", "3"], "--wait is for a live IN or OUT"),
        (["in.mp4", "rtmp://0.0.0.0/a/b?listen=1"], "rtmp cannot wait for who watches; name a server, or"),
        (["in.mp4", "rtmp://127.0.0.1:9/a/b", "--give-up", "3"], "--give-up is for a live IN"),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_is_loaded(
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("stream.cli.load_engine", None)
    (tmp_path / "there.mp4").write_bytes(b"mine")
    assert main(["file", *words]) == 2
    assert said in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["there.mp4"]
    assert (tmp_path / "there.mp4").read_bytes() == b"mine"


def test_standard_output_takes_a_recording_too(tmp_path: Path) -> None:
    program = (
        "import numpy as np\n"
        "from stream.broadcast.recorder import Recorder, Recording\n"
        "from tests.stream.broadcast.test_recorder import heard, put, NOW_S\n"
        "recorder = Recorder(Recording('-'), lambda: True)\n"
        "for index in range(10):\n"
        "    put(recorder, 0.1 * index)\n"
        "    recorder.sound(heard(0.5, 48_000, samples=4800), NOW_S + 0.1 * index)\n"
        "put(recorder, 1.0)\n"
        "recorder.finish()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    piped = tmp_path / "piped.nut"
    piped.write_bytes(done.stdout)
    assert times_of(piped) == pytest.approx([0.1 * index for index in range(11)], abs=0.002)
    with av.open(str(piped)) as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) >= 0.9 * 48_000
