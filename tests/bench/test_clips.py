"""Clips of real held-out faces: their truth agrees with itself, and the whole bench runs on them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from bench import quality
from bench.__main__ import main
from bench.clips import faces_folder
from bench.judge import Footage, truth_of
from bench.metrics import warp_error
from tests.conftest import require
from tests.stream.fakes import FakeEngine

torch = require("torch")
require("skimage")

from model.earlier.systems import config_of, network_of  # noqa: E402
from model.earlier.weights import save_earlier  # noqa: E402


@pytest.fixture(scope="module")
def faces_dir(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two held-out portraits, prepared; a training one beside them is left out."""
    few = tmp_path_factory.mktemp("portraits")
    with (shared_data / "portraits.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    heldout = [row for row in rows if row["split"] == "heldout" and row["file"].startswith("london/")][:2]
    chosen = [*heldout, next(row for row in rows if row["split"] == "train")]
    (few / "portraits").symlink_to(shared_data / "portraits")
    with (few / "portraits.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(chosen)
    return faces_folder(few / "prepared", few)


@pytest.fixture(scope="module", params=["painted", "real", "second"])
def clip(request: pytest.FixtureRequest, faces_dir: Path) -> Footage:
    return next(iter(quality.GENERATORS[request.param].clips(faces_dir, 3, 0, False)(1)))


def test_on_unpainted_faces_there_is_nothing_to_do(faces_dir: Path) -> None:
    clip = next(iter(quality.GENERATORS["unpainted"].clips(faces_dir, 2, 0, False)(1)))
    assert np.array_equal(clip.raw_u8, clip.target_u8)
    assert not clip.map.any()
    assert clip.skin.any()


def test_only_held_out_subjects_are_prepared(faces_dir: Path) -> None:
    index = json.loads((faces_dir / "index.json").read_text())
    assert [row["split"] for row in index] == ["heldout", "heldout"]


def test_a_clip_is_whole(clip: Footage) -> None:
    assert clip.raw_u8.shape == clip.target_u8.shape == (3, 640, 640, 3)
    assert clip.raw_u8.dtype == np.uint8
    assert clip.map.shape == clip.skin.shape == clip.keep.shape == (3, 640, 640)
    assert clip.flow.shape == clip.to_canvas.shape == (3, 640, 640, 2)
    assert 1 <= clip.monk <= 10
    assert clip.name.startswith("london/")


def test_raw_differs_from_target_where_the_map_says(clip: Footage) -> None:
    truth = truth_of(clip, 2)
    difference = np.abs(truth.raw.astype(int) - truth.target).mean(axis=2)
    assert difference[truth.imperfect].mean() > 2.0
    assert difference[truth.clean].mean() < 0.5
    assert 0.15 < truth.face.mean() < 0.35


def test_what_was_painted_is_known_exactly(clip: Footage) -> None:
    truth = truth_of(clip, 1)
    taken = np.abs(truth.raw.astype(int) - truth.target).mean(axis=2)
    assert taken[truth.map == 0.0].max() == 0.0
    part = truth.imperfect & (truth.map < 1.0)
    np.testing.assert_allclose(taken[part] / 255.0, 0.08 * truth.map[part], atol=0.51 / 255.0)


def test_the_flow_carries_one_frame_onto_the_next(clip: Footage) -> None:
    truth = truth_of(clip, 2)
    along = warp_error(clip.target_u8[2], clip.target_u8[1], clip.flow[2], truth.face)
    still = warp_error(clip.target_u8[2], clip.target_u8[1], 0 * clip.flow[2], truth.face)
    assert along < still


def test_the_face_stands_still_on_the_canvas(clip: Footage) -> None:
    first, last = truth_of(clip, 0), truth_of(clip, 2)
    both = first.canvas.seen & last.canvas.seen & (clip.oval > 0)
    moved = np.abs(clip.target_u8[0].astype(int) - clip.target_u8[2])[clip.oval > 0].mean()
    steady = np.abs(first.on_canvas - last.on_canvas)[both].mean()
    assert steady < moved


def test_the_whole_bench_on_the_network_alone(
    faces_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(quality, "engine_for", lambda *_: FakeEngine(levels=4.0))
    asked = ["--faces", str(faces_dir), "--clips", "1", "--frames", "2", "--network-only"]
    written = ["--json", str(tmp_path / "out.json"), "--sheet", str(tmp_path / "sheet.png")]
    assert main(["quality", *asked, *written]) == 0
    figures = json.loads((tmp_path / "out.json").read_text())["figures"]
    # Four to five levels on a patch of the cheek: worse than doing nothing, and drift.
    assert figures["gain_db"] < 0.0
    assert figures["drift"] > 0.005
    assert "bytes changed at strength 0" in capsys.readouterr().out
    assert (tmp_path / "sheet.png").stat().st_size > 10_000


def test_an_earlier_system_is_judged_in_our_place(
    faces_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    network = network_of(config_of("autoretouch", "tiny"))
    with torch.no_grad():
        network.tail.bias.fill_(0.1)
    save_earlier("autoretouch", network, tmp_path / "weights.pt", perceptual=False)
    asked = ["--faces", str(faces_dir), "--clips", "1", "--frames", "2", "--network-only"]
    given = ["--system", "autoretouch", "--weights", str(tmp_path / "weights.pt")]
    assert main(["quality", *asked, *given, "--json", str(tmp_path / "out.json")]) == 0
    result = json.loads((tmp_path / "out.json").read_text())
    assert result["settings"]["engine"] == "autoretouch torch-cpu"
    # 25 levels on everything.
    assert result["figures"]["drift"] > 20.0
    for wrong, said in (
        (["--system", "bpfre"], "--system and --weights go together"),
        (["--weights", "w.pt"], "--system and --weights go together"),
        ([*given, "--preset", "tiny"], "--model and --preset are not for --system"),
        (["--system", "bpfre", "--weights", given[-1]], "autoretouch"),
    ):
        assert main(["quality", *asked, *wrong]) == 2
        assert said in capsys.readouterr().err
