"""Pairs are found by name, and what is wrong with a set is named in one sentence."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from model.data import ffhqr
from model.data.ffhqr import arrange, main, split_of
from model.data.pairs import VIDEOS, PairsError, find_pairs, read_square, read_whole, size_of
from stream import unpack
from tests.model.pairs import Array, face, write, write_stills, write_videos


def test_still_pairs_are_found_by_name(tmp_path: Path) -> None:
    write_stills(tmp_path)
    old = tmp_path / "train/target/00001.png"
    write(old.with_suffix(".JPG"), face(1, 96)[1])  # a partner with another ending
    old.unlink()
    (tmp_path / "train/source/.DS_Store").write_text("")
    (tmp_path / "train/source/LICENSE.txt").write_text("")
    pairs = find_pairs(tmp_path, "train")
    assert [pair.name for pair in pairs] == ["00000", "00001", "00002"]
    assert pairs[1].target[0].name == "00001.JPG"
    assert [pair.name for pair in find_pairs(tmp_path, "test")] == ["63000", "63001"]


def test_frames_of_videos_are_in_their_numbers_order(tmp_path: Path) -> None:
    pairs = find_pairs(write_videos(tmp_path), "train")
    assert [pair.name for pair in pairs] == ["person0", "person1"]
    for side in (pairs[0].source, pairs[0].target):
        assert [path.stem for path in side] == [f"frame{t}" for t in range(8, 13)]
    assert "source" in pairs[0].source[0].parts and "target" in pairs[0].target[0].parts


def spoil_layout(root: Path) -> None:
    shutil.move(root / "train/source", root / "train/raw")


def spoil_by_emptying(root: Path) -> None:
    for path in (root / "train/target").iterdir():
        path.unlink()


def spoil_by_losing(root: Path) -> None:
    (root / "train/target/00001.png").unlink()


def spoil_by_renaming(root: Path) -> None:
    (root / "train/target/00001.png").rename(root / "train/target/1.png")


def spoil_by_resizing(root: Path) -> None:
    write(root / "train/target/00001.png", face(1, 80)[1])


def spoil_by_cutting(root: Path) -> None:
    (root / "train/target/00001.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")


def spoil_by_halving(root: Path) -> None:
    halve(root / "train/target/00001.png")


def spoil_by_halving_a_jpeg(root: Path) -> None:
    (root / "train/source/00001.png").unlink()
    write(root / "train/source/00001.jpg", face(1, 96)[0])
    halve(root / "train/source/00001.jpg")


def halve(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def spoil_by_doubling(root: Path) -> None:
    write(root / "train/source/00001.jpg", face(1, 96)[0])


def spoil_by_a_video(root: Path) -> None:
    (root / "train/source/clip.mp4").write_bytes(b"video")


def spoil_by_mixing(root: Path) -> None:
    (root / "train/source/person0").mkdir()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (spoil_layout, ["no folder", "train/source", "source|target"]),
        (spoil_by_emptying, ["train/target", "holds no pictures"]),
        (spoil_by_losing, ["source/00001.png", "no partner"]),
        (spoil_by_renaming, ["source/00001.png", "target/1.png"]),
        (spoil_by_resizing, ["source/00001.png", "96x96", "target/00001.png", "80x80"]),
        (spoil_by_cutting, ["target/00001.png", "cannot be read"]),
        (spoil_by_halving, ["target/00001.png", "cannot be read", "get a whole copy"]),
        (spoil_by_halving_a_jpeg, ["source/00001.jpg", "cannot be read", "get a whole copy"]),
        (spoil_by_doubling, ["00001.jpg", "00001.png", "same name"]),
        (spoil_by_a_video, ["clip.mp4", "python -m stream.unpack"]),
        (spoil_by_mixing, ["person0", "00000.png", "sets of their own"]),
    ],
)
def test_what_is_wrong_with_still_pairs_is_named(
    spoil: Callable[[Path], None], words: list[str], tmp_path: Path
) -> None:
    spoil(write_stills(tmp_path))
    with pytest.raises(PairsError) as raised:
        find_pairs(tmp_path, "train")
    said = str(raised.value)
    assert all(word in said for word in words), said
    assert "\n" not in said


def test_what_is_sent_to_be_unpacked_is_unpacked() -> None:
    """Neither side may import the other."""
    assert VIDEOS == unpack.VIDEOS


def test_many_missing_partners_are_counted(tmp_path: Path) -> None:
    write_stills(tmp_path, count=6)
    for number in range(5):
        (tmp_path / f"train/source/{number:05d}.png").unlink()
    with pytest.raises(PairsError, match=r"target/00002\.png and 2 more"):
        find_pairs(tmp_path, "train")


def test_what_is_wrong_with_videos_is_named(tmp_path: Path) -> None:
    root = write_videos(tmp_path / "a")
    (root / "train/target/person1/frame9.png").unlink()
    with pytest.raises(PairsError, match=r"source/person1/frame9\.png"):
        find_pairs(root, "train")
    shutil.rmtree(root / "train/target/person1")
    with pytest.raises(PairsError, match="source/person1"):
        find_pairs(root, "train")
    root = write_videos(tmp_path / "b")
    write(root / "train/source/person0/frame11.png", face(0, 50)[0])
    with pytest.raises(PairsError, match=r"frame11\.png of 50x50"):
        find_pairs(root, "train")
    root = write_videos(tmp_path / "c")
    for path in (root / "train/source/person0").iterdir():
        path.unlink()
    with pytest.raises(PairsError, match="person0 holds no pictures"):
        find_pairs(root, "train")


def test_a_picture_is_read_as_its_centred_square(tmp_path: Path) -> None:
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, 10:50] = 200  # the middle square
    pixels[:20, 10:50, 0] = 100
    write(tmp_path / "a.png", pixels)
    square = read_square(tmp_path / "a.png", 20)
    assert square.shape == (20, 20, 3)
    assert abs(square[2:7, 3:17].astype(int) - (100, 200, 200)).max() <= 1
    assert abs(square[13:18, 3:17].astype(int) - 200).max() <= 1
    assert size_of(tmp_path / "a.png") == (60, 40)


def test_a_truncated_picture_is_named_where_it_is_read(tmp_path: Path) -> None:
    write(tmp_path / "a.png", face(0, 96)[0])
    halve(tmp_path / "a.png")
    with pytest.raises(PairsError, match=r"a\.png cannot be read"):
        read_square(tmp_path / "a.png", 20)


@pytest.mark.parametrize("ending", [".png", ".jpg"])
def test_what_stands_behind_a_whole_picture_does_no_harm(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{ending}"
    write(path, face(0, 96)[0])
    path.write_bytes(path.read_bytes() + bytes(100_000))
    assert size_of(path) == (96, 96)


# How EXIF's orientations store a picture.
STORED: dict[int, Callable[[Array], Array]] = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: np.rot90(upright),
    7: lambda upright: upright[::-1, ::-1].transpose(1, 0, 2),
    8: lambda upright: np.rot90(upright, -1),
}


def write_turned(path: Path, upright: Array, orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = np.ascontiguousarray(STORED[orientation](upright))
    Image.fromarray(stored).save(path, exif=exif, quality=95)


@pytest.mark.parametrize("ending", [".png", ".jpg", ".webp", ".tif"])
@pytest.mark.parametrize("orientation", STORED)
def test_a_picture_is_measured_and_read_upright(orientation: int, ending: str, tmp_path: Path) -> None:
    upright = face(0, 96)[0][:64]
    path = tmp_path / f"a{ending}"
    write_turned(path, upright, orientation)
    assert size_of(path) == (96, 64)
    assert np.abs(read_whole(path).astype(int) - upright).mean() < 2
    write(tmp_path / "upright.png", upright)
    square = read_square(tmp_path / "upright.png", 32).astype(int)
    assert np.abs(read_square(path, 32) - square).mean() < 2


def test_a_pair_of_which_one_is_stored_lying_is_aligned(tmp_path: Path) -> None:
    raw, target = (side[:64] for side in face(0, 96))
    write(tmp_path / "train/source/a.png", raw)
    write_turned(tmp_path / "train/target/a.png", target, 6)
    (pair,) = find_pairs(tmp_path, "train")
    apart = read_square(pair.source[0], 64).astype(int) - read_square(pair.target[0], 64)
    assert np.abs(apart).mean() < 8
    write(tmp_path / "train/source/a.png", np.ascontiguousarray(np.rot90(raw)))
    with pytest.raises(PairsError, match=r"64x96 pixels and .*target/a\.png of 96x64"):
        find_pairs(tmp_path, "train")


def test_exif_that_is_none_turns_nothing(tmp_path: Path) -> None:
    pixels = face(0, 96)[0][:64]
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=b"no EXIF at all")
    assert size_of(tmp_path / "a.png") == (96, 64)
    assert (read_whole(tmp_path / "a.png") == pixels).all()


@pytest.mark.parametrize(
    ("number", "split"),
    [(0, "train"), (55_999, "train"), (56_000, "val"), (62_999, "val"), (63_000, "test"), (69_999, "test")],
)
def test_the_split_is_the_published_one(number: int, split: str) -> None:
    assert split_of(number) == split


def test_ffhqr_is_laid_out_by_its_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in (7, 55_999, 56_000, 69_999):
        for kind, pixels in zip(("ffhq", "ffhqr"), face(number, 32), strict=True):
            write(tmp_path / kind / f"{number // 1000:02d}000" / f"{number:05d}.png", pixels)
    write(tmp_path / "ffhq/00000/00008.png", face(8, 32)[0])  # more of FFHQ than was retouched
    (tmp_path / "ffhqr/teaser.png").write_bytes(b"")
    arguments = [str(tmp_path / name) for name in ("ffhq", "ffhqr", "out")]
    assert main(arguments) == 0
    assert capsys.readouterr().out == "2 pairs to train, 1 pairs to val, 1 pairs to test\n"
    out = tmp_path / "out"
    assert [pair.name for pair in find_pairs(out, "train")] == ["00007", "55999"]
    (val,) = find_pairs(out, "val")
    assert (read_square(val.source[0], 32) == face(56_000, 32)[0]).all()
    assert (read_square(val.target[0], 32) == face(56_000, 32)[1]).all()
    assert main(arguments) == 2
    assert "not empty" in capsys.readouterr().err


def test_ffhq_without_a_picture_that_was_retouched_is_named(tmp_path: Path) -> None:
    write(tmp_path / "ffhqr/00003.png", face(3, 32)[1])
    write(tmp_path / "ffhq/00004.png", face(4, 32)[0])
    with pytest.raises(PairsError, match=r"lacks 1 .*00003\.png"):
        arrange(tmp_path / "ffhq", tmp_path / "ffhqr", tmp_path / "out")
    with pytest.raises(PairsError, match="no folder"):
        arrange(tmp_path / "none", tmp_path / "ffhqr", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(PairsError, match="holds no pictures"):
        arrange(tmp_path / "empty", tmp_path / "ffhqr", tmp_path / "out")


def test_a_picture_found_twice_is_named_with_its_double(tmp_path: Path) -> None:
    raw, retouched = face(3, 32)
    write(tmp_path / "ffhqr/00003.png", retouched)
    for folder in ("images1024x1024", "thumbnails128x128"):
        write(tmp_path / "ffhq" / folder / "00003.png", raw)
    with pytest.raises(PairsError, match=r"images1024x1024/00003\.png and .*thumbnails128x128/00003\.png"):
        arrange(tmp_path / "ffhq", tmp_path / "ffhqr", tmp_path / "out")
    assert arrange(tmp_path / "ffhq/images1024x1024", tmp_path / "ffhqr", tmp_path / "out")["train"] == 1


def test_a_layout_that_was_stopped_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (3, 4):
        for kind, pixels in zip(("ffhq", "ffhqr"), face(number, 32), strict=True):
            write(tmp_path / kind / f"{number:05d}.png", pixels)
    out = tmp_path / "out"
    out.mkdir()
    link = ffhqr._link

    def stopped(path: Path, place: Path) -> None:
        if path.name == "00004.png":
            raise KeyboardInterrupt
        link(path, place)

    with monkeypatch.context() as patch:
        patch.setattr(ffhqr, "_link", stopped)
        with pytest.raises(KeyboardInterrupt):
            arrange(tmp_path / "ffhq", tmp_path / "ffhqr", out)
    assert not any(out.iterdir())
    (tmp_path / "ffhqr/00003.png").unlink()
    assert arrange(tmp_path / "ffhq", tmp_path / "ffhqr", out)["train"] == 1
    assert [pair.name for pair in find_pairs(out, "train")] == ["00004"]
    assert {path.name for path in tmp_path.iterdir()} == {"ffhq", "ffhqr", "out"}
