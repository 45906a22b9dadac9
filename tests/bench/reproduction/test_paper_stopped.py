"""What stops `python -m bench paper` is said in a sentence, and what can be known early before it trains."""

from __future__ import annotations

import os
from argparse import Namespace
from pathlib import Path

import pytest

from tests.conftest import require

torch = require("torch")
require("skimage")
require("matplotlib")

from bench.__main__ import main  # noqa: E402
from bench.report import BenchError  # noqa: E402
from bench.reproduction import run  # noqa: E402
from bench.reproduction.judged import with_empty_map  # noqa: E402
from bench.reproduction.methods import NO_FIR  # noqa: E402
from bench.reproduction.trained import Budget, Named, Work, side_by_side  # noqa: E402
from model.training import TrainingError  # noqa: E402

SMALL = Budget(minutes=1e9, steps=2, batch=1, frames=2, size=64, preset="tiny")


@pytest.mark.parametrize("in_the_way", ["out", "out/pictures"])
def test_an_out_that_takes_no_files_is_said_before_anything_is_trained(
    in_the_way: str, faces_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / in_the_way).parent.mkdir(exist_ok=True)
    (tmp_path / in_the_way).write_text("a file")
    kept = tmp_path / "kept"
    asked = ["--networks", str(kept), "--preset", "tiny", "--steps", "1", "--size", "64"]
    assert main(["paper", str(faces_dir), str(tmp_path / "out"), *asked]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "out cannot take paper.md and its pictures (" in line and "give another folder for OUT" in line
    assert [path.name for path in kept.iterdir()] == ["settings.json"]


def test_an_out_that_takes_files_is_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "paper.md").write_text("the last one")
    assert run.made_ready(tmp_path) == tmp_path / "pictures"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["paper.md", "pictures"]
    assert (tmp_path / "paper.md").read_text() == "the last one"


def test_where_the_memory_does_not_suffice_to_train_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_large(*asked: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Work, "_train_causal", too_large)
    said = r"1 clips of 2 frames of 64 pixels; lower --jobs, or --batch, .* another folder for --networks"
    with pytest.raises(TrainingError, match=said):
        Work(tmp_path, tmp_path, SMALL, None, print).trained(NO_FIR, 0)


def test_where_the_memory_does_not_suffice_to_judge_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_many(*asked: object) -> None:
        raise MemoryError

    monkeypatch.setattr(run, "clips_of", too_many)
    asked = Namespace(clips=900, judged_frames=10, i3d=None)
    said = "900 clips of 10 frames of 512 pixels; lower --clips, --judged-frames or --jobs"
    with pytest.raises(TrainingError, match=said):
        run.judged_now(with_empty_map, tmp_path, asked)


def ended(one: Named) -> None:
    """As the system does to a process for which it has no memory."""
    os._exit(9)


def test_a_process_that_is_ended_from_outside_is_said() -> None:
    with pytest.raises(BenchError, match=r"ended from outside.*lower --jobs"):
        side_by_side(ended, [("vretoucher", 0), ("vretoucher", 1)], 2)
