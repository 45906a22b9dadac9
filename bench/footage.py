"""A face in smooth motion as a 1280x720 stream, for measuring speed: frames, and H.264 files of them."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from importlib import resources
from pathlib import Path
from typing import Any, TypeAlias

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.packet import Packet
from PIL import Image

from bench.metrics import Pixels
from bench.report import BenchError
from stream.relay.codec import CLOCK, open_codec
from stream.relay.colour import ToYuv

Encoded: TypeAlias = "Packet[Any]"
SIZE = (1280, 720)
FPS = 30
KBPS = 2500
# Of the codecs' clock, a frame.
TICKS = CLOCK.denominator // FPS
ASSET = "astronaut-raw.png"


def face_picture(given: Path | None) -> Pixels:
    """The picture of a face, uint8 [H, W, 3] RGB: the given file, or the demo's."""
    path = given if given is not None else Path(str(resources.files("stream"))) / "assets" / ASSET
    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB"), np.uint8)
    except OSError as error:
        raise BenchError(
            f"{path} is missing or no picture ({error}); give one of a face with --input"
        ) from error


def moving_face(picture: Pixels, frames: int, size: tuple[int, int] = SIZE) -> Iterator[Pixels]:
    """Frames uint8 [H, W, 3] RGB of the picture, as high as the frame, swaying and turning like a head at a
    desk."""
    width, height = size
    scale = height / picture.shape[0]
    middle = np.array([(picture.shape[1] - 1) / 2.0, (picture.shape[0] - 1) / 2.0])
    for number in range(frames):
        t = number / FPS
        turn = 0.05 * math.sin(0.9 * t) + 0.02 * math.sin(2.3 * t)
        grown = scale * (1.0 + 0.04 * math.sin(0.7 * t))
        sway = np.array([40.0 * math.sin(0.8 * t), 14.0 * math.sin(1.3 * t)])
        linear = grown * np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
        centre = np.array([(width - 1) / 2.0, (height - 1) / 2.0]) + sway
        matrix = np.column_stack([linear, centre - linear @ middle])
        seen = cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        yield np.asarray(seen, np.uint8)


def write_video(path: Path, frames: Iterable[Pixels], size: tuple[int, int] = SIZE) -> None:
    """Encode the frames as H.264 in MP4, 30 frames a second, a keyframe each second."""
    _encode(str(path), frames, size, {"preset": "veryfast", "crf": "20", "g": str(FPS)})


def through_h264(frames: npt.NDArray[np.uint8], crf: int) -> npt.NDArray[np.uint8]:
    """Frames uint8 [T, H, W, 3] RGB as a decoder gives them back after x264 at this constant rate factor.

    Sides are even. The way to YUV and back darkens every pixel by about one level.
    """
    options = {"preset": "veryfast", "crf": str(crf), "tune": "zerolatency", "threads": "1"}
    held = io.BytesIO()
    _encode(held, frames, (frames.shape[2], frames.shape[1]), options)
    held.seek(0)
    with av.open(held, "r") as source:
        decoded = [frame.to_ndarray(format="rgb24") for frame in source.decode(video=0)]
    return np.asarray(decoded, np.uint8)


def encoded_face(codec: str, size: tuple[int, int], seconds: float = 8.0) -> list[Encoded]:
    """A moving face as real-time video of one length, a key frame each second.

    codec: `vp8` or `h264`. size: width and height, even.
    """
    encoder, to_yuv = open_codec(codec, *size, FPS, KBPS, KBPS), ToYuv(codec)
    pictures: list[Encoded] = []
    for number, pixels in enumerate(moving_face(face_picture(None), round(seconds * FPS), size)):
        frame = to_yuv(pixels)
        frame.pts, frame.time_base, frame.duration = number * TICKS, CLOCK, TICKS
        frame.pict_type = 1 if number % FPS == 0 else 0
        pictures += encoder.encode(frame)
    return pictures


def _encode(
    file: str | io.BytesIO, frames: Iterable[Pixels], size: tuple[int, int], options: dict[str, str]
) -> None:
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FPS, options=options)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))


def repeat_video(source: Path, out: Path, times: int) -> None:
    """The video `times` times over, its packets copied with their times moved on."""
    with av.open(str(out), "w") as container:
        stream, shift = None, 0
        for _ in range(times):
            with av.open(str(source)) as clip:
                video = clip.streams.video[0]
                stream = container.add_stream_from_template(video) if stream is None else stream
                length = round(video.frames / Fraction(FPS) / video.time_base) if video.time_base else 0
                for packet in clip.demux(video):
                    if packet.dts is None or packet.pts is None:
                        continue
                    packet.dts, packet.pts, packet.stream = packet.dts + shift, packet.pts + shift, stream
                    container.mux(packet)
            shift += length
