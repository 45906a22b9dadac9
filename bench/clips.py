"""Held-out faces in motion with their truth: the clips that quality is measured on."""

from __future__ import annotations

import csv
import hashlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.judge import Footage
from bench.metrics import Pixels
from bench.report import BenchError
from stream import crop, portraits, regions
from stream.portraits import prepare, tone_of
from stream.regions import OVAL

if TYPE_CHECKING:
    from torch import Tensor

    from model.data.clips import Clip, ClipSampler

SPLIT = "heldout"
DEFAULT_PORTRAITS = Path(__file__).resolve().parents[2] / "shared" / "data"


def faces_folder(given: Path | None, portraits_dir: Path) -> Path:
    """A folder of prepared portraits that holds the held-out subjects; made from portraits_dir where there
    is none.

    Without `given` it lies in the user's cache, under a name that changes with the portraits and with the
    code that prepares them.
    """
    folder = given if given is not None else _cache_folder() / f"heldout-{_fingerprint(portraits_dir)}"
    if not (folder / "index.json").is_file():
        _prepare_heldout(portraits_dir, folder)
    return folder


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "vretouch"


def _fingerprint(portraits_dir: Path) -> str:
    digest = hashlib.sha256(_table(portraits_dir).read_bytes())
    for module in (crop, portraits, regions):
        digest.update(Path(str(module.__file__)).read_bytes())
    return digest.hexdigest()[:12]


def _table(portraits_dir: Path) -> Path:
    table = portraits_dir / "portraits.csv"
    if not table.is_file():
        raise BenchError(
            f"no portraits at {portraits_dir}; name them with --portraits, or prepared faces with --faces"
        )
    return table


def _prepare_heldout(portraits_dir: Path, folder: Path) -> None:
    """Prepare the held-out rows alone: the rest would take twenty times as long and as much room."""
    with _table(portraits_dir).open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row.get("split") == SPLIT]
    if not rows:
        raise BenchError(
            f"{portraits_dir / 'portraits.csv'} has no row of split {SPLIT!r}; give portraits that do"
        )
    with tempfile.TemporaryDirectory() as made:
        chosen = Path(made)
        (chosen / "portraits").symlink_to((portraits_dir / "portraits").resolve(), target_is_directory=True)
        with (chosen / "portraits.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        prepare(chosen, folder)


class HeldoutClips:
    """Draws clips of held-out subjects one at a time; the same for the same seed and portraits.

    aligned_only: 512 px faces as smoothed alignment leaves them, for the network alone; else 640 px frames.
    real_marks: no other imperfections than marks harvested from held-out people, recoloured in part.
    """

    def __init__(
        self, faces_dir: Path, frames: int, seed: int, aligned_only: bool, real_marks: bool = False
    ) -> None:
        from model.data.clips import ClipConfig, ClipSampler

        size, motion = (512, "aligned") if aligned_only else (640, "frame")
        config = ClipConfig(size=size, frames=frames, motion=motion, clean_share=0.0, with_grid=True)
        if real_marks:
            config = replace(config, harvested_share=1.0, diffuse=0.0)
        self._sampler: ClipSampler = ClipSampler(faces_dir, config, split=SPLIT, seed=seed)
        self._regions = np.load(faces_dir / "regions.npy", mmap_mode="r")

    def __call__(self, count: int) -> Iterator[Footage]:
        """The next `count` clips."""
        for _ in range(count):
            clip = self._sampler.sample(1)
            face = clip.face_index[0]
            oval = np.where(self._regions[face] & OVAL, np.uint8(255), np.uint8(0))
            yield footage_of(clip, self._sampler.faces.rows[face].file, oval)


def pixels_of(frames: Tensor) -> Pixels:
    """Frames [T, 3, H, W] in [0, 1] as uint8 [T, H, W, 3]."""
    return np.asarray((255.0 * frames).round().byte().permute(0, 2, 3, 1).contiguous().numpy())


def footage_of(clip: Clip, name: str, oval: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Footage:
    """The first clip of a batch as arrays; its grid must have been asked for."""
    if clip.to_canvas is None:
        raise BenchError("the clip has no to_canvas grid; draw it with ClipConfig(with_grid=True)")
    raw, target = pixels_of(clip.raw[0]), pixels_of(clip.target[0])
    skin = clip.skin[0, :, 0].numpy() > 0.5
    tone = tone_of(target[0], skin[0])
    return Footage(
        name=name,
        monk=tone[1],
        raw_u8=raw,
        target_u8=target,
        map=clip.map[0, :, 0].contiguous().numpy(),
        skin=skin,
        keep=clip.keep[0].amax(1).numpy(),
        flow=clip.flow[0].permute(0, 2, 3, 1).contiguous().numpy(),
        to_canvas=clip.to_canvas[0].permute(0, 2, 3, 1).contiguous().numpy(),
        oval=oval,
    )
