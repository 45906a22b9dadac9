"""The latency bench of one device: the real thing, small, on a CPU."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench import chart, latency
from bench.__main__ import main
from bench.budgets import DEVICE, PROJECTED
from bench.report import BenchError, markdown
from stream.crop import FACE_PX
from stream.retoucher import Retoucher
from tests.conftest import require
from tests.stream.fakes import PATCH, FakeEngine, FakeFinder, face_at, noise_frame

torch = require("torch")

from bench import networks, pipeline, precision, sweep  # noqa: E402
from bench.device import CLASSES, Cpu  # noqa: E402
from bench.project import Roof  # noqa: E402
from bench.swept import Swept, parts  # noqa: E402
from stream.engines.torch_ import TorchEngine  # noqa: E402

SMALL = [
    "latency",
    "--device",
    "cpu",
    "--preset",
    "tiny",
    "--engine",
    "torch-cpu",
    "--threads",
    "1",
    "--resolution",
    "360p",
    "--faces",
    "1,2",
    "--delta",
    "1,2",
    "--frames",
    "4",
    "--steps",
    "6",
    "--project",
    "rtx3090",
]


def test_a_whole_run_is_in_json_markdown_and_a_chart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [tmp_path / name for name in ("out.json", "out.md", "out.png")]
    files = ["--json", str(paths[0]), "--markdown", str(paths[1]), "--chart", str(paths[2])]
    assert main([*SMALL, *files]) == 0
    said, written = capsys.readouterr().out, paths[1].read_text()
    read = json.loads(paths[0].read_text())
    figures = read["figures"]
    for text in (said, written):
        assert "seeded and not trained" in text
        assert "Projected, not measured, to NVIDIA GeForce RTX 3090 (71 TFLOP/s, 936 GB/s)" in text
    assert "| 360p, 2 faces: step |" in written
    assert read["device"]["class"] == "cpu"
    assert read["dtype"] == "float32"
    frame = read["frames_ms"]["vretouch, torch-cpu"]["360p, 2 faces"]
    assert list(frame["stages"]) == ["crop", "step", "paste"]
    assert frame["wall"]["count"] == 4
    assert frame["wall"]["min"] >= sum(frame["stages"][name]["min"] for name in frame["stages"])
    assert figures["frame_360p_2_p50_ms"] == pytest.approx(frame["wall"]["p50"])
    assert figures["frame_360p_2_fps"] == pytest.approx(1000.0 / frame["wall"]["p50"])
    assert set(read["steps_ms"]) == {"delta 1", "delta 2"}
    assert figures["step_p99_ms"] == pytest.approx(read["steps_ms"]["delta 2"]["p99"])
    assert figures["roofline_share"] == pytest.approx(figures["roofline_ms"] / figures["step_p50_ms"])
    assert figures["precision_levels"] == 0.0
    assert figures["first_frame_ms"] > figures["load_ms"] > 0.0
    assert "host_syncs" not in figures
    stages = [s for s in read["projection"]["stages"] if s["case"] == "360p, 1 face"]
    ours = [stage["ms"] for stage in stages if stage["pipeline"].startswith("vretouch")]
    assert sum(ours) == pytest.approx(figures["projected_360p_1_ms"])
    with Image.open(paths[2]) as picture:
        assert picture.size == (900, 30 * 8)  # three ways with one face, two with two, two steps
    around = [
        sum(read["frames_ms"][name]["360p, 1 face"]["stages"][stage]["p50"] for stage in ("crop", "paste"))
        for name in ("torch, grid_sample", "vretouch, torch-cpu")
    ]
    assert figures["grid_sample_360p_1_crop_and_paste_x"] == pytest.approx(around[0] / around[1])
    assert list(read["frames_ms"]["matting, tensors only"]) == ["360p, 1 face"]
    assert figures["matting_360p_1_fps"] > 0.0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--resolution", "999p"], "choose from 360p, 720p"),
        (["--faces", "0"], "give larger ones"),
        (["--delta", "0,6"], "give larger ones"),
        (["--preset", "huge"], "choose one of live, studio"),
        (["--engine", "torch-cuda"], "choose one of onnx-cpu, torch-cpu"),
    ],
)
def test_what_cannot_be_timed_is_a_sentence(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Cpu, "roof", lambda *_: Roof(1.0, 1.0))
    assert main(["latency", "--device", "cpu", *arguments]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--faces", "2"], "--faces needs --device; name one, or leave it out"),
        (["--no-rivals"], "--no-rivals needs --device"),
        (["--device", "cpu", "--model", "x.onnx"], "--model has no use with --device; leave one of them out"),
        (["--device", "cpu", "--seconds", "20"], "--seconds has no use with --device"),
        (["--device", "cpu", "--minutes", "1"], "--minutes has no use with --device"),
        (["--device", "cpu", "--no-delta"], "--no-delta has no use with --device"),
    ],
)
def test_what_would_be_ignored_is_refused(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["latency", *words]) == 2
    assert said in capsys.readouterr().err


def test_every_option_of_one_way_alone_is_refused_with_the_other() -> None:
    parser = argparse.ArgumentParser()
    latency.add_arguments(parser)
    whole, device = parser._action_groups[-2:]
    assert tuple(action.dest for action in whole._group_actions) == latency._OF_THE_WHOLE
    assert ("device", *latency._OF_A_DEVICE) == tuple(action.dest for action in device._group_actions)


def test_lists_are_refused_where_they_are_none(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    latency.add_arguments(parser)
    assert parser.parse_args(["--faces", "1,4"]).faces == [1, 4]
    with pytest.raises(SystemExit):
        parser.parse_args(["--faces", "1,x"])
    assert "invalid list value: '1,x'" in capsys.readouterr().err


def test_the_frame_path_is_the_retouchers_own() -> None:
    with (
        Retoucher(engine=FakeEngine(), finder=FakeFinder(face_at(320, 180, 0.3))) as retoucher,
        Retoucher(engine=FakeEngine(), finder=FakeFinder(face_at(320, 180, 0.3))) as whole,
    ):
        shots = pipeline.shots_of(noise_frame(90, 160), (640, 360), 1, retoucher)
        path, marks = pipeline.HostPipeline(retoucher, []), []
        out = path.frame(shots[0], marks.append)
        assert marks == list(path.places)
        count = pipeline.UNTIMED_FRAMES + 1
        for number, frame in enumerate(pipeline.moving_faces(noise_frame(90, 160), count, (640, 360), 1)):
            wanted = whole.process(frame, number / 30)
    changed = (out != shots[0].frame_u8).any(axis=2)
    assert changed.any()
    assert np.array_equal(changed, (wanted != shots[0].frame_u8).any(axis=2))


def test_faces_that_are_not_found_are_a_sentence() -> None:
    with (
        Retoucher(engine=FakeEngine(), finder=FakeFinder(face_at(320, 180, 0.3)), max_faces=2) as retoucher,
        pytest.raises(BenchError, match="only 1 of 2 faces were found at 640x360"),
    ):
        pipeline.shots_of(noise_frame(90, 160), (640, 360), 2, retoucher)


def test_pictures_stand_beside_and_below_each_other() -> None:
    frame = next(iter(pipeline.moving_faces(noise_frame(90, 160), 1, (640, 360), 3)))
    one = frame[:180, :320]
    assert np.array_equal(one, frame[:180, 320:])
    assert np.array_equal(one, frame[180:, :320])
    assert len(np.unique(frame[180:, 320:].reshape(-1, 3), axis=0)) == 1


def test_shots_go_forwards_and_backwards() -> None:
    row = pipeline.back_and_forth(["a", "b", "c"])
    assert "".join(next(row) for _ in range(9)) == "abcbabcba"


def test_work_follows_the_pixels_under_the_face() -> None:
    finder = FakeFinder(face_at(320, 180, 0.25))
    with Retoucher(engine=FakeEngine(), finder=finder) as retoucher:
        shot = pipeline.shots_of(noise_frame(90, 160), (640, 360), 1, retoucher)[0]
    (crop,), (paste,) = pipeline.crop_work(shot), pipeline.paste_work(shot, 4)
    under = 128.0**2  # a quarter of 512 on each side, and a pixel more at most on each edge
    assert 3 * under <= crop.bytes - 3 * FACE_PX**2 < 3 * 132**2
    assert 6 * under <= paste.bytes - 13 * FACE_PX**2 < 6 * 132**2


def test_precision_is_the_largest_byte_and_the_gain_that_is_lost() -> None:
    faces = [np.full((FACE_PX, FACE_PX, 3), 100, np.uint8)] * 2
    exact = precision.compare(FakeEngine(10.0), FakeEngine(10.0), faces, faces)
    assert exact == precision.Precision(0.0, 0.0)
    white = np.full_like(faces[0], 255)  # nothing can be added
    off = precision.compare(FakeEngine(13.0), FakeEngine(10.0), [*faces, white], None)
    assert off == precision.Precision(3.0, None)


def test_gain_is_lost_where_the_target_is_missed() -> None:
    require("skimage")
    face = np.full((FACE_PX, FACE_PX, 3), 100, np.uint8)
    target = face.copy()
    target[PATCH] += 20
    # The first step adds 10 or 15 where 20 are due: errors of 10 and 5, and 6 dB between them.
    found = precision.compare(FakeEngine(10.0), FakeEngine(15.0), [face], [target])
    assert found.gain_lost_db == pytest.approx(20.0 * np.log10(2.0), abs=1e-6)


def test_a_ring_of_another_length_keeps_the_weights() -> None:
    own, one = networks.network_of("live"), networks.network_of("live", 1)
    assert (own.config.delta, one.config.delta) == (6, 1)
    assert torch.equal(own.decoder.out.weight, one.decoder.out.weight)
    assert networks.is_trained("live")


def test_an_untrained_preset_is_the_same_every_time() -> None:
    first, second = networks.network_of("tiny"), networks.network_of("tiny", 3)
    assert not networks.is_trained("tiny")
    assert torch.equal(first.decoder.out.weight, second.decoder.out.weight)


def test_an_engine_is_loaded_with_the_network_it_is_given(tmp_path: Path) -> None:
    network = networks.network_of("tiny")
    engine = networks.loader("torch-cpu", network, 1, tmp_path)()
    assert isinstance(engine, TorchEngine)
    assert engine.new_state().memory.valid.shape == (1, 2)


def test_the_step_alone_runs_the_engine(tmp_path: Path) -> None:
    engine = networks.loader("torch-cpu", networks.network_of("tiny"), 1, tmp_path)()
    ran: list[int] = []
    run = engine.run
    engine.run = lambda state: (ran.append(state.steps), run(state))  # type: ignore[method-assign]
    step = sweep.steps_of(engine)
    step()
    step()
    assert ran == [0, 1]


def test_every_class_of_gpu_has_targets_for_both_presets() -> None:
    assert {(group, preset) for group in CLASSES[1:] for preset in ("live", "studio")} <= set(DEVICE)
    assert set(PROJECTED) == {"live", "studio"}


class FakeGpu(Cpu):
    """A GPU by name and class."""

    kind, group = "cuda", "data-centre"

    def __init__(self) -> None:
        self.name = "NVIDIA H200"


def test_targets_go_by_class_and_preset_and_projections_only_from_a_gpu() -> None:
    swept = Swept(FakeGpu(), Roof(1.0, 1.0), "studio", "torch-cuda", torch.float16)
    swept.figures = {"frame_1080p_1_p99_ms": 2.6, "roofline_share": 0.5, "projected_1080p_1_fps": 250.0}
    met = {v.budget.figure: v.met for v in swept.verdicts()}
    assert met["frame_1080p_1_p99_ms"] is False
    assert met["roofline_share"] is True
    assert "projected_1080p_1_fps" not in met
    swept.target = sweep.TARGETS["rtx3090"]
    assert {v.budget.figure: v.met for v in swept.verdicts()}["projected_1080p_1_fps"] is True
    swept.device.group = "consumer"  # its own frames are held against the same target
    assert {v.budget.figure for v in swept.verdicts()} == {b.figure for b in DEVICE["consumer", "studio"]}
    swept.device = Cpu(1)
    assert swept.verdicts() == []
    assert parts(swept)[-1] == "There are no targets for preset studio on a device of class cpu."


def test_a_table_in_markdown() -> None:
    assert markdown(("a", "b"), [("1", "2")]) == "| a | b |\n| --- | ---: |\n| 1 | 2 |"


def test_bars_are_as_long_as_their_stages() -> None:
    one, two = (chart.Bar("x", {"crop": 1.0, "step": v}, 4.0) for v in (1.0, 2.0))
    drawn = np.asarray(chart.draw_bars([one, two]))
    coloured = (drawn[:, chart._LONG_LABEL_PX : -chart._NUMBER_PX] != 255).any(axis=2)
    lengths = [int(coloured[30 * row + 10].sum()) for row in (1, 2)]
    assert lengths[1] == pytest.approx(1.5 * lengths[0], abs=4)
