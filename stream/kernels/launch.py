"""What to start on a GPU: a kernel's source, how it is compiled, its grid and its arguments.

Nothing here touches a GPU. Buffers are given by their addresses on the device.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

from stream.composite import Placed
from stream.crop import FACE_PX, invert, part_read, scale_of
from stream.errors import FrameError, OptionError
from stream.frame import ColourTags
from stream.planes import rgb_to_yuv, yuv_to_rgb
from stream.traits import SPOTS, SURE

# As FFmpeg names them, in the order of FORMAT in crop.cu and paste.cu.
PIX_FMTS = ("rgb24", "nv12", "yuv420p")
# With more, what lies under a tile would not fit into a multiprocessor's shared memory.
MAX_SIDE_PX = 8192
UNTAGGED = ColourTags()
# Of NVRTC. No use of a fused multiply-add changes what is rounded by more than a level in some thousand.
OPTIONS = ("-std=c++17",)
_C_TYPES = {"uint8": "byte", "float16": "half_t", "float32": "float"}
_TILE, _SPAN_BYTES = 32, 8 * 512 * 2
_WIDE, _TALL = 32, 16
_WARP_THREADS, _CHANNELS_PER_THREAD, _VECTOR_BYTES = 256, 8, 16

Matrix = npt.NDArray[np.float64]
Dtype = npt.DTypeLike


@dataclass(frozen=True)
class Variant:
    """A kernel as it is compiled: its name and the macros that choose types and layouts."""

    kernel: str
    defines: tuple[str, ...]


@dataclass(frozen=True)
class Launch:
    """One start of a kernel. grid in blocks, block in threads, x, y and z; arguments: NumPy scalars,
    addresses as uint64."""

    variant: Variant
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared_bytes: int
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Surface:
    """A frame on the device.

    pix_fmt: one of PIX_FMTS. addresses: of its planes: RGB pixels; or Y and interleaved UV; or Y, U, V.
    pitches: bytes from one row of a plane to the next; multiples of 16 let rows be read sixteen bytes at
    once. tags: colours of YUV.
    """

    pix_fmt: str
    width: int
    height: int
    addresses: tuple[int, ...]
    pitches: tuple[int, ...]
    tags: ColourTags = UNTAGGED

    def __post_init__(self) -> None:
        if self.pix_fmt not in PIX_FMTS:
            raise FrameError(
                f"a frame on a GPU cannot be {self.pix_fmt!r}; give one of {', '.join(PIX_FMTS)}"
            )
        if not 1 <= min(self.width, self.height) <= max(self.width, self.height) <= MAX_SIDE_PX:
            size = f"{self.width}x{self.height}"
            raise FrameError(f"a frame on a GPU cannot be {size}; give 1 to {MAX_SIDE_PX} pixels a side")


@cache
def source_of(kernel: str) -> str:
    """The kernel's CUDA source, with what it shares with the others."""
    folder = resources.files("stream") / "kernels"
    names = ("common.cuh", f"{kernel}.cu")
    return "\n".join((folder / name).read_text(encoding="utf-8") for name in names)


def crop(
    surface: Surface, to_face: Matrix, face: int, dtype: Dtype = np.float32, *, pixels: bool = False
) -> Launch:
    """The aligned face of a frame; see stream.crop.crop_face.

    to_face: float64 [2, 3], frame to face pixels. face: address of [3, 512, 512], or with pixels of
    [512, 512, 3], of dtype float16 or float32 in [0, 1], or uint8 in levels.
    """
    shrink = 1.0 / max(scale_of(to_face), 1e-6)
    part = part_read((surface.height, surface.width), to_face, (FACE_PX, FACE_PX), shrink)
    inward = invert(part.matrix)
    cells = _cells_under(inward, (_TILE, _TILE), (part.columns, part.rows), 1 if part.blurred else 0)
    defines = (_format(surface), f"OUT={_c_type(dtype)}", f"PIXELS={int(pixels)}")
    return Launch(
        Variant("crop", defines),
        (FACE_PX // _TILE, FACE_PX // _TILE, 1),
        (256, 1, 1),
        _SPAN_BYTES + 4 * cells,
        (
            *_planes(surface),
            *_ints(part.x0, part.y0, part.columns, part.rows, part.block, part.blurred),
            *_floats(*inward.ravel()),
            *_colours(surface),
            *_addresses(face),
        ),
    )


def warp(
    image: int,
    flow: int,
    out: int,
    shape: Sequence[int],
    dtype: Dtype = np.float32,
    flow_dtype: Dtype = np.float32,
    *,
    channels_last: bool = False,
    flow_channels_last: bool = False,
) -> Launch:
    """Backward warp of image [N, C, H, W], the shape given, by flow [N, 2, H, W] in pixels (x, y), into out.

    Bilinear, borders repeated (Eq. 2). The addresses of image and out are those of [N, H, W, C] with
    channels_last, that of flow one of [N, H, W, 2] with flow_channels_last. float16 or float32 each.
    """
    count, channels, height, width = shape
    if min(shape) < 1:
        raise OptionError(f"a picture of shape {list(shape)} holds nothing to warp; give sizes of 1 or more")
    vector, groups = 0, math.ceil(channels / _CHANNELS_PER_THREAD)
    if channels_last:
        vector = math.gcd(channels, _VECTOR_BYTES // np.dtype(dtype).itemsize)
        groups = channels // vector
    types = (f"REAL={_c_type(dtype, 'uint8')}", f"FLOW={_c_type(flow_dtype, 'uint8')}")
    return Launch(
        Variant("warp", (*types, f"VECTOR={vector}", f"FLOW_PIXELS={int(flow_channels_last)}")),
        (math.ceil(height * width / _WARP_THREADS), min(groups, 65535), count),
        (_WARP_THREADS, 1, 1),
        0,
        (*_addresses(image, flow, out), *_ints(channels, height, width)),
    )


@dataclass(frozen=True)
class Kept:
    """Moles and freckles on the device, as one face's network sees them.

    newest: address of [2, 128, 128] in [0, 1], of dtype float16 or float32. before, after: addresses of
    float32 [2, 128, 128], the average so far, and that with `weight` of the newest.
    """

    newest: int
    before: int
    after: int
    weight: float
    dtype: Dtype = np.float32


def guard(skin: int, kept: Kept, keep: Collection[str], out: int) -> Launch:
    """Lower the guard where something is to be kept; see stream.traits.

    skin, out: addresses of uint8 [512, 512]. keep: moles, freckles or both.
    """
    sure = [SURE[trait] for trait in SPOTS]
    ramps = [
        (low, 1.0 / (high - low) if t in keep else 0.0) for t, (low, high) in zip(SPOTS, sure, strict=True)
    ]
    return Launch(
        Variant("guard", (f"REAL={_c_type(kept.dtype, 'uint8')}",)),
        (FACE_PX * FACE_PX // _WARP_THREADS, 1, 1),
        (_WARP_THREADS, 1, 1),
        0,
        (
            *_addresses(skin, kept.newest, kept.before, kept.after),
            *_floats(kept.weight, *ramps[0], *ramps[1]),
            *_addresses(out),
        ),
    )


@dataclass(frozen=True)
class Residual:
    """A face's residual on the device, float16 or float32 in 8-bit levels.

    address: of [3, 512, 512]. With map_cells it is that of the network's residual_cells [12, 256, 256], and
    map_cells that of [4, 256, 256] (see export.contract).
    """

    address: int
    dtype: Dtype = np.float32
    map_cells: int = 0


def paste(surface: Surface, residual: Residual, guard: int, place: Placed, amount: float) -> Launch:
    """Add amount * residual * guard to a frame, in place; see stream.composite.add_residual, and for YUV
    stream.planes.add_residual_to_planes.

    guard: address of uint8 [512, 512], 0 outside place.part. place: where that falls (see
    stream.composite.placed).
    """
    (fx0, fy0, fx1, fy1), (x0, y0, x1, y1) = place.part, place.box
    columns, rows = (fx1 - fx0) // place.block, (fy1 - fy0) // place.block
    real, at_once = _c_type(residual.dtype, "uint8"), 1 if surface.pix_fmt == "rgb24" else 2
    defines = (_format(surface), f"REAL={real}", f"CELLS={int(residual.map_cells != 0)}")
    return Launch(
        Variant("paste", defines),
        (math.ceil((x1 - x0 // _WIDE * _WIDE) / _WIDE), math.ceil((y1 - y0 // at_once * at_once) / _TALL), 1),
        (_WIDE * _TALL // (4 * at_once), 1, 1),
        16 * _cells_under(place.inward, (_WIDE, _TALL), (columns + 2, rows + 2), 0),
        (
            *_planes(surface),
            *_ints(surface.width, surface.height, x0, y0, x1, y1),
            *_addresses(residual.address, residual.map_cells, guard),
            *_ints(fx0, fy0, columns, rows, place.block),
            *_floats(*place.inward.ravel(), amount),
            *_colours(surface),
            *_floats(*rgb_to_yuv(surface.tags, surface.height).ravel()),
        ),
    )


def _format(surface: Surface) -> str:
    return f"FORMAT={PIX_FMTS.index(surface.pix_fmt)}"


def _planes(surface: Surface) -> tuple[Any, ...]:
    """Addresses of three planes, and pitches of the first and the others; 0 for those it has not."""
    planes = [*surface.addresses, *(3 - len(surface.addresses)) * [0]]
    return *_addresses(*planes), *_ints(*(*surface.pitches, 0)[:2])


def _colours(surface: Surface) -> tuple[np.float32, ...]:
    """What takes Y, U, V to R, G, B; see stream.planes.yuv_to_rgb."""
    matrix, black = yuv_to_rgb(surface.tags, surface.height)
    return _floats(*matrix.ravel(), black)


def _cells_under(inward: Matrix, tile: tuple[int, int], grid: tuple[int, int], reach: int) -> int:
    """At most how many cells of the grid lie under a tile of the destination."""
    spans = np.abs(inward[:, :2]) @ (np.array(tile, np.float64) - 1.0)
    return math.prod(
        min(math.ceil(span) + 3 + 2 * reach, cells) for span, cells in zip(spans, grid, strict=True)
    )


def _c_type(dtype: Dtype, *refused: str) -> str:
    name = np.dtype(dtype).name
    if name not in _C_TYPES or name in refused:
        known = ", ".join(sorted(set(_C_TYPES) - set(refused)))
        raise OptionError(f"a kernel cannot work on {name}; give one of {known}")
    return _C_TYPES[name]


def _addresses(*values: int) -> tuple[np.uint64, ...]:
    return tuple(np.uint64(value) for value in values)


def _ints(*values: int) -> tuple[np.int32, ...]:
    return tuple(np.int32(value) for value in values)


def _floats(*values: float) -> tuple[np.float32, ...]:
    return tuple(np.float32(value) for value in values)
