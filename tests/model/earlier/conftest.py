"""Pairs on disk for the earlier systems' trainings, which are judged on little."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import require

require("torch")

from model.earlier import pairs as pairs_module  # noqa: E402
from tests.model.pairs import write_stills  # noqa: E402


@pytest.fixture(scope="module")
def stills(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stills(tmp_path_factory.mktemp("stills"))


@pytest.fixture(autouse=True)
def few_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """One pair, two frames: the whole face is judged, which is most of a tiny training's time."""
    monkeypatch.setattr(pairs_module, "JUDGED_PAIRS", 1)
    monkeypatch.setattr(pairs_module, "JUDGED_FRAMES", 2)
