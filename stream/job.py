"""What `vretouch file` is asked to do. Nothing heavy is imported here, so that help and errors come at
once."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

PIPE = "-"
CPU = "cpu"
# NVIDIA's: its decoder is driven by CUDA, its encoder is called NVENC.
DECODERS = (CPU, "cuda")
ENCODERS = (CPU, "nvenc")
VIEWS = ("side", "split", "map")
INTERRUPTED = 130
IMAGE_FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".webp": "WEBP",
}


@dataclass(frozen=True)
class RawVideo:
    """Frames without a container: width and height in px, frames per second, pixel format by FFmpeg's
    name."""

    size: tuple[int, int]
    fps: Fraction = Fraction(30)
    pix_fmt: str = "yuv420p"

    def __str__(self) -> str:
        return f"{self.size[0]}x{self.size[1]} {self.pix_fmt}"


@dataclass(frozen=True)
class Span:
    """Part of a video: from start_s, for duration_s seconds (None: to its end)."""

    start_s: float = 0.0
    duration_s: float | None = None

    @property
    def whole(self) -> bool:
        """Whether nothing is left out."""
        return self.start_s <= 0.0 and self.duration_s is None


@dataclass(frozen=True)
class FileJob:
    """One run on a video. source, out: paths or -; view: one of VIEWS; format: a container, else by out's
    ending; decoder, encoder: of DECODERS and ENCODERS."""

    source: str
    out: str
    view: str | None = None
    lossless: bool = False
    span: Span = field(default_factory=Span)
    force: bool = False
    format: str | None = None
    raw: RawVideo | None = None
    quiet: bool = False
    decoder: str = CPU
    encoder: str = CPU

    @property
    def stays_on_gpu(self) -> bool:
        """Whether it is decoded and encoded on a GPU, and in no view: frames may then stay there."""
        return self.decoder != CPU and self.encoder != CPU and self.view is None


def is_image(name: str) -> bool:
    """Whether the name has an image's ending."""
    return Path(name).suffix.lower() in IMAGE_FORMATS
