"""The quality bench on staged clips: what it adds up, what it says, what it writes."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from bench import clips, quality, sheet, summary
from bench.__main__ import main
from bench.baselines import bilateral
from bench.budgets import QUALITY, judge
from bench.metrics import Pixels
from bench.paths import FramePath, NetworkPath, engine_for, uncrop_map
from bench.quality import OURS, Plan
from bench.report import BenchError, write_json
from stream.crop import FACE_PX
from stream.face import Roi
from stream.retoucher import Retoucher
from tests.bench import staged
from tests.bench.staged import StagedPath
from tests.conftest import require
from tests.stream.fakes import PATCH, FakeEngine, FakeFinder, face_at, noise_frame


@pytest.fixture(scope="module")
def outcome() -> quality.Outcome:
    require("skimage")
    footages = [staged.footage("light", 2), staged.footage("dark", 8)]
    path, zero = StagedPath(share=0.8), StagedPath(share=0.0)
    done = quality.run(footages, path, zero, Plan(pictures=1))
    assert (path.begun, zero.begun) == (2, 2)
    return done


def test_every_method_is_judged_on_every_clip(outcome: quality.Outcome) -> None:
    assert list(outcome.clips) == ["do nothing", "bilateral filter", OURS]
    assert {name: len(of) for name, of in outcome.clips.items()} == dict.fromkeys(outcome.clips, 2)


def test_the_figures_of_ours(outcome: quality.Outcome) -> None:
    figures = quality.flat_figures(outcome)
    assert figures["gain_db"] == pytest.approx(20.0 * math.log10(5.0), abs=1e-6)
    assert figures["removal"] == pytest.approx(0.8)
    assert figures["identity_kept"] == 1.0
    assert figures["marks"] == 2.0
    assert figures["bytes_at_strength_0"] == 0.0
    nothing = summary.summary(outcome.clips["do nothing"])
    assert nothing["gain_db"] == 0.0
    assert math.isnan(nothing["soft_iou"])


def test_false_alarms_count_clean_skin_alone() -> None:
    require("skimage")
    still, loud = (
        quality.run([staged.footage()], StagedPath(everywhere=levels), None, Plan()).clips[OURS][0]
        for levels in (2, 3)
    )
    assert still.false_alarm == 0.0
    assert loud.false_alarm == 1.0


def test_landmarks_that_move_are_measured_and_the_worst_is_told() -> None:
    require("skimage")
    given = iter([5.0, math.nan])
    plan = Plan(moved=lambda _raw, _out: next(given))
    done = quality.run([staged.footage(), staged.footage()], StagedPath(), None, plan)
    assert [clip.moved_px for clip in done.clips[OURS]] == [5.0, pytest.approx(math.nan, nan_ok=True)]
    assert quality.flat_figures(done)["moved_max_px"] == 5.0


def test_a_mesh_that_moves_is_seen_and_no_face_is_no_figure() -> None:
    class Brightest(FakeFinder):
        """Sees the mesh as many px to the right as the frame's first byte says."""

        def landmarks_px(self, frame_rgb_u8: Pixels, roi: Roi) -> npt.NDArray[np.float32] | None:
            return self.faces[0] + np.float32([frame_rgb_u8[0, 0, 0], 0.0])

    raw, out = np.full((480, 640, 3), 2, np.uint8), np.full((480, 640, 3), 5, np.uint8)
    assert quality.mesh_moved(Brightest(face_at(320, 240)), raw, raw) == 0.0
    assert quality.mesh_moved(Brightest(face_at(320, 240)), raw, out) == pytest.approx(3.0)
    assert math.isnan(quality.mesh_moved(FakeFinder(), raw, out))


def test_every_generator_is_held_against_budgets_of_its_own() -> None:
    held = {name: {b.figure for b in generator.budgets} for name, generator in quality.GENERATORS.items()}
    assert "false_alarm" in held["unpainted"]
    assert "gain_db" not in held["unpainted"]
    assert "soft_iou" in held["second"]
    assert "bytes_outside_head" in held["painted"]


def test_tones_are_grouped(outcome: quality.Outcome) -> None:
    groups = summary.by_tone(outcome.clips[OURS])
    assert [group["clips"] for group in groups.values()] == [1.0, 0.0, 1.0]
    assert math.isnan(groups["Monk 4-6"]["gain_db"])
    light, dark = (clip for clip in outcome.clips[OURS])
    assert groups["Monk 7-10"]["marks"] == dark.marks
    assert groups["Monk 1-3"]["false_alarm"] == light.false_alarm


def test_tones_that_are_retouched_differently_are_held_against_it() -> None:
    nothing = {"removal": math.nan, "d_light": math.nan, "d_hue": math.nan}
    pale = {"removal": 0.8, "d_light": 0.1, "d_hue": -0.6}
    dark = {"removal": 0.6, "d_light": -0.4, "d_hue": 0.2}
    gaps = summary.tone_gaps({"Monk 1-3": nothing, "Monk 4-6": pale, "Monk 7-10": dark})
    assert gaps == pytest.approx({"tone_light": 0.4, "tone_hue": 0.6, "tone_removal": 0.25})
    missed = {v.budget.figure for v in judge(QUALITY, gaps) if v.met is False}
    assert missed == {"tone_light", "tone_hue", "tone_removal"}
    alone = summary.tone_gaps({"Monk 1-3": nothing, "Monk 4-6": pale})
    assert math.isnan(alone["tone_removal"])


def test_the_tables_say_what_is_met_and_missed(outcome: quality.Outcome) -> None:
    text = quality.tables(outcome, quality.flat_figures(outcome))
    verdicts = {line[:30].strip(): line.split()[-1] for line in text.split("\n\n")[-1].splitlines()}
    assert verdicts["gain on held-out subjects in m"] == "met"
    assert verdicts["bytes changed at strength 0"] == "met"


def test_the_json_is_whole_and_has_no_nan(outcome: quality.Outcome, tmp_path: Path) -> None:
    where = tmp_path / "quality.json"
    write_json(quality.result(outcome, {"seed": 0, "faces": tmp_path}), str(where))
    read = json.loads(where.read_text(), parse_constant=pytest.fail)
    assert read["bench"] == "quality"
    assert read["methods"]["do nothing"]["soft_iou"] is None
    assert [clip["clip"] for clip in read["clips"][OURS]] == ["light", "dark"]
    assert {b["figure"]: b["met"] for b in read["budgets"]}["removal"] is True


def test_the_sheet_shows_raw_out_target_and_maps(outcome: quality.Outcome, tmp_path: Path) -> None:
    assert len(outcome.rows) == 1
    sheet.save(outcome.rows, tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as picture:
        assert picture.size == (1500, 18 + 318)


def test_the_sheet_zooms_to_the_imperfections() -> None:
    true_map = np.zeros((640, 640), np.float32)
    true_map[500:510, 100:110] = 1.0
    x, y = sheet.busiest(true_map, 200)
    assert x <= 100
    assert x + 200 >= 110
    assert y <= 500
    assert y + 200 >= 510


def test_no_clip_is_an_error() -> None:
    with pytest.raises(BenchError, match="--clips"):
        quality.run([], StagedPath(), None, Plan())


def test_the_frame_path_carries_the_map_back() -> None:
    finder = FakeFinder(face_at(320, 240))
    with Retoucher(engine=FakeEngine(), finder=finder) as retoucher:
        path = FramePath(retoucher)
        path.begin()
        raw = noise_frame(480, 640)
        seen = path.frame(raw)
        face = retoucher.last.faces[0]
    assert seen.found
    changed = (seen.out_u8 != raw).any(axis=2)
    assert changed.any()
    # What changed is what the map marks, but for the rim that the two resample differently.
    assert (seen.map[changed] > 0).mean() > 0.85
    assert seen.map[~changed].max() < 1.0
    middle = face.alignment[:, :2].T @ (np.array([170.0, 280.0]) - face.alignment[:, 2])
    x, y = np.rint(middle / np.linalg.det(face.alignment[:, :2])).astype(int)
    assert seen.map[y, x] == pytest.approx(1.0)


def test_no_face_gives_an_empty_map_and_the_frame_itself() -> None:
    with Retoucher(engine=FakeEngine(), finder=FakeFinder()) as retoucher:
        seen = FramePath(retoucher).frame(raw := noise_frame(120, 160))
    assert not seen.found
    assert not seen.map.any()
    assert np.array_equal(seen.out_u8, raw)


def test_the_network_alone_adds_its_residual_and_forgets_between_clips() -> None:
    path = NetworkPath(FakeEngine(levels=10.0))
    raw = noise_frame(FACE_PX, FACE_PX)
    first = path.frame(raw)
    path.frame(raw)
    path.begin()
    again = path.frame(raw)
    assert np.array_equal(first.out_u8, again.out_u8)
    assert (first.out_u8[PATCH].astype(int) - raw[PATCH] == 10).all()
    with pytest.raises(BenchError, match="512"):
        path.frame(raw[:256])


def test_uncrop_of_the_identity() -> None:
    seen = np.random.default_rng(0).random((FACE_PX, FACE_PX)).astype(np.float32)
    np.testing.assert_allclose(uncrop_map(seen, np.eye(2, 3), (FACE_PX, FACE_PX, 3)), seen, atol=1e-6)


def test_the_bilateral_filter_smooths_skin_and_leaves_the_rest() -> None:
    frame = np.empty((64, 128, 3), np.uint8)
    frame[:, :64] = (200, 150, 130)
    frame[:, 64:] = (40, 90, 200)
    noise = np.random.default_rng(0).integers(-6, 7, frame.shape)
    frame = (frame + noise).astype(np.uint8)
    out = bilateral(frame)
    skin = (slice(16, 48), slice(8, 48))
    assert (out[skin].std(axis=(0, 1)) < 0.6 * frame[skin].std(axis=(0, 1))).all()
    assert np.array_equal(out[:, 90:], frame[:, 90:])


def test_a_missing_model_is_said() -> None:
    with pytest.raises(BenchError, match=r"nowhere\.onnx is not a file"):
        engine_for("auto", "live", Path("nowhere.onnx"))


@pytest.mark.parametrize("arguments", [["--clips", "0"], ["--frames", "1"]])
def test_a_run_of_nothing_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["quality", *arguments]) == 2
    assert "give at least" in capsys.readouterr().err


def test_portraits_that_are_not_there_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(BenchError, match="no portraits at"):
        clips.faces_folder(None, tmp_path)


def test_portraits_without_a_held_out_row_are_said(tmp_path: Path) -> None:
    (tmp_path / "portraits.csv").write_text("file,subject,split\na.jpg,a,train\n")
    with pytest.raises(BenchError, match="no row of split 'heldout'"):
        clips.faces_folder(tmp_path / "faces", tmp_path)


def test_prepared_faces_are_used_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "index.json").write_text("[]")
    assert clips.faces_folder(tmp_path, tmp_path / "absent") == tmp_path


def test_options_have_defaults_that_measure_motion() -> None:
    parser = argparse.ArgumentParser()
    quality.add_arguments(parser)
    options = parser.parse_args([])
    assert (options.clips, options.frames, options.network_only) == (24, 24, False)
