"""The roofline by hand, and the operations it is made of."""

from __future__ import annotations

import json

import pytest

from bench.project import TARGETS, Roof, Stage, Work, bounded_by, project, roofline_ms
from tests.conftest import REPOSITORY, require

# A millisecond for 1 GFLOP, and for 100 MB.
HERE = Roof(matrix_gflops=1000.0, copy_gbs=100.0, link_gbs=10.0)
ARITHMETIC, MOVING = Work(2e9, 1e6), Work(1e6, 300e6)


def test_each_operation_is_bound_by_its_longer_side() -> None:
    assert roofline_ms([ARITHMETIC], HERE) == pytest.approx(2.0)
    assert roofline_ms([MOVING], HERE) == pytest.approx(3.0)
    assert roofline_ms([ARITHMETIC, MOVING], HERE) == pytest.approx(5.0)
    assert bounded_by([ARITHMETIC], HERE) == "arithmetic"
    assert bounded_by([ARITHMETIC, MOVING], HERE) == "bandwidth"


def test_a_stage_scales_by_the_side_that_bounds_it() -> None:
    target = Roof(matrix_gflops=500.0, copy_gbs=25.0, link_gbs=5.0)
    step = Stage("step", 4.0, "device", (ARITHMETIC,))
    assert project(step, HERE, target).ms == pytest.approx(8.0)
    paste = Stage("paste", 6.0, "device", (MOVING,))
    assert project(paste, HERE, target).ms == pytest.approx(24.0)
    both = project(Stage("step", 5.0, "device", (ARITHMETIC, MOVING)), HERE, target)
    assert (both.ms, both.side, both.measured_ms) == (pytest.approx(16.0), "bandwidth", 5.0)


def test_the_host_stays_as_it_is_and_the_link_scales_by_its_rate() -> None:
    target = Roof(500.0, 25.0, 5.0)
    assert project(Stage("crop", 3.0, "host", (MOVING,)), HERE, target).ms == 3.0
    assert project(Stage("upload", 3.0, "link", ()), HERE, target).ms == pytest.approx(6.0)
    assert project(Stage("upload", 3.0, "link", ()), Roof(500.0, 25.0), target).ms == 3.0
    assert project(Stage("mark", 1.0, "device", ()), HERE, target).ms == 1.0


def test_a_3090_by_its_makers_figures() -> None:
    target = TARGETS["rtx3090"].roof
    step = Stage("step", 0.1, "device", (Work(71e9, 0.0), Work(0.0, 936e6)))
    # A tenth of the arithmetic's time and half of the copy's there: 0.1 + 0.5 of a millisecond's 2 here.
    assert project(step, Roof(710_000.0, 1872.0), target).ms == pytest.approx(0.1 * 2.0 / 0.6)


def test_the_higher_of_two_roofs_counts() -> None:
    assert Roof(1.0, 9.0).best(Roof(2.0, 8.0, 3.0)) == Roof(2.0, 9.0, 3.0)
    assert Roof(1.0, 9.0).best(Roof(2.0, 8.0)).link_gbs is None


def test_operations_have_their_arithmetic_and_their_bytes() -> None:
    torch = require("torch")
    from bench.operations import operations

    a, b = torch.ones(4, 8), torch.ones(8, 2)
    matrix, added = operations(lambda: (a @ b).reshape(8).view(2, 4) + 1.0)
    assert (matrix.flops, matrix.bytes) == (2 * 4 * 8 * 2, 4 * (32 + 16 + 8))
    assert (added.flops, added.bytes) == (0.0, 4 * (8 + 8))


def test_a_step_has_the_arithmetic_of_its_card_whatever_the_dtype() -> None:
    torch = require("torch")
    from bench.networks import network_of
    from bench.operations import least_work, step_operations

    card = json.loads((REPOSITORY / "stream" / "weights" / "live.json").read_text())
    network = network_of("live")
    single, half = (step_operations(network, dtype) for dtype in (torch.float32, torch.float16))
    least = least_work(network, torch.float32)
    for works in (single, half, [least]):
        assert sum(work.flops for work in works) / 2e9 == pytest.approx(card["gmac"], abs=5e-4)
    moved = [sum(work.bytes for work in works) for works in (single, half)]
    assert moved[0] == pytest.approx(2.0 * moved[1], rel=0.01)
    # Weights and the ring of references alone are more than half of the least.
    ring = 6 * network.config.reference_channels * 64 * 64 * 4
    assert 4 * card["parameters"] + ring < least.bytes < moved[0] / 5
    assert next(network.parameters()).device.type == "cpu"
