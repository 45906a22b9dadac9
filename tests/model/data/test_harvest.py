"""Harvesting: marks are found where they are, at their size and colour; lines and glints are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.conftest import require

torch = require("torch")

from model.data import harvest as hv  # noqa: E402
from model.data.clips import ClipConfig, ClipSampler  # noqa: E402
from model.data.pasted import RealMarks  # noqa: E402
from model.data.portraits import Portraits  # noqa: E402


def _skin() -> tuple[object, object, object, object]:
    y, x = torch.meshgrid(torch.arange(640.0), torch.arange(640.0), indexing="ij")
    gen = torch.Generator().manual_seed(0)
    rgb = torch.tensor([0.80, 0.60, 0.52]).view(3, 1, 1) * (1.0 - 0.0003 * (x - 320)).unsqueeze(0)
    rgb = rgb + 0.003 * torch.randn(3, 640, 640, generator=gen)
    bits = torch.zeros(640, 640, dtype=torch.uint8)
    bits[120:520, 150:490] = 1
    return rgb, bits, x, y


def _blob(rgb, x, y, at, sigma, depth):
    bump = torch.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2.0 * sigma**2))
    return rgb * torch.exp(-bump * torch.tensor(depth).view(3, 1, 1))


def test_finds_a_red_and_a_brown_mark_and_their_colours() -> None:
    rgb, bits, x, y = _skin()
    rgb = _blob(rgb, x, y, (250.0, 300.0), 2.5, (0.12, 0.30, 0.34))
    rgb = _blob(rgb, x, y, (380.0, 400.0), 1.5, (0.42, 0.60, 0.72))
    marks = hv.face_marks(rgb, bits)
    kind = hv.classify(marks["depth"], marks["sharp"], marks["radius"])
    strong = marks["depth"][:, 1] > 0.12
    where = np.stack([marks["x"], marks["y"]], 1)[strong]
    assert len(where) == 2
    red = int(np.argmin(np.hypot(*(where - (250, 300)).T)))
    brown = 1 - red
    assert np.hypot(*(where[red] - (250, 300))) < 1.5
    assert np.hypot(*(where[brown] - (380, 400))) < 1.5
    assert kind[strong][red] == hv.REDDISH
    assert kind[strong][brown] != hv.REDDISH
    depth = marks["depth"][strong][red]
    np.testing.assert_allclose(depth[0] / depth[1], 0.4, atol=0.08)
    assert marks["radius"][strong][red] > marks["radius"][strong][brown]


def test_what_is_dark_and_small_is_never_taken_for_a_blemish() -> None:
    depth = np.array([[0.1, 0.25, 0.3], [0.16, 0.46, 0.61], [0.35, 0.5, 0.6], [0.1, 0.14, 0.16]], np.float32)
    sharp, radius = np.full(4, 0.8, np.float32), np.array([7.0, 5.0, 6.0, 5.0], np.float32)
    assert hv.classify(depth, sharp, radius).tolist() == [hv.REDDISH, hv.UNSURE, hv.MOLE, hv.BROWN]


def test_lines_glints_and_marks_off_skin_are_left() -> None:
    rgb, bits, x, y = _skin()
    rgb = rgb * torch.exp(-0.4 * torch.exp(-((y - 300 - 0.1 * x) ** 2) / 5.0))
    rgb = (rgb + 0.4 * torch.exp(-((x - 300) ** 2 + (y - 200) ** 2) / 8.0)).clamp(max=1.0)
    rgb = _blob(rgb, x, y, (100.0, 100.0), 2.5, (0.12, 0.30, 0.34))
    marks = hv.face_marks(rgb, bits)
    assert not (marks["depth"][:, 1] > 0.08).any()


def test_bank_is_kept_and_renewed(faces_dir: Path) -> None:
    faces = Portraits(faces_dir)
    bank = hv.open_bank(faces, fresh=True)
    told: list[str] = []
    again = hv.open_bank(faces, told.append)
    assert not told
    assert np.array_equal(bank.patches, again.patches)
    assert len(bank) >= 8
    assert (bank.kind == hv.REDDISH).mean() > 0.7
    np.savez(faces_dir / hv.BANK_NAME, fingerprint=np.array("of other faces"))
    assert len(hv.open_bank(faces, told.append)) == len(bank)
    assert told


def test_own_marks_are_taken_off_the_target(faces_dir: Path) -> None:
    faces = Portraits(faces_dir, "train")
    real = RealMarks(hv.open_bank(faces), faces)
    own = torch.zeros(1, 3, 640, 640)
    real.own_layer(own, [0], torch.zeros(1, 2, dtype=torch.long), hv.REDDISH, 0.07)
    picture, _ = faces.crop(0, (0, 0, 640, 640))
    cleaned = picture * torch.exp(own[0])
    around = (1, slice(476, 491), slice(367, 382))  # green, at the made-up spot at (374, 483)
    left, was = (float(part[around].amax() - part[around].amin()) for part in (cleaned, picture))
    assert was > 0.1
    assert left < 0.25 * was


def test_a_bank_without_marks_is_no_obstacle(faces_dir: Path) -> None:
    sampler = ClipSampler(faces_dir, ClipConfig(size=64, frames=1), split="heldout")
    sampler.real.rows = {kind: rows[:0] for kind, rows in sampler.real.rows.items()}
    assert sampler.sample(2).raw.shape == (2, 1, 3, 64, 64)
