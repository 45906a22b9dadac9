"""The parts of the bench of one device, each with what it measures scripted."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
import pytest

from bench import latency
from bench.clock import spread
from bench.project import TARGETS, Roof, Stage, Work
from stream import parity
from stream.retoucher import Retoucher
from tests.conftest import require
from tests.stream.fakes import FakeEngine, FakeFinder, face_at, noise_frame

torch = require("torch")

from bench import networks, pipeline, sweep  # noqa: E402
from bench.swept import Swept  # noqa: E402
from stream.engines.torch_ import TorchEngine  # noqa: E402
from tests.bench.scripted import ScriptedDevice  # noqa: E402

CASE = pipeline.Case("360p", 1)


def swept_on(device: ScriptedDevice, roof: Roof | None = None) -> Swept:
    return Swept(device, roof or Roof(1000.0, 100.0), "tiny", "onnx-cpu", torch.float32)


def options_of(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    latency.add_arguments(parser)
    return parser.parse_args(["--device", "cpu", "--preset", "tiny", *words])


def with_a_face(engine: FakeEngine, max_faces: int = 1) -> Retoucher:
    return Retoucher(engine=engine, finder=FakeFinder(face_at(320, 180, 0.3)), max_faces=max_faces)


class Way:
    """A pipeline of which the first frame after another's, and one of the first turns, take long."""

    def __init__(self, name: str, device: ScriptedDevice, order: list[str]) -> None:
        self.name = self.key = name
        self.places: dict[str, Any] = {"step": "device"}
        self._device, self._order = device, order

    def frame(self, shot: Any, mark: Callable[[str], None]) -> None:
        del shot
        begun = self._order.count(self.name) >= pipeline.UNTIMED_TURNS
        warm = begun and self._order[-1] == self.name
        self._order.append(self.name)
        self._device.work_ms(1 if warm else 50)
        mark("step")

    def works(self, shot: Any) -> Mapping[str, tuple[Work, ...]]:
        del shot
        return {}


def test_frames_are_timed_after_untimed_ones() -> None:
    device, order = ScriptedDevice(), list[str]()
    ways = [Way(name, device, order) for name in "ab"]
    shots: Any = ["one", "two"]
    timed = pipeline.time_frames(ways, device, shots, 2 * pipeline.FRAMES_PER_TURN)
    assert {name: t.stages["step"].count for name, t in timed.items()} == {"a": 8, "b": 8}
    assert {name: t.stages["step"].max for name, t in timed.items()} == {"a": 2.0, "b": 2.0}


def test_the_cost_of_delta_is_six_against_one_each_step_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    device, waited = ScriptedDevice(), list[int]()
    engines = {delta: FakeEngine() for delta in (1, 2, 6)}

    def turns(runs: Mapping[str, Callable[[], object]], *_: int, **__: int) -> dict[str, list[float]]:
        for run in runs.values():
            run()
            waited.append(device.waited)
        ms = {"delta 1": 2.0, "delta 2": 2.5, "delta 6": 3.0}
        return {name: [ms[name]] * sweep.STEPS_PER_ROUND for name in runs}

    monkeypatch.setattr(sweep, "take_turns", turns)
    swept = swept_on(device)
    sweep._measure_steps(swept, networks.network_of("tiny"), engines, 6)
    assert waited == [1, 2, 3]
    assert swept.figures["delta_cost"] == pytest.approx(1.5)
    assert swept.figures["step_p50_ms"] == 2.5


def test_the_rates_are_of_what_the_engine_computes_in(monkeypatch: pytest.MonkeyPatch) -> None:
    device = ScriptedDevice()
    device.dtype = torch.float16
    monkeypatch.setattr(sweep, "device_of", lambda *_: device)
    monkeypatch.setattr(sweep, "_engines", lambda *_: {2: FakeEngine()})
    monkeypatch.setattr(sweep, "_measure_steps", lambda swept, *_: swept.figures.update(step_p50_ms=1.0))
    for name in ("_measure_work", "_measure_precision"):
        monkeypatch.setattr(sweep, name, lambda *_: None)
    options = options_of("--engine", "onnx-cpu", "--threads", "1")
    options.resolution, options.faces = [], []
    swept = sweep.measure(options)
    assert swept.dtype == torch.float32
    assert device.roofs == [torch.float32, torch.float32]


def test_memory_of_the_device_is_told_of_every_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "UNTIMED_STEPS", 1)
    swept = swept_on(ScriptedDevice())
    sweep._first_frame(swept, FakeEngine)
    assert swept.figures["device_peak_mb"] == 5.0


def test_precision_is_the_engines_beside_single_against_the_clean_picture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared: list[Any] = []
    compare = sweep.precision.compare

    def watched(*given: Any) -> Any:
        compared.extend(given)
        return compare(FakeEngine(13.0), FakeEngine(10.0), given[2][:1], None)

    monkeypatch.setattr(sweep.precision, "compare", watched)
    monkeypatch.setattr(sweep, "Retoucher", with_a_face)
    raw = cv2.resize(noise_frame(9, 16), (160, 90))
    monkeypatch.setattr(sweep, "face_picture", lambda _: raw)
    monkeypatch.setattr(sweep, "enlarged", lambda: 255 - raw)
    engine, swept = FakeEngine(), swept_on(ScriptedDevice())
    sweep._measure_precision(swept, engine, networks.network_of("tiny"), 1)
    got, single, faces, targets = compared
    assert got is engine
    assert isinstance(single, TorchEngine)
    assert (single.device.type, single.dtype) == ("cpu", torch.float32)
    assert len(faces) == len(targets) == parity.FRAMES
    for face, target in zip(faces, targets, strict=True):
        assert face.std() > 1.0
        assert np.abs(target.astype(int) + face - 255).max() <= 2  # the clean picture in the same motion
    assert swept.figures["precision_levels"] == 3.0


@pytest.mark.parametrize(
    ("words", "keys"), [([], ["frame", "grid_sample", "matting"]), (["--no-rivals"], ["frame"])]
)
def test_rivals_are_timed_unless_they_are_left_out(
    words: list[str], keys: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    timed: list[str] = []

    def frames(pipelines: list[Any], *_: object) -> dict[str, pipeline.Timed]:
        timed.extend(way.key for way in pipelines)
        one = spread([2.0])
        return {way.name: pipeline.Timed(dict.fromkeys(way.places, one), one, one) for way in pipelines}

    monkeypatch.setattr(sweep, "time_frames", frames)
    monkeypatch.setattr(sweep, "Retoucher", with_a_face)
    options = options_of("--faces", "1", *words)
    network = networks.network_of("tiny")
    sweep._measure_frames(
        swept_on(ScriptedDevice()), FakeEngine(), network, noise_frame(90, 160), CASE, options
    )
    assert timed == keys


def test_a_projection_goes_from_here_to_the_target() -> None:
    # Twice the target's arithmetic: there a step takes twice as long.
    target = TARGETS["rtx3090"]
    here = Roof(2.0 * target.roof.matrix_gflops, 4.0 * target.roof.copy_gbs)
    swept = swept_on(ScriptedDevice(), here)
    assert swept.projected == {}
    swept.stages["ours", CASE] = [Stage("step", 4.0, "device", (Work(2e9, 0.0),))]
    swept.stages["theirs", CASE] = [Stage("step", 5.0, "device", (Work(0.0, 1e6),))]
    sweep._project(swept, target)
    assert swept.projected["theirs", CASE][0].ms == pytest.approx(20.0)
    assert swept.figures["projected_360p_1_ms"] == pytest.approx(8.0)
    assert swept.figures["projected_360p_1_fps"] == pytest.approx(125.0)
