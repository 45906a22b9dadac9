"""Fig. 7: imperfection maps side by side, of the public-domain astronaut of scikit-image alone."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw

from bench.demo_face import ASSET, enlarged
from bench.metrics import MAP_FULL_LEVELS, Floats, Pixels
from bench.report import BenchError
from bench.reproduction.judged import frames_of
from model.validate import Causal
from model.whole import part_of
from stream.crop import alignment, crop_face
from stream.face import FaceModels
from stream.portraits import locate

FRAMES = 9
SWAY_PX = 1.5
_TILE_PX, _LABEL_PX, _LETTER_PX = 300, 20, 6


def astronaut() -> tuple[Pixels, Floats]:
    """Her face with imperfections painted on, in the little motion that alignment leaves, uint8
    [FRAMES, 512, 512, 3], and the true map of the last frame."""
    clean = enlarged()
    raw = np.asarray(Image.open(ASSET).convert("RGB"))
    with FaceModels() as models:
        landmarks = locate(models, raw)
    if landmarks is None:
        raise BenchError(f"no face was found in {ASSET}; restore that file")
    to_face = alignment(landmarks)
    faces = [crop_face(raw, _swayed(to_face, t)) for t in range(FRAMES)]
    target = crop_face(clean, _swayed(to_face, FRAMES - 1))
    apart = cv2.absdiff(faces[-1], target).mean(2) / MAP_FULL_LEVELS
    return np.stack(faces), np.asarray(apart.clip(0, 1), np.float32)


def _swayed(to_face: npt.NDArray[np.float64], t: int) -> npt.NDArray[np.float64]:
    moved = to_face.copy()
    moved[:, 2] += SWAY_PX * np.array([np.sin(0.7 * t), np.cos(0.5 * t)])
    return moved


@torch.no_grad()
def last_map(network: Causal, faces: Pixels) -> Floats:
    """What the network takes for imperfections in the last of the frames."""
    return list(frames_of(network)(faces))[-1][1]


def draw(networks: Sequence[tuple[str, Causal]], path: Path, said: str) -> None:
    """The face, each network's map under its title, and the true map."""
    faces, true_map = astronaut()
    tiles: list[tuple[str, Pixels | Floats]] = [("Raw", faces[-1])]
    tiles += [(title, last_map(network, faces)) for title, network in networks]
    tiles.append(("M_gt", true_map))
    width = _TILE_PX * len(tiles)
    lines = textwrap.wrap(said, width // _LETTER_PX)
    sheet = Image.new("RGB", (width, _TILE_PX + _LABEL_PX * (1 + len(lines))), "white")
    pen = ImageDraw.Draw(sheet)
    for place, (title, tile) in enumerate(tiles):
        pixels = tile if tile.dtype == np.uint8 else np.rint(255 * tile).astype(np.uint8)
        picture = Image.fromarray(np.ascontiguousarray(pixels)).convert("RGB")
        small = picture.resize((_TILE_PX, _TILE_PX), Image.Resampling.LANCZOS)
        sheet.paste(small, (place * _TILE_PX, _LABEL_PX))
        pen.text((place * _TILE_PX + 4, 4), title, fill="black")
    for place, line in enumerate(lines):
        pen.text((4, _TILE_PX + _LABEL_PX * (1 + place) + 4), line, fill="black")
    with part_of(path) as part:
        sheet.save(part, format="PNG")
