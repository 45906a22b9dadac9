"""Verdicts."""

from __future__ import annotations

import math

import pytest

from bench.budgets import LATENCY, QUALITY, Budget, judge


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
