"""The frame on a GPU as a pipeline, with the kernels' own sources on this machine's CPU."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import pytest

from stream.device import DeviceRetoucher, GuardedFace
from stream.errors import EngineError
from stream.retoucher import Retoucher
from tests.conftest import require
from tests.stream.fakes import FakeEngine, FakeFinder, face_at, noise_frame
from tests.stream.host_board import FakeDeviceEngine, HostBoard

torch = require("torch")

from bench import networks, pipeline, sweep  # noqa: E402
from bench.device import Cpu, Stopwatch  # noqa: E402
from bench.frame_on_device import DevicePipeline  # noqa: E402
from bench.project import Roof, Work  # noqa: E402
from bench.swept import Swept  # noqa: E402
from tests.bench.scripted import ScriptedDevice  # noqa: E402


def shots_with(faces: int) -> list[pipeline.Shot]:
    finder = FakeFinder(*(face_at(x, 180, 0.3) for x in (200, 450)[:faces]))
    with Retoucher(engine=FakeEngine(), finder=finder, max_faces=faces) as retoucher:
        return pipeline.shots_of(noise_frame(90, 160), (640, 360), faces, retoucher)


def test_the_stages_are_told_apart_and_the_frame_is_the_hosts_to_a_level() -> None:
    shots = shots_with(2)
    board, device = HostBoard(), ScriptedDevice()
    marks: list[str] = []
    streams: list[int | None] = []

    def mark(stage: str) -> None:
        marks.append(stage)
        streams.append(device.stream)

    on_device = DevicePipeline(FakeDeviceEngine(board), board, device, [Work(1e9, 1e6)], 2)
    with Retoucher(engine=FakeDeviceEngine(), finder=FakeFinder()) as retoucher:
        on_host = pipeline.HostPipeline(retoucher, [Work(1e9, 1e6)], "host_path")
        for shot in shots[:3]:
            marks.clear()
            got = on_device.frame(shot, mark)
            wanted = on_host.frame(shot, lambda _: None)
            assert np.abs(got.astype(int) - wanted).max() <= 1
    assert (got != shots[2].frame_u8).any()
    assert list(dict.fromkeys(marks)) == list(on_device.places)
    assert marks[:5] == ["upload", "crop", "step", "crop", "step"]
    assert marks[-1] == "download"
    assert set(streams) == {board.stream}
    assert device.stream is None
    assert board.log.count("step") == 6
    timed = pipeline.time_frames([on_device], device, shots, 4)[on_device.name]
    assert list(timed.stages) == list(on_device.places)
    works = on_device.works(shots[0])
    assert len(works["step"]) == len(works["crop"]) == len(works["paste"]) == 2
    assert works["paste"][0].bytes < on_host.works(shots[0])["paste"][0].bytes


def test_what_the_host_does_after_a_step_is_no_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    board, device, paste = HostBoard(), ScriptedDevice(), DeviceRetoucher._paste

    def slow(*arguments: Any) -> Any:
        device.work_ms(50)
        return paste(*arguments)

    monkeypatch.setattr(DeviceRetoucher, "_paste", slow)
    on_device = DevicePipeline(FakeDeviceEngine(board), board, device, [Work(1e9, 1e6)], 2)
    watch = Stopwatch(device)
    with watch.frame():
        on_device.frame(shots_with(1)[0], watch.mark)
    assert watch.stages()["step"].max == 1.0
    assert watch.stages()["paste"].min > 50.0


class FakeGpu(Cpu):
    """A GPU by its kind."""

    kind, group = "cuda", "consumer"

    def __init__(self) -> None:
        self.name = "GeForce"


def test_on_a_gpu_the_frame_stays_there_beside_the_way_through_the_host() -> None:
    swept = Swept(FakeGpu(), Roof(1.0, 1.0), "live", "torch-cuda", torch.float16)
    with Retoucher(engine=FakeDeviceEngine(HostBoard()), finder=FakeFinder()) as retoucher:
        ours = sweep.pipelines_of(swept, retoucher.engine, retoucher)
    assert [way.key for way in ours] == ["frame", "host_path"]
    assert swept.notes == []
    swept.device = Cpu(1)
    assert [way.key for way in sweep.pipelines_of(swept, retoucher.engine, retoucher)] == ["frame"]


def test_guards_are_made_where_faces_are_found_and_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    timed: list[pipeline.Shot] = []

    class TimedError(Exception):
        """Nothing more is needed."""

    def noting(pipelines: object, device: object, shots: list[pipeline.Shot], frames: int) -> None:
        timed.extend(shots)
        raise TimedError

    monkeypatch.setattr(sweep, "shots_of", lambda *_: shots_with(1))
    monkeypatch.setattr(sweep, "time_frames", noting)
    options = argparse.Namespace(no_rivals=True, frames=4, faces=[1])
    swept = Swept(FakeGpu(), Roof(1.0, 1.0), "live", "torch-cuda", torch.float16)
    with pytest.raises(TimedError):
        sweep._measure_frames(
            swept,
            FakeDeviceEngine(HostBoard()),
            networks.network_of("tiny"),
            noise_frame(90, 160),
            pipeline.Case("360p", 1),
            options,
        )
    assert len(timed) == pipeline.SHOTS
    assert all(isinstance(face, GuardedFace) for shot in timed for face in shot.located.faces)


def test_without_cupy_frames_stay_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(_: object) -> None:
        raise EngineError("frames on a GPU need CuPy")

    monkeypatch.setattr(sweep, "board_of", absent)
    swept = Swept(FakeGpu(), Roof(1.0, 1.0), "live", "torch-cuda", torch.float16)
    with Retoucher(engine=FakeDeviceEngine(), finder=FakeFinder()) as retoucher:
        ours = sweep.pipelines_of(swept, retoucher.engine, retoucher)
    assert [way.key for way in ours] == ["frame"]
    assert swept.notes == ["Frames stay on the host: frames on a GPU need CuPy."]


def test_an_engine_of_a_gpu_is_stepped_between_its_buffers() -> None:
    board = HostBoard()
    step = sweep.steps_of(FakeDeviceEngine(board))
    step()
    step()
    assert board.log == ["step", "step"]


def test_the_residual_is_as_wide_as_the_engine_gives_it() -> None:
    engine = FakeDeviceEngine(HostBoard())  # half floats, whatever is computed in
    swept = Swept(FakeGpu(), Roof(1.0, 1.0), "live", "torch-cuda", torch.float32)
    with Retoucher(engine=engine, finder=FakeFinder()) as retoucher:
        ours = sweep.pipelines_of(swept, engine, retoucher)
    shot = shots_with(1)[0]
    assert ours[0].works(shot)["paste"] == pipeline.paste_work(shot, 2)


def test_engines_compute_in_dtypes_of_their_own() -> None:
    gpu = FakeGpu()
    gpu.dtype = torch.float16
    assert networks.dtype_of("torch-cuda", gpu) == torch.float16
    assert networks.dtype_of("onnx-cuda", gpu) == torch.float32
    assert networks.dtype_of("onnx-tensorrt", gpu) == torch.float16
    assert networks.dtype_of("torch-cpu", Cpu(1)) == networks.dtype_of("onnx-cpu", Cpu(1)) == torch.float32


def test_a_gpu_has_engines_of_its_own() -> None:
    assert networks.engine_named("auto", FakeGpu()) == "torch-cuda"
    assert networks.engine_named("onnx-tensorrt", FakeGpu()) == "onnx-tensorrt"
    assert networks.engine_named("auto", Cpu(1)) == "onnx-cpu"
