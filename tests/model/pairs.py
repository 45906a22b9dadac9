"""Small sets of raw and retouched pairs, written by the tests in the layouts that the data modules read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

Array = np.ndarray


def face(seed: int, side: int) -> tuple[Array, Array]:
    """A smooth shaded picture with dark spots, and the same without: uint8 RGB [side, side, 3]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] / side
    shade = 1 - 0.4 * ((x - 0.4) ** 2 + (y - 0.5) ** 2)
    target = shade[..., None] * rng.uniform(120, 220, 3)
    raw = target.copy()
    for cx, cy in rng.uniform(0.2, 0.8, (40, 2)):
        spot = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * 0.012**2))
        raw *= 1 - spot[..., None] * np.array([0.1, 0.25, 0.3])
    return raw.round().astype(np.uint8), target.round().astype(np.uint8)


def write(path: Path, pixels: Array) -> None:
    """Save a picture, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def write_stills(folder: Path, count: int = 3, side: int = 96) -> Path:
    """An FFHQR-like set: `count` pairs to train and two to test."""
    for split, names in (("train", range(count)), ("test", range(63_000, 63_002))):
        for number in names:
            for kind, pixels in zip(("source", "target"), face(number, side), strict=True):
                write(folder / split / kind / f"{number:05d}.png", pixels)
    return folder


def write_videos(folder: Path, count: int = 2, frames: int = 5, size: tuple[int, int] = (112, 96)) -> Path:
    """An MRFV-like set of frame folders: a face that moves two pixels a frame to the left."""
    width, height = size
    for split in ("train", "test"):
        for number in range(count):
            sides = face(number, max(width, height) + 2 * frames)
            for kind, pixels in zip(("source", "target"), sides, strict=True):
                for t in range(frames):
                    frame = pixels[:height, 2 * t : 2 * t + width]
                    write(folder / split / kind / f"person{number}" / f"frame{t + 8}.png", frame)
    return folder
