"""Raw and retouched pictures or videos on disk, paired by name.

    DATA/train/source/NAME.png   DATA/train/target/NAME.png      pictures, as FFHQR
    DATA/train/source/NAME/*.png DATA/train/target/NAME/*.png    videos as folders of frames, as MRFV

and the same under `test` and, where there is one, `val`. A partner may have another ending.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

SIDES = ("source", "target")
IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
VIDEOS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".ts")
NAMED = 3


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
            cannot be read.
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
    """That all of a pair's pictures have one size, read off their heads."""
    expected = size_of(pair.source[0])
    for files in pair.files():
        for path in files:
            if size_of(path) != expected:
                one, other = ("x".join(map(str, s)) for s in (expected, size_of(path)))
                raise PairsError(
                    f"{pair.source[0]} is of {one} pixels and {path} of {other}; a pair's pictures must be "
                    "of one size."
                )


def size_of(path: Path) -> tuple[int, int]:
    """Width and height in pixels, read off the file's head."""
    try:
        with Image.open(path) as picture:
            return picture.size
    except (OSError, Image.DecompressionBombError, ValueError) as error:
        raise _unreadable(path, error) from error


def read_square(path: Path, side: int) -> NDArray[np.uint8]:
    """The picture's centred square, RGB [side, side, 3].

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
    return np.asarray(ImageOps.exif_transpose(_opened(path)))


def _opened(path: Path) -> Image.Image:
    try:
        with Image.open(path) as picture:
            return picture.convert("RGB")
    except (OSError, Image.DecompressionBombError, ValueError, SyntaxError) as error:
        raise _unreadable(path, error) from error


def _empty(folder: Path) -> PairsError:
    return PairsError(f"{folder} holds no pictures; put {', '.join(IMAGES[:3])} files there.")


def _unreadable(path: Path, error: Exception) -> PairsError:
    said = str(error).partition("\n")[0]
    return PairsError(f"{path} cannot be read as a picture ({said}); get a whole copy of it.")
