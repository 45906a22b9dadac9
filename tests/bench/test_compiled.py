"""The step as torch.compile makes it, beside the engine's: traced whole, timed in turns, and what is said
where it fails."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from bench import latency
from bench.project import Roof
from bench.report import BenchError
from stream import parity
from tests.conftest import require
from tests.stream.fakes import FakeEngine

torch = require("torch")

from bench import networks, sweep  # noqa: E402
from bench.compiled import NAME, CompiledEngine, compiled_beside  # noqa: E402
from bench.swept import Swept, parts  # noqa: E402
from model.vretoucher import VRetouchEr  # noqa: E402
from stream.engines.torch_ import TorchEngine  # noqa: E402
from tests.bench.scripted import ScriptedDevice  # noqa: E402

Given = dict[str, Any]


@pytest.fixture(scope="module")
def network() -> VRetouchEr:
    return networks.network_of("tiny")


@pytest.fixture(scope="module")
def engine(network: VRetouchEr) -> TorchEngine:
    return TorchEngine("tiny", 1, network=networks.network_of("tiny"))


def by(monkeypatch: pytest.MonkeyPatch, make: Callable[..., Any]) -> list[Given]:
    """Compiles so instead; what torch.compile was given."""
    asked: list[Given] = []
    monkeypatch.setattr(torch, "compile", lambda step, **given: asked.append(given) or make(step, **given))
    return asked


def traced() -> int:
    """So many graphs, in all of this process."""
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]


def as_it_is(step: Any, **_: Any) -> Any:
    return step


def options_of(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    latency.add_arguments(parser)
    options = parser.parse_args(["--device", "cpu", "--preset", "tiny", *words])
    options.resolution, options.faces = [], []
    return options


def on_gpu() -> Swept:
    device = ScriptedDevice()
    device.kind = "cuda"
    return Swept(device, Roof(1.0, 1.0), "tiny", "torch-cuda", torch.float32)


def test_the_whole_step_is_traced_and_computes_the_same(
    monkeypatch: pytest.MonkeyPatch, engine: TorchEngine, network: VRetouchEr
) -> None:
    """Without the generation of code, which takes a minute: by then the step is one graph, or an error."""
    compile_ = torch.compile
    asked = by(monkeypatch, lambda step, mode, **given: compile_(step, backend="eager", **given))
    before = traced()
    made = compiled_beside(engine, network)
    assert asked == [{"mode": "max-autotune-no-cudagraphs", "fullgraph": True, "dynamic": False}]
    assert parity.measure(made, engine).residual_levels < 1e-3
    assert traced() == before + 1  # another face's state compiles nothing


def test_the_step_that_is_compiled_is_the_one_that_runs(
    monkeypatch: pytest.MonkeyPatch, engine: TorchEngine, network: VRetouchEr
) -> None:
    ran: list[object] = []

    def counted(step: Any, **_: Any) -> Any:
        return lambda state: (ran.append(state), step(state))

    by(monkeypatch, counted)
    made = CompiledEngine(engine, network)
    state = made.new_state()
    made.step(parity.spotted_faces(1)[0], state)
    assert ran == [state]
    assert (made.dtype, made.device) == (engine.dtype, engine.device)


class NoCompilerError(RuntimeError):
    """As torch wraps what a compiler says."""

    inner_exception = RuntimeError("no compiler is here\nfor miles")


def fails(step: Any, **_: Any) -> Any:
    def run(state: Any) -> None:
        raise NoCompilerError("backend='inductor' raised:")

    return run


def off(step: Any, **_: Any) -> Any:
    def run(state: Any) -> None:
        step(state)
        state.residuals.add_(3.0)

    return run


@pytest.mark.parametrize(
    ("make", "reason"), [(fails, "no compiler is here"), (off, "its residual is off by 3 levels")]
)
def test_what_cannot_be_compiled_is_a_sentence_in_the_report(
    monkeypatch: pytest.MonkeyPatch, engine: TorchEngine, network: VRetouchEr, make: Any, reason: str
) -> None:
    by(monkeypatch, make)
    with pytest.raises(BenchError, match=reason):
        compiled_beside(engine, network)
    swept = on_gpu()
    assert sweep._compiled(swept, network, engine) is None
    assert swept.notes == [f"{NAME}: not measured ({reason})."]
    swept.steps = {"delta 2": sweep.spread([1.0])}
    assert swept.notes[0] in parts(swept)


def test_only_a_torch_engine_of_a_gpu_is_compiled(
    monkeypatch: pytest.MonkeyPatch, engine: TorchEngine, network: VRetouchEr
) -> None:
    by(monkeypatch, as_it_is)
    swept = on_gpu()
    assert sweep._compiled(swept, network, FakeEngine()) is None
    assert isinstance(sweep._compiled(swept, network, engine), CompiledEngine)
    swept.device.kind = "cpu"
    assert sweep._compiled(swept, network, engine) is None
    assert swept.notes == []


def test_it_is_timed_in_turns_with_the_engine_and_has_its_own_row(
    monkeypatch: pytest.MonkeyPatch, network: VRetouchEr
) -> None:
    ms = {"delta 2": 2.0, NAME: 3.0}

    def turns(runs: Mapping[str, Callable[[], object]], *_: int, **__: int) -> dict[str, list[float]]:
        return {name: [ms[name]] * sweep.STEPS_PER_ROUND for name in runs}

    monkeypatch.setattr(sweep, "take_turns", turns)
    swept = on_gpu()
    sweep._measure_steps(swept, network, {2: FakeEngine()}, 6, FakeEngine())
    assert swept.figures["step_p50_ms"] == 2.0
    assert swept.figures["compiled_step_p50_ms"] == 3.0
    assert swept.figures["compiled_step_x"] == pytest.approx(1.5)
    rows = next(part[1] for part in parts(swept) if part[0][0] == "network step alone, ms")
    assert [row[0] for row in rows] == ["delta 2", NAME]


@pytest.mark.parametrize(("words", "asked"), [([], 1), (["--no-rivals"], 0)])
def test_it_is_left_out_with_the_other_rivals(
    monkeypatch: pytest.MonkeyPatch, words: list[str], asked: int
) -> None:
    given: list[object] = []
    for name in ("_measure_work", "_measure_precision", "_measure_frames", "_share_of_roofline"):
        monkeypatch.setattr(sweep, name, lambda *_: None)
    monkeypatch.setattr(sweep, "device_of", lambda *_: ScriptedDevice())
    monkeypatch.setattr(sweep, "_engines", lambda *_: {2: FakeEngine()})
    monkeypatch.setattr(sweep, "_compiled", lambda *_: given.append("asked"))
    monkeypatch.setattr(sweep, "_measure_steps", lambda *_: None)
    sweep.measure(options_of(*words))
    assert len(given) == asked
