"""Small made-up portraits in the prepared format: smooth ovals of four tones, so the tests need no
pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import require

TONES = ((225, 180, 160), (190, 140, 115), (140, 95, 75), (80, 52, 42))
SIDE = 640
Array = np.ndarray


def _regions(x: Array, y: Array) -> Array:
    oval = ((x - 320) / 145) ** 2 + ((y - 332) / 185) ** 2 < 1
    bits = np.where(oval, 1 | 128, 0)
    for middle in (-60, 60):
        bits[((x - 320 - middle) / 35) ** 2 + ((y - 300) / 15) ** 2 < 1] &= ~1
    bits[((x - 320) / 50) ** 2 + ((y - 420) / 18) ** 2 < 1] &= ~1
    bits |= np.where(oval & (y < 250), 2, 0)
    bits |= np.where(oval & (abs(x - 320) < 30) & (y > 290) & (y < 370), 4, 0)
    bits |= np.where(oval & (abs(x - 320) >= 40) & (y > 315) & (y < 410), 8, 0)
    bits |= np.where(oval & (y > 440), 16, 0)
    bits |= np.where(oval & (y > 318) & (y < 340) & (abs(abs(x - 320) - 60) < 35), 32, 0)
    bits |= np.where(oval & (y > 375) & (y < 400) & (abs(x - 320) < 50), 64, 0)
    return bits.astype(np.uint8)


def _face(tone: tuple[int, int, int], bits: Array, x: Array, y: Array, spots: int) -> Array:
    shade = 1 - 0.25 * ((x - 280) / 200) ** 2 - 0.2 * ((y - 300) / 250) ** 2
    picture = np.where((bits & 128)[..., None] > 0, np.array(tone) * shade[..., None], 60.0)
    rng = np.random.default_rng(spots)
    for _ in range(spots):
        cx, cy = 320 + rng.uniform(-90, 90), 480 + rng.uniform(-20, 20)
        depth = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 8.0)[..., None]
        picture = picture * np.exp(-depth * np.array([0.10, 0.25, 0.28]))
    return np.clip(picture, 0, 255).round().astype(np.uint8)


@pytest.fixture(scope="session")
def faces_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four prepared faces, light to dark; the third is held out; each has a few reddish spots on its chin."""
    folder = tmp_path_factory.mktemp("faces")
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float64)
    bits = _regions(x, y)
    faces = np.stack([_face(tone, bits, x, y, 3 + k) for k, tone in enumerate(TONES)])
    landmarks = np.full((4, 468, 2), 320, np.float32)
    for index, at in ((33, (225, 300)), (133, (290, 300)), (362, (350, 300)), (263, (415, 300))):
        landmarks[:, index] = at
    rows = [
        {"file": f"{k}.png", "subject": f"s{k}", "split": ("train", "train", "heldout", "train")[k],
         "synthetic": False, "ita": (60.0, 30.0, 0.0, -60.0)[k]}
        for k in range(4)
    ]  # fmt: skip
    np.save(folder / "faces.npy", faces)
    np.save(folder / "regions.npy", np.repeat(bits[None], 4, 0))
    np.save(folder / "landmarks.npy", landmarks)
    (folder / "index.json").write_text(json.dumps(rows))
    return folder


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Tiny networks on several threads spend their time waiting for each other on a busy machine."""
    torch = require("torch")
    torch.set_num_threads(1)
