"""BPFRe's training on faces that no pair exists of: drawn, gone on with, and refused."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import require

torch = require("torch")

from model.data.pairs import PairsError  # noqa: E402
from model.earlier.unpaired import UnpairedPictures  # noqa: E402
from model.train import main  # noqa: E402

SMALL = ["--preset", "tiny", "--device", "cpu", "--batch", "1", "--frames", "2", "--size", "64"]


def run(data: Path, out: Path, *more: str) -> int:
    return main(["--system", "bpfre", str(data), str(out), *SMALL, "--no-perceptual", *more])


def history(out: Path) -> list[dict[str, float]]:
    return json.loads((out / "history.json").read_text())


@pytest.fixture(scope="module")
def strangers(stills: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The retouched faces are other ones than the raw ones, and more."""
    folder = tmp_path_factory.mktemp("strangers")
    for side, split in (("source", "test"), ("target", "train")):
        shutil.copytree(stills / split / side, folder / side)
    return folder


def test_bpfre_learns_from_faces_without_partners_too_and_goes_on_so(
    stills: Path, strangers: Path, tmp_path: Path
) -> None:
    whole, parts, paired = (tmp_path / name for name in ("whole", "parts", "paired"))
    more = ["--unpaired", str(strangers), "--every", "1"]
    assert run(stills, whole, *more, "--steps", "2") == 0
    assert run(stills, parts, *more, "--steps", "1") == 0
    assert run(stills, parts, *more, "--steps", "2", "--resume") == 0
    assert run(stills, paired, "--every", "1", "--steps", "1") == 0
    assert history(whole)[1]["loss"] == pytest.approx(history(parts)[1]["loss"])
    assert history(whole)[0]["discriminator"] != pytest.approx(history(paired)[0]["discriminator"])


def test_faces_without_partners_are_drawn_anew_each_time_from_their_own_side(strangers: Path) -> None:
    pictures = UnpairedPictures(strangers, 64, seed=3)
    raw, target = pictures.drawn(5)
    assert raw.shape == target.shape == (1, 3, 64, 64) and raw.min() >= 0 and raw.max() <= 1
    again, other = pictures.drawn(5)[0], pictures.drawn(6)[0]
    assert torch.equal(raw, again) and not torch.equal(raw, other)
    assert len(pictures.raw) == 2 and len(pictures.target) == 3


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        (lambda folder: shutil.rmtree(folder / "target"), "There is no folder .*target"),
        (lambda folder: [p.unlink() for p in (folder / "source").iterdir()], "source holds no pictures"),
        (
            lambda folder: (folder / "source" / "a.png").write_bytes(b"none"),
            "a.png cannot be read as a picture",
        ),
    ],
)
def test_what_is_wrong_with_faces_without_partners_is_said_before_anything_is_trained(
    spoilt: Callable[[Path], object],
    said: str,
    stills: Path,
    strangers: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, out = tmp_path / "strangers", tmp_path / "out"
    shutil.copytree(strangers, folder)
    spoilt(folder)
    assert run(stills, out, "--unpaired", str(folder), "--steps", "1") == 2
    assert re.search(said, capsys.readouterr().err) and not (out / "checkpoint.pt").exists()


def test_a_cut_picture_is_named_before_one_is_drawn(strangers: Path, tmp_path: Path) -> None:
    folder = tmp_path / "strangers"
    shutil.copytree(strangers, folder)
    path = next((folder / "target").iterdir())
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(PairsError, match=f"{path.name} cannot be read as a picture"):
        UnpairedPictures(folder, 64)


def test_a_training_with_faces_without_partners_does_not_go_on_without_them(
    stills: Path, strangers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(stills, tmp_path, "--unpaired", str(strangers), "--steps", "1") == 0
    assert run(stills, tmp_path, "--steps", "2", "--resume") == 2
    assert "unpaired was True, not None" in capsys.readouterr().err
