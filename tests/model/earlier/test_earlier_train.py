"""Training the earlier systems: the command, what it writes, how it goes on, and what it refuses."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from tests.conftest import require

torch = require("torch")

from model.bpfre import BPFRE, BPFRe  # noqa: E402
from model.clip_stream import ClipStream  # noqa: E402
from model.config import preset  # noqa: E402
from model.data.clips import ClipConfig, ClipSampler  # noqa: E402
from model.data.sequences import PairClips  # noqa: E402
from model.earlier import Pairs  # noqa: E402
from model.earlier import pairs as pairs_module  # noqa: E402
from model.earlier.options import Options, parser  # noqa: E402
from model.earlier.pairs import batches, held_out  # noqa: E402
from model.earlier.systems import FrameByFrame, config_of, network_of  # noqa: E402
from model.earlier.train import prepare, train  # noqa: E402
from model.earlier.weights import load_earlier, save_earlier  # noqa: E402
from model.options import Options as LiveOptions  # noqa: E402
from model.perceptual import CACHED, PLACES  # noqa: E402
from model.systems import chosen_system  # noqa: E402
from model.train import main  # noqa: E402
from model.vretoucher import VRetouchEr  # noqa: E402
from model.weights import WeightsError, load_weights, save_weights  # noqa: E402
from tests.model.pairs import write_stills  # noqa: E402

BOTH = pytest.mark.parametrize("system", ["autoretouch", "bpfre"])
SMALL = ["--preset", "tiny", "--device", "cpu", "--batch", "1", "--frames", "2", "--size", "64"]


def run(system: str, data: Path, out: Path, *more: str, perceptual: bool = False) -> int:
    spared = [] if perceptual else ["--no-perceptual"]
    return main(["--system", system, str(data), str(out), *SMALL, *spared, *more])


def history(out: Path) -> list[dict[str, float]]:
    return json.loads((out / "history.json").read_text())


@BOTH
def test_it_trains_on_pairs_judges_and_saves(system: str, stills: Path, tmp_path: Path) -> None:
    assert run(system, stills, tmp_path, "--steps", "2", "--every", "1") == 0
    entries = history(tmp_path)
    assert [entry["step"] for entry in entries] == [1, 2]
    assert {"loss", "gain_db", "removal", "drift", "flicker", "soft_iou"} <= set(entries[0])
    assert all(math.isfinite(value) for entry in entries for value in entry.values())
    assert load_earlier(system, tmp_path / "weights.pt").config == config_of(system, "tiny")
    assert torch.load(tmp_path / "weights.pt", weights_only=True)["perceptual"] is False
    for name in ("curves.png", "validation-000002.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    assert not list(tmp_path.glob("*.part*"))


@BOTH
def test_a_resumed_training_has_the_curve_of_one_that_was_not_stopped(
    system: str, stills: Path, tmp_path: Path
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert run(system, stills, whole, "--steps", "3", "--every", "1") == 0
    assert run(system, stills, parts, "--steps", "1", "--every", "1") == 0
    assert run(system, stills, parts, "--steps", "3", "--every", "1", "--resume") == 0
    assert [e["loss"] for e in history(parts)] == [e["loss"] for e in history(whole)]
    one, other = (load_earlier(system, out / "weights.pt").state_dict() for out in (whole, parts))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_it_trains_on_frames_of_painted_portraits(
    faces_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ClipConfig(size=128, frames=2, clean_share=0.0)
    clip = ClipSampler(faces_dir, config, split="heldout", seed=1).sample(1)
    monkeypatch.setattr(pairs_module, "validation_clips", lambda _: [clip])
    assert run("bpfre", faces_dir, tmp_path, "--steps", "2", "--every", "1") == 0
    assert len(history(tmp_path)) == 2


def test_the_pairs_are_all_frames_of_the_causal_networks_own_clips(faces_dir: Path, tmp_path: Path) -> None:
    chosen = Options("bpfre", faces_dir, tmp_path, batch=2, frames=3, size=64, seed=5)
    clip_options = LiveOptions(faces_dir, tmp_path, batch=2, frames=3, size=64, seed=5)
    pairs = next(batches(chosen, 0))
    threads = torch.get_num_threads()
    clip = next(iter(ClipStream(clip_options, 0)))
    torch.set_num_threads(threads)
    assert torch.equal(pairs.raw, clip.raw.flatten(0, 1)) and pairs.raw.shape == (6, 3, 64, 64)
    assert torch.equal(pairs.target, clip.target.flatten(0, 1))
    assert not torch.equal(pairs.raw, pairs.target)


def test_pairs_on_disk_differ_from_step_to_step_and_go_on_where_they_stopped(
    stills: Path, tmp_path: Path
) -> None:
    chosen = Options("bpfre", stills, tmp_path, batch=2, frames=2, size=64)
    stream = batches(chosen, 0)
    first, second = next(stream), next(stream)
    assert first.raw.shape == (4, 3, 64, 64)
    assert not torch.equal(first.raw, second.raw)
    assert torch.equal(next(batches(chosen, 1)).raw, second.raw)


def test_the_next_steps_pairs_are_read_meanwhile(
    stills: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    clip = PairClips.clip
    monkeypatch.setattr(PairClips, "clip", lambda clips, number: read.append(number) or clip(clips, number))
    stream = batches(Options("bpfre", stills, tmp_path, batch=4, frames=1, size=64, threads=1), 0)
    next(stream)
    deadline = time.monotonic() + 20
    while len(read) < 8 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert read == list(range(8))


def test_however_many_threads_read_pairs_are_the_same(stills: Path, tmp_path: Path) -> None:
    chosen = Options("bpfre", stills, tmp_path, batch=3, frames=1, size=64, threads=1)
    alone, shared = batches(chosen, 0), batches(replace(chosen, threads=5), 0)
    for _ in range(3):
        one, other = next(alone), next(shared)
        assert torch.equal(one.raw, other.raw) and torch.equal(one.target, other.target)


def test_what_is_judged_by_is_of_the_test_split(stills: Path, tmp_path: Path) -> None:
    clips = held_out(Options("bpfre", stills, tmp_path))
    assert [tuple(clip.raw.shape) for clip in clips] == [(1, 2, 3, 512, 512)]
    empty = write_stills(tmp_path / "more", count=1)
    for path in (empty / "test").rglob("*.png"):
        path.unlink()
    assert run("bpfre", empty, tmp_path / "out", "--steps", "1") == 2


@BOTH
def test_the_rate_is_the_networks_and_the_critics_keeps_its_share(
    system: str, stills: Path, tmp_path: Path
) -> None:
    chosen = Options(system, stills, tmp_path, preset="tiny", rate=1e-3, perceptual=False)
    parts = prepare(chosen, resume=False).training.parts()
    rates = [part.param_groups[0]["lr"] for name, part in parts.items() if "optimiser" in name]
    assert rates == pytest.approx([1e-3, 5e-4 if system == "autoretouch" else 1e-3])


def test_the_saved_weights_are_the_averaged_ones(stills: Path, tmp_path: Path) -> None:
    assert run("bpfre", stills, tmp_path, "--steps", "3", "--average", "0.5", "--rate", "0.01") == 0
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    ours = torch.load(tmp_path / "weights.pt", weights_only=True)["weights"]
    assert all(torch.equal(ours[name], saved["averaged"][name]) for name in ours)
    assert any(not torch.equal(ours[name], saved["training"]["network"][name]) for name in ours)


@BOTH
def test_the_average_begins_with_the_first_steps(system: str, stills: Path, tmp_path: Path) -> None:
    chosen = Options(system, stills, tmp_path, preset="tiny", perceptual=False, average=0.5)
    made = prepare(chosen, resume=False, tests=[])
    pairs = Pairs(*torch.rand(2, 2, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    for step, share in ((1, 1 / 11), (2, 2 / 12), (90, 0.5)):
        made.progress.step = step - 1
        before = [weight.clone() for weight in made.averaged.parameters()]
        made.update(pairs)
        now = list(made.training.network.parameters())
        assert any(not torch.equal(old, new) for old, new in zip(before, now, strict=True))
        for old, new, mean in zip(before, now, made.averaged.parameters(), strict=True):
            torch.testing.assert_close(mean, old * share + new * (1 - share), rtol=0, atol=1e-6)


@BOTH
def test_the_perceptual_term_needs_vgg_19_and_says_how_to_go_on_without(
    system: str,
    stills: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    out = tmp_path / "out"
    assert run(system, stills, out, "--steps", "1", perceptual=True) == 2
    said = capsys.readouterr().err
    assert CACHED in said and "--vgg" in said and "--no-perceptual" in said and said.count("\n") == 1
    assert not out.exists()
    widths = [3] + [64] * 2 + [128] * 2 + [256] * 4 + [512] * 8
    state = {}
    for place, (inputs, outputs) in zip(PLACES.values(), pairwise(widths), strict=True):
        state[f"features.{place}.weight"] = 0.01 * torch.randn(outputs, inputs, 3, 3)
        state[f"features.{place}.bias"] = torch.zeros(outputs)
    torch.save(state, tmp_path / "vgg.pth")
    given = ("--steps", "1", "--vgg", str(tmp_path / "vgg.pth"))
    assert run(system, stills, out, *given, perceptual=True) == 0
    assert torch.load(out / "weights.pt", weights_only=True)["perceptual"] is True


def test_without_the_term_its_value_is_0_and_with_it_more(stills: Path, tmp_path: Path) -> None:
    assert run("autoretouch", stills, tmp_path, "--steps", "1") == 0
    assert history(tmp_path)[0]["perceptual"] == 0.0


@BOTH
def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(
    system: str,
    stills: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(system, stills, tmp_path, "--steps", "1") == 0
    good = (tmp_path / "checkpoint.pt").read_bytes(), (tmp_path / "weights.pt").read_bytes()
    broken = Pairs(*torch.full((2, 1, 3, 64, 64), math.nan))
    monkeypatch.setattr("model.earlier.train.to_device", lambda *_: broken)
    assert run(system, stills, tmp_path, "--steps", "2", "--resume") == 2
    said = capsys.readouterr().err
    assert (
        "Step 2 is not finite (loss nan)" in said
        and "of step 1" in said
        and "--rate" in said
        and said.count("\n") == 1
    )
    assert good == ((tmp_path / "checkpoint.pt").read_bytes(), (tmp_path / "weights.pt").read_bytes())


def test_files_of_one_system_are_refused_by_another(
    stills: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_weights(VRetouchEr(preset("tiny")), tmp_path / "live.pt")
    for system in ("autoretouch", "bpfre"):
        network = network_of(config_of(system, "tiny"))
        save_earlier(system, network, tmp_path / f"{system}.pt", perceptual=True)
        with pytest.raises(WeightsError, match="weights of live, not of"):
            load_earlier(system, tmp_path / "live.pt")
        with pytest.raises(WeightsError, match="holds no weights of this network"):
            load_weights(tmp_path / f"{system}.pt")
    with pytest.raises(WeightsError, match="weights of bpfre, not of autoretouch"):
        load_earlier("autoretouch", tmp_path / "bpfre.pt")
    torch.save([1], tmp_path / "list.pt")
    (tmp_path / "text.pt").write_text("no weights")
    for name, words in (
        ("none", "no weights at"),
        ("list", "no system"),
        ("text", "holds no whole weights of bpfre"),
    ):
        with pytest.raises(WeightsError, match=words) as caught:
            load_earlier("bpfre", tmp_path / f"{name}.pt")
        assert "\n" not in str(caught.value) and "--system bpfre" in str(caught.value)
    out = tmp_path / "out"
    assert run("bpfre", stills, out, "--steps", "1") == 0
    assert run("autoretouch", stills, out, "--steps", "2", "--resume") == 2
    assert run("bpfre", stills, out, "--steps", "2") == 2
    assert run("bpfre", stills, out, "--steps", "2", "--resume", "--frames", "3") == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 3
    assert "of bpfre, not of autoretouch" in said[0] and "--resume" in said[1]
    assert "frames was 2, not 3" in said[2]


@BOTH
def test_a_checkpoint_that_is_not_whole_is_said(
    system: str, stills: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(system, stills, tmp_path, "--steps", "1") == 0
    path = tmp_path / "checkpoint.pt"
    whole = torch.load(path, weights_only=True)
    contents: list[tuple[object, str]] = [
        ([1, 2], "of no system"),
        (torch.load(tmp_path / "weights.pt", weights_only=True), "'settings'"),
        ({k: v for k, v in whole.items() if k != "averaged"}, "'averaged'"),
        ({**whole, "progress": {"steps": 1}}, "'steps'"),
        ({**whole, "averaged": {k: v[:1] for k, v in whole["averaged"].items()}}, "another folder"),
    ]
    for content, word in contents:
        torch.save(content, path)
        assert run(system, stills, tmp_path, "--steps", "2", "--resume") == 2
        said = capsys.readouterr().err
        assert "checkpoint.pt" in said and word in said and said.count("\n") == 1
    path.write_bytes(path.read_bytes()[:999])
    assert run(system, stills, tmp_path, "--steps", "2", "--resume") == 2
    said = capsys.readouterr().err
    assert "holds no whole checkpoint" in said and said.count("\n") == 1


@BOTH
def test_a_training_goes_on_at_another_rate(system: str, stills: Path, tmp_path: Path) -> None:
    options = Options(
        system,
        stills,
        tmp_path,
        preset="tiny",
        steps=1,
        batch=1,
        frames=2,
        size=64,
        rate=2e-3,
        perceptual=False,
    )
    train(options)
    slower = prepare(replace(options, rate=5e-4), resume=True)
    assert slower.progress.step == 1
    rates = {
        name: part.param_groups[0]["lr"]
        for name, part in slower.training.parts().items()
        if isinstance(part, torch.optim.Optimizer)
    }
    assert rates["optimiser"] == pytest.approx(5e-4)
    faster = prepare(options, resume=True).training.parts()
    for name, rate in rates.items():
        assert faster[name].param_groups[0]["lr"] == pytest.approx(4 * rate)


@BOTH
def test_without_a_gpu_cuda_is_refused_in_a_sentence(
    system: str,
    stills: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert run(system, stills, tmp_path / "out", "--device", "cuda", "--steps", "1") == 2
    said = capsys.readouterr().err
    assert "torch can use no GPU" in said and "--device cpu" in said and said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_started_is_said(
    stills: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("bpfre", tmp_path, tmp_path / "out", "--steps", "1") == 2
    said = capsys.readouterr().err
    assert "neither prepared portraits nor pairs" in said and said.count("\n") == 1
    for wrong in (
        ["--steps", "0"],
        ["--size", "100"],
        ["--preset", "huge"],
        ["--rate", "nan"],
        ["--average", "nan"],
        ["--average", "1.5"],
    ):
        with pytest.raises(SystemExit) as ended:
            run("bpfre", stills, tmp_path / "out", *wrong)
        assert ended.value.code == 2 and wrong[0] in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--system", "gpen", str(stills), str(tmp_path / "out")])
    assert "'gpen'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_out_of_memory_says_what_to_lower(
    stills: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*arguments: object) -> None:
        raise MemoryError

    monkeypatch.setattr("model.bpfre_training.BPFReTraining.step", full)
    assert run("bpfre", stills, tmp_path, "--steps", "1") == 2
    said = capsys.readouterr().err
    assert "--batch, --frames or --size" in said and said.count("\n") == 1


def test_the_command_line_names_the_system() -> None:
    assert chosen_system(["a", "b"]) == ("live", ["a", "b"])
    assert chosen_system(["a", "--preset", "paper", "b"]) == ("paper", ["a", "--preset", "paper", "b"])
    assert chosen_system(["a", "--system", "paper", "b"]) == ("paper", ["a", "b"])
    assert chosen_system(["--system=bpfre", "a", "--preset", "live"]) == ("bpfre", ["a", "--preset", "live"])
    assert parser("bpfre").parse_args(["a", "b"]).preset == "live"


def test_frame_by_frame_gives_the_networks_own_picture_and_map() -> None:
    face = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    torch.manual_seed(0)
    bpfre = BPFRe(BPFRE["tiny"]).eval()
    with torch.no_grad():
        torch.nn.init.constant_(bpfre.render_refined.out.bias, 20.0)  # far above white
        seen, made = FrameByFrame(bpfre).step(face), bpfre(face)
        assert float(made.refined.max()) > 1.0
        torch.testing.assert_close(face + seen.residual, made.refined.clamp(0, 1))
        torch.testing.assert_close(seen.map, made.map_coarse)
        network = network_of(config_of("autoretouch", "tiny")).eval()
        torch.nn.init.constant_(network.tail.bias, 0.02)
        seen = FrameByFrame(network).step(face)
        torch.testing.assert_close(face + seen.residual, network.retouch(face))
        wanted = (seen.residual.abs().mean(1, keepdim=True) / 0.08).clamp(max=1)
        torch.testing.assert_close(seen.map, wanted)
        assert (seen.map < 0.9).any() and (seen.map > 0.1).any()
