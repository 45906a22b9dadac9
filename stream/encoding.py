"""Which container, codec and pixel format a video is written in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from stream.frame import ColourTags, VideoInfo
from stream.job import CPU
from stream.output import OutputError
from stream.planes import LAYOUTS, LIMITED, matrix_of

FORMATS_BY_ENDING = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
H264, H264_RGB, VP9, RAW = "libx264", "libx264rgb", "libvpx-vp9", "rawvideo"
NVENC = "h264_nvenc"
NVENC_PIX_FMTS = ("yuv420p", "yuv444p")
CODECS = {
    "mp4": H264,
    "mov": H264,
    "matroska": H264,
    "mpegts": H264,
    "webm": VP9,
    "nut": RAW,
    "rawvideo": RAW,
    "yuv4mpegpipe": RAW,
}
PIPE_FORMAT = "nut"
MAX_H264_PX = 16_384
# QuickTime's own language codes are a mixture of ISO 639-2/T, 639-2/B and neither (QuickTime File Format,
# language code values); what is missing here is the same in all of them, or not known to QuickTime.
_QUICKTIME = {
    "deu": "ger",
    "nld": "dut",
    "zho": "chi",
    "ell": "gre",
    "fas": "per",
    "hye": "arm",
    "isl": "ice",
    "kat": "geo",
    "mkd": "mac",
    "msa": "may",
    "mya": "bur",
    "sqi": "alb",
    "bod": "tib",
    "cym": "wel",
    "eus": "baq",
    "fre": "fra",
    "cze": "ces",
    "rum": "ron",
    "slo": "slk",
    "swe": "sve",
}
CRF = 18
# x264's own ten frames of lookahead cost a fifth more time than five, and save no bits here.
LOOKAHEAD_FRAMES = 5
# NVENC's measure of constant quality is not x264's; said to be near its 18, and not yet compared.
NVENC_CQ = 19
_LOSSY = {
    H264: {"preset": "veryfast", "crf": str(CRF), "rc-lookahead": str(LOOKAHEAD_FRAMES)},
    VP9: {"deadline": "realtime", "cpu-used": "6", "row-mt": "1", "crf": "20", "b": "0"},
    RAW: {},
    # The bit rate of 0 takes away FFmpeg's default of 2 Mbit/s.
    NVENC: {"preset": "p4", "tune": "hq", "rc": "vbr", "cq": str(NVENC_CQ), "b": "0"},
}
_LOSSLESS = {
    H264: {"preset": "veryfast", "qp": "0"},
    H264_RGB: {"preset": "veryfast", "qp": "0"},
    VP9: {"deadline": "realtime", "cpu-used": "6", "row-mt": "1", "lossless": "1"},
    RAW: {},
    NVENC: {"preset": "p4", "tune": "lossless"},
}


@dataclass(frozen=True)
class Encoding:
    """How to write. native: the planar format (key of LAYOUTS) that residuals are added in, or None to encode
    RGB; notes: sentences for the user; on_gpu: the encoder takes frames from its GPU's memory."""

    format: str
    codec: str
    pix_fmt: str
    native: str | None
    options: dict[str, str]
    notes: tuple[str, ...] = field(default=())
    on_gpu: bool = False


def format_for(out: str, named: str | None) -> str:
    """The container's name from --format, or from the output's ending; NUT for a pipe."""
    if named is not None:
        if named not in CODECS:
            raise OutputError(f"there is no format {named!r}; choose one of {', '.join(sorted(CODECS))}")
        return named
    if out == "-":
        return PIPE_FORMAT
    ending = Path(out).suffix.lower()
    if ending not in FORMATS_BY_ENDING:
        known = " ".join(FORMATS_BY_ENDING)
        raise OutputError(
            f"{out} ends in {ending or 'nothing'}, which is no ending known for a video; use one of {known}"
        )
    return FORMATS_BY_ENDING[ending]


def choose_encoding(
    format: str,
    native: str | None,
    size: tuple[int, int],
    *,
    lossless: bool,
    composed: bool,
    info: VideoInfo | None = None,
    encoder: str = CPU,
) -> Encoding:
    """The encoding for frames of size (width, height).

    native: the planar format of the source, None for RGB. composed: the picture is a view made of several, in
    RGB. encoder: one of stream.job.ENCODERS.
    """
    codec = CODECS[format]
    if codec == H264 and max(size) > MAX_H264_PX:
        raise OutputError(
            f"the output would be {size[0]}x{size[1]}, and H.264 here ends at {MAX_H264_PX} pixels a side; "
            "name the output .webm, or give a smaller video"
        )
    if native is None or composed:
        pix_fmt, kept = _rgb_pix_fmt(codec, native, lossless), None
        codec = H264_RGB if pix_fmt == "rgb24" and codec == H264 else codec
    else:
        pix_fmt = kept = _planar_pix_fmt(codec, native)
    if codec == VP9 and info is not None and info.aspect not in (None, 1):
        raise OutputError(
            f"the input's pixels are {info.aspect} as wide as high, which cannot be said in WebM here; "
            "name the output .mkv or .mp4"
        )
    notes = ["transparency is left out: this container and codec hold none"] if info and info.alpha else []
    if codec == H264 and (size[0] % 2 or size[1] % 2):
        pix_fmt, wide = _without_odd_chroma(pix_fmt)
        kept = pix_fmt if kept else None
        if wide:
            notes.append(
                f"{size[0]}x{size[1]} is odd: written as H.264 4:4:4 to keep the size, "
                "which some players cannot show"
            )
    if encoder != CPU:
        _check_nvenc(codec, pix_fmt, interlaced=info is not None and info.interlaced)
        codec = NVENC
    return Encoding(format, codec, pix_fmt, kept, (_LOSSLESS if lossless else _LOSSY)[codec], tuple(notes))


def _check_nvenc(codec: str, pix_fmt: str, *, interlaced: bool) -> None:
    """Raise OutputError for what NVENC is not asked to write in x264's place."""
    remedy = "leave out --encoder nvenc to encode on the CPU"
    if codec not in (H264, H264_RGB):
        raise OutputError(
            f"NVENC writes H.264, and the output is {codec}; name it .mp4, .mov or .mkv, or {remedy}"
        )
    if pix_fmt not in NVENC_PIX_FMTS:
        raise OutputError(
            f"NVENC writes {' or '.join(NVENC_PIX_FMTS)}, and the output would be {pix_fmt}; {remedy}"
        )
    if interlaced:
        raise OutputError(f"the input is interlaced, and NVENC would write it as if it were not; {remedy}")


def _rgb_pix_fmt(codec: str, native: str | None, lossless: bool) -> str:
    if codec == RAW:
        return "rgb24" if native is None else "yuv444p"
    if lossless:
        return "gbrp" if codec == VP9 else "rgb24"
    return "yuv420p"


def _planar_pix_fmt(codec: str, native: str) -> str:
    if codec == VP9 and LAYOUTS[native].bits > 8:
        raise OutputError(
            "the input has 10 bits a sample, and WebM here holds 8; name the output .mkv or .mp4"
        )
    return native


def _without_odd_chroma(pix_fmt: str) -> tuple[str, bool]:
    """x264 wants whole chroma samples; 4:4:4 has no others. Whether anything changed comes with it."""
    layout = LAYOUTS.get(pix_fmt)
    if layout is None or (layout.shift_x, layout.shift_y) == (0, 0):
        return pix_fmt, False
    return ("yuv444p" if layout.bits == 8 else "yuv444p10le"), True


@dataclass(frozen=True)
class Picture:
    """What the encoder is told of the frames: stored size and everything a player needs to show them
    rightly."""

    width: int
    height: int
    time_base: Fraction
    rate: Fraction
    tags: ColourTags = field(default_factory=ColourTags)
    aspect: Fraction | None = None
    display_matrix: Sequence[int] | None = None
    interlaced: bool = False


def picture_of(info: VideoInfo) -> Picture:
    """The source's own picture, for frames that keep its planes. What was RGB is tagged as the YUV it
    becomes."""
    tags = info.tags if info.native is not None else _written_tags(info, info.height)
    matrix = None if info.display_matrix is None else [int(v) for v in info.display_matrix]
    return Picture(
        info.width, info.height, info.time_base, info.rate, tags, info.aspect, matrix, info.interlaced
    )


def composed_picture(info: VideoInfo, size: tuple[int, int]) -> Picture:
    """An upright picture made from the source's frames in RGB; its colours are tagged as they are written."""
    tags = _written_tags(info, size[1])
    aspect = info.aspect
    if aspect is not None and info.orientation.turns_cw % 2:
        aspect = 1 / aspect
    return Picture(size[0], size[1], info.time_base, info.rate, tags, aspect)


def _written_tags(info: VideoInfo, lines: int) -> ColourTags:
    """The tags of YUV that is made from RGB."""
    return ColourTags(matrix_of(info.tags, lines), LIMITED, info.tags.primaries, info.tags.transfer)


def language_for(format: str, language: str) -> str:
    """The code (ISO 639-2) under which the container knows a language."""
    return _QUICKTIME.get(language, language) if format == "mov" else language
