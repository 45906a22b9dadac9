"""The decoder's own frames: their tags, their planes as arrays, their planar format, their RGB. Works on
av's frames by duck typing."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from stream.errors import SourceError
from stream.frame import ColourTags, VideoInfo
from stream.planes import FULL, LAYOUTS, known_matrix, matrix_of

HDR_TRANSFERS = {16: "PQ", 18: "HLG"}
MAX_BITS = 10
_LIMITED_WHEN_UNSAID = ("h264", "hevc", "vp8", "vp9", "av1", "mpeg4", "mpeg2video")

# Formats whose samples are those of another by a different name; gray gains chroma planes that say nothing.
_SAME_SAMPLES = {
    "yuvj420p": "yuv420p",
    "yuvj422p": "yuv422p",
    "yuvj444p": "yuv444p",
    "gray": "yuv420p",
    "gray10le": "yuv420p10le",
}


def native_format(native: Any) -> str | None:
    """The planar format (a key of LAYOUTS) in which a frame's samples are kept; None for RGB and palettes."""
    name = native.format.name
    if name in LAYOUTS:
        return str(name)
    if name in _SAME_SAMPLES:
        return _SAME_SAMPLES[name]
    components = native.format.components
    if native.format.is_rgb or native.format.has_palette or len(components) == 0:
        return None
    if len(components) < 3:
        return "yuv420p" if components[0].bits <= 8 else "yuv420p10le"
    wide, high = components[1].width < native.width, components[1].height < native.height
    layout = "420" if high else "422" if wide else "444"
    return f"yuv{layout}p" if components[0].bits <= 8 else f"yuv{layout}p10le"


def tags_of(native: Any, codec: str) -> ColourTags:
    """What the frame says of its colours, with the range that its format or codec stands for."""
    said = ColourTags(
        int(native.colorspace), int(native.color_range), int(native.color_primaries), int(native.color_trc)
    )
    full = native.format.name.startswith("yuvj")
    if native.format.name.startswith("gray") and said.range == 0:
        full = codec not in _LIMITED_WHEN_UNSAID
    return ColourTags(said.matrix, FULL, said.primaries, said.transfer) if full else said


def refuse(label: str, native: Any, tags: ColourTags) -> None:
    """Raise SourceError for a frame of `label` that would be damaged: HDR, too many bits, unknown
    colours."""
    kind = HDR_TRANSFERS.get(tags.transfer)
    if kind:
        raise SourceError(
            f"{label} is HDR ({kind}), which would be damaged; convert it to SDR (BT.709) first"
        )
    bits = max((c.bits for c in native.format.components), default=0)
    rgb = native_format(native) is None
    if bits > MAX_BITS or (bits > 8 and rgb):
        raise SourceError(
            f"{label} has {bits} bits a sample ({native.format.name}), which would be damaged; "
            f"convert it to {'8' if rgb else '8 or 10'} bits first"
        )
    if not rgb and not known_matrix(tags.matrix):
        raise SourceError(
            f"{label} has colour matrix {tags.matrix} (H.273), which is not known here; convert it to BT.709"
        )


def as_planar(native: Any, tags: ColourTags) -> Any:
    """The same samples in a format of LAYOUTS; formats that differ by name only are not converted."""
    name = native.format.name
    if name in LAYOUTS:
        return native
    if name not in _SAME_SAMPLES:
        return native.reformat(format=native_format(native), threads=1)
    renamed = type(native)(native.width, native.height, _SAME_SAMPLES[name])
    given, taken = plane_arrays(native), plane_arrays(renamed)
    for index, plane in enumerate(taken):
        if index < len(given):
            np.copyto(plane, given[index])
        else:
            plane[:] = 1 << (LAYOUTS[renamed.format.name].bits - 1)
    renamed.colorspace, renamed.color_range = tags.matrix, tags.range
    return renamed


def planar_of(native: Any, info: VideoInfo, native_as: str | None) -> Any:
    """The frame with the first one's size and in the format asked for, if one is, its time kept."""
    resized = (native.width, native.height) != (info.width, info.height)
    planar = as_planar(native, info.tags) if info.native else native
    if resized or (native_as and planar.format.name != native_as):
        format = native_as or native.format.name
        planar = planar.reformat(info.width, info.height, format, interpolation="BICUBIC", threads=1)
    planar.pts, planar.time_base, planar.duration = native.pts, native.time_base, native.duration
    return planar


def is_picture(stream: Any) -> bool:
    """Whether a video stream is a cover picture."""
    return bool(stream.disposition & type(stream.disposition).attached_pic)


def plane_arrays(native: Any) -> list[npt.NDArray[Any]]:
    """Writable views [h, w] of a planar frame's planes, uint8 or uint16, padding left out."""
    views = []
    for plane, component in zip(native.planes, native.format.components, strict=False):
        dtype = np.dtype(np.uint8 if component.bits <= 8 else np.uint16)
        rows = np.frombuffer(plane, dtype).reshape(-1, plane.line_size // dtype.itemsize)
        views.append(rows[: plane.height, : plane.width])
    return views


def rgb_of(native: Any, tags: ColourTags) -> npt.NDArray[np.uint8]:
    """uint8 [h, w, 3] RGB, stored orientation; a view of a frame of its own."""
    if native.format.name != "rgb24":
        matrix = None if native_format(native) is None else matrix_of(tags, native.height)
        native = native.reformat(
            format="rgb24", src_colorspace=matrix, src_color_range=tags.range or None, threads=1
        )
    rows = np.frombuffer(native.planes[0], np.uint8).reshape(-1, native.planes[0].line_size)
    return rows[:, : 3 * native.width].reshape(native.height, native.width, 3)
