"""An NVIDIA GPU's own decoder and encoder (NVDEC, NVENC), through FFmpeg; frames lie in the host's memory
before and after, or stay on the GPU."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import av
import av.error
from av.codec.hwaccel import HWAccel

from stream.encoding import NVENC, Encoding, Picture
from stream.errors import SourceError, reason_of
from stream.frame import ColourTags, Frame, VideoInfo
from stream.kernels.launch import Surface
from stream.output import OutputError

_NV12 = "nv12"
_STAYED = "frames stayed on the GPU from its decoder to its encoder"
_THROUGH_HOST = "frames decoded on the GPU go through the host's memory"
_LOG = logging.getLogger("vretouch.engine")
_FAILED = (av.error.FFmpegError, av.codec.codec.UnknownCodecError, NotImplementedError)


def nvdec(*, stay: bool = False) -> HWAccel:
    """What av.open takes to decode on the GPU and nowhere else.

    stay: frames are left on the GPU, in the context that CuPy and torch have too. FFmpeg takes that one only
    where it comes first; else a warning is logged, and the frames go to the host's memory all the same.

    Raises:
        SourceError: FFmpeg finds no NVIDIA GPU.
    """
    hwaccel = HWAccel("cuda", allow_software_fallback=False, is_hw_owned=stay)
    try:
        hwaccel.create(av.codec.Codec("h264", "r"))
    except _FAILED as error:
        if stay:
            host = nvdec()
            _LOG.warning(f"{_THROUGH_HOST}: FFmpeg does not share the GPU ({reason_of(error)})")
            return host
        raise SourceError(
            f"there is no NVIDIA GPU with its driver to decode on (FFmpeg: {reason_of(error)}); leave out "
            "--decoder cuda to decode on the CPU"
        ) from None
    return hwaccel


def is_on_gpu(stream: Any) -> bool:
    """Whether the stream of a container that was opened with `nvdec` is decoded there."""
    return bool(stream.codec_context.is_hwaccel)


def in_host_memory(native: Any) -> Any:
    """A copy of a decoded frame that lies on the GPU, waited for; the frame itself if it does not."""
    held = native.sw_format
    return native if held is None else native.reformat(format=held.name, threads=1)


def surface_of(native: Any, tags: ColourTags) -> Surface | None:
    """Where a decoded frame lies on the GPU, as long as it lives; None where it does not, or not as NV12."""
    if native.sw_format is None or native.sw_format.name != _NV12:
        return None
    planes = native.planes
    addresses, pitches = (tuple(getattr(p, of) for p in planes) for of in ("buffer_ptr", "line_size"))
    return Surface(_NV12, native.width, native.height, addresses, pitches, tags)


def left_there(frame: Frame, native: Any, info: VideoInfo) -> Frame:
    """The frame with the decoder's own, `native`, where that lies on a GPU as the video's first one does."""
    surface = surface_of(native, info.tags)
    if surface is None or (surface.width, surface.height) != (info.width, info.height):
        return frame
    return replace(frame, native=native, surface=surface)


def check_encoder(encoding: Encoding, picture: Picture) -> None:
    """Raise OutputError unless NVENC, where it is asked for, takes such pictures: tried before any file is
    begun."""
    if encoding.codec != NVENC:
        return
    try:
        _open(encoding, picture)
    except _FAILED as error:
        raise OutputError(
            f"there is no NVIDIA GPU that encodes {picture.width}x{picture.height} {encoding.pix_fmt} "
            f"(FFmpeg: {reason_of(error)}); leave out --encoder nvenc to encode on the CPU"
        ) from None


def kept_on_gpu(encoding: Encoding, picture: Picture) -> Encoding:
    """The same for frames that lie on the GPU as NV12, if NVENC takes such pictures there: tried as in
    `check_encoder`. As it was, with a warning, if not."""
    there = replace(encoding, pix_fmt=_NV12, notes=(*encoding.notes, _STAYED), on_gpu=True)
    try:
        _open(there, picture)
    except _FAILED as error:
        _LOG.warning(f"{_THROUGH_HOST}: NVENC takes none from the GPU's ({reason_of(error)})")
        return encoding
    return there


def memory_of(encoding: Encoding) -> HWAccel | None:
    """What add_stream is told of the GPU whose memory the encoder takes frames from, if it does."""
    # CUDA's own context, in which the decoder's frames lie.
    return HWAccel("cuda", options={"primary_ctx": "1"}) if encoding.on_gpu else None


def _open(encoding: Encoding, picture: Picture) -> None:
    context: Any = av.codec.CodecContext.create(NVENC, "w", memory_of(encoding))
    context.width, context.height, context.pix_fmt = picture.width, picture.height, encoding.pix_fmt
    context.time_base, context.framerate = 1 / picture.rate, picture.rate
    context.options = dict(encoding.options)
    context.open()
