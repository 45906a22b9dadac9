"""Clips from pairs: raw and target move alike, the flow is where things were, and a number is a clip."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import require

torch = require("torch")

from model.data.clips import imperfections  # noqa: E402
from model.data.pairs import PairsError, read_square  # noqa: E402
from model.data.sequences import PairClips, SequenceConfig, crops  # noqa: E402
from model.warp import warp  # noqa: E402
from tests.model.pairs import write_stills, write_videos  # noqa: E402


@pytest.fixture(scope="module")
def stills(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stills(tmp_path_factory.mktemp("stills"), side=160)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_videos(tmp_path_factory.mktemp("videos"), size=(520, 512))


def film(folder: Path) -> torch.Tensor:
    """The frames of a video of five, [5, 3, 512, 512]."""
    frames = [torch.from_numpy(read_square(folder / f"frame{t}.png", 512).copy()) for t in range(8, 13)]
    return torch.stack(frames).permute(0, 3, 1, 2).float() / 255


@pytest.mark.parametrize("motion", ["independent", "smooth"])
@pytest.mark.parametrize("size", [128, 512])
def test_the_flow_says_where_each_pixel_was(motion: str, size: int, stills: Path) -> None:
    clips = PairClips(stills, "train", SequenceConfig(size=size, frames=3, motion=motion))
    assert clips.flow_known
    clip = clips.batch([4, 5])
    assert clip.raw.shape == (2, 3, 3, size, size) and clip.flow.shape == (2, 3, 2, size, size)
    assert not clip.flow[:, 0].any() and clip.flow[:, 1:].abs().amax() > 0.5
    y, x = torch.meshgrid(*(torch.arange(size).float(),) * 2, indexing="ij")
    for t in (1, 2):
        at = torch.stack([x, y]) + clip.flow[:, t]
        inside = ((at >= 0) & (at <= size - 1)).all(1, keepdim=True)
        assert inside.float().mean() > 0.02
        for side in (clip.raw, clip.target):
            off = (warp(side[:, t - 1], clip.flow[:, t]) - side[:, t]).abs() * inside
            assert float(off.amax()) < 0.05 and float(off.sum() / inside.sum()) < 0.006


def test_smooth_motion_is_one_a_head_can_have_and_independent_is_not(stills: Path) -> None:
    def fastest(motion: str) -> float:
        clips = PairClips(stills, "train", SequenceConfig(size=128, frames=4, motion=motion))
        return float(torch.stack([clips.clip(n).flow.abs().amax() for n in range(4)]).amax())

    assert fastest("smooth") < 20.0 < 100.0 < fastest("independent")


def test_crops_stay_on_the_picture_and_half_are_mirrored() -> None:
    gen = torch.Generator().manual_seed(0)
    placed = crops(400, gen)[0]
    corners = torch.tensor([[0.0, 0, 1], [511, 511, 1]], dtype=torch.float64).T
    at = placed @ corners  # [400, 3, 2]
    assert float(at[:, :2].amin()) >= 0 and float(at[:, :2].amax()) <= 639
    mirrored = placed[:, 0, 0] < 0
    assert 0.4 < float(mirrored.double().mean()) < 0.6
    assert (at[mirrored, 0, 0] > at[mirrored, 0, 1]).all()
    scale = placed[:, 1, 1]
    assert 1.0 <= float(scale.min()) < 1.02 and 1.23 < float(scale.max()) <= 1.25


def test_a_number_is_a_clip_whatever_was_drawn_before(stills: Path) -> None:
    config = SequenceConfig(size=64, frames=2)
    clips = PairClips(stills, "train", config, seed=3)
    first = clips.batch([1, 2])
    again = PairClips(stills, "train", config, seed=3).batch([2])
    assert torch.equal(first.raw[1:], again.raw) and first.face_index[1:] == again.face_index
    assert not torch.equal(first.raw[0], first.raw[1])
    other = PairClips(stills, "train", config, seed=4).batch([2])
    assert not torch.equal(again.raw, other.raw)
    drawn = {clips.clip(n).face_index[0] for n in range(20)}
    assert drawn == {0, 1, 2}
    assert clips.clip(5, index=1).face_index == [1]


def test_the_map_is_the_difference_and_zero_on_clean_skin(stills: Path) -> None:
    clip = PairClips(stills, "test", SequenceConfig(size=512, frames=1)).clip(0)
    expected = ((clip.raw - clip.target).abs().mean(2, keepdim=True) / 0.08).clamp(max=1)
    torch.testing.assert_close(clip.map, expected)
    assert float(clip.map.amax()) == 1.0 and float((clip.map == 0).float().mean()) > 0.5
    assert imperfections(clip.raw, clip.raw).any().item() is False


def test_a_stretch_of_a_video_is_its_frames_in_order(videos: Path) -> None:
    clips = PairClips(videos, "train", SequenceConfig(size=512, frames=3))
    assert not clips.flow_known
    films = [film(videos / "train" / side / "person1") for side in ("source", "target")]
    seen = set()
    for number in range(12):
        clip = clips.clip(number, index=1)
        found = [
            (start, flip)
            for start in range(3)
            for flip in (False, True)
            if all(
                torch.equal(got[0], (whole.flip(-1) if flip else whole)[start : start + 3])
                for got, whole in zip((clip.raw, clip.target), films, strict=True)
            )
        ]
        assert len(found) == 1
        seen.add(found[0])
        assert not clip.flow.any() and clip.map.any()
    assert {start for start, _ in seen} == {0, 1, 2} and {flip for _, flip in seen} == {False, True}


def test_raw_and_target_of_a_video_are_of_one_window(videos: Path) -> None:
    """Apart from the spots they are alike, to the bit; of another window next to nothing would be."""
    clips = PairClips(videos, "train", SequenceConfig(size=128, frames=2))
    for number in range(4):
        clip = clips.clip(number)
        assert float((clip.raw == clip.target).float().mean()) > 0.5


def test_windows_of_a_video_lie_alike_in_all_its_frames(videos: Path) -> None:
    clip = PairClips(videos, "train", SequenceConfig(size=64, frames=4)).clip(2)
    assert clip.raw.shape == (1, 4, 3, 64, 64)
    # The head goes left by two of 520 pixels a frame; a window of its own for each frame would not show it.
    moved = [(clip.target[0, t, :, :, 2:] - clip.target[0, t + 1, :, :, :-2]).abs().amax() for t in range(3)]
    moved_back = [
        (clip.target[0, t, :, :, :-2] - clip.target[0, t + 1, :, :, 2:]).abs().amax() for t in range(3)
    ]
    assert min(float(max(moved)), float(max(moved_back))) < 0.02


@pytest.mark.parametrize(
    ("values", "word"),
    [({"motion": "wild"}, "'wild'"), ({"size": 1024}, "1024"), ({"size": 66}, "66"), ({"frames": 0}, "0")],
)
def test_settings_out_of_range_are_refused(values: dict, word: str) -> None:
    with pytest.raises(PairsError, match=word):
        SequenceConfig(**values)


def test_a_video_shorter_than_a_clip_is_named(videos: Path) -> None:
    with pytest.raises(PairsError, match=r"person0 in .* has 5 frames"):
        PairClips(videos, "train", SequenceConfig(size=64, frames=6))


def test_a_video_of_one_frame_before_longer_ones_is_named(tmp_path: Path) -> None:
    folder = write_videos(tmp_path)
    for side in ("source", "target"):
        for frame in range(9, 13):
            (folder / "train" / side / "person0" / f"frame{frame}.png").unlink()
    with pytest.raises(PairsError, match=r"person0 in .* has 1 frames"):
        PairClips(folder, "train", SequenceConfig(size=64, frames=3))
