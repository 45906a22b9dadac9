"""Unpack videos into folders of frames, for training on pairs: `python -m stream.unpack DATA OUT`.

Every video below DATA becomes a folder of the same name, without ending, at the same place below OUT:
DATA/train/source/anna.mp4 becomes OUT/train/source/anna/000000.png and so on, upright RGB. A folder that is
there already is left as it is, so that a run that was stopped can be repeated.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2

from stream.errors import VretouchError
from stream.source import VideoSource

VIDEOS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".ts")
FASTEST_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1)


class UnpackError(VretouchError):
    """There is nothing to unpack, or two videos would get in each other's way."""


def unpack_all(data: Path, out: Path) -> Iterator[tuple[str, int]]:
    """Unpack every video below `data`; as each is done its name and frames, 0 where it was there already.

    Raises:
        UnpackError: there are no videos, or two would become one folder, or one a folder within another's.
        SourceError: a video cannot be read.
    """
    for video, folder in folders_of(data, out).items():
        yield str(video.relative_to(data)), 0 if folder.is_dir() else unpack(video, folder)


def folders_of(data: Path, out: Path) -> dict[Path, Path]:
    """The folder that each video below `data` becomes. Raises UnpackError as `unpack_all` does."""
    if not data.is_dir():
        raise UnpackError(f"There is no folder {data}; name the one with the videos.")
    videos = sorted(p for p in data.rglob("*") if p.suffix.lower() in VIDEOS and p.is_file())
    if not videos:
        raise UnpackError(f"There are no videos below {data}; their endings are {', '.join(VIDEOS)}.")
    taken: dict[Path, Path] = {}
    for video in videos:
        folder = out / video.relative_to(data).with_suffix("")
        if folder in taken:
            raise UnpackError(f"{taken[folder]} and {video} would become one folder; rename one of them.")
        taken[folder] = video
    for folder, video in taken.items():
        for parent in folder.parents:
            if parent in taken:
                raise UnpackError(
                    f"{taken[parent]} would become the folder in which {video} is put; rename one of them."
                )
    return {video: folder for folder, video in taken.items()}


def unpack(video: Path, folder: Path) -> int:
    """Write the frames of `video` to the new `folder`, whole or not at all; their number."""
    temporary = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        count = _write_frames(video, temporary)
        temporary.rename(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return count


def _write_frames(video: Path, folder: Path) -> int:
    count = 0
    with VideoSource(str(video)) as source:
        for frame in source.frames(None):
            packed = cv2.imencode(".png", cv2.cvtColor(frame.rgb_u8, cv2.COLOR_RGB2BGR), FASTEST_PNG)[1]
            (folder / f"{count:06d}.png").write_bytes(packed.tobytes())
            count += 1
    return count


def main(argv: list[str] | None = None) -> int:
    """Run the command line."""
    p = argparse.ArgumentParser(
        prog="python -m stream.unpack", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    p.add_argument("data", type=Path, help="folder with videos, at any depth")
    p.add_argument("out", type=Path, help="folder for the frames")
    options = p.parse_args(argv)
    try:
        for name, count in unpack_all(options.data, options.out):
            print(f"{name}: {count} frames" if count else f"{name}: there already", flush=True)
    except (VretouchError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; nothing half-written is left", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
