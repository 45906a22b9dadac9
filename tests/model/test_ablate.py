"""The ablation: what is taken out is out, and every variant ends in the table."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import require

torch = require("torch")

from model import ablate  # noqa: E402
from model.config import Config, preset  # noqa: E402
from model.data.clips import ClipConfig, ClipSampler  # noqa: E402
from model.options import Options  # noqa: E402
from model.state import State  # noqa: E402
from model.vretoucher import VRetouchEr  # noqa: E402
from model.weights import load_weights, save_weights  # noqa: E402


def changed_by(config: Config, name: str) -> bool:
    """Does a step's result depend on the state called `name`?"""
    torch.manual_seed(3)
    network = VRetouchEr(config).eval()
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    face = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        state = network.step(face, network.fresh_state(face)).state
        fields = vars(state)
        other = State(**{**fields, name: fields[name] + torch.rand_like(fields[name])})
        one, two = (network.trace(face, s)[1].full for s in (state, other))
        residuals = [network.look(face, s)[0] for s in (state, other)]
    return not (torch.equal(one, two) and torch.equal(*residuals))


@pytest.mark.parametrize(("part", "state"), [("fir", "map_prev"), ("mma", "references")])
def test_a_part_that_is_out_leaves_no_trace(part: str, state: str) -> None:
    whole = preset("tiny")
    assert changed_by(whole, state)
    assert not changed_by(replace(whole, **{part: False}), state)


def test_unguided_references_do_not_know_the_map() -> None:
    torch.manual_seed(3)
    face = torch.rand(1, 3, 64, 64)
    slots = []
    for guided in (True, False):
        network = VRetouchEr(replace(preset("tiny"), guided=guided)).eval()
        slots.append([])
        for bias in (-9.0, 9.0):  # nothing imperfect, everything imperfect
            torch.nn.init.constant_(network.localizer.evidence.bias, bias)
            with torch.no_grad():
                slots[-1].append(network.step(face, network.fresh_state(face)).state.references)
    assert not torch.equal(*slots[0])
    assert torch.equal(*slots[1])


def test_cut_clips_hold_the_same_frames(faces_dir: Path) -> None:
    clip = ClipSampler(faces_dir, ClipConfig(size=64, frames=4), seed=1).sample(2)
    pairs = ablate.cut(clip, 2)
    assert pairs.raw.shape == (4, 2, 3, 64, 64)
    assert torch.equal(pairs.raw[1], clip.raw[0, 2:])
    assert torch.equal(pairs.flow[2], clip.flow[1, :2])


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judged by few small clips."""
    monkeypatch.setattr(ablate, "JUDGED_BY", ClipConfig(size=64, frames=3, clean_share=0.0))
    monkeypatch.setattr(ablate, "JUDGED_BATCHES", 1)


def ablated(faces: Path, out: Path, start: Config, *more: str) -> dict[str, list[dict[str, float]]]:
    """Figures by variant and seed, from a network that has learnt nothing."""
    save_weights(VRetouchEr(start), out / "start.pt")
    asked = ["--steps", "3", "--size", "64", "--rate", "0.01", "--start-from", str(out / "start.pt"), *more]
    assert ablate.main([str(faces), str(out / "out"), *asked]) == 0
    found: dict[str, list[dict[str, float]]] = json.loads((out / "out" / "ablation.json").read_text())[
        "variants"
    ]
    table = (out / "out" / "ablation.md").read_text()
    assert all(f"| {name} |" in table for name in found)
    return found


@pytest.mark.usefixtures("little")
def test_every_variant_is_trained_and_judged(faces_dir: Path, tmp_path: Path) -> None:
    found = ablated(faces_dir, tmp_path, preset("tiny"))
    assert list(found) == [ablate.START, *(variant.name for variant in ablate.VARIANTS)]
    assert len({figures[0]["drift"] for figures in found.values()}) > 6


@pytest.mark.usefixtures("little")
def test_base_comes_first_and_seeds_differ(faces_dir: Path, tmp_path: Path) -> None:
    more = ("--base-steps", "2", "--seeds", "2", "--variants", "full", "neither")
    found = ablated(faces_dir, tmp_path, preset("tiny"), *more)
    assert {name: len(figures) for name, figures in found.items()} == {
        ablate.START: 1,
        "full": 2,
        "neither": 2,
    }
    assert found["full"][0] != found["full"][1]
    assert found["full"][0] != found["neither"][0]
    base = load_weights(tmp_path / "out" / "base.pt")
    assert (base.config.fir, base.config.mma) == (False, False)
    whole = load_weights(tmp_path / "start.pt")
    assert not torch.equal(
        base.encoder.state_dict()["down2.weight"], whole.encoder.state_dict()["down2.weight"]
    )
    assert "± " in (tmp_path / "out" / "ablation.md").read_text()


@pytest.mark.parametrize(
    ("part", "anew"), [("fir", {"fir", "spynet"}), ("mma", {"references", "transformer"})]
)
def test_a_part_that_the_start_lacks_begins_anew(part: str, anew: set[str], tmp_path: Path) -> None:
    start = VRetouchEr(replace(preset("tiny"), **{part: False}))
    for parameter in start.parameters():
        parameter.data += 1.0
    training = ablate.begun(preset("tiny"), start, Options(tmp_path, tmp_path, seed=2))
    for network in (training.network, training.averaged):
        learnt = dict(start.named_parameters())
        same = {name for name, found in network.named_parameters() if torch.equal(found, learnt[name])}
        assert same == {name for name in learnt if name.split(".")[0] not in anew}


def test_variants_of_a_start_that_lacks_parts_are_whole_but_for_what_they_lack(
    faces_dir: Path, tmp_path: Path
) -> None:
    start = VRetouchEr(replace(preset("tiny"), fir=False, mma=False))
    options = Options(faces_dir, tmp_path, steps=2, rate=0.01, batch=1, frames=2, size=64)
    clips = ablate.TrainingClips(faces_dir, options)
    found = ablate.trained(ablate.VARIANTS[:4], start, clips, options)
    parts = [(network.config.fir, network.config.mma) for network in found]
    assert parts == [(True, True), (False, True), (True, False), (False, False)]
    assert not torch.equal(found[0].decoder.out.weight, found[3].decoder.out.weight)


def test_odd_clips_cannot_be_cut_and_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = [str(tmp_path), str(tmp_path), "--frames", "3", "--start-from", str(tmp_path / "none.pt")]
    assert ablate.main(asked) == 2
    assert "give an even number" in capsys.readouterr().err


def test_missing_weights_are_one_sentence(
    faces_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ablate.main([str(faces_dir), str(tmp_path), "--start-from", str(tmp_path / "none.pt")]) == 2
    assert "There are no weights at" in capsys.readouterr().err


def test_a_variant_that_goes_astray_is_one_sentence(
    faces_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    start = VRetouchEr(preset("tiny"))
    torch.nn.init.constant_(start.decoder.out.weight, math.inf)
    save_weights(start, tmp_path / "start.pt")
    monkeypatch.setattr(ablate, "validate", lambda *_: None)
    small = ["--steps", "1", "--batch", "1", "--frames", "2", "--size", "64", "--variants", "full"]
    asked = [str(faces_dir), str(tmp_path / "out"), "--start-from", str(tmp_path / "start.pt"), *small]
    assert ablate.main(asked) == 2
    assert "went astray (its loss is nan)" in capsys.readouterr().err


@pytest.mark.usefixtures("little")
def test_out_of_memory_says_what_to_lower(
    faces_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def out(*_: object) -> None:
        raise MemoryError

    save_weights(VRetouchEr(preset("tiny")), tmp_path / "start.pt")
    monkeypatch.setattr(ablate, "trained", out)
    assert (
        ablate.main([str(faces_dir), str(tmp_path / "out"), "--start-from", str(tmp_path / "start.pt")]) == 2
    )
    said = capsys.readouterr().err
    assert "2 clips of 4 frames of 256 pixels; lower --batch" in said and said.count("\n") == 1
