"""Two processes that share a training of the published network stop together, with one sentence."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.conftest import require

torch = require("torch")

from model import together as together_module  # noqa: E402
from model.together import ElsewhereError, say, together  # noqa: E402
from tests.model.pairs import write_stills  # noqa: E402
from tests.model.processes import two_processes  # noqa: E402

SMALL = ["--preset", "paper-tiny", "--device", "cpu", "--size", "32", "--frames", "2", "--judged", "1"]
BUDGET = ["--vgg", "none", "--iterations", "4", "--every", "1"]
# Of processes 0 and 1, one fails: FAILS at step 2, in what a step or a report does.
FAILING = """
import os
from dataclasses import replace
import torch
from model.distributed import rank
from model.paper import train
from model.paper.training import PaperTraining
number, kind = os.environ["FAILS"].split()
losses, write = PaperTraining.losses, train.Run._write_report
def failing(training, clip, flow_known=True):
    made = losses(training, clip, flow_known)
    if rank() == int(number) and training.steps == 1:
        if kind == "nan":
            return replace(made, retouch=made.retouch * torch.nan)
        if kind == "memory":
            raise MemoryError
    return made
def full(run, terms):
    if kind == "disk" and run.training.steps == 2:
        raise OSError(28, "No space left on device")
    write(run, terms)
PaperTraining.losses, train.Run._write_report = failing, full
raise SystemExit(train.main())
"""


@pytest.mark.parametrize(
    ("fails", "sentence"),
    [
        ("1 nan", "Step 2 is not finite (loss nan)"),
        ("1 memory", "The memory does not suffice for 1 clips"),
        ("0 disk", "No space left on device"),
        ("0 split", "There is no folder"),
    ],
)
def test_where_one_fails_it_alone_says_why_and_all_end(fails: str, sentence: str, tmp_path: Path) -> None:
    data = write_stills(tmp_path / "data")
    number, kind = fails.split()
    if kind == "split":  # what reports are about, which the first process alone reads
        shutil.rmtree(data / "test")
    (tmp_path / "failing.py").write_text(FAILING)
    asked = [str(data), str(tmp_path / "out"), *SMALL, *BUDGET]
    ended = two_processes(tmp_path / "failing.py", asked, {"FAILS": fails})
    assert [code for code, _ in ended] == [2, 2], ended
    speaking, silent = ended[int(number)][1], ended[1 - int(number)][1]
    assert sentence in speaking and speaking.count("\n") == 1 and silent == ""
    if kind in ("nan", "memory"):
        saved = torch.load(tmp_path / "out" / "checkpoint.pt", weights_only=True)["training"]
        assert saved["steps"] == 1
        assert all(bool(torch.isfinite(weight).all()) for weight in saved["network"].values())


def test_alone_a_process_meets_what_it_meets(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), together("cpu"):
        raise ZeroDivisionError
    say(ValueError("why"))
    say(ElsewhereError("where"))
    assert capsys.readouterr().err == "why\n"
    assert not together_module._stopped.is_set()
