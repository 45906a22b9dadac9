"""bench.kernels: its cases are the same by kernel and by torch, and what the figures mean."""

from __future__ import annotations

import argparse

import numpy as np
import pytest

from bench import kernels
from bench.budgets import KERNELS, judge
from bench.clock import spread
from bench.report import BenchError
from tests.conftest import require

torch = require("torch")
from bench.kernel_cases import Case, cases_of  # noqa: E402
from tests.bench.scripted import ScriptedDevice  # noqa: E402
from tests.stream.kernels.on_cpu import run_on_cpu  # noqa: E402


@pytest.fixture(scope="module")
def cases() -> dict[str, Case]:
    """Two pictures of which a crop averages 2x2 pixels, the kernels' sources on this CPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bench.kernel_cases.FRAMES", 2)
        patch.setattr("bench.kernel_cases.AMOUNTS", (0.9,))
        return {case.name: case for case in cases_of((1280, 1100), "cpu", torch.float32, run_on_cpu)}


def shared(case: Case) -> list[torch.Tensor]:
    """The tensors that the case's two ways share."""
    held = [cell.cell_contents for cell in case.plain.__closure__ or ()]
    pasted = [frame for turns in held if isinstance(turns, list) for _, frame in turns]
    return [value for value in held if isinstance(value, torch.Tensor)] + pasted[:1]


def written(case: Case) -> list[np.ndarray]:
    """What the case's two ways write, of the first picture where they write to several."""
    tensors, results = shared(case), []
    for way in (case.kernel, case.plain):
        before = [tensor.clone() for tensor in tensors]
        way()
        (out,) = (t for t, b in zip(tensors, before, strict=True) if not torch.equal(t, b))
        results.append(out.numpy().astype(np.float64))
        for tensor, old in zip(tensors, before, strict=True):
            tensor.copy_(old)
    return results


@pytest.mark.parametrize(
    ("name", "bound"), [("crop", 2.0 / 255.0), ("warp", 2e-3), ("paste", 1.0), ("paste_nv12", 1.0)]
)
def test_torch_and_the_kernel_do_the_same(cases: dict[str, Case], name: str, bound: float) -> None:
    kernel, plain = written(cases[name])
    assert np.abs(kernel - plain).max() <= bound
    assert kernel.std() > 0
    assert np.abs(kernel - plain).mean() <= bound / 4


def test_a_round_of_pastes_leaves_as_much_to_write_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.kernel_cases.FRAMES", 1)
    for case in cases_of((640, 600), "cpu", torch.float32, run_on_cpu):
        if not case.name.startswith("paste"):
            continue
        frame = shared(case)[-1]
        before = frame.clone()
        for _ in range(3):
            case.kernel()
        moved = (frame.int() - before.int()).abs()
        # Beside whole levels, as three rounds of one way would move every sample by twenty.
        assert float(moved.float().mean()) < 1.0, case.name


def test_bytes_are_those_that_have_to_be_moved(cases: dict[str, Case]) -> None:
    face = 512 * 512
    assert cases["crop"].bytes == 3 * 1100 * 1100 + 3 * face * 4
    assert cases["warp"].bytes == (2 * 3 + 2) * 1280 * 1100 * 4
    assert cases["paste"].bytes == pytest.approx(6 * 1100 * 1100 + 3 * face * 4 + face, rel=0.01)
    assert cases["paste_nv12"].bytes == pytest.approx(3 * 1100 * 1100 + 3 * face * 4 + face, rel=0.01)


def test_figures_are_rates_and_shares() -> None:
    case = Case("crop", 4_000_000, 1, lambda: None, lambda: None)
    taken = {"crop": {"kernel": spread([0.002]), "torch": spread([0.01])}}
    figures = kernels.figures_of([case], taken, 4000.0)
    assert figures["crop_gbs"] == pytest.approx(2000.0)
    assert figures["crop_copy_share"] == pytest.approx(0.5)
    assert figures["crop_speedup"] == pytest.approx(5.0)
    met = {verdict.budget.figure: verdict.met for verdict in judge(KERNELS, figures)}
    assert met["crop_copy_share"] is False
    assert met["crop_speedup"] is True
    assert met["paste_speedup"] is None


def test_times_are_of_one_call() -> None:
    device, calls = ScriptedDevice(), list[str]()

    def way(name: str, spent: int) -> None:
        calls.append(name)
        device.work_ms(spent)

    case = Case("crop", 1, 4, lambda: way("kernel", 7), lambda: way("torch", 11))
    taken = kernels.times_of(case, device, 3)
    assert calls == ["kernel", "torch"] * 3
    # A tick more than what was spent, on four pictures.
    assert taken == {"kernel": spread([2.0] * 3), "torch": spread([3.0] * 3)}


def test_no_gpu_and_no_rounds_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BenchError, match="sees no NVIDIA GPU; install torch for CUDA"):
        kernels.main(argparse.Namespace(rounds=1, markdown=None, json=None))
    with pytest.raises(BenchError, match="--rounds must be 1 or more"):
        kernels.main(argparse.Namespace(rounds=0, markdown=None, json=None))


def test_the_table_has_a_row_for_each_kernel() -> None:
    case = Case("warp", 10, 1, lambda: None, lambda: None)
    taken = {"warp": {"kernel": spread([1.0]), "torch": spread([3.0])}}
    line, (header, rows) = kernels.parts("A card", kernels.figures_of([case], taken, 100.0), ["warp"])
    assert str(line).startswith("A card, which copies 100 GB/s")
    assert len(header) == len(rows[0])
    assert rows[0][0] == "warp"


@pytest.mark.gpu
def test_it_runs_on_a_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    assert kernels.main(argparse.Namespace(rounds=2, markdown=None, json=None)) == 0
    assert "share of copy" in capsys.readouterr().out
