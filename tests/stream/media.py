"""Small videos and a retoucher of our own drawing, for tests of files and pipes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
import numpy as np
import numpy.typing as npt

TICKS = Fraction(1, 90_000)
PATCH = (8, 6, 24, 20)
"""x0, y0, x1, y1 in upright pixels: where FakeRetoucher changes the picture."""


@dataclass(frozen=True)
class FakeFace:
    """A face whose crop covers the frame's first 64 x 64 pixels and whose map is 1 on the patch."""

    alignment: npt.NDArray[np.float64]
    map: npt.NDArray[np.float32]
    fade: float = 1.0
    changed_px: tuple[int, int, int, int] | None = PATCH
    shares: tuple[float, float, float] = (0.0, 0.0, 0.0)
    traits: npt.NDArray[np.float32] | None = None

    def kinds(self) -> npt.NDArray[np.float32]:
        return np.ones((3, 64, 64), np.float32) * np.float32(self.shares)[:, None, None]


@dataclass(frozen=True)
class FakeLast:
    """What Retoucher.last looks like."""

    faces: list[FakeFace] = field(default_factory=list)
    stage_ms: dict[str, float] = field(default_factory=lambda: {"locate": 1.0, "step": 2.0, "total": 3.0})


class FakeRetoucher:
    """Adds `levels` to the red of PATCH; sees one face, or none if levels is 0. `before` runs first on
    each frame."""

    def __init__(self, levels: int = 40, before: Callable[[int], None] = lambda _: None) -> None:
        self.levels, self._before = levels, before
        self.last = FakeLast()
        self.times_s: list[float | None] = []
        self.shapes: list[tuple[int, ...]] = []

    def locate(self, frame_rgb_u8: npt.NDArray[np.uint8], pts_s: float | None = None) -> float | None:
        return pts_s

    def step(self, located: float | None) -> float | None:
        return located

    def composite(self, frame_rgb_u8: npt.NDArray[np.uint8], stepped: float | None) -> npt.NDArray[np.uint8]:
        return self.process(frame_rgb_u8, stepped)

    def process(
        self, frame_rgb_u8: npt.NDArray[np.uint8], pts_s: float | None = None
    ) -> npt.NDArray[np.uint8]:
        assert frame_rgb_u8.dtype == np.uint8
        self._before(len(self.times_s))
        self.times_s.append(pts_s)
        self.shapes.append(frame_rgb_u8.shape)
        out = frame_rgb_u8.copy()
        if self.levels:
            x0, y0, x1, y1 = PATCH
            red = out[y0:y1, x0:x1, 0].astype(int) + self.levels
            out[y0:y1, x0:x1, 0] = np.clip(red, 0, 255)
            seen = np.zeros((512, 512), np.float32)
            seen[8 * y0 : 8 * y1, 8 * x0 : 8 * x1] = 1.0
            self.last = FakeLast([FakeFace(np.array([[8.0, 0.0, 3.5], [0.0, 8.0, 3.5]]), seen)])
        return out

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


def drawn(index: int, width: int, height: int) -> npt.NDArray[np.uint8]:
    """uint8 [height, width, 3] RGB: smooth colours with a bright bar that moves, so that frames can be
    told apart."""
    x = np.linspace(0.0, 1.0, width)[None, :]
    y = np.linspace(0.0, 1.0, height)[:, None]
    picture = np.stack([60 + 90 * x + 0 * y, 70 + 60 * y + 0 * x, 110 - 50 * x * y], axis=2)
    at = (5 * index) % width
    picture[:, at : at + 3] += 60
    return np.rint(picture).clip(0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Clip:
    """A video to be made. times: pts in ticks of 1/90000 s; rotation in degrees counter-clockwise."""

    width: int = 96
    height: int = 64
    frames: int = 12
    codec: str = "libx264"
    pix_fmt: str = "yuv420p"
    options: dict[str, str] = field(default_factory=lambda: {"preset": "ultrafast", "crf": "12"})
    times: Sequence[int] | None = None
    time_base: Fraction = TICKS
    rotation: int | None = None
    aspect: Fraction | None = None
    tags: tuple[int, int, int, int] = (1, 1, 1, 1)
    """Matrix, range, primaries, transfer (H.273)."""
    audio: str | None = None
    language: str = "deu"
    chapters: bool = False
    format: str | None = None

    def pts(self) -> list[int]:
        step = round(Fraction(1, 30) / self.time_base)
        return list(self.times) if self.times is not None else [k * step for k in range(self.frames)]


def make_video(path: Path, clip: Clip = Clip()) -> Path:
    """Write the clip; returns the path."""
    with av.open(str(path), "w", format=clip.format) as container:
        stream: Any = container.add_stream(
            clip.codec, rate=30, options=clip.options, time_base=clip.time_base
        )
        stream.width, stream.height, stream.pix_fmt = clip.width, clip.height, clip.pix_fmt
        context = stream.codec_context
        context.colorspace, context.color_range, context.color_primaries, context.color_trc = clip.tags
        if clip.aspect is not None:
            context.sample_aspect_ratio = clip.aspect
        if clip.rotation is not None:
            stream.set_display_rotation(clip.rotation)
        sound: Any = None
        if clip.audio is not None:
            sound = container.add_stream(clip.audio, rate=48_000)
            sound.layout = "mono"
            sound.metadata["language"] = clip.language
        container.metadata["title"] = "drawn"
        if clip.chapters:
            container.set_chapters([_chapter(1, 0, 200, "one"), _chapter(2, 200, 400, "two")])
        for index, pts in enumerate(clip.pts()):
            container.mux(stream.encode(_native(index, pts, clip)))
        container.mux(stream.encode(None))
        if sound is not None:
            _write_tone(container, sound, float(clip.pts()[-1] * clip.time_base))
    return path


def _chapter(number: int, start: int, end: int, title: str) -> Any:
    return {
        "id": number,
        "start": start,
        "end": end,
        "time_base": Fraction(1, 1000),
        "metadata": {"title": title},
    }


def _native(index: int, pts: int, clip: Clip) -> av.VideoFrame:
    rgb = av.VideoFrame.from_ndarray(drawn(index, clip.width, clip.height), format="rgb24")
    matrix, full = clip.tags[0], clip.tags[1]
    native = rgb.reformat(
        format=clip.pix_fmt,
        dst_colorspace=matrix if matrix != 2 else 6,
        src_color_range=2,
        dst_color_range=full or 1,
    )
    if clip.pix_fmt.startswith(("rgb", "bgr", "gbr", "gray")):
        native = rgb.reformat(format=clip.pix_fmt)
    native.pts, native.time_base = pts, clip.time_base
    return native


def _write_tone(container: Any, sound: Any, seconds: float) -> None:
    size = sound.codec_context.frame_size or 1024
    for start in range(0, int(48_000 * seconds), size):
        wave = 0.2 * np.sin(2 * np.pi * 440 / 48_000 * np.arange(start, start + size))
        frame = av.AudioFrame.from_ndarray(wave.astype(np.float32)[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, start, Fraction(1, 48_000)
        container.mux(sound.encode(frame))
    container.mux(sound.encode(None))


def planes_of(path: Path) -> list[list[npt.NDArray[Any]]]:
    """Copies of the planes of each frame of a planar video."""
    from stream.native import plane_arrays

    with av.open(str(path)) as container:
        return [[plane.copy() for plane in plane_arrays(frame)] for frame in container.decode(video=0)]


def times_of(path: Path) -> list[Fraction]:
    """Time of each frame in seconds."""
    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]


def rgb_frames(path: Path) -> list[npt.NDArray[np.uint8]]:
    """Stored frames as uint8 [h, w, 3] RGB, by the tags of the file."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def packets_of(path: Path, kind: str) -> list[tuple[Fraction, bytes]]:
    """Time in seconds and bytes of each packet of the first stream of a kind."""
    with av.open(str(path)) as container:
        stream = next(s for s in container.streams if s.type == kind)
        return [(p.pts * p.time_base, bytes(p)) for p in container.demux(stream) if p.size]
