"""Verdicts."""

from __future__ import annotations

import math

import pytest

from bench.budgets import DEVICE, KERNELS, LATENCY, QUALITY, Budget, judge
from tests.conftest import REPOSITORY


@pytest.mark.parametrize(
    ("relation", "value", "met"),
    [
        (">=", 6.0, True),
        (">=", 5.99, False),
        ("<=", 6.0, True),
        ("<=", 6.01, False),
        ("==", 6.0, True),
        ("==", 0.0, False),
    ],
)
def test_a_budget_is_met_at_its_bound(relation: str, value: float, met: bool) -> None:
    assert Budget("x", "x", relation, 6.0).met(value) is met


def test_not_a_number_meets_nothing() -> None:
    assert not any(Budget("x", "x", relation, 0.0).met(math.nan) for relation in (">=", "<=", "=="))


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    verdicts = judge(QUALITY, {"gain_db": 7.0, "removal": None})
    said = {v.budget.figure: v.met for v in verdicts}
    assert said["gain_db"] is True
    assert said["removal"] is None
    assert said["flicker"] is None


def test_every_figure_has_one_budget() -> None:
    names = [b.figure for b in (*QUALITY, *LATENCY)]
    assert len(names) == len(set(names))


def test_every_target_of_a_gpu_has_a_row_for_its_figures() -> None:
    text = (REPOSITORY / "docs" / "gpu.md").read_text(encoding="utf-8")
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")]
    wanted = [("", budget) for budget in KERNELS]
    wanted += [(p, b) for (group, p), budgets in DEVICE.items() if group != "cpu" for b in budgets]
    for preset, budget in wanted:
        target = f"{budget.relation} {budget.bound:g} {budget.unit}".strip()
        held = [row[0] for row in rows if row[0].endswith(budget.meaning) and row[1] == target]
        assert any(f"`{preset}`" in row or "`" not in row for row in held), (preset, budget.meaning, target)
