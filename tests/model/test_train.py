"""Training: it learns, it resumes, and its checkpoints are whole."""

import contextlib
import itertools
import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import require

torch = require("torch")

from model import ablate  # noqa: E402
from model import train as training_module  # noqa: E402
from model.clip_stream import ClipStream  # noqa: E402
from model.config import preset  # noqa: E402
from model.data.clips import ClipConfig, ClipSampler  # noqa: E402
from model.data.sequences import made  # noqa: E402
from model.options import Options, parse  # noqa: E402
from model.train import Progress, Training, main  # noqa: E402
from model.training import average_into, learning_rate  # noqa: E402
from model.validate import figures, mean_figures, retouch_clip, validate  # noqa: E402
from model.vretoucher import VRetouchEr  # noqa: E402
from model.weights import load_weights, save_weights  # noqa: E402


def options(faces_dir: Path, out: Path, **changes: object) -> Options:
    base = {"preset": "tiny", "batch": 2, "frames": 3, "size": 64, "rate": 5e-3, "average": 0.5}
    return Options(faces=faces_dir, out=out, **{**base, **changes})  # type: ignore[arg-type]


@torch.no_grad()
def test_it_begins_by_changing_nothing_unless_it_begins_with_weights(faces_dir: Path, tmp_path: Path) -> None:
    training, face = Training(options(faces_dir, tmp_path)), torch.rand(1, 3, 64, 64)

    def unmasked(network: VRetouchEr) -> torch.Tensor:
        return network.look(face, network.fresh_state(face))[0]

    assert not unmasked(training.network).any() and not unmasked(training.averaged).any()
    drawn = VRetouchEr(preset("tiny"))
    training.take(drawn)
    assert unmasked(drawn).any()
    torch.testing.assert_close(unmasked(training.network), unmasked(drawn))


def test_a_few_steps_on_one_clip_lower_its_loss(faces_dir: Path, tmp_path: Path) -> None:
    chosen = options(faces_dir, tmp_path, steps=1000)
    training = Training(chosen)
    clip = ClipSampler(faces_dir, ClipConfig(size=64, frames=3), seed=1).sample(2)
    training.progress.step = 50
    losses = [training.update(clip)["loss"] for _ in range(30)]
    assert losses[-1] < 0.7 * losses[0]


def test_the_command_trains_validates_and_saves(faces_dir: Path, tmp_path: Path) -> None:
    arguments = [
        str(faces_dir),
        str(tmp_path),
        "--preset",
        "tiny",
        "--batch",
        "2",
        "--frames",
        "2",
        "--size",
        "64",
    ]
    small = ClipSampler(
        faces_dir, ClipConfig(size=128, frames=2, clean_share=0.0), split="heldout", seed=1
    ).sample(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_module, "validation_clips", lambda _: [small])
        assert main([*arguments, "--steps", "2", "--every", "1", "--device", "cpu"]) == 0
        assert main([*arguments, "--steps", "3", "--every", "1", "--device", "cpu", "--resume"]) == 0
    history = json.loads((tmp_path / "history.json").read_text())
    assert [entry["step"] for entry in history] == [1, 2, 3]
    assert {"loss", "gain_db", "removal", "drift", "flicker"} <= set(history[0])
    assert load_weights(tmp_path / "weights.pt").config.preset == "tiny"
    for name in ("curves.png", "validation-000003.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    assert not list(tmp_path.glob("*.part*"))


def test_studio_takes_a_step(faces_dir: Path, tmp_path: Path) -> None:
    one = ["--batch", "1", "--frames", "1", "--size", "64", "--takes", "1", "--steps", "1", "--device", "cpu"]
    held_out = ClipSampler(faces_dir, ClipConfig(size=64, frames=2), split="heldout", seed=1).sample(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_module, "validation_clips", lambda _: [held_out])
        assert main([str(faces_dir), str(tmp_path), "--preset", "studio", *one]) == 0
    history = json.loads((tmp_path / "history.json").read_text())
    assert [entry["step"] for entry in history] == [1]
    assert math.isfinite(history[0]["loss"]) and history[0]["norm"] > 0.0
    trained = load_weights(tmp_path / "weights.pt")
    assert trained.config == preset("studio")
    torch.manual_seed(Options.seed)
    fresh = VRetouchEr(preset("studio"))
    moved = [not torch.equal(a, b) for a, b in zip(trained.parameters(), fresh.parameters(), strict=True)]
    assert sum(moved) > len(moved) / 2


def test_cameras_have_as_much_noise_as_asked(faces_dir: Path, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    rough = []
    try:
        for noise in (0.001, 1.0, 4.0):
            chosen = options(faces_dir, tmp_path, batch=8, frames=1, noise=noise)
            raw = next(iter(ClipStream(chosen, 0))).raw
            rough.append(float((raw - torch.nn.functional.avg_pool2d(raw[:, 0], 3, 1, 1)[:, None]).std()))
    finally:
        torch.set_num_threads(threads)
    assert rough[0] < rough[1] < rough[2]


def test_each_face_is_filmed_twice_and_its_takes_lie_apart(faces_dir: Path, tmp_path: Path) -> None:
    stream = iter(ClipStream(options(faces_dir, tmp_path, batch=8, frames=1, takes=2), 0))
    threads = torch.get_num_threads()
    try:
        clips = [next(stream) for _ in range(24)]
    finally:
        torch.set_num_threads(threads)
    faces = [tuple(clip.face_index) for clip in clips]
    assert len(set(faces)) <= 16  # eight of a batch are hardly ever the same by chance
    pairs = list(itertools.pairwise(faces))
    assert sum(one == other for one, other in pairs) < 8


def test_a_network_that_does_as_its_teacher_has_nothing_to_learn(faces_dir: Path, tmp_path: Path) -> None:
    torch.manual_seed(3)
    teacher = VRetouchEr(preset("tiny"))
    with torch.no_grad():
        teacher.decoder.out.bias[12:] += 2.0  # a mask that is not 0
    save_weights(teacher, tmp_path / "teacher.pt")
    clip = ClipSampler(faces_dir, ClipConfig(size=64, frames=3), seed=1).sample(2)
    left = {}
    for lean in (0.0, 0.5, 1.0):
        training = Training(options(faces_dir, tmp_path, teacher=tmp_path / "teacher.pt", lean=lean))
        training.take(teacher)
        left[lean] = training.clip_loss(clip)[1]["retouch"]
    assert left[1.0] < 1e-6 < 0.001 < left[0.5] < left[0.0]


def test_a_teacher_that_is_not_there_is_said(
    faces_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [str(faces_dir), str(tmp_path / "out"), "--preset", "tiny", "--teacher", str(tmp_path / "no.pt")]
    assert main(asked) == 2
    assert "There are no weights at" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_lean_without_a_teacher_is_refused(faces_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([str(faces_dir), "out", "--lean", "0.3"])
    assert "give --teacher WEIGHTS too" in capsys.readouterr().err


def test_faces_that_are_all_held_out_are_said_before_anything_begins(
    faces_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    faces, start = tmp_path / "faces", tmp_path / "start.pt"
    shutil.copytree(faces_dir, faces)
    rows = json.loads((faces / "index.json").read_text())
    (faces / "index.json").write_text(json.dumps([row | {"split": "heldout"} for row in rows]))
    save_weights(VRetouchEr(preset("tiny")), start)
    small = [str(faces), str(tmp_path / "out"), "--size", "64", "--steps", "1"]
    for command, more in ((main, ("--preset", "tiny")), (ablate.main, ("--start-from", str(start)))):
        assert command([*small, *more]) == 2
        said = capsys.readouterr().err
        assert "holds no face of split 'train'" in said.splitlines()[-1]
        assert "Traceback" not in said


def test_want_of_memory_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, faces_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(training_module, "validation_clips", full)
    assert main([str(faces_dir), str(tmp_path / "out"), "--preset", "tiny"]) == 2
    said = capsys.readouterr().err
    assert "memory does not suffice" in said and "lower --batch" in said and said.count("\n") == 1


def test_a_training_that_is_stopped_says_how_it_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(training_module, "run", stopped)
    assert main([str(tmp_path), str(tmp_path / "out")]) == 130
    assert "--resume" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        (["--takes", "0"], "--takes"),
        (["--every", "0"], "--every"),
        (["--batch", "none"], "--batch"),
        (["--minutes", "0"], "--minutes"),
        (["--rate", "fast"], "--rate"),
        (["--gain-first", "1.2"], "--gain-first"),
        (["--gain-first", "nan"], "--gain-first"),
        (["--leak", "-0.1"], "--leak"),
        (["--keep", "0"], "--keep"),
        (["--noise", "-1"], "--noise"),
        (["--density", "-1"], "--density"),
        (["--diffuse", "nan"], "--diffuse"),
        (["--clean-share", "2"], "--clean-share"),
        (["--average", "1.5"], "--average"),
    ],
)
def test_numbers_out_of_range_are_refused(
    wrong: list[str], word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path), str(tmp_path / "out"), *wrong])
    assert ended.value.code == 2
    assert word in capsys.readouterr().err


def test_what_is_asked_for_reaches_the_training() -> None:
    asked = ["--keep", "10", "--noise", "2.4", "--diffuse", "0", "--density", "1.7", "--clean-share", "0.12"]
    found = parse(None, ["faces", "out", *asked])
    chosen = Options(**{k: v for k, v in vars(found).items() if k in Options.__dataclass_fields__})
    assert (chosen.keep, chosen.noise, chosen.diffuse, chosen.density, chosen.clean_share) == (
        *(10.0, 2.4, 0.0, 1.7, 0.12),
    )


def test_what_cannot_be_trained_from_is_one_sentence(
    faces_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    tiny = [str(faces_dir), str(out), "--preset", "tiny", "--size", "64"]
    assert main([str(tmp_path / "none"), str(out)]) == 2
    assert main([*tiny, "--start-from", str(tmp_path / "none.pt")]) == 2
    assert not out.exists()
    save_weights(VRetouchEr(preset("live")), tmp_path / "live.pt")
    assert main([*tiny, "--start-from", str(tmp_path / "live.pt")]) == 2
    out.mkdir()
    torch.save({"network": {}}, out / "checkpoint.pt")
    assert main([*tiny, "--resume"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 4
    for line, word in zip(said, ("none", "none.pt", "'live'", "checkpoint"), strict=True):
        assert word in line


def test_the_budget_ends_by_steps_or_minutes(faces_dir: Path, tmp_path: Path) -> None:
    chosen = options(faces_dir, tmp_path, steps=10, minutes=4.0)
    assert Progress(step=5, minutes=1.0).share(chosen) == 0.5
    assert Progress(step=1, minutes=3.0).share(chosen) == 0.75
    assert Progress(step=99).share(chosen) == 1.0


def test_the_error_that_is_left_leads_as_long_as_asked(faces_dir: Path, tmp_path: Path) -> None:
    training = Training(options(faces_dir, tmp_path, steps=10, gain_first=0.4))
    led = []
    for training.progress.step in (0, 3, 4, 9):
        led.append(training.weights.left > training.weights.retouch)
    assert led == [True, True, False, False]
    clip = ClipSampler(faces_dir, ClipConfig(size=64, frames=3), seed=1).sample(2)
    losses = {}
    for training.progress.step in (0, 4):
        losses[training.progress.step] = float(training.clip_loss(clip)[0].detach())
    assert losses[0] != losses[4]


def test_moles_count_as_much_as_asked(faces_dir: Path, tmp_path: Path) -> None:
    clip = ClipSampler(faces_dir, ClipConfig(size=64, frames=1), seed=1).sample(2)
    moles = replace(clip, keep=torch.ones_like(clip.keep))
    bare = replace(clip, keep=torch.zeros_like(clip.keep))
    detail = {}
    for keep in (4.0, 10.0):
        training = Training(options(faces_dir, tmp_path / str(keep), keep=keep))
        assert training.weights.keep == keep
        detail[keep] = [training.clip_loss(c)[1]["detail"] for c in (moles, bare)]
    assert detail[10.0][1] == detail[4.0][1]
    assert 2.0 <= detail[10.0][0] / detail[4.0][0] <= 2.2


def test_relu_leaks_for_most_of_the_budget_where_asked(
    faces_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slopes = []

    @contextlib.contextmanager
    def noted(slope: float) -> Iterator[None]:
        slopes.append(slope)
        yield

    monkeypatch.setattr(training_module, "leaking", noted)
    training = Training(options(faces_dir, tmp_path, steps=10, leak=0.1))
    clip = ClipSampler(faces_dir, ClipConfig(size=64, frames=1), seed=1).sample(1)
    for training.progress.step in (0, 6, 7, 9):
        training.update(clip)
    assert slopes == [0.1, 0.1, 0.0, 0.0]


def test_the_rate_warms_up_and_falls() -> None:
    rates = [learning_rate(s, 1.0) for s in (0.0, 0.02, 0.5, 1.0)]
    assert rates[0] < 0.05 < rates[1]
    assert rates[1] > 0.99 > rates[2] > rates[3]
    assert rates[3] == pytest.approx(0.02)


def test_the_average_moves_by_its_share() -> None:
    mean, new = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    before = mean.weight.detach().clone()
    average_into(mean, new, 0.75)
    torch.testing.assert_close(mean.weight.detach(), 0.75 * before + 0.25 * new.weight.detach())


def test_figures_know_a_perfect_and_a_lazy_retoucher(faces_dir: Path) -> None:
    clip = ClipSampler(faces_dir, ClipConfig(size=512, frames=2, clean_share=0.0), seed=3).sample(1)
    perfect = figures(clip, clip.target, clip.map)
    lazy = figures(clip, clip.raw, torch.zeros_like(clip.map))
    assert (
        perfect.removal == 1.0 and perfect.flicker == 0.0 and perfect.soft_iou == 1.0 and perfect.gain_db > 20
    )
    assert lazy.removal == 0.0 and lazy.gain_db == 0.0 and lazy.drift == 0.0 and lazy.soft_iou == 0.0


def test_clips_that_differ_everywhere_have_no_say_in_the_drift() -> None:
    raw = torch.full((1, 2, 3, 16, 16), 0.5)
    whole = torch.ones(1, 2, 1, 16, 16)
    clean = made(raw, raw, torch.zeros(1, 2, 2, 16, 16))
    lossy = made(raw, raw + 0.01, torch.zeros(1, 2, 2, 16, 16))
    counted = [figures(clip, clip.raw + 2 / 255, whole) for clip in (clean, lossy)]
    assert math.isnan(counted[1].drift)
    together = mean_figures(counted)
    assert together.drift == pytest.approx(2.0, rel=1e-4)
    assert together.soft_iou == pytest.approx((counted[0].soft_iou + counted[1].soft_iou) / 2)
    assert all(math.isfinite(value) for value in mean_figures(counted[1:]).to_dict().values())


def test_validation_writes_a_picture_as_wide_as_its_columns(faces_dir: Path, tmp_path: Path) -> None:
    from PIL import Image

    clip = ClipSampler(faces_dir, ClipConfig(size=128, frames=2), seed=3).sample(2)
    network = Training(options(faces_dir, tmp_path)).averaged
    validate(network, [clip], tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as picture:
        assert picture.size == (5 * 128, 2 * 128)
    retouched, maps = retouch_clip(network, clip.raw)
    assert retouched.shape == clip.raw.shape and maps.shape == clip.map.shape
