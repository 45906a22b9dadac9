"""Raw and retouched pictures or videos on disk, paired by name.

    DATA/train/source/NAME.png   DATA/train/target/NAME.png      pictures, as FFHQR
    DATA/train/source/NAME/*.png DATA/train/target/NAME/*.png    videos as folders of frames, as MRFV

and the same under `test` and, where there is one, `val`. A partner may have another ending.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

SIDES = ("source", "target")
IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
VIDEOS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".ts")
NAMED = 3
# EXIF's orientations but for the upright one, and what makes each upright.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = tuple(TURNS[stored] for stored in (5, 6, 7, 8))
# What stands last in a whole file, and in how many bytes at its end it is looked for.
LAST = {"PNG": b"IEND\xaeB`\x82", "JPEG": b"\xff\xd9", "MPO": b"\xff\xd9"}
LAST_BYTES = 1024


class PairsError(ValueError):
    """A folder of pairs cannot be used; one sentence for a person."""


@dataclass(frozen=True)
class Pair:
    """A raw picture or video and its retouched twin.

    Attributes:
        name: of both, without ending.
        source, target: the picture alone, or the video's frames in order; as many of each.
    """

    name: str
    source: tuple[Path, ...]
    target: tuple[Path, ...]

    def files(self) -> Iterator[tuple[Path, Path]]:
        """The raw and the retouched file of each frame."""
        return zip(self.source, self.target, strict=True)


def natural(path: Path) -> list[int | str]:
    """Sorting key under which frame2 comes before frame10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", path.name)]


def find_pairs(folder: Path, split: str) -> list[Pair]:
    """The pairs of one split, by name; that their files are pictures of one size each is checked too.

    Raises:
        PairsError: the layout is another, a partner is missing, misnamed or of another size, or a picture
            cannot be read or is cut short.
    """
    source, target = (_named(folder / split / side) for side in SIDES)
    _all_partnered(folder / split, source, target)
    pairs = [Pair(name, _frames(source[name]), _frames(target[name])) for name in source]
    for pair in pairs:
        if [p.stem for p in pair.source] != [p.stem for p in pair.target]:
            frames = ({p.stem: p for p in side} for side in (pair.source, pair.target))
            _all_partnered(folder / split, *frames)
        _check_sizes(pair)
    return pairs


def pictures_in(folder: Path) -> list[Path]:
    """The pictures of a folder, in order.

    Raises:
        PairsError: it is not there, or holds none.
    """
    if not folder.is_dir():
        raise PairsError(
            f"There is no folder {folder}; put raw pictures in source, retouched ones in target."
        )
    found = [p for p in folder.iterdir() if p.suffix.lower() in IMAGES and not p.name.startswith(".")]
    if not found:
        raise _empty(folder)
    return sorted(found, key=natural)


def _named(side: Path) -> dict[str, Path]:
    """The pictures or the folders of frames of one side, by name without ending, in order."""
    if not side.is_dir():
        raise PairsError(
            f"There is no folder {side}; lay pairs out as train|test / source|target, each raw picture in "
            "source, the retouched one of the same name in target."
        )
    entries = sorted((p for p in side.iterdir() if not p.name.startswith(".")), key=natural)
    for path in entries:
        if path.suffix.lower() in VIDEOS and path.is_file():
            raise PairsError(
                f"{path} is a video file; unpack the videos into folders of frames with "
                "`python -m stream.unpack DATA UNPACKED`."
            )
    folders = [p for p in entries if p.is_dir()]
    pictures = [p for p in entries if p.suffix.lower() in IMAGES and p.is_file()]
    if folders and pictures:
        raise PairsError(
            f"{side} holds both pictures ({pictures[0].name}) and folders ({folders[0].name}); keep still "
            "pairs and videos in sets of their own."
        )
    return _by_name(side, folders or pictures)


def _by_name(folder: Path, paths: list[Path]) -> dict[str, Path]:
    if not paths:
        raise _empty(folder)
    found: dict[str, Path] = {}
    for path in paths:
        name = path.name if path.is_dir() else path.stem
        if name in found:
            raise PairsError(f"{path} and {found[name].name} have the same name; keep one of them.")
        found[name] = path
    return found


def _frames(path: Path) -> tuple[Path, ...]:
    if path.is_file():
        return (path,)
    frames = sorted((p for p in path.iterdir() if p.suffix.lower() in IMAGES), key=natural)
    return tuple(_by_name(path, frames).values())


def _all_partnered(folder: Path, source: dict[str, Path], target: dict[str, Path]) -> None:
    alone = [path for name, path in source.items() if name not in target]
    alone += [path for name, path in target.items() if name not in source]
    if alone:
        named = ", ".join(str(path.relative_to(folder)) for path in alone[:NAMED])
        more = f" and {len(alone) - NAMED} more" if len(alone) > NAMED else ""
        raise PairsError(
            f"In {folder} these have no partner of the same name on the other side: {named}{more}; "
            "add, rename or remove them."
        )


def _check_sizes(pair: Pair) -> None:
    """That all of a pair's pictures have one size, read off their heads, and are not cut short."""
    expected = size_of(pair.source[0])
    for files in pair.files():
        for path in files:
            size = size_of(path)
            if size != expected:
                one, other = ("x".join(map(str, s)) for s in (expected, size))
                raise PairsError(
                    f"{pair.source[0]} is of {one} pixels and {path} of {other}; a pair's pictures must be "
                    "of one size."
                )


def size_of(path: Path) -> tuple[int, int]:
    """Width and height in pixels of the picture as it is to be seen, read off the file's head; a PNG or JPEG
    without its last bytes is decoded, to tell a cut one from one with something behind it.

    Raises:
        PairsError: it cannot be read, or is cut short.
    """
    with _unreadable_named(path):
        with Image.open(path) as picture:
            kind = picture.format
            turn = None if kind == "TIFF" else _turn(picture)  # whose size is of the upright picture already
            size = picture.size
        ended = kind not in LAST or LAST[kind] in _end_of(path)
    if not ended:
        _opened(path)
    return size[::-1] if turn in SIDEWAYS else size


def _end_of(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(-min(LAST_BYTES, path.stat().st_size), os.SEEK_END)
        return file.read()


def read_square(path: Path, side: int) -> NDArray[np.uint8]:
    """The centred square of the picture as it is to be seen, RGB [side, side, 3].

    Raises:
        PairsError: it cannot be read.
    """
    rgb = _opened(path)
    least = min(rgb.size)
    left, top = ((length - least) // 2 for length in rgb.size)
    box = (left, top, left + least, top + least)
    resized = rgb.resize((side, side), Image.Resampling.LANCZOS, box=box)
    return np.asarray(resized)


def read_whole(path: Path) -> NDArray[np.uint8]:
    """The picture as it is to be seen, RGB [H, W, 3].

    Raises:
        PairsError: it cannot be read.
    """
    return np.asarray(_opened(path))


def _opened(path: Path) -> Image.Image:
    """The picture in RGB, upright."""
    with _unreadable_named(path), Image.open(path) as picture:
        rgb = picture.convert("RGB")
        turn = _turn(picture)
        return rgb if turn is None else rgb.transpose(turn)


def _turn(picture: Image.Image) -> Image.Transpose | None:
    """What makes the picture upright by its EXIF; None where it is so, or that cannot be told."""
    try:
        # Not a PNG's own getexif, which decodes the picture for what may stand behind its pixels.
        return TURNS.get(Image.Image.getexif(picture).get(ExifTags.Base.Orientation, 1))
    except SyntaxError:  # what is called EXIF is none
        return None


def _empty(folder: Path) -> PairsError:
    return PairsError(f"{folder} holds no pictures; put {', '.join(IMAGES[:3])} files there.")


@contextmanager
def _unreadable_named(path: Path) -> Iterator[None]:
    """What is done with the picture within; where it cannot be read, its path and why are said."""
    try:
        yield
    except (OSError, Image.DecompressionBombError, ValueError, SyntaxError) as error:
        said = str(error).partition("\n")[0]
        raise PairsError(f"{path} cannot be read as a picture ({said}); get a whole copy of it.") from error
