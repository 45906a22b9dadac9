"""A test card that moves: numbered pictures in three colours, and a beep at the start of each second; and how
to tell what became of one."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

FPS = 30
COUNT = 120
SIZE = (320, 240)
BLOCK_PX = 40
BITS = 7
BEEP_FRAMES = 3
COLOURS = ((180, 60, 50), (60, 150, 70), (60, 80, 170))
BT709, LIMITED = 1, 1


def drawn(number: int) -> npt.NDArray[np.uint8]:
    """uint8 [240, 320, 3] RGB: the number in white and black blocks with a parity, above the colours."""
    picture = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    bits = [number >> place & 1 for place in range(BITS)]
    for place, bit in enumerate([*bits, sum(bits) % 2 ^ 1]):
        picture[:BLOCK_PX, place * BLOCK_PX : (place + 1) * BLOCK_PX] = 255 * bit
    for place, columns in enumerate(np.array_split(np.arange(SIZE[0]), 3)):
        picture[BLOCK_PX:, columns] = COLOURS[place]
    return picture


def number_of(rgb_u8: npt.NDArray[np.uint8]) -> int | None:
    """The number of a picture; None for one that is no card."""
    inner = rgb_u8[8 : BLOCK_PX - 8].reshape(BLOCK_PX - 16, BITS + 1, BLOCK_PX, 3)[:, :, 8:-8]
    *bits, parity = (inner.mean(axis=(0, 2, 3)) > 127).astype(int).tolist()
    if sum(bits) % 2 ^ 1 != parity:
        return None
    return int(sum(bit << place for place, bit in enumerate(bits)))


def colours_of(rgb_u8: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """float64 [3, 3]: the mean of each colour, away from where two meet."""
    parts = np.array_split(rgb_u8[BLOCK_PX + 16 : -16], 3, axis=1)
    return np.array([part[:, 16:-16].mean(axis=(0, 1)) for part in parts])


def write_card(path: Path, sound: str = "aac") -> Path:
    """Four seconds. sound: aac, or pcm_alaw as cameras have it."""
    rate = 8000 if sound == "pcm_alaw" else 44_100
    with av.open(str(path), "w", format="mov") as container:
        # Cameras send what a decoder needs along with each picture that one can begin from.
        options = {
            "preset": "ultrafast",
            "tune": "zerolatency",
            "g": "15",
            "crf": "12",
            "x264-params": "repeat-headers=1",
        }
        video: Any = container.add_stream("libx264", rate=FPS, options=options)
        video.width, video.height, video.pix_fmt = *SIZE, "yuv420p"
        context = video.codec_context
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = LIMITED
        audio: Any = container.add_stream(sound, rate=rate)
        audio.layout = "mono"
        _write_beeps(container, audio, rate)
        for number in range(COUNT):
            frame = av.VideoFrame.from_ndarray(drawn(number), format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace=BT709, dst_color_range=LIMITED)
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    return path


def _write_beeps(container: Any, audio: Any, rate: int) -> None:
    at_s = np.arange(COUNT * rate // FPS) / rate
    wave = np.where(at_s % 1.0 < BEEP_FRAMES / FPS, 0.5 * np.sin(2 * np.pi * 1000 * at_s), 0.0)
    step = audio.codec_context.frame_size or rate // 50
    for start in range(0, len(wave), step):
        piece = (32_000 * wave[None, start : start + step]).astype(np.int16)
        heard = av.AudioFrame.from_ndarray(piece, format="s16", layout="mono")
        heard.sample_rate, heard.pts, heard.time_base = rate, start, Fraction(1, rate)
        container.mux(audio.encode(heard))
    container.mux(audio.encode(None))
