"""Lay FFHQR out with its published split: `python -m model.data.ffhqr FFHQ FFHQR OUT`.

FFHQ and FFHQR are the folders of the two downloads, with pictures such as 00000/00042.png in them at any
depth. OUT receives links, OUT/train|val|test / source|target / NNNNN.png, or copies where the system has no
links; it is there whole or not at all. The split is the data set's own (Shafaei et al., WACV 2021):
00000-55999 to train, 56000-62999 to validate, 63000-69999 to test.
"""

import argparse
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from model.data.pairs import NAMED, PairsError

SPLIT_STARTS = {"train": 0, "val": 56_000, "test": 63_000}
COUNT = 70_000


def split_of(number: int) -> str:
    """The published split of picture `number`, 0 to 69999."""
    return [name for name, start in SPLIT_STARTS.items() if number >= start][-1]


def numbered(folder: Path) -> dict[str, Path]:
    """The pictures named by five digits below `folder`, by that name.

    Raises:
        PairsError: there is no such folder, none of them, or one twice.
    """
    if not folder.is_dir():
        raise PairsError(f"There is no folder {folder}; name the one that the pictures were unpacked into.")
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*.png")):
        name = path.stem
        if not (name.isdecimal() and len(name) == 5 and int(name) < COUNT):
            continue
        if name in found:
            raise PairsError(
                f"{found[name]} and {path} have the same name; name the folder that holds one of them alone, "
                "such as images1024x1024."
            )
        found[name] = path
    if not found:
        raise PairsError(f"{folder} holds no pictures named 00000.png to 69999.png; unpack them there.")
    return found


def arrange(ffhq: Path, ffhqr: Path, out: Path) -> dict[str, int]:
    """Link every picture that both folders have; the number of pairs of each split.

    Raises:
        PairsError: a folder is missing or empty, a picture is missing or there twice, or OUT is not empty.
    """
    source, target = numbered(ffhq), numbered(ffhqr)
    missing = [name for name in target if name not in source]
    if missing:
        raise PairsError(
            f"{ffhq} lacks {len(missing)} of the pictures in {ffhqr}, such as "
            f"{', '.join(f'{name}.png' for name in missing[:NAMED])}; download these parts of FFHQ too."
        )
    if out.exists() and any(out.iterdir()):
        raise PairsError(f"{out} is not empty; give a new folder.")
    out = out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    counts = dict.fromkeys(SPLIT_STARTS, 0)
    with TemporaryDirectory(prefix=f"{out.name}.part-", dir=out.parent) as part:
        whole = Path(part, out.name)
        for name, retouched in target.items():
            split = split_of(int(name))
            counts[split] += 1
            for side, path in (("source", source[name]), ("target", retouched)):
                _link(path, whole / split / side / f"{name}.png")
        if out.exists():
            out.rmdir()
        whole.rename(out)
    return counts


def _link(path: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        place.symlink_to(path.resolve())
    except OSError:  # Windows without the right to make links
        shutil.copyfile(path, place)


def main(argv: list[str] | None = None) -> int:
    """Run the command line."""
    p = argparse.ArgumentParser(
        prog="python -m model.data.ffhqr",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    p.add_argument("ffhq", type=Path, help="folder of the original pictures, 1024x1024")
    p.add_argument("ffhqr", type=Path, help="folder of the retouched ones")
    p.add_argument("out", type=Path, help="new folder for the layout")
    options = p.parse_args(argv)
    try:
        counts = arrange(options.ffhq, options.ffhqr, options.out)
    except (PairsError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; nothing half-written is left", file=sys.stderr)
        return 130
    print(", ".join(f"{count} pairs to {split}" for split, count in counts.items()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
