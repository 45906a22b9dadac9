"""The command line: sheets are written, mistakes are one sentence and exit code 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import require

require("torch")

from PIL import Image  # noqa: E402

from model.data.__main__ import main  # noqa: E402


def test_sheet_holds_raw_target_and_map(faces_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    assert main(["sheet", str(faces_dir), str(out), "--count", "2", "--zoom", "4", "--seed", "1"]) == 0
    with Image.open(out) as sheet:
        assert sheet.size == (2 * 3 * 512, 512)


def test_harvest_tells_what_it_found(faces_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["harvest", str(faces_dir)]) == 0
    assert "reddish" in capsys.readouterr().out


def test_missing_faces_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sheet", str(tmp_path / "none"), str(tmp_path / "x.png")]) == 2
    told = capsys.readouterr().err
    assert "stream.portraits" in told
    assert told.count("\n") == 1
