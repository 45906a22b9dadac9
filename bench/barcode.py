"""A fake camera's clip: the demo's face in motion under a barcode that numbers its frames."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from stream.demo import clip_frames
from stream.frame import RgbImage
from stream.live.fit import fitted

BITS = 10
FRAMES = 300
FPS = 30
BAR_SHARE = 1 / 16
"""The barcode: BITS blocks over the whole width of the top, black is 0, most significant first, then the same
inverted."""

# Reads the number from whatever a <video> shows, at any size; -1 where it is no barcode.
READ_JS = f"""
(video, canvas) => {{
  const blocks = {2 * BITS};
  canvas.width = blocks * 4; canvas.height = 4;
  const pen = canvas.getContext('2d', {{willReadFrequently: true}});
  pen.drawImage(video, 0, 0, video.videoWidth, video.videoHeight * {BAR_SHARE}, 0, 0, blocks * 4, 4);
  const seen = pen.getImageData(0, 2, blocks * 4, 1).data;
  let number = 0, inverse = 0;
  for (let i = 0; i < blocks; i++) {{
    const bit = seen[4 * (4 * i + 2) + 1] > 128 ? 1 : 0;
    if (i < blocks / 2) number = 2 * number + bit; else inverse = 2 * inverse + bit;
  }}
  return number + inverse === 2 ** (blocks / 2) - 1 ? number : -1;
}}
"""


def write_clip(path: Path, size: tuple[int, int]) -> None:
    """Write FRAMES frames as YUV4MPEG2, 4:2:0, which Chromium plays in a loop as its camera."""
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{size[0]} H{size[1]} F{FPS}:1 Ip A1:1 C420jpeg\n".encode())
        for number, rgb in enumerate(clip_frames(FRAMES)):
            picture = _numbered(np.array(fitted(rgb, size)), number)
            file.write(b"FRAME\n" + cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420).tobytes())


def _numbered(picture: RgbImage, number: int) -> RgbImage:
    bits = [number >> (BITS - 1 - index) & 1 for index in range(BITS)]
    height, width = round(picture.shape[0] * BAR_SHARE), picture.shape[1]
    for index, bit in enumerate(bits + [1 - bit for bit in bits]):
        left, right = (round(width * at / (2 * BITS)) for at in (index, index + 1))
        picture[:height, left:right] = 235 if bit else 16
    return picture
