"""The ablation: what is taken out is out, and every variant ends in the table."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import require

torch = require("torch")

from model import ablate  # noqa: E402
from model.config import Config, preset  # noqa: E402
from model.data.clips import ClipConfig, ClipSampler  # noqa: E402
from model.state import State  # noqa: E402
from model.vretoucher import VRetouchEr  # noqa: E402
from model.weights import save_weights  # noqa: E402


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


def test_every_variant_is_trained_and_judged(
    faces_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ablate, "JUDGED_BY", ClipConfig(size=64, frames=3, clean_share=0.0))
    monkeypatch.setattr(ablate, "JUDGED_BATCHES", 1)
    save_weights(VRetouchEr(preset("tiny")), tmp_path / "start.pt")
    asked = ["--steps", "3", "--size", "64", "--rate", "0.01", "--start-from", str(tmp_path / "start.pt")]
    assert ablate.main([str(faces_dir), str(tmp_path / "out"), *asked]) == 0
    table = (tmp_path / "out" / "ablation.md").read_text()
    assert all(f"| {variant.name} |" in table for variant in ablate.VARIANTS)
    read = json.loads((tmp_path / "out" / "ablation.json").read_text())
    assert len({v["drift"] for v in read["variants"].values()}) > 6


def test_odd_clips_cannot_be_cut_and_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = [str(tmp_path), str(tmp_path), "--frames", "3", "--start-from", str(tmp_path / "none.pt")]
    assert ablate.main(asked) == 2
    assert "give an even number" in capsys.readouterr().err


def test_missing_weights_are_one_sentence(
    faces_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ablate.main([str(faces_dir), str(tmp_path), "--start-from", str(tmp_path / "none.pt")]) == 2
    assert "There are no weights at" in capsys.readouterr().err
