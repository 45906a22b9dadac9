"""The trainer's command: it trains, judges, saves, resumes, shares the work, and says what is wrong."""

import json
import math
import subprocess
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY, require

torch = require("torch")

from model.curves import PANELS  # noqa: E402
from model.data.clips import Clip  # noqa: E402
from model.paper import train as train_module  # noqa: E402
from model.paper.config import PRESETS, PaperConfig  # noqa: E402
from model.paper.options import Options, parse  # noqa: E402
from model.paper.spynet import SpyNet  # noqa: E402
from model.paper.training import PaperTraining  # noqa: E402
from model.paper.weights import load_paper  # noqa: E402
from model.perceptual import CACHED, PLACES  # noqa: E402
from model.train import main  # noqa: E402
from model.training import LossNotFiniteError  # noqa: E402
from tests.model.pairs import face, write, write_stills, write_videos  # noqa: E402

SMALL = ["--preset", "paper-tiny", "--device", "cpu", "--size", "32", "--frames", "2", "--judged", "1"]


@pytest.fixture(scope="module")
def stills(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stills(tmp_path_factory.mktemp("stills"))


def train(data: Path, out: Path, *more: str, vgg: str = "none") -> int:
    return main([str(data), str(out), *SMALL, "--vgg", vgg, *more])


def history(out: Path) -> list[dict[str, float]]:
    return json.loads((out / "history.json").read_text())


def losses(out: Path) -> list[float]:
    return [entry["loss"] for entry in history(out)]


def test_the_defaults_are_the_papers() -> None:
    chosen = vars(parse(["data", "out"]))
    assert chosen["preset"] == "paper" and PRESETS["paper"] == PaperConfig()
    assert (chosen["iterations"], chosen["batch"], chosen["accumulate"]) == (400_000, 1, 1)
    assert (chosen["rate"], chosen["size"], chosen["frames"]) == (2e-4, 512, 6)
    assert (chosen["motion"], chosen["vgg"], chosen["teacher"]) == ("independent", None, None)


def test_the_command_trains_judges_and_saves(stills: Path, tmp_path: Path) -> None:
    assert train(stills, tmp_path, "--iterations", "2", "--every", "1") == 0
    entries = history(tmp_path)
    assert [entry["step"] for entry in entries] == [1, 2]
    names = {"loss", "flow", "map", "pixel", "perceptual", "fooling", "judging"}
    assert names | {"psnr_raw_db", "psnr_db", "gain_db", "soft_iou"} <= set(entries[0])
    assert all(math.isfinite(value) for entry in entries for value in entry.values())
    assert entries[0]["flow"] > 0 and entries[0]["perceptual"] == 0
    assert load_paper(tmp_path / "weights.pt").config == PRESETS["paper-tiny"]
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert not list(tmp_path.glob("*.part*"))


def test_a_resumed_training_has_the_curve_of_one_that_was_not_stopped(stills: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert train(stills, whole, "--iterations", "3", "--every", "1") == 0
    assert train(stills, parts, "--iterations", "1", "--every", "1") == 0
    assert train(stills, parts, "--iterations", "3", "--every", "1", "--resume") == 0
    assert losses(parts) == losses(whole) and len(losses(whole)) == 3
    one, other = (load_paper(out / "weights.pt").state_dict() for out in (whole, parts))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_training_goes_on_at_another_rate_and_precision(stills: Path, tmp_path: Path) -> None:
    assert train(stills, tmp_path, "--iterations", "1", "--every", "1") == 0
    more = ("--iterations", "2", "--every", "1", "--resume", "--rate", "1e-9", "--bf16")
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["training"]["network"]
    assert train(stills, tmp_path, *more) == 0
    after = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["training"]["network"]
    assert [entry["step"] for entry in history(tmp_path)] == [1, 2]
    assert max(float((after[name] - saved[name]).abs().max()) for name in saved) < 1e-7


def test_gradients_of_two_batches_are_those_of_one_of_twice_the_size(stills: Path, tmp_path: Path) -> None:
    run = ("--iterations", "3", "--every", "1")
    assert train(stills, tmp_path / "a", *run, "--batch", "2") == 0
    assert train(stills, tmp_path / "b", *run, "--accumulate", "2") == 0
    assert losses(tmp_path / "b") == pytest.approx(losses(tmp_path / "a"), rel=1e-4)


def test_two_processes_have_the_losses_of_one_with_twice_the_batch(stills: Path, tmp_path: Path) -> None:
    run = ["--iterations", "3", "--every", "1", "--vgg", "none", "--rate", "0.002"]
    assert main([str(stills), str(tmp_path / "one"), *SMALL, *run, "--batch", "2"]) == 0
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launcher, "-m", "model.train", str(stills), str(tmp_path / "two"), *SMALL, *run]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("step 1,") == 1  # the first process alone writes and prints
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-4)


def test_reports_are_about_val_where_there_is_one(tmp_path: Path) -> None:
    data = write_stills(tmp_path / "data", count=1)
    chosen = Options(data, tmp_path / "out", size=32, frames=1, judged=5)
    assert len(train_module.test_clips(chosen)) == 2
    for side, pixels in zip(("source", "target"), face(7, 96), strict=True):
        write(data / "val" / side / "56000.png", pixels)
    (clip,) = train_module.test_clips(chosen)
    assert clip.raw.shape == (1, 2, 3, 32, 32)  # flicker needs two frames
    assert torch.equal(clip.raw, train_module.test_clips(chosen)[0].raw)


def test_references_of_both_kinds_and_bfloat16_can_be_trained(stills: Path, tmp_path: Path) -> None:
    run = ("--iterations", "1", "--references", "around", "--motion", "smooth", "--bf16")
    assert train(stills, tmp_path, *run) == 0
    assert len(losses(tmp_path)) == 1


def test_what_is_asked_reaches_the_training_and_its_reports(
    stills: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"references": "around", "rate": 3e-4, "average": 0.25, "bf16": True}
    chosen = Options(stills, tmp_path, preset="paper-tiny", size=32, frames=2, judged=1, vgg="none", **asked)
    run = train_module.prepare(chosen, resume=False)
    training = run.training
    assert (training.network.references, training.average, training.bf16) == ("around", 0.25, True)
    turns = (training.localizing, training.retouching, training.judging)
    assert [turn.param_groups[0]["lr"] for turn in turns] == [3e-4] * 3
    judged: list[tuple[object, ...]] = []

    def judge(*given: object) -> dict[str, float]:
        judged.append(given)
        return {name: 0.0 for name, _ in PANELS}

    monkeypatch.setattr(train_module, "judge", judge)
    run.report({"loss": 1.0})
    assert judged == [(training.averaged, run.tests, "around")]


def test_eq_9_needs_vgg_19_and_says_where_it_looks(
    stills: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    out = tmp_path / "out"
    assert main([str(stills), str(out), *SMALL, "--iterations", "1"]) == 2
    said = capsys.readouterr().err
    assert CACHED in said and said.count("\n") == 1 and not out.exists()
    widths = [3, 64, 64, 128, 128, 256, 256, 256, 256]
    state = {}
    for layer, (inputs, outputs) in zip(list(PLACES)[:8], pairwise(widths), strict=True):
        state[f"features.{PLACES[layer]}.weight"] = 0.05 * torch.randn(outputs, inputs, 3, 3)
        state[f"features.{PLACES[layer]}.bias"] = torch.zeros(outputs)
    torch.save(state, tmp_path / "vgg.pth")
    assert train(stills, out, "--iterations", "1", vgg=str(tmp_path / "vgg.pth")) == 0
    assert history(out)[0]["perceptual"] > 0


def test_videos_need_a_teacher_of_the_flow(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_videos(tmp_path / "videos", count=1, frames=3, size=(96, 96))
    run = ("--iterations", "1")
    assert train(data, tmp_path / "none", *run) == 2
    said = capsys.readouterr().err
    assert "--teacher" in said and said.count("\n") == 1
    torch.manual_seed(0)
    spynet = SpyNet(PaperConfig())
    with torch.no_grad():
        spynet.levels[0][-1].bias.fill_(0.2)
    torch.save(spynet.state_dict(), tmp_path / "spynet.pth")
    assert train(data, tmp_path / "taught", *run, "--teacher", str(tmp_path / "spynet.pth")) == 0
    # 0.2 px at the coarsest of six levels is 6.4 px in the picture; S begins at none.
    assert history(tmp_path / "taught")[0]["flow"] == pytest.approx(6.4, rel=1e-3)
    assert train(data, tmp_path / "untaught", *run, "--teacher", "none") == 0
    assert history(tmp_path / "untaught")[0]["flow"] == 0
    assert train(data, tmp_path / "lost", *run, "--teacher", str(tmp_path / "lost.pth")) == 2
    assert "lost.pth" in capsys.readouterr().err


def spoil_settings(out: Path) -> list[str]:
    return ["--frames", "3"]


def spoil_preset(out: Path) -> list[str]:
    return ["--preset", "paper"]


def spoil_system(out: Path) -> list[str]:
    torch.save({"network": {}, "options": {}}, out / "checkpoint.pt")
    return []


def spoil_kind(out: Path) -> list[str]:
    torch.save([1, 2], out / "checkpoint.pt")
    return []


def spoil_by_weights(out: Path) -> list[str]:
    (out / "checkpoint.pt").write_bytes((out / "weights.pt").read_bytes())
    return []


def change(out: Path, part: Callable[[dict[str, Any]], Any]) -> list[str]:
    saved = torch.load(out / "checkpoint.pt", weights_only=True)
    part(saved["training"])
    torch.save(saved, out / "checkpoint.pt")
    return []


def spoil_part(out: Path) -> list[str]:
    return change(out, lambda training: training.pop("judging"))


def spoil_sizes(out: Path) -> list[str]:
    return change(out, lambda training: training["network"].update({"show.weight": torch.zeros(1)}))


def spoil_bytes(out: Path) -> list[str]:
    whole = (out / "checkpoint.pt").read_bytes()
    (out / "checkpoint.pt").write_bytes(whole[: len(whole) // 2])
    return []


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (spoil_settings, ["frames was 2, not 3"]),
        (spoil_preset, ["preset was paper-tiny, not paper"]),
        (spoil_system, ["of live, not of paper"]),
        (spoil_kind, ["of no system, not of paper"]),
        (spoil_by_weights, ["no whole checkpoint", "'settings'"]),
        (spoil_part, ["no whole checkpoint", "'judging'"]),
        (spoil_sizes, ["no whole checkpoint", "another folder"]),
        (spoil_bytes, ["no whole checkpoint"]),
    ],
)
def test_what_cannot_be_resumed_is_said(
    spoil: Callable[[Path], Sequence[str]],
    words: list[str],
    stills: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert train(stills, tmp_path, "--iterations", "1") == 0
    more = spoil(tmp_path)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    if (
        "paper" in more
    ):  # the whole network takes too much memory for a test, and is refused before it is filled
        monkeypatch.setitem(PRESETS, "paper", PRESETS["paper-tiny"])
    capsys.readouterr()
    assert train(stills, tmp_path, "--iterations", "2", "--resume", *more) == 2
    said = capsys.readouterr().err
    assert all(word in said for word in words), said
    assert said.count("\n") == 1
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


def test_a_training_is_not_overwritten(
    stills: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(stills, tmp_path, "--iterations", "1") == 0
    before = (tmp_path / "checkpoint.pt").read_bytes()
    assert train(stills, tmp_path, "--iterations", "1") == 2
    assert "--resume" in capsys.readouterr().err
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_checkpoint(
    stills: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    step = PaperTraining.step

    def astray(self: PaperTraining, clips: Sequence[object], flow_known: bool = True) -> dict[str, float]:
        if self.steps == 3:
            with torch.no_grad():
                next(self.network.decoder.parameters()).fill_(math.inf)
        return step(self, clips, flow_known)  # type: ignore[arg-type]

    monkeypatch.setattr(PaperTraining, "step", astray)
    assert train(stills, tmp_path, "--iterations", "9", "--every", "2") == 2
    said = capsys.readouterr().err
    assert "Step 4 is not finite" in said and "is of step 2" in said and "--rate" in said
    assert said.count("\n") == 1
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["training"]
    assert saved["steps"] == 2
    assert all(torch.isfinite(v).all() for v in saved["network"].values())


def test_every_process_knows_of_which_step_the_checkpoint_is(
    stills: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of two processes neither judges nor saves."""
    step = PaperTraining.step

    def astray_after(steps: int) -> None:
        def one(self: PaperTraining, clips: Sequence[Clip], flow_known: bool = True) -> dict[str, float]:
            if self.steps == steps:
                raise LossNotFiniteError("loss nan")
            return step(self, clips, flow_known)

        monkeypatch.setattr(PaperTraining, "step", one)

    assert train(stills, tmp_path, "--iterations", "1") == 0
    monkeypatch.setattr(train_module, "rank", lambda: 1)
    for steps, said in ((1, "is of step 1, go on"), (3, "is of step 2, go on")):
        astray_after(steps)
        assert train(stills, tmp_path, "--iterations", "9", "--every", "2", "--resume") == 2
        assert said in capsys.readouterr().err
    astray_after(1)
    assert train(stills, tmp_path / "new", "--iterations", "9", "--every", "2") == 2
    assert "nothing was saved yet" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [MemoryError(), torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("can't allocate memory: x")],
)
def test_out_of_memory_says_what_to_lower(
    error: Exception,
    stills: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(self: object, *arguments: object) -> None:
        raise error

    monkeypatch.setattr(PaperTraining, "losses", full)
    assert train(stills, tmp_path, "--iterations", "1") == 2
    said = capsys.readouterr().err
    assert all(word in said for word in ("--batch", "--size", "--frames", "--bf16"))
    assert said.count("\n") == 1


def test_other_errors_are_not_taken_for_memory(
    stills: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: object, *arguments: object) -> None:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(PaperTraining, "losses", broken)
    with pytest.raises(RuntimeError, match="shapes differ"):
        train(stills, tmp_path, "--iterations", "1")


def test_a_picture_that_breaks_on_the_way_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_stills(tmp_path / "data", count=1)
    path = data / "train/source/00000.png"
    path.write_bytes(path.read_bytes()[:-200])  # its head is whole
    assert train(data, tmp_path / "out", "--iterations", "1") == 2
    said = capsys.readouterr().err
    assert "train/source/00000.png cannot be read" in said and said.count("\n") == 1


def test_what_cannot_be_started_is_said(
    stills: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "odd/train/source/a.png", face(0, 64)[0])
    for data, more, word in (
        (tmp_path / "none", (), "none/train/source"),
        (tmp_path / "odd", (), "odd/train/target"),
        (stills, ("--size", "48"), "48 is no multiple of 8"),
        (stills, ("--size", "1024"), "1024"),
    ):
        size = ("--size", "36") if word.startswith("48") else ()
        assert train(data, tmp_path / "out", "--iterations", "1", *more, *size) == 2
        said = capsys.readouterr().err
        assert (word if not size else "36 is no multiple of 8") in said and said.count("\n") == 1
    assert not (tmp_path / "out").exists()
    for wrong in (["--batch", "0"], ["--rate", "-1"], ["--motion", "wild"], ["--references", "future"]):
        with pytest.raises(SystemExit):
            train(stills, tmp_path / "out", *wrong)
        assert wrong[0] in capsys.readouterr().err


def test_the_clips_of_a_step_do_not_depend_on_who_works_them_out(
    stills: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def numbers(rank: int, world: int, batch: int, accumulate: int) -> list[list[int]]:
        monkeypatch.setattr(train_module, "rank", lambda: rank)
        monkeypatch.setattr(train_module, "world", lambda: world)
        chosen = Options(stills, tmp_path, iterations=2, batch=batch, accumulate=accumulate)
        run = train_module.Run(chosen, PaperTraining(PRESETS["paper-tiny"], None), None, [], None)  # type: ignore[arg-type]
        return list(run.numbers())

    assert numbers(0, 1, 4, 1) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert numbers(0, 2, 1, 2) == [[0], [2], [4], [6]]
    assert numbers(1, 2, 1, 2) == [[1], [3], [5], [7]]
    assert numbers(0, 2, 2, 1) == [[0, 1], [4, 5]]
