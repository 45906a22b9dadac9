"""A stopped training of an earlier system goes on with the pictures it has learnt from, and no others."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import require

torch = require("torch")

from model.earlier.options import Options  # noqa: E402
from model.earlier.pairs import learnt_from  # noqa: E402
from tests.model.earlier.test_earlier_train import BOTH, run  # noqa: E402
from tests.model.pairs import write_stills  # noqa: E402


@BOTH
def test_a_training_goes_on_with_its_own_pairs_alone(
    system: str, stills: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, more = tmp_path / "out", write_stills(tmp_path / "more", count=4)
    assert run(system, stills, out, "--steps", "1") == 0
    assert run(system, more, out, "--steps", "2", "--resume") == 2
    said = capsys.readouterr().err
    assert "other pictures (the names in DATA differ)" in said and said.count("\n") == 1
    path = out / "checkpoint.pt"
    saved = torch.load(path, weights_only=True)
    del saved["learnt_from"]  # as those of before the names were kept
    torch.save(saved, path)
    assert run(system, more, out, "--steps", "2", "--resume") == 0
    assert run(system, stills, out, "--steps", "3", "--resume") == 2


def test_portraits_and_unpaired_pictures_are_known_by_their_names(
    faces_dir: Path, stills: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    strangers, others = stills / "test", stills / "train"
    given = ("--unpaired", str(strangers))
    assert run("bpfre", stills, tmp_path, "--steps", "1", *given) == 0
    assert run("bpfre", stills, tmp_path, "--steps", "2", "--resume", "--unpaired", str(others)) == 2
    assert "the names in --unpaired differ" in capsys.readouterr().err
    assert run("bpfre", stills, tmp_path, "--steps", "2", "--resume", *given) == 0
    fewer = tmp_path / "fewer"
    shutil.copytree(faces_dir, fewer)
    rows = json.loads((fewer / "index.json").read_text())
    rows[3]["file"] = "other.png"
    (fewer / "index.json").write_text(json.dumps(rows))
    names = [learnt_from(Options("bpfre", faces, tmp_path)) for faces in (faces_dir, faces_dir, fewer)]
    assert names[0] == names[1] != names[2]
