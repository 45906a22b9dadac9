"""Picture sheets of a bench: a row per clip, zoomed to where the imperfections are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw

from bench.metrics import Floats, Pixels
from bench.report import BenchError
from model.whole import part_of

_CROP_PX, _TILE_PX, _LABEL_PX = 200, 300, 18
HEADINGS = ("raw", "retouched", "target", "map", "true map")


@dataclass(frozen=True)
class Row:
    """One clip's frame: uint8 [H, W, 3] RGB and maps float32 [H, W] in [0, 1]; caption: what stands
    beneath."""

    raw: Pixels
    out: Pixels
    target: Pixels
    map: Floats
    true_map: Floats
    caption: str


def busiest(true_map: Floats, side: int) -> tuple[int, int]:
    """Top left (x, y) of the side x side window with the most imperfection."""
    side_y, side_x = min(side, true_map.shape[0]), min(side, true_map.shape[1])
    total = cv2.integral(true_map)
    sums = (
        total[side_y:, side_x:]
        - total[:-side_y, side_x:]
        - total[side_y:, :-side_x]
        + total[:-side_y, :-side_x]
    )
    y, x = np.unravel_index(int(np.argmax(sums)), sums.shape)
    return int(x), int(y)


def _tile(picture: Pixels | Floats, x: int, y: int) -> Image.Image:
    part = picture[y : y + _CROP_PX, x : x + _CROP_PX]
    if part.dtype != np.uint8:
        part = np.rint(255.0 * part).astype(np.uint8)
    return (
        Image.fromarray(np.ascontiguousarray(part))
        .convert("RGB")
        .resize((_TILE_PX, _TILE_PX), Image.Resampling.BICUBIC)
    )


def draw(rows: list[Row]) -> Image.Image:
    """The sheet: HEADINGS across, one row of tiles per clip, its caption below."""
    height = _LABEL_PX + len(rows) * (_TILE_PX + _LABEL_PX)
    sheet = Image.new("RGB", (len(HEADINGS) * _TILE_PX, height), "white")
    pen = ImageDraw.Draw(sheet)
    for k, heading in enumerate(HEADINGS):
        pen.text((k * _TILE_PX + 4, 3), heading, fill="black")
    for number, row in enumerate(rows):
        top = _LABEL_PX + number * (_TILE_PX + _LABEL_PX)
        x, y = busiest(row.true_map, _CROP_PX)
        pictures: tuple[Pixels | Floats, ...] = (row.raw, row.out, row.target, row.map, row.true_map)
        for k, picture in enumerate(pictures):
            sheet.paste(_tile(picture, x, y), (k * _TILE_PX, top))
        pen.text((4, top + _TILE_PX + 3), row.caption, fill="black")
    return sheet


def save(rows: list[Row], path: Path) -> None:
    """Draw the rows and write them as PNG."""
    try:
        with part_of(path) as part:
            draw(rows).save(part, format="PNG")
    except OSError as error:
        raise BenchError(
            f"{path} cannot be written ({error.strerror}); give a file in a folder that is"
        ) from error
