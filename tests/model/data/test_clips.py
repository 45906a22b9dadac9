"""Clips: shapes, ranges, determinism, exact flow, and what may differ between raw and target."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import require

torch = require("torch")

from model.data import clips as clips_module  # noqa: E402
from model.data.camera import CameraConfig  # noqa: E402
from model.data.clips import ClipConfig, ClipSampler, _box, warp  # noqa: E402
from model.data.portraits import FacesError  # noqa: E402

STILL = CameraConfig(light=0.0, blur=0.0, low_resolution=0.0, noise=0.0, compression=0.0)
PLAIN = ClipConfig(size=128, frames=4, camera=STILL)


def test_shapes_and_ranges(faces_dir: Path) -> None:
    clip = ClipSampler(faces_dir, ClipConfig(size=128, frames=4, with_grid=True), seed=3).sample(3)
    assert clip.raw.shape == clip.target.shape == (3, 4, 3, 128, 128)
    assert clip.map.shape == clip.skin.shape == (3, 4, 1, 128, 128)
    assert clip.keep.shape == (3, 4, 2, 128, 128)
    assert clip.to_canvas is not None
    assert clip.flow.shape == clip.to_canvas.shape == (3, 4, 2, 128, 128)
    for part in (clip.raw, clip.target, clip.map, clip.skin, clip.keep):
        assert part.dtype == torch.float32
        assert float(part.min()) >= 0.0
        assert float(part.max()) <= 1.0
    assert torch.equal((clip.raw * 255.0).round() / 255.0, clip.raw)
    assert len(clip.face_index) == 3
    assert not clip.flow[:, 0].any()


def test_same_seed_and_call_give_the_same_clip(faces_dir: Path) -> None:
    config = ClipConfig(size=96, frames=3)
    one, two, other = (ClipSampler(faces_dir, config, seed=seed) for seed in (7, 7, 8))
    first = [one.sample(2) for _ in range(2)]
    again = [two.sample(2) for _ in range(2)]
    for a, b in zip(first, again, strict=True):
        assert torch.equal(a.raw, b.raw)
        assert torch.equal(a.flow, b.flow)
        assert a.face_index == b.face_index
    assert not torch.equal(first[0].raw, first[1].raw)
    assert not torch.equal(first[0].raw, other.sample(2).raw)


def test_takes_show_the_same_marks_on_the_same_faces_in_other_motion(faces_dir: Path) -> None:
    config = replace(PLAIN, clean_share=0.0, diffuse=0.0, with_grid=True, size=512, frames=1)
    first, second = ClipSampler(faces_dir, config, seed=4).takes(2, 2)
    assert first.face_index == second.face_index
    assert first.to_canvas is not None
    assert second.to_canvas is not None
    assert not torch.equal(first.to_canvas, second.to_canvas)
    for clip in range(2):
        painted = [_mean_on_canvas(take.map[clip, 0, 0], take.to_canvas[clip, 0]) for take in (first, second)]
        assert torch.corrcoef(torch.stack(painted))[0, 1] > 0.9


def test_the_painted_box_holds_the_widest_take(faces_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reaches, margins = iter((5, 40, 7)), []

    def box(origin: torch.Tensor, size: int, margin: int) -> tuple[torch.Tensor, int]:
        margins.append(margin)
        return _box(origin, size, margin)

    monkeypatch.setattr(clips_module.mo, "reach", lambda *_: next(reaches))
    monkeypatch.setattr(clips_module, "_box", box)
    ClipSampler(faces_dir, replace(PLAIN, size=96, frames=2), seed=1).takes(1, 3)
    assert margins == [40]


def _mean_on_canvas(values: torch.Tensor, to_canvas: torch.Tensor, cell: int = 8) -> torch.Tensor:
    """Mean of values [H, W] in each cell of the canvas that to_canvas [2, H, W] px says they are in."""
    x, y = (to_canvas / cell).round().long().clamp(0, 127)
    sums = torch.zeros(2, 128 * 128)
    for row, part in zip(sums, (values, torch.ones_like(values)), strict=True):
        row.index_add_(0, (y * 128 + x).flatten(), part.flatten())
    return sums[0] / sums[1].clamp(min=1.0)


@pytest.mark.parametrize("motion", ["aligned", "frame"])
def test_flow_carries_the_last_target_onto_this_one(faces_dir: Path, motion: str) -> None:
    config = replace(PLAIN, motion=motion, negatives=0.0, size=256)
    clip = ClipSampler(faces_dir, config, seed=1).sample(4)
    y, x = torch.meshgrid(torch.arange(256.0), torch.arange(256.0), indexing="ij")
    for t in range(1, 4):
        came_from = torch.stack([x, y]) + clip.flow[:, t]
        moved = warp(clip.target[:, t - 1], came_from[:, None])[:, 0]
        inside = ((came_from >= 1) & (came_from <= 254)).all(1, keepdim=True)
        # Only smooth skin: the oval's hard edge is resampled twice here and may differ.
        skin = -torch.nn.functional.max_pool2d(-clip.skin[:, t], 9, 1, 4) > 0.99
        error = ((moved - clip.target[:, t]).abs().mean(1, keepdim=True))[inside & skin]
        assert float(error.mean()) < 1.0 / 255.0
        assert float(error.quantile(0.999)) < 6.0 / 255.0


def test_motion_is_really_there(faces_dir: Path) -> None:
    clip = ClipSampler(faces_dir, replace(PLAIN, motion="frame"), seed=1).sample(6)
    assert float(clip.flow[:, 1:].abs().amax()) > 1.0


def test_nothing_is_painted_off_skin(faces_dir: Path) -> None:
    config = replace(PLAIN, clean_share=0.0, density=3.0, size=256)
    clip = ClipSampler(faces_dir, config, seed=5).sample(4)
    off = (clip.skin == 0.0).expand_as(clip.raw)
    assert torch.equal(clip.raw[off], clip.target[off])
    assert float(clip.map.max()) == 1.0
    changed = (clip.map > 0.1).float().mean((1, 2, 3, 4))
    assert bool((changed > 0.0).all())


def test_a_clean_clip_has_raw_equal_to_target(faces_dir: Path) -> None:
    clip = ClipSampler(faces_dir, ClipConfig(size=128, frames=3, clean_share=1.0), seed=2).sample(6)
    assert torch.equal(clip.raw, clip.target)
    assert not clip.map.any()


def test_clean_share_is_kept(faces_dir: Path) -> None:
    sampler = ClipSampler(faces_dir, replace(PLAIN, size=64, frames=1, clean_share=0.5), seed=0)
    clean = sum(int((sampler.sample(16).map.amax((1, 2, 3, 4)) == 0.0).sum()) for _ in range(5))
    assert 25 <= clean <= 60


def test_noise_and_compression_are_the_same_in_both(faces_dir: Path) -> None:
    hard = CameraConfig(light=0.0, blur=0.0, low_resolution=0.0, noise=1.0, compression=1.0, quality=(45, 45))
    clip = ClipSampler(faces_dir, replace(PLAIN, camera=hard, clean_share=0.0), seed=9).sample(2)
    still = ClipSampler(faces_dir, replace(PLAIN, clean_share=0.0), seed=9).sample(2)
    assert float((clip.raw - still.raw).abs().mean()) > 0.5 / 255.0
    painted, clean = (clip.map > 0.0) & (clip.map < 1.0), clip.map == 0.0
    difference = (clip.raw - clip.target).abs()
    assert float(difference.amax(2, keepdim=True)[clean].max()) == 0.0
    shown = difference.mean(2, keepdim=True) / 0.08
    assert torch.allclose(shown[painted], clip.map[painted], atol=1e-5)


def test_negatives_are_in_both(faces_dir: Path) -> None:
    config = replace(PLAIN, clean_share=1.0, retone=0.0, relight=0.0, size=512, frames=1)
    without = ClipSampler(faces_dir, replace(config, negatives=0.0), seed=0)
    with_them = ClipSampler(faces_dir, replace(config, negatives=2.0), seed=0)
    plain, marked = without.sample(8), with_them.sample(8)
    moles, freckles = (marked.keep > 0.5).unbind(2)
    assert bool(moles.any())
    assert bool(freckles.any())
    kept = (moles | freckles).unsqueeze(2)
    assert plain.face_index == marked.face_index
    assert torch.equal(marked.raw, marked.target)
    # What is to be kept is darker than the same skin without it.
    assert (
        float(marked.raw.mean(2, keepdim=True)[kept].mean())
        < float(plain.raw.mean(2, keepdim=True)[kept].mean()) - 0.02
    )


def test_split_is_respected(faces_dir: Path) -> None:
    config = replace(PLAIN, size=64, frames=1)
    train, heldout = (ClipSampler(faces_dir, config, split=split) for split in ("train", "heldout"))
    assert set(train.sample(24).face_index) <= {0, 1, 3}
    assert set(heldout.sample(8).face_index) == {2}
    owners = {int(train.real.bank.face[row]) for rows in train.real.rows.values() for row in rows}
    assert owners
    assert 2 not in owners


def test_whole_canvas_moves_as_a_head(faces_dir: Path) -> None:
    config = ClipConfig(size=640, frames=2, motion="frame", with_grid=True, camera=STILL)
    clip = ClipSampler(faces_dir, config, seed=1).sample(1)
    assert clip.raw.shape == (1, 2, 3, 640, 640)
    assert clip.to_canvas is not None
    assert float(clip.to_canvas.min()) < 0.0


@pytest.mark.parametrize(
    ("change", "word"), [({"motion": "wild"}, "wild"), ({"size": 9}, "size"), ({"frames": 0}, "frames")]
)
def test_bad_config_is_refused_in_a_sentence(change: dict[str, object], word: str) -> None:
    with pytest.raises(FacesError, match=word):
        replace(ClipConfig(), **change)


def test_missing_folder_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(FacesError, match=r"stream\.portraits"):
        ClipSampler(tmp_path, ClipConfig())


def test_harvested_marks_alone_are_no_painted_ones(faces_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    painted: list[int] = []
    monkeypatch.setattr(clips_module.imp, "paint_marks", lambda layers, marks, *_: painted.append(len(marks)))
    config = ClipConfig(
        size=256, frames=1, harvested_share=1.0, diffuse=0.0, negatives=0.0, own_removed=0.0, clean_share=0.0
    )
    clip = ClipSampler(faces_dir, config, seed=3).sample(4)
    assert sum(painted) == 0
    assert float((clip.raw - clip.target).abs().amax()) > 0.02
