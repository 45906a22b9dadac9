"""What the flow is worth: the flow told in the place of S's, its error, and the command."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import require

torch = require("torch")

from model.config import preset  # noqa: E402
from model.data.clips import ClipConfig, ClipSampler  # noqa: E402
from model.flow import FLOWS, error_px, found_flow, judged, main, true_flow  # noqa: E402
from model.validate import figures, retouch_clip  # noqa: E402
from model.vretoucher import VRetouchEr  # noqa: E402
from model.weights import save_weights  # noqa: E402


@pytest.fixture
def network() -> VRetouchEr:
    """Its S finds something, which as it begins it does not."""
    torch.manual_seed(0)
    made = VRetouchEr(preset("tiny")).eval()
    for level in made.spynet.levels:
        torch.nn.init.normal_(level.third.weight, std=0.5)
    return made


def clips_of(faces_dir: Path, motion: str) -> object:
    config = ClipConfig(size=64, frames=3, motion=motion, clean_share=0.0)
    return ClipSampler(faces_dir, config, split="heldout", seed=1).sample(2)


@torch.no_grad()
def test_the_flow_of_s_told_is_what_the_network_does_by_itself(network: VRetouchEr, faces_dir: Path) -> None:
    clip = clips_of(faces_dir, "frame")
    assert judged(network, clip, found_flow(network, clip)) == figures(clip, *retouch_clip(network, clip.raw))
    assert found_flow(network, clip)[:, 1:].abs().mean() > 0.01


@torch.no_grad()
def test_another_flow_carries_the_maps_elsewhere(network: VRetouchEr, faces_dir: Path) -> None:
    clip = clips_of(faces_dir, "frame")
    moved = true_flow(clip) + 3.0
    assert judged(network, clip, true_flow(clip)).soft_iou != judged(network, clip, moved).soft_iou


@torch.no_grad()
def test_the_error_is_in_face_pixels_and_leaves_out_the_first_frame(
    network: VRetouchEr, faces_dir: Path
) -> None:
    clip = clips_of(faces_dir, "aligned")
    off = true_flow(clip) + torch.tensor([0.3, 0.4]).view(1, 1, 2, 1, 1)
    assert error_px(off, clip) == pytest.approx(4.0, rel=1e-4)
    off = true_flow(clip)
    off[:, 0] += 100.0
    assert error_px(off, clip) == 0.0
    assert error_px(FLOWS["none"](network, clip), clip) > 0.0


def test_the_command_prints_a_row_for_each_motion_and_flow(
    network: VRetouchEr, faces_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_weights(network, tmp_path / "weights.pt")
    assert main([str(faces_dir), str(tmp_path / "weights.pt"), "--batches", "1", "--frames", "2"]) == 0
    lines = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()
    ]
    assert [line[:2] for line in lines[2:]] == [[m, f] for m in ("aligned", "frame") for f in FLOWS]
    errors = {(line[0], line[1]): float(line[2]) for line in lines[2:]}
    assert errors["aligned", "true"] == errors["frame", "true"] == 0.0
    assert 0.0 < errors["aligned", "none"] < errors["frame", "none"]


def test_weights_that_are_not_there_are_a_sentence(
    faces_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(faces_dir), str(tmp_path / "none.pt")]) == 2
    assert "none.pt" in capsys.readouterr().err
