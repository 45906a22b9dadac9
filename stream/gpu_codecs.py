"""An NVIDIA GPU's own decoder and encoder (NVDEC, NVENC), through FFmpeg; frames lie in the host's memory
before and after."""

from __future__ import annotations

from typing import Any

import av
import av.error
from av.codec.hwaccel import HWAccel

from stream.encoding import NVENC, Encoding, Picture
from stream.errors import SourceError, reason_of
from stream.output import OutputError


def nvdec() -> HWAccel:
    """What av.open takes to decode on the GPU and nowhere else.

    Raises:
        SourceError: FFmpeg finds no NVIDIA GPU.
    """
    hwaccel = HWAccel("cuda", allow_software_fallback=False)
    try:
        hwaccel.create(av.codec.Codec("h264", "r"))
    except (av.error.FFmpegError, NotImplementedError) as error:
        raise SourceError(
            f"there is no NVIDIA GPU with its driver to decode on (FFmpeg: {reason_of(error)}); leave out "
            "--decoder cuda to decode on the CPU"
        ) from None
    return hwaccel


def is_on_gpu(stream: Any) -> bool:
    """Whether the stream of a container that was opened with `nvdec` is decoded there."""
    return bool(stream.codec_context.is_hwaccel)


def check_encoder(encoding: Encoding, picture: Picture) -> None:
    """Raise OutputError unless NVENC, where it is asked for, takes such pictures: tried before any file is
    begun."""
    if encoding.codec != NVENC:
        return
    try:
        context: Any = av.codec.CodecContext.create(NVENC, "w")
        context.width, context.height, context.pix_fmt = picture.width, picture.height, encoding.pix_fmt
        context.time_base, context.framerate = 1 / picture.rate, picture.rate
        context.options = dict(encoding.options)
        context.open()
    except (av.error.FFmpegError, av.codec.codec.UnknownCodecError) as error:
        raise OutputError(
            f"there is no NVIDIA GPU that encodes {picture.width}x{picture.height} {encoding.pix_fmt} "
            f"(FFmpeg: {reason_of(error)}); leave out --encoder nvenc to encode on the CPU"
        ) from None
