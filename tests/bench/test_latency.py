"""The latency bench: its clock, its footage, its watching of a process, and a run with a fake engine."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from bench import chart, delta, latency
from bench.__main__ import main
from bench.ceiling import gemm_gflops, measured_gflops
from bench.clock import median_ratio, spread, take_turns
from bench.footage import face_picture, moving_face, repeat_video, write_video
from bench.latency import FileRun, Measured
from bench.process import Run, watch
from bench.report import BenchError
from stream.results import STAGES
from stream.retoucher import Retoucher
from tests.stream.fakes import FakeEngine, FakeFinder, face_at, noise_frame


def test_spread_by_hand() -> None:
    s = spread([float(v) for v in range(1, 101)])
    assert (s.count, s.min, s.max) == (100, 1.0, 100.0)
    assert s.p50 == pytest.approx(50.5)
    assert s.p95 == pytest.approx(95.05)
    assert s.p99 == pytest.approx(99.01)


def test_a_spread_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no durations"):
        spread([])


def test_candidates_take_turns_and_are_warmed_up_untimed() -> None:
    ran: list[str] = []
    ticks = itertools.count(0, 1_000_000)
    candidates = {"a": lambda: ran.append("a"), "b": lambda: ran.append("b")}
    taken = take_turns(candidates, rounds=2, per_round=2, warm_up=1, clock=lambda: next(ticks))
    assert taken == {"a": [1.0] * 4, "b": [1.0] * 4}
    # Warm-up a b; round one a then b, round two b then a, each with one untimed run first.
    assert "".join(ran) == "ab" + "aaa" + "bbb" + "bbb" + "aaa"


def test_the_ratio_is_taken_within_rounds() -> None:
    # A slow second round hits both alike, so the ratio stays 1.1.
    assert median_ratio([11.0, 11.0, 110.0, 110.0], [10.0, 10.0, 100.0, 100.0], 2) == pytest.approx(1.1)


def test_the_ceiling_is_positive_in_and_out_of_process() -> None:
    assert gemm_gflops(side=128, repeats=2) > 0.1
    assert measured_gflops(1) > 0.1


def test_memory_growth_is_told_only_by_long_runs() -> None:
    samples = tuple((float(s), 300.0 + 2.0 * s / 60.0) for s in range(120))
    assert Run(120.0, 304.0, samples).slope_mb_per_min() == pytest.approx(2.0)
    assert Run(59.0, 304.0, samples[:59]).slope_mb_per_min() is None


def test_a_process_is_watched() -> None:
    run = watch([sys.executable, "-c", "b = bytearray(60_000_000); import time; time.sleep(0.7)"])
    assert run.seconds > 0.7
    assert run.peak_mb > 60.0
    assert len(run.rss) >= 1


def test_the_memory_of_who_measures_does_not_count() -> None:
    held = np.ones(30_000_000)
    run = watch([sys.executable, "-c", "import time; time.sleep(0.7)"])
    assert run.peak_mb < 100 < held.nbytes / 1e6


def test_a_failed_process_says_its_last_line() -> None:
    with pytest.raises(BenchError, match="no such luck"):
        watch([sys.executable, "-c", "import sys; sys.exit('no such luck')"])


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return noise_frame(90, 120)


def test_the_face_moves_smoothly(picture: np.ndarray) -> None:
    frames = list(moving_face(picture, 3, (160, 90)))
    assert [frame.shape for frame in frames] == [(90, 160, 3)] * 3
    assert not np.array_equal(frames[0], frames[2])
    assert np.array_equal(frames[1], list(moving_face(picture, 2, (160, 90)))[1])


def test_a_repeated_video_has_all_frames_in_order(picture: np.ndarray, tmp_path: Path) -> None:
    once, thrice = tmp_path / "once.mp4", tmp_path / "thrice.mp4"
    write_video(once, moving_face(picture, 20, (160, 90)), (160, 90))
    repeat_video(once, thrice, 3)
    with av.open(str(thrice)) as container:
        times = [frame.time for frame in container.decode(video=0)]
    assert len(times) == 60
    np.testing.assert_allclose(np.diff(times), 1 / 30, atol=1e-4)


def test_a_picture_that_is_missing_or_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    for path in (tmp_path / "absent.png", tmp_path / "text.png"):
        with pytest.raises(BenchError, match="--input"):
            face_picture(path)


def test_stages_are_timed_after_the_warm_up(picture: np.ndarray) -> None:
    with Retoucher(engine=FakeEngine(), finder=FakeFinder(face_at(640, 360))) as retoucher:
        stages = latency.frame_stages(retoucher, picture, 4)
        assert len(latency.aligned_faces(retoucher, picture)) == 6
    assert tuple(stages) == STAGES
    assert all(s.count == 4 for s in stages.values())
    assert stages["total"].min > stages["composite"].min > 0.0


def test_a_picture_without_a_face_is_refused(picture: np.ndarray) -> None:
    with Retoucher(engine=FakeEngine(), finder=FakeFinder()) as retoucher:
        with pytest.raises(BenchError, match="no face was found in 20 of 20"):
            latency.frame_stages(retoucher, picture, 20)
        with pytest.raises(BenchError, match="no face was found"):
            latency.aligned_faces(retoucher, picture)


def test_engines_are_stepped_in_turns() -> None:
    faces = [noise_frame(512, 512, seed) for seed in range(2)]
    taken = latency.network_steps({"one": FakeEngine(), "two": FakeEngine()}, faces, 12)
    assert {name: len(samples) for name, samples in taken.items()} == {"one": 12, "two": 12}


def test_file_figures_by_hand() -> None:
    short = Run(2.0, 250.0, ())
    runs = [FileRun(330, short, Run(12.0, 300.0, ())), FileRun(330, short, Run(17.0, 310.0, ()))]
    figures = latency.file_figures(runs)
    assert figures["file_fps"] == pytest.approx((330 / 12 + 330 / 17) / 2)
    assert figures["file_fps_best"] == pytest.approx(27.5)
    assert figures["file_fps_less_start"] == pytest.approx((30.0 + 20.0) / 2)
    assert figures["peak_rss_mb"] == 310.0
    assert figures["rss_slope_mb_per_min"] is None


def test_the_tables_name_the_budgets_met_and_missed() -> None:
    measured = Measured(figures={"step_p50_ms": 12.0, "step_p99_ms": 25.0, "delta_cost": None})
    measured.stages = {"total": spread([1.0, 2.0])}
    verdicts = latency.tables(measured).split("\n\n")[-1].splitlines()
    said = {line[:30].strip(): line.rsplit("  ", 1)[1] for line in verdicts[2:]}
    assert said["network step, two threads, p50"] == "met"
    assert said["network step, two threads, p99"] == "MISSED"
    assert said["cost of delta = 6 against delt"] == "not measured"
    assert said["memory of vretouch file, peak"] == "not measured"


def test_the_result_is_plain_json() -> None:
    measured = Measured(stages={"total": spread([1.0])}, figures={"step_p50_ms": 1.0})
    said = latency.result(measured, {"steps": 1})
    read = json.loads(json.dumps(said))
    assert read["stages_ms"]["total"]["p50"] == 1.0
    assert read["budgets"][0]["met"] is True


def test_the_chart_has_a_row_for_each_duration(tmp_path: Path) -> None:
    chart.save({"locate": spread([1.0, 2.0]), "step": spread([9.0])}, tmp_path / "chart.png")
    with Image.open(tmp_path / "chart.png") as picture:
        assert picture.size == (900, 90)


def test_a_card_beside_a_model_tells_its_delta(tmp_path: Path) -> None:
    (tmp_path / "six.json").write_text('{"delta": 6}')
    (tmp_path / "other.json").write_text("[]")
    found = delta.given_variants([tmp_path / "six.onnx", tmp_path / "other.onnx", tmp_path / "none.onnx"])
    assert found == [delta.Variant(tmp_path / "six.onnx", 6)]


@pytest.mark.parametrize("arguments", [["--steps", "0"], ["--seconds", "1"], ["--seconds", "nan"]])
def test_a_run_of_nothing_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["latency", *arguments]) == 2
    assert "give larger ones" in capsys.readouterr().err


def test_a_whole_run_with_a_fake_engine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(noise_frame(90, 120)).save(tmp_path / "face.png")
    monkeypatch.setattr(latency, "engine_for", lambda *_: FakeEngine())
    monkeypatch.setattr(latency, "measured_gflops", lambda threads: 100.0 * threads)
    monkeypatch.setattr(latency, "Retoucher", with_a_face)
    monkeypatch.setattr(latency, "_gmac", lambda *_: 1.5)
    asked = [
        "--input",
        str(tmp_path / "face.png"),
        "--frames",
        "4",
        "--steps",
        "12",
        "--no-file",
        "--no-delta",
    ]
    assert main(["latency", *asked, "--json", "-"]) == 0
    said = capsys.readouterr()
    read = json.loads(said.out)
    figures, settings = read["figures"], read["settings"]
    assert (settings["seconds"], settings["repeats"], settings["minutes"]) == (20.0, 3, 0.0)
    assert figures["gflops_2"] == pytest.approx(3000.0 / figures["step_p50_ms"])
    assert figures["share_of_ceiling_2"] == pytest.approx(figures["gflops_2"] / 200.0)
    assert "network step alone" in said.err
    assert "file_fps" not in figures


def with_a_face(preset: str, engine: FakeEngine) -> Retoucher:
    return Retoucher(preset, engine, finder=FakeFinder(face_at(640, 360)))
