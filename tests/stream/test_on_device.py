"""stream.on_device: frames stay on the GPU where they come back as from the host; else it is said why not."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream import cli, on_device, retoucher
from stream.device import DeviceRetoucher
from stream.engine import Engine
from stream.keep import FRECKLES, LINES, MOLES
from stream.on_device import FRAMES, agreement, agreement_in_place, device_retoucher
from stream.retoucher import Retoucher
from tests.conftest import require
from tests.stream.fakes import FakeEngine, FakeFinder, face_at
from tests.stream.host_board import FakeDeviceEngine, FakeDeviceState, HostBoard, OnGpu
from tests.stream.media import make_video, planes_of


class Failing(OnGpu):
    def begin(self, state: FakeDeviceState, stream: int) -> None:
        raise RuntimeError("CUDA out of memory.\nTried to allocate 2 GiB")


class Flat(OnGpu):
    """It changes nothing, here and there."""

    def _seen(self, face_rgb_u8: np.ndarray, state: Any) -> tuple[np.ndarray, ...]:
        residual, seen, kept = super()._seen(face_rgb_u8, state)
        return np.zeros_like(residual), seen, kept


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "vretouch.engine")
    return caplog


@pytest.fixture(autouse=True)
def no_face_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retoucher, "FaceModels", lambda: FakeFinder(face_at(32, 24, 0.09)))


def test_frames_stay_on_the_gpu_where_they_come_back_as_from_the_host(said: pytest.LogCaptureFixture) -> None:
    engine = OnGpu()
    with device_retoucher(engine, 0.5, 2, keep=(MOLES, FRECKLES)) as r:  # type: ignore[union-attr]
        assert isinstance(r, DeviceRetoucher)
        assert (r.strength, r.keep, r.engine, r._board) == (0.5, {MOLES, FRECKLES}, engine, engine.board)
        assert r._tracker._max_faces == 2
    (record,) = said.records
    assert record.levelno == logging.INFO
    words = record.getMessage()
    assert words.startswith("engine torch-cuda: frames of up to 8192 pixels a side stay on the GPU; over 6 ")
    assert "frames 0.0% of what is retouched came back a level from the CPU's" in words


def test_all_frames_are_under_way_at_once_while_they_are_compared() -> None:
    engine = OnGpu()
    assert engine.board is not None
    found = agreement(engine, engine.board)
    assert (found.levels, found.objection) == (1, "")
    assert found.changed_levels >= 10
    log = [name for name in engine.board.log if name != "spoil"]
    assert log[:FRAMES] == ["upload"] * FRAMES
    assert log[FRAMES:] == ["crop", "step", "upload", "guard", "paste", "download"] * FRAMES


def test_frames_that_lie_there_are_compared_in_their_own_samples() -> None:
    engine = OnGpu()
    assert engine.board is not None
    found = agreement_in_place(engine, engine.board)
    assert (found.levels, found.objection) == (1, "")
    assert found.changed_levels >= 10
    log = [name for name in engine.board.log if name != "spoil"]
    assert log == [
        *["upload"] * FRAMES,
        *["crop", "step", "upload", "guard", "paste", "reached"] * FRAMES,
        *["download"] * FRAMES,
    ]
    spoilt = OnGpu(3.0)
    assert spoilt.board is not None
    assert "levels apart from the CPU's" in agreement_in_place(spoilt, spoilt.board).objection
    shifted = OnGpu(0.5)
    assert shifted.board is not None
    assert agreement_in_place(shifted, shifted.board).share > 0.3


def test_whether_frames_stay_that_are_decoded_there_is_looked_at_where_it_is_asked(
    said: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stays(**asked: bool) -> bool:
        with device_retoucher(OnGpu(), **asked) as r:  # type: ignore[union-attr,arg-type]
            return r.fits((1080, 1920))

    assert stays(decoded_there=True)
    assert not stays()
    assert [record.levelno for record in said.records] == [logging.INFO] * 2

    def failing(*_: Any) -> Any:
        raise RuntimeError("CUDA out of memory.\nTried to allocate 2 GiB")

    monkeypatch.setattr(on_device, "agreement_in_place", failing)
    assert not stays(decoded_there=True)
    assert [record.levelno for record in said.records[2:]] == [logging.INFO, logging.WARNING]
    assert said.records[-1].getMessage() == (
        "engine torch-cuda: frames decoded on the GPU go through the host's memory: "
        "the first ones on the GPU failed (CUDA out of memory.)"
    )


@pytest.mark.parametrize(
    ("engine", "reason"),
    [
        (lambda: OnGpu(3.0), "they come back 4 levels apart from the CPU's"),
        (lambda: OnGpu(float("nan")), "levels apart from the CPU's"),
        (lambda: OnGpu(0.5), "% of what is retouched is a level apart from the CPU's"),
        (Flat, "the weights change spotted skin by 0 levels only"),
        (Failing, "the first ones on the GPU failed (CUDA out of memory.)"),
    ],
    ids=["other", "nan", "shifted", "flat", "failing"],
)
def test_what_comes_back_as_something_else_is_said_in_one_line(
    engine: Any, reason: str, said: pytest.LogCaptureFixture
) -> None:
    assert device_retoucher(engine()) is None
    (record,) = said.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith("engine torch-cuda: frames go through the CPU: ")
    assert reason in record.getMessage()
    assert "\n" not in record.getMessage()


def test_a_gpu_without_cupy_is_said(said: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.delitem(sys.modules, "stream.kernels.cupy_", raising=False)
    engine = OnGpu()
    engine.board = None
    assert device_retoucher(engine) is None
    (record,) = said.records
    assert record.levelno == logging.WARNING
    assert "frames go through the CPU: frames on a GPU need CuPy" in record.getMessage()
    assert "pip install vretouch[gpu]" in record.getMessage()


@pytest.mark.parametrize("asked", [{"keep": (LINES,)}, {"also": ()}])
def test_what_the_kernels_do_not_do_is_left_to_the_host_and_said(
    asked: dict[str, tuple[str, ...]], said: pytest.LogCaptureFixture
) -> None:
    engine = OnGpu()
    assert device_retoucher(engine, **asked) is None  # type: ignore[arg-type]
    (record,) = said.records
    assert record.levelno == logging.INFO
    assert (
        "frames go through the CPU, which alone does --also and --keep lines,texture" in record.getMessage()
    )
    assert engine.board is not None and engine.board.log == []


def test_an_engine_of_the_cpu_is_passed_over_without_a_word(said: pytest.LogCaptureFixture) -> None:
    engine = FakeDeviceEngine(HostBoard())
    engine.name = "torch-cpu"  # it steps between buffers too, but here
    assert device_retoucher(engine) is None
    earlier = FakeEngine()
    earlier.name = "bpfre torch-cuda"
    assert device_retoucher(earlier) is None
    earlier.name = "torch-cuda"
    assert device_retoucher(earlier) is None
    assert said.records == []


def made(monkeypatch: pytest.MonkeyPatch, engine: Engine, *words: str) -> Any:
    monkeypatch.setattr(cli, "load_engine", lambda *_: engine)
    return cli.make_retoucher_of(cli.parser().parse_args(list(words)))()


@pytest.mark.parametrize(
    ("words", "stays"),
    [
        (["--decoder", "cuda", "--encoder", "nvenc"], True),
        (["--decoder", "cuda", "--encoder", "nvenc", "--compare", "side"], False),
        (["--decoder", "cuda"], False),
        (["--encoder", "nvenc"], False),
    ],
    ids=lambda part: "-".join(part) if isinstance(part, list) else "",
)
def test_the_command_line_asks_it_of_videos_that_both_codecs_do_there(
    words: list[str], stays: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with made(monkeypatch, OnGpu(), "file", "in.mp4", "out.mp4", *words) as r:
        assert r.fits((1080, 1920)) == stays


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (["file", "in.mp4", "out.mp4"], DeviceRetoucher),
        (["file", "in.png", "out.png", "--compare", "split"], DeviceRetoucher),
        (["file", "in.mp4", "out.mp4", "--compare", "map"], Retoucher),
        (["demo"], Retoucher),
    ],
    ids=lambda part: "-".join(part) if isinstance(part, list) else "",
)
def test_the_command_line_takes_it_unless_maps_are_shown(
    words: list[str], kind: type[Retoucher], monkeypatch: pytest.MonkeyPatch
) -> None:
    with made(monkeypatch, OnGpu(), *words, "--strength", "0.5", "--keep", "none") as r:
        assert type(r) is kind
        assert (r.strength, r.keep) == (0.5, frozenset())


def test_the_command_line_goes_on_with_the_host_where_the_check_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with made(monkeypatch, Failing(), "file", "in.mp4", "out.mp4") as r:
        assert type(r) is Retoucher


def test_a_file_whose_frames_stay_on_the_gpu_is_the_host_s_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: pytest.LogCaptureFixture
) -> None:
    """Decoded, stepped and encoded in threads of their own."""
    source, outs = make_video(tmp_path / "in.mp4"), {}
    for name, engine in (("gpu", OnGpu()), ("cpu", FakeDeviceEngine())):
        monkeypatch.setattr(cli, "load_engine", lambda *_, engine=engine: engine)
        out = tmp_path / f"{name}.mkv"
        assert cli.main(["file", str(source), str(out), "--lossless", "--quiet"]) == 0
        outs[name] = planes_of(out)
        if engine.board is not None:
            assert engine.board.log.count("download") == FRAMES + len(outs[name])
    raw = planes_of(source)
    assert len(outs["gpu"]) == len(outs["cpu"]) == len(raw) > 0
    for one, other, before in zip(outs["gpu"], outs["cpu"], raw, strict=True):
        for got, wanted in zip(one, other, strict=True):
            assert np.abs(got.astype(int) - wanted).max() <= 1
        assert np.abs(one[0].astype(int) - before[0]).max() >= 5
    assert [record.levelno for record in said.records] == [logging.INFO]


def test_the_torch_engine_s_own_network_agrees() -> None:
    """Float32 on this CPU."""
    require("torch")
    from stream.engines.torch_ import TorchEngine

    engine = TorchEngine("live", 1)
    found = agreement(engine, HostBoard(at_once=True))
    assert found.objection == ""
    assert found.share < 0.002
    found = agreement_in_place(engine, HostBoard(at_once=True))
    assert found.objection == ""
    assert found.share < 0.12


@pytest.mark.gpu
def test_frames_of_this_gpu_agree(record_property: Any) -> None:
    from stream.engine import DeviceEngine, load_engine
    from stream.kernels.cupy_ import CupyBoard

    engine = load_engine("torch-cuda")
    assert isinstance(engine, DeviceEngine)
    for name, measure in (("", agreement), ("in place: ", agreement_in_place)):
        found = measure(engine, CupyBoard())
        record_property(f"{name}levels", found.levels)
        record_property(f"{name}share", f"{found.share:.2%}")
        assert found.objection == ""
