"""`python -m bench paper` on made-up portraits: training, what is kept, judging, and all that is written."""

from __future__ import annotations

import json
import math
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import require

torch = require("torch")
require("skimage")
require("matplotlib")

from bench.__main__ import main  # noqa: E402
from bench.report import BenchError  # noqa: E402
from bench.reproduction import run  # noqa: E402
from bench.reproduction.judged import HeldOut, frames_of, held_out, judge, with_empty_map, without_map  # noqa: E402
from bench.reproduction.kept import read_kept, write_kept  # noqa: E402
from bench.reproduction.methods import (  # noqa: E402
    AUTORETOUCH,
    BY_DELTA,
    FULL,
    IN_TABLES,
    METHODS,
    NO_FIR,
    Method,
    learns_as,
)
from bench.reproduction.trained import Budget, Work, train_all  # noqa: E402
from bench.scores import Seers  # noqa: E402
from model.data.portraits import FacesError  # noqa: E402
from model.earlier.weights import save_earlier  # noqa: E402
from model.systems import EARLIER  # noqa: E402
from model.weights import load_weights, save_weights  # noqa: E402

SMALL = Budget(minutes=1e9, steps=2, batch=1, frames=2, size=64, preset="tiny")
ASKED = ["--preset", "tiny", "--steps", "2", "--batch", "1", "--frames", "2", "--size", "64"]
NONE = Seers("no LPIPS here", "no I3D here")


def work(faces: Path, kept: Path, budget: Budget = SMALL) -> tuple[Work, list[str]]:
    said: list[str] = []
    made = Work(faces, kept, budget, None, said.append)
    made.begin()
    return made, said


def keep_untrained(
    faces: Path, kept: Path, seeds: int, methods: Sequence[Method] = METHODS, budget: Budget = SMALL
) -> None:
    """Networks as they begin, as if they were trained."""
    made, _ = work(faces, kept, budget)
    for seed in range(seeds):
        for method in made.trainings(methods):
            torch.manual_seed(seed)
            network, folder = method.untrained("tiny"), made.folder(method, seed)
            if method.system in EARLIER:
                save_earlier(method.system, network, folder / "weights.pt", perceptual=False)
            else:
                save_weights(network, folder / "weights.pt")
            (folder / "done.json").write_text(json.dumps({"steps": 2, "minutes": 0.5}))


@pytest.mark.parametrize("method", [NO_FIR, AUTORETOUCH], ids=lambda m: m.key)
def test_a_network_is_trained_once_kept_and_taken_from_there(
    method: object, faces_dir: Path, tmp_path: Path
) -> None:
    made, said = work(faces_dir, tmp_path)
    first, spent = made.trained(method, 1)
    again, spent_again = made.trained(method, 1)
    assert said == [f"training {method.title}, seed 1"]
    assert spent == spent_again and spent.steps == 2 and spent.minutes > 0
    for one, other in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    untrained = method.untrained("tiny")
    assert any(
        not torch.equal(one, other)
        for one, other in zip(first.parameters(), untrained.parameters(), strict=True)
    )
    if method is NO_FIR:
        assert first.config.fir is False and first.config.delta == FULL.config("tiny").delta


def test_a_ring_that_clips_do_not_fill_is_trained_as_the_full_one_is(faces_dir: Path, tmp_path: Path) -> None:
    own = {
        frames: [d for d, method in BY_DELTA.items() if learns_as(method, "live", frames) is method]
        for frames in (2, 4, 7, 8)
    }
    assert own == {2: [6], 4: [1, 2, 6], 7: [1, 2, 4, 6], 8: [1, 2, 4, 6, 8]}
    made, said = work(faces_dir, tmp_path / "once")
    assert made.trainings(BY_DELTA.values()) == [FULL]
    (full, _), (one, _) = made.trained(FULL, 1), made.trained(BY_DELTA[1], 1)
    assert said == ["training VRetouchEr, seed 1"] and (full.config.delta, one.config.delta) == (2, 1)
    apart, _ = work(faces_dir, tmp_path / "apart", replace(SMALL, frames=3))
    for delta, same in ((1, False), (4, True)):  # the full ring of `tiny` is of two
        folders = [apart.folder(method, 1) for method in (BY_DELTA[delta], FULL)]
        for method, folder in zip((BY_DELTA[delta], FULL), folders, strict=True):
            folder.mkdir(exist_ok=True)
            assert apart._train_causal(method, 1).steps == 2
        found, wanted = (load_weights(folder / "weights.pt") for folder in folders)
        weights = zip(found.parameters(), wanted.parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in weights) == same


def test_networks_trained_at_a_time_are_those_trained_one_after_another(
    faces_dir: Path, tmp_path: Path
) -> None:
    wanted = [(NO_FIR, 0), (NO_FIR, 1)]
    alone, together = work(faces_dir, tmp_path / "alone")[0], work(faces_dir, tmp_path / "together")[0]
    for made, jobs in ((alone, 1), (together, 2)):
        train_all(made, wanted, jobs)
    for method, seed in wanted:
        (one, _), (other, _) = alone.trained(method, seed), together.trained(method, seed)
        for weight, same in zip(one.parameters(), other.parameters(), strict=True):
            assert torch.allclose(weight, same, atol=1e-5)


def test_what_stops_one_of_several_trainings_is_said(tmp_path: Path) -> None:
    with pytest.raises(FacesError, match="none"):
        train_all(Work(tmp_path / "none", tmp_path, SMALL, None, print), [(NO_FIR, 0), (FULL, 0)], 2)


def test_a_stopped_training_goes_on_from_its_checkpoint(
    faces_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = Budget(**{**vars(SMALL), "steps": 1})
    made, _ = work(faces_dir, tmp_path, half)
    made.trained(NO_FIR, 0)
    folder = made.folder(NO_FIR, 0)
    (folder / "done.json").unlink()
    (tmp_path / "settings.json").unlink()
    made, _ = work(faces_dir, tmp_path)
    _, spent = made.trained(NO_FIR, 0)
    history = json.loads((folder / "history.json").read_text())
    assert spent.steps == 2 and [entry["step"] for entry in history] == [1, 2]


def test_a_damaged_record_of_a_training_is_made_anew(faces_dir: Path, tmp_path: Path) -> None:
    made, said = work(faces_dir, tmp_path)
    _, spent = made.trained(NO_FIR, 0)
    done = made.folder(NO_FIR, 0) / "done.json"
    done.write_text("")
    assert made.trained(NO_FIR, 0)[1] == spent and len(said) == 2
    assert json.loads(done.read_text())["steps"] == 2
    assert not list(tmp_path.rglob("*.part*"))


def test_damaged_settings_are_named(faces_dir: Path, tmp_path: Path) -> None:
    work(faces_dir, tmp_path)
    (tmp_path / "settings.json").write_text('{"minutes": 1')
    with pytest.raises(BenchError, match=r"settings\.json is damaged.*--networks"):
        work(faces_dir, tmp_path)


def test_a_write_that_is_stopped_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "done.json"
    write_kept(path, {"steps": 1})

    def stopped(self: Path, text: str, **_: str) -> None:
        self.write_bytes(text[: len(text) // 2].encode())
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", stopped)
        with pytest.raises(KeyboardInterrupt):
            write_kept(path, {"steps": 2})
    assert read_kept(path) == {"steps": 1}
    write_kept(path, {"steps": 3})
    assert read_kept(path) == {"steps": 3} and list(tmp_path.iterdir()) == [path]


def test_networks_of_another_budget_are_not_mixed(faces_dir: Path, tmp_path: Path) -> None:
    work(faces_dir, tmp_path)
    work(faces_dir, tmp_path)
    with pytest.raises(BenchError, match=r"steps was 2, not 3\).*--networks"):
        work(faces_dir, tmp_path, Budget(**{**vars(SMALL), "steps": 3}))


def test_held_out_clips_are_people_that_move_and_are_kept_small(faces_dir: Path) -> None:
    (clip,) = held_out(faces_dir, 1, 2)
    assert clip.raw_u8.shape == clip.target_u8.shape == (2, 512, 512, 3) and clip.raw_u8.dtype == np.uint8
    assert clip.map.shape == (2, 1, 512, 512) and clip.map.max() > 0.2
    assert np.abs(clip.flow[1]).max() > 0.05
    assert (clip.raw_u8 != clip.target_u8).any()
    np.testing.assert_array_equal(held_out(faces_dir, 1, 2)[0].raw_u8, clip.raw_u8)


def small_clip() -> HeldOut:
    """Two frames of 32 px with a dark square to be taken away."""
    target = np.full((2, 32, 32, 3), 150, np.uint8)
    raw = target.copy()
    raw[:, 8:16, 8:16] -= 40
    truth = (np.abs(raw.astype(float) - target).mean(3) / 20.4).clip(max=1)[:, None].astype(np.float16)
    flow = np.zeros((2, 2, 32, 32), np.float16)
    return HeldOut(raw, target, truth, flow, np.ones((2, 1, 32, 32), np.float16))


def test_doing_nothing_and_doing_all_have_the_figures_they_must() -> None:
    clip = small_clip()
    nothing = judge(without_map(lambda frame: frame), [clip], NONE)
    assert nothing.figures["gain_db"] == 0.0 and nothing.figures["removal"] == 0.0
    assert nothing.figures["soft_iou"] is None and "soft_iou" not in nothing.curves
    assert nothing.figures["lpips"] is None and nothing.reasons["lpips"] == "no LPIPS here"
    assert len(nothing.curves["psnr_db"]) == 2
    empty = judge(with_empty_map, [clip], NONE)
    assert empty.figures["soft_iou"] == 0.0 and 0.5 < empty.figures["map_ssim"] < 1.0
    all_done = judge(
        lambda raw: ((clip.target_u8[0], clip.map[0, 0].astype(np.float32)) for _ in raw), [clip], NONE
    )
    assert all_done.figures["removal"] == 1.0 and all_done.figures["gain_db"] > 50
    assert all_done.figures["soft_iou"] == 1.0 and all_done.curves["soft_iou"] == [1.0, 1.0]
    assert all_done.figures["drift"] == 0.0 and all_done.figures["flicker"] == 0.0


def test_a_networks_frames_come_in_order_through_its_own_state() -> None:
    from model.vretoucher import VRetouchEr

    torch.manual_seed(0)
    network = VRetouchEr(FULL.config("tiny")).eval()
    raw = np.random.default_rng(0).integers(0, 255, (3, 64, 64, 3), np.uint8)
    with torch.no_grad():
        got = list(frames_of(network)(raw))
        state = None
        for frame, (out, seen) in zip(raw, got, strict=True):
            face = torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 255
            step = network.step(face, network.fresh_state(face) if state is None else state)
            state = step.state
            wanted = (255 * (face + step.residual).clamp(0, 1)).round()[0].permute(1, 2, 0).byte().numpy()
            np.testing.assert_array_equal(out, wanted)
            np.testing.assert_array_equal(seen, step.map[0, 0].numpy())


def test_the_bench_writes_tables_figures_and_json_and_judges_once(
    faces_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept, out = tmp_path / "kept", tmp_path / "out"
    keep_untrained(faces_dir, kept, seeds=2, budget=replace(SMALL, rate=2e-3, earlier_rate=5e-4))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(run, "clips_of", lambda faces, clips, frames: [small_clip()])
    rates = ["--rate", "2e-3", "--earlier-rate", "5e-4"]
    asked = [str(faces_dir), str(out), "--networks", str(kept), *ASKED, *rates, "--seeds", "2"]
    assert main(["paper", *asked, "--json", str(tmp_path / "paper.json")]) == 0
    caught = capsys.readouterr()
    assert "Table 1" in caught.out and "Table 4" in caught.out
    assert caught.err.count("judging") == 20 and "training" not in caught.err
    assert "without their perceptual term" in caught.out and "--vgg" in caught.err
    page = (out / "paper.md").read_text()
    for name in ("fig5", "fig6", "fig7", "fig8"):
        assert f"](pictures/paper-{name}.png)" in page
        assert (out / "pictures" / f"paper-{name}.png").read_bytes().startswith(b"\x89PNG")
    assert "over that of delta = 1, seed by seed: 2: " in page
    assert "clips of 2 frames have 1 before the last, so that networks of delta 1, 2, 4, 6, 8 learn" in page
    assert page.count("2 seeds; each network trained from nothing for 2 steps") >= 7
    assert page.count("64 px, learning rate up to 0.002, AutoRetouch's and BPFRe's 0.0005, preset tiny") >= 7
    assert "*Figure 8. By the number of references. Here delta counts the frames that are remembered" in page
    assert page.count("delta 1 here is two") == 1
    written = json.loads((tmp_path / "paper.json").read_text())
    assert len(written["networks"]["vretoucher"]) == 2
    assert math.isfinite(written["networks"]["bpfre"][1]["figures"]["psnr_db"])
    assert main(["paper", *asked]) == 0
    assert "judging" not in capsys.readouterr().err


def test_without_deltas_their_networks_and_figure_8_are_left_out_and_the_rest_stands(
    faces_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept, out, written = tmp_path / "kept", tmp_path / "out", tmp_path / "paper.json"
    keep_untrained(faces_dir, kept, 1, IN_TABLES)
    monkeypatch.setattr(run, "clips_of", lambda faces, clips, frames: [small_clip()])
    asked = [str(faces_dir), str(out), "--networks", str(kept), *ASKED, "--seeds", "1", "--no-deltas"]
    assert main(["paper", *asked, "--json", str(written)]) == 0
    caught = capsys.readouterr()
    assert caught.err.count("judging") == 6 and "training" not in caught.err
    page = (out / "paper.md").read_text()
    assert "Figure 8" not in page and "fig8" not in page and "delta" not in page
    for part in ("## Table 1", "## Table 4", "Figure 5", "Figure 6", "Figure 7", "| VRetouchEr w/o FIR |"):
        assert part in page
    pictures = {path.name for path in (out / "pictures").iterdir()}
    assert pictures == {"paper-fig5.png", "paper-fig6.png", "paper-fig7.png"}
    found = json.loads(written.read_text())
    assert set(found["networks"]) == set(found["gmac"]) == {method.key for method in IN_TABLES}


def test_networks_judged_at_a_time_are_judged_as_one_after_another(faces_dir: Path, tmp_path: Path) -> None:
    judged = []
    for jobs in (1, 2):
        asked = Namespace(clips=1, judged_frames=2, i3d=None, jobs=jobs)
        kept = tmp_path / str(jobs)
        keep_untrained(faces_dir, kept, 1, [FULL, AUTORETOUCH])
        made = Work(faces_dir, kept, SMALL, None, print)
        run.judge_all(made, [(FULL, 0), (AUTORETOUCH, 0)], asked)
        judged.append([read_kept(made.folder(m, 0) / "judged.json") for m in (FULL, AUTORETOUCH)])
    for one, other in zip(*judged, strict=True):
        assert one is not None and other is not None
        assert one["judged"]["figures"] == pytest.approx(other["judged"]["figures"], abs=1e-4)


def test_a_kept_judgement_is_used_for_what_it_was_made_of_alone(
    faces_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "clips_of", lambda faces, clips, frames: [small_clip()])
    made, said = work(faces_dir, tmp_path)
    keep_untrained(faces_dir, tmp_path, seeds=1)
    folder = made.folder(FULL, 0)
    first = Namespace(clips=1, judged_frames=2, i3d=None)

    def judged_again(on: Work = made, seen_by: Seers = NONE, asked: Namespace = first) -> bool:
        said.clear()
        monkeypatch.setattr(run, "seers_of", lambda i3d: seen_by)
        run.judgement(on, FULL, 0, asked)
        return bool(said)

    def other(**changed: object) -> Namespace:
        return Namespace(**{**vars(first), **changed})

    assert judged_again() and not judged_again()
    assert judged_again(replace(made, faces=tmp_path)) and judged_again()
    assert judged_again(seen_by=Seers(lambda frame, target: 0.25, "no I3D here")) and judged_again()
    assert judged_again(seen_by=Seers("no LPIPS here", lambda frames, targets: 0.5)) and judged_again()
    assert judged_again(asked=other(clips=2)) and judged_again()
    assert judged_again(asked=other(judged_frames=3)) and judged_again()
    assert judged_again(asked=other(i3d=Path("i3d.pt"))) and judged_again()
    torch.manual_seed(1)
    save_weights(FULL.untrained("tiny"), folder / "weights.pt")
    assert judged_again() and not judged_again()
    (folder / "judged.json").write_text('{"asked"')
    assert judged_again() and not judged_again()


def test_networks_of_other_faces_are_not_gone_on_with(faces_dir: Path, tmp_path: Path) -> None:
    work(faces_dir, tmp_path / "kept")
    others = tmp_path / "faces"
    others.mkdir()
    (others / "index.json").write_text((faces_dir / "index.json").read_text() + "\n")
    with pytest.raises(BenchError, match="faces' index was"):
        work(others, tmp_path / "kept")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--judged-frames", "1"], "--judged-frames 2"),
        (["--vgg", "none.pth"], "no file none.pth"),
        (["--steps", "3"], "networks of another budget or faces (steps was 2, not 3)"),
    ],
)
def test_what_cannot_be_run_is_a_sentence(
    more: list[str], said: str, faces_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work(faces_dir, tmp_path / "kept")
    asked = [str(faces_dir), str(tmp_path / "out"), "--networks", str(tmp_path / "kept"), *ASKED]
    assert main(["paper", *asked, *more]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert said in error[-1]
    assert main(["paper", str(tmp_path), str(tmp_path / "out")]) == 2
    assert "no prepared portraits" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
