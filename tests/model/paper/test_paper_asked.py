"""What the trainer's command is asked for reaches the weights and what goes on from them: parts left out,
delta, references, and the pairs that are learnt from."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import require

torch = require("torch")

from model.paper.config import PRESETS  # noqa: E402
from model.paper.network import PaperVRetouchEr  # noqa: E402
from model.paper.options import Options, parse  # noqa: E402
from model.paper.weights import load_paper, save_paper  # noqa: E402
from model.train import main  # noqa: E402
from tests.model.pairs import write_stills, write_videos  # noqa: E402

SMALL = ["--preset", "paper-tiny", "--device", "cpu", "--size", "32", "--frames", "2", "--judged", "1"]


@pytest.fixture(scope="module")
def stills(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stills(tmp_path_factory.mktemp("stills"))


def train(data: Path, out: Path, *more: str) -> int:
    return main([str(data), str(out), *SMALL, "--vgg", "none", *more])


@pytest.mark.parametrize(
    ("asked", "changed"),
    [
        (["--without", "fir"], (False, True, 3)),
        (["--without", "mma"], (True, False, 3)),
        (["--without", "mma", "--without", "fir"], (False, False, 3)),
        (["--delta", "1"], (True, True, 1)),
    ],
)
def test_a_network_without_a_part_or_of_another_delta_is_trained_saved_and_gone_on_with(
    asked: list[str],
    changed: tuple[bool, bool, int],
    stills: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert train(stills, tmp_path, "--iterations", "1", *asked) == 0
    config = load_paper(tmp_path / "weights.pt").config
    assert (config.fir, config.mma, config.delta) == changed
    assert train(stills, tmp_path, "--iterations", "2", "--resume") == 2
    said = capsys.readouterr().err
    name = asked[0].removeprefix("--")
    assert f"{name} was" in said and "not None" in said and said.count("\n") == 1
    assert train(stills, tmp_path, "--iterations", "2", "--resume", *asked) == 0
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["training"]["steps"] == 2


def test_what_is_left_out_is_not_asked_for_in_the_whole_network(tmp_path: Path) -> None:
    whole = Options(tmp_path, tmp_path, preset="paper-tiny")
    assert whole.config() == PRESETS["paper-tiny"]
    # As checkpoints of before these could be asked for.
    assert whole.settings()["without"] is None and whole.settings()["delta"] is None
    assert Options(tmp_path, tmp_path, preset="paper-tiny", delta=3).settings() == whole.settings()
    assert parse(["data", "out", "--without", "mma", "--without", "fir", "--without", "mma"]).without == (
        "fir",
        "mma",
    )


@pytest.mark.parametrize("references", ["past", "around"])
def test_weights_know_the_references_that_they_were_trained_with(
    references: str, stills: Path, tmp_path: Path
) -> None:
    assert train(stills, tmp_path, "--iterations", "1", "--references", references) == 0
    path = tmp_path / "weights.pt"
    assert load_paper(path).references == references


def test_weights_of_before_references_were_kept_are_causal(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    save_paper(PaperVRetouchEr(PRESETS["paper-tiny"], "around"), path)
    saved = torch.load(path, weights_only=True)
    assert saved.pop("references") == "around"
    torch.save(saved, path)
    assert load_paper(path).references == "past"


def test_a_training_goes_on_with_its_own_pairs_alone(
    stills: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert train(stills, out, "--iterations", "1") == 0
    before = (out / "checkpoint.pt").read_bytes()
    more = write_stills(tmp_path / "more", count=4)
    videos = write_videos(tmp_path / "videos", count=1)
    for other, asked in ((more, ()), (videos, ("--teacher", "none"))):
        capsys.readouterr()
        assert train(other, out, "--iterations", "2", "--resume", *asked) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and (out / "checkpoint.pt").read_bytes() == before
        assert ("other pictures (the names in DATA differ)" in said) == (other == more)
    moved = write_stills(tmp_path / "moved")
    assert train(moved, out, "--iterations", "2", "--resume") == 0
    assert train(more, out, "--iterations", "3", "--resume") == 2  # a resumed training keeps the names too


def test_a_checkpoint_of_before_the_pairs_were_kept_goes_on(stills: Path, tmp_path: Path) -> None:
    assert train(stills, tmp_path, "--iterations", "1") == 0
    path = tmp_path / "checkpoint.pt"
    saved = torch.load(path, weights_only=True)
    del saved["learnt_from"], saved["settings"]["without"], saved["settings"]["delta"]
    torch.save(saved, path)
    assert train(stills, tmp_path, "--iterations", "2", "--resume") == 0


@pytest.mark.parametrize("number", ["nan", "1.5", "-1", "much"])
def test_an_average_is_a_part_of_a_whole(
    number: str, stills: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        train(stills, tmp_path / "out", "--average", number)
    assert f"--average: '{number}' is not a number from 0 to 1" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [["--without", "flow"], ["--delta", "0"]])
def test_parts_and_delta_that_cannot_be_are_said(
    wrong: list[str], stills: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        train(stills, tmp_path / "out", *wrong)
    assert wrong[0] in capsys.readouterr().err
