"""Videos whose frames stay on the GPU from the decoder to the encoder; stand-ins do their work."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
import pytest

from stream import cli, on_device, retoucher
from stream.demo import write_clip
from stream.on_device import FRAMES
from stream.source import VideoSource
from tests.stream.fakes import FakeFinder, face_at
from tests.stream.host_board import FakeDeviceEngine, OnGpu
from tests.stream.in_place import retouched_in_place
from tests.stream.media import Clip, FakeRetoucher, make_video, packets_of, planes_of, times_of
from tests.stream.nvidia import CudaFrame, Nvidia

ON_GPU = ("--decoder", "cuda", "--encoder", "nvenc")
STAYED = "frames stayed on the GPU from its decoder to its encoder"
AT_ONCE = ["crop", "step", "upload", "guard", "paste", "reached"]


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Nvidia:
    monkeypatch.setattr(retoucher, "FaceModels", lambda: FakeFinder(face_at(32, 24, 0.09)))
    return Nvidia(monkeypatch)


def run(patch: pytest.MonkeyPatch, engine: Any, source: Path, out: Path, *words: str) -> int:
    patch.setattr(cli, "load_engine", lambda *_: engine)
    return cli.main(["file", str(source), str(out), *words])


def by_cpu(patch: pytest.MonkeyPatch, source: Path, out: Path) -> Path:
    """The file as the CPU writes it, without loss."""
    assert run(patch, FakeDeviceEngine(), source, out, "--lossless") == 0
    return out


def apart(one: Path, other: Path) -> list[np.ndarray]:
    """How far each plane of each frame is from the other file's."""
    frames = zip(planes_of(one), planes_of(other), strict=True)
    return [
        np.abs(a.astype(int) - b) for planes, others in frames for a, b in zip(planes, others, strict=True)
    ]


@pytest.mark.parametrize(
    "clip",
    [
        Clip(),
        Clip(tags=(6, 1, 6, 6)),
        Clip(tags=(1, 2, 1, 1)),
        Clip(audio="aac", times=[0, 3000, 9000, 10000]),
    ],
    ids=["BT.709", "BT.601", "full range", "sound and uneven times"],
)
def test_a_frame_stays_where_it_was_decoded_and_is_retouched_there(
    card: Nvidia,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    clip: Clip,
) -> None:
    source, engine = make_video(tmp_path / "in.mp4", replace(clip, frames=4)), OnGpu()
    wanted = by_cpu(monkeypatch, source, tmp_path / "cpu.mp4")
    card.opened.clear()
    out = tmp_path / "gpu.mp4"
    assert STAYED not in "".join(capsys.readouterr())
    assert run(monkeypatch, engine, source, out, *ON_GPU) == 0
    assert "".join(capsys.readouterr()).count(STAYED) == 1
    # The encoder is tried with the GPU's memory, and opened with it.
    assert card.opened == ["stay", "nv12", (("cuda",), {"primary_ctx": "1"})]
    assert card.encoded == card.decoded and len(card.encoded) == 4
    assert all(isinstance(frame, CudaFrame) for frame in card.encoded)
    # No frame went there or came back but those of the check before.
    assert engine.board is not None
    log = [name for name in engine.board.log if name != "spoil"]
    assert log[-4 * len(AT_ONCE) :] == AT_ONCE * 4
    assert log.count("download") == 2 * FRAMES
    # Work is put off until it is waited for: each frame was retouched when the encoder had it.
    changes = apart(out, source)
    assert min(change.max() for change in changes[::3]) >= 5
    # The face is cropped from Y, U and V, which is a level off here and there before the network sees it.
    assert max(level.max() for level in apart(out, wanted)) <= 1
    assert np.mean([np.mean(level > 0) for level in apart(out, wanted)]) < 0.05
    for change in changes:
        assert not change[-16:].any() and not change[:, -16:].any()
    assert times_of(out) == times_of(wanted) == times_of(source)
    if clip.audio is not None:
        assert packets_of(out, "audio") == packets_of(source, "audio")
    assert tags_of(out) == tags_of(wanted)


def tags_of(path: Path) -> tuple[Any, ...]:
    with av.open(str(path)) as container:
        context: Any = container.streams.video[0].codec_context
        return context.colorspace, context.color_range, context.color_primaries, context.color_trc


def test_a_frame_of_another_size_goes_through_the_host(
    card: Nvidia, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The encoder is then given a frame of the host's memory, which PyAV sends there."""
    source, engine, real = make_video(tmp_path / "in.mp4"), OnGpu(), VideoSource._frames_of
    number = iter(range(100))

    def resized(self: VideoSource, packet: Any) -> Any:
        for native in real(self, packet):
            if next(number) != 5:
                yield native
                continue
            small = native.held.reformat(64, 48, "nv12")
            small.pts, small.time_base, small.duration = native.pts, native.time_base, native.duration
            yield CudaFrame(small)

    monkeypatch.setattr(VideoSource, "_frames_of", resized)
    out = tmp_path / "out.mp4"
    assert run(monkeypatch, engine, source, out, *ON_GPU) == 0
    assert [type(frame) for frame in card.encoded].count(av.VideoFrame) == 1
    given = card.encoded[5]
    assert (given.width, given.height, given.format.name) == (96, 64, "yuv420p")
    assert times_of(out) == times_of(source)
    changes = [
        np.abs(a[0].astype(int) - b[0]) for a, b in zip(planes_of(out), planes_of(source), strict=True)
    ]
    assert min(change.max() for change in changes) >= 5


def test_a_frame_that_cannot_be_copied_to_the_host_names_the_way_out(
    card: Nvidia, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, number, real = make_video(tmp_path / "in.mp4"), iter(range(100)), CudaFrame.reformat

    def reformat(self: CudaFrame, **asked: Any) -> Any:
        if next(number) == 4:
            raise av.error.ExternalError(-542398533, "Generic error in an external library", None)
        return real(self, **asked)

    monkeypatch.setattr(CudaFrame, "reformat", reformat)
    assert run(monkeypatch, OnGpu(), source, tmp_path / "out.mp4", *ON_GPU) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.endswith("(generic error in an external library); leave out --decoder cuda")
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize(
    ("clip", "words"),
    [
        (Clip(rotation=90), ()),
        (Clip(65, 49, codec="ffv1", options={}), ()),
        (Clip(), ("--compare", "side")),
        (Clip(), ("--compare", "map")),
        (Clip(), ("--keep", "lines")),
    ],
    ids=["turned", "odd", "side by side", "map", "lines"],
)
def test_what_does_not_fit_goes_as_ever(
    card: Nvidia, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clip: Clip, words: Sequence[str]
) -> None:
    source = make_video(tmp_path / "in.mkv", clip)
    outs = []
    for name, left_there in (("stay", True), ("come", False)):
        outs.append(tmp_path / f"{name}.mkv")
        if not left_there:
            monkeypatch.setattr(VideoSource, "stays_on_gpu", False)
        assert run(monkeypatch, OnGpu(), source, outs[-1], *ON_GPU, *words) == 0
    assert not any(isinstance(frame, CudaFrame) for frame in card.encoded)
    assert "nv12" not in card.opened and None in card.opened
    assert max(level.max() for level in apart(*outs)) == 0


def test_a_video_of_which_one_codec_is_the_cpu_s_goes_as_ever(
    card: Nvidia, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, engine = make_video(tmp_path / "in.mp4"), OnGpu()
    assert run(monkeypatch, engine, source, tmp_path / "a.mp4", *ON_GPU[:2]) == 0
    assert card.opened == ["come"]
    assert run(monkeypatch, engine, source, tmp_path / "b.mp4", *ON_GPU[2:]) == 0
    assert card.opened == ["come", "yuv420p", None]
    assert not any(isinstance(frame, CudaFrame) for frame in card.encoded)


def test_a_retoucher_of_the_cpu_is_given_frames_of_the_host(card: Nvidia, tmp_path: Path) -> None:
    source, out = make_video(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    assert cli.main(["file", str(source), str(out), "--quiet", *ON_GPU], FakeRetoucher) == 0
    assert card.opened == ["stay", "yuv420p", None]
    assert {type(frame) for frame in card.encoded} == {av.VideoFrame}


def test_an_encoder_that_takes_no_frames_of_the_gpu_is_given_those_of_the_host(
    card: Nvidia, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, card.no_memory = make_video(tmp_path / "in.mp4"), True
    wanted, out = by_cpu(monkeypatch, source, tmp_path / "cpu.mp4"), tmp_path / "out.mp4"
    card.opened.clear()
    assert run(monkeypatch, OnGpu(), source, out, *ON_GPU) == 0
    assert card.opened == ["stay", "nv12", "yuv420p", None]
    assert max(level.max() for level in apart(out, wanted)) <= 1


def test_frames_that_would_come_out_otherwise_on_the_gpu_go_through_the_host(
    card: Nvidia, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = on_device.retouched_nv12
    monkeypatch.setattr(on_device, "retouched_nv12", lambda *given: real(*given) ^ 4)
    source, engine, out = make_video(tmp_path / "in.mp4"), OnGpu(), tmp_path / "out.mp4"
    assert run(monkeypatch, engine, source, out, *ON_GPU) == 0
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert said == [
        "engine torch-cuda: frames decoded on the GPU go through the host's memory: they come back 5 levels "
        "apart from the CPU's"
    ]
    assert not any(isinstance(frame, CudaFrame) for frame in card.encoded)
    assert engine.board is not None and engine.board.log[-1] == "download"


def test_an_encoder_that_fails_on_the_way_leaves_nothing_behind(
    card: Nvidia, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = make_video(tmp_path / "in.mp4")

    def before(number: int) -> None:
        if number == 3:
            raise av.error.ExternalError(-542398533, "Generic error in an external library", None)

    card.before = before
    assert run(monkeypatch, OnGpu(), source, tmp_path / "out.mp4", *ON_GPU) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("vretouch: ") and "after 3 frames" in said
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.gpu
def test_this_gpu_s_file_is_the_cpu_s(tmp_path: Path, record_property: Any) -> None:
    """In processes of their own: FFmpeg has to come before CuPy and torch."""
    source, outs = tmp_path / "in.mp4", {}
    write_clip(source, 30)
    for name, codecs in (("gpu", ON_GPU), ("cpu", ())):
        outs[name] = tmp_path / f"{name}.mp4"
        words = ["file", str(source), str(outs[name]), "--engine", "torch-cuda", "--lossless", *codecs]
        command = [sys.executable, "-m", "stream", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if "there is no NVIDIA GPU that encodes" in done.stderr:
            pytest.skip(f"this GPU has no encoder: {done.stderr}")
        assert done.returncode == 0, done.stderr
        assert (STAYED in done.stdout + done.stderr) == (name == "gpu")
    levels = apart(outs["gpu"], outs["cpu"])
    record_property("levels", max(int(level.max()) for level in levels))
    record_property("share", f"{np.mean([np.mean(level > 0) for level in levels]):.2%}")
    assert max(level.max() for level in levels) <= 3
    assert np.mean([level.mean() for level in levels]) < 0.05
    assert max(change.max() for change in apart(outs["gpu"], source)) >= 5


def test_frames_decoded_there_are_retouched_there(card: Nvidia, tmp_path: Path) -> None:
    """Of what the GPU's own test makes."""
    apart_by, changed_by = retouched_in_place(make_video(tmp_path / "in.mp4"), OnGpu)
    assert apart_by <= 1.0 and changed_by >= 5
    assert card.opened == ["stay"]


@pytest.mark.gpu
def test_this_gpu_s_decoder_is_enough(tmp_path: Path, record_property: Any) -> None:
    """Data centres' cards decode and have no encoder. In a process of its own, as above."""
    write_clip(tmp_path / "in.mp4", 30)
    command = [sys.executable, "-m", "tests.stream.in_place", str(tmp_path / "in.mp4")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    apart_by, changed_by = (float(word) for word in done.stdout.split())
    record_property("levels", apart_by)
    assert apart_by <= 3.0
    assert changed_by >= 5
