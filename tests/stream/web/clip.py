"""What the fake camera shows: the demo's face in motion, the frame's number as a barcode, flat colours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from stream.demo import clip_frames
from stream.frame import RgbImage

WIDTH, HEIGHT, FPS = 640, 480, 30
FRAMES = 90
BITS = 8
BLOCK_PX = 32
BAR_PX = 28
"""The barcode: BITS blocks from the left at the top, white is 1, most significant first; then the same
inverted."""
COLOURS = ((200, 60, 40), (40, 170, 70), (50, 80, 200), (128, 128, 128))
PATCH_PX = 48


def patch_at(index: int) -> tuple[int, int]:
    """Middle of a colour's patch: x, y. They lie one below the other at the right, away from the face."""
    return WIDTH - PATCH_PX // 2, BAR_PX + 20 + PATCH_PX // 2 + index * PATCH_PX


def shown(frames: int = FRAMES) -> Iterator[RgbImage]:
    """Frames of the clip, uint8 [480, 640, 3] RGB."""
    for number, rgb in enumerate(clip_frames(frames)):
        small = cv2.resize(rgb, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        yield _marked(np.asarray(small, np.uint8), number)


def write_y4m(path: Path, frames: int = FRAMES) -> None:
    """Write the clip as YUV4MPEG2, 4:2:0, BT.601 limited range; Chromium plays it in a loop."""
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F{FPS}:1 Ip A1:1 C420jpeg\n".encode())
        for rgb in shown(frames):
            file.write(b"FRAME\n" + cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420).tobytes())


def _marked(rgb: RgbImage, number: int) -> RgbImage:
    bits = [number >> (BITS - 1 - index) & 1 for index in range(BITS)]
    for index, bit in enumerate(bits + [1 - bit for bit in bits]):
        rgb[:BAR_PX, index * BLOCK_PX : (index + 1) * BLOCK_PX] = 235 if bit else 16
    for index, colour in enumerate(COLOURS):
        x, y = patch_at(index)
        half = PATCH_PX // 2
        rgb[y - half : y + half, x - half : x + half] = colour
    return rgb


def number_in(rgb: RgbImage) -> int | None:
    """The number in a picture's barcode; None where that is not whole."""
    middles = range(BLOCK_PX // 2, 2 * BITS * BLOCK_PX, BLOCK_PX)
    bits = [bool(rgb[BAR_PX // 4 : 3 * BAR_PX // 4, x - 8 : x + 8].mean() > 125) for x in middles]
    if any(bit == inverse for bit, inverse in zip(bits[:BITS], bits[BITS:], strict=True)):
        return None
    return sum(bit << (BITS - 1 - index) for index, bit in enumerate(bits[:BITS]))
