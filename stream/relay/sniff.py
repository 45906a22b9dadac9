"""What an encoded picture says of itself before it is decoded: whether it is a key frame, and its size.

Sizes are read so that a picture too large is never decoded; nothing here trusts the bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_START_CODE = re.compile(rb"\x00\x00\x01")
_NAL_IDR, _NAL_SPS = 5, 7
# Profiles whose sequence parameter set says more before the size (ITU-T H.264, 7.3.2.1.1).
_HIGH_PROFILES = (100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135)
# Pictures are coded in macroblocks, interlaced ones in pairs, of which the last are cropped.
_MACROBLOCK_PAIR_PX = 32
# With every scaling list a parameter set stays well below this.
_SPS_BYTES = 2048
UNREADABLE = (1 << 16, 1 << 16)


@dataclass(frozen=True)
class Sniffed:
    """keyframe: decoding can begin here. size: width and height in pixels where the picture says it,
    UNREADABLE where it says it in a broken way."""

    keyframe: bool
    size: tuple[int, int] | None = None


def sniff(codec: str, picture: bytes) -> Sniffed:
    """Look at one whole encoded picture. codec: `vp8` or `h264` (Annex B)."""
    return sniff_vp8(picture) if codec == "vp8" else sniff_h264(picture)


def sniff_vp8(picture: bytes) -> Sniffed:
    """RFC 6386, section 9.1: a frame tag of 3 bytes, in a key frame a start code and the size."""
    if len(picture) < 10 or picture[0] & 1 or picture[3:6] != b"\x9d\x01\x2a":
        return Sniffed(False)
    # The two upper bits ask the player to scale.
    width = int.from_bytes(picture[6:8], "little") & 0x3FFF
    height = int.from_bytes(picture[8:10], "little") & 0x3FFF
    return Sniffed(True, (width, height))


def sniff_h264(picture: bytes) -> Sniffed:
    """ITU-T H.264, 7.4.1: units of type 5 are IDR slices, of type 7 sequence parameter sets. Of several
    sets the largest size counts."""
    keyframe = False
    sizes = []
    for unit in _units(picture):
        kind = unit[0] & 0x1F
        keyframe = keyframe or kind == _NAL_IDR
        if kind == _NAL_SPS:
            sizes.append(_sps_size(unit[1:_SPS_BYTES]))
    return Sniffed(keyframe, max(sizes, key=lambda size: size[0] * size[1]) if sizes else None)


def _units(stream: bytes) -> Iterator[bytes]:
    """The NAL units of an Annex B byte stream that may matter: of a slice no more than its header."""
    starts = [found.end() for found in _START_CODE.finditer(stream)]
    ends = [start - len(b"\x00\x00\x01") for start in starts[1:]] + [len(stream)]
    for start, end in zip(starts, ends, strict=False):
        if unit := stream[start : min(end, start + _SPS_BYTES)]:
            yield unit


def _sps_size(payload: bytes) -> tuple[int, int]:
    """Width and height in a sequence parameter set (7.3.2.1.1): what is shown, where no more than a part of
    the last macroblocks is cropped; else what is decoded."""
    try:
        return _read_sps(_Bits(payload.replace(b"\x00\x00\x03", b"\x00\x00")))
    except EOFError:
        return UNREADABLE


def _read_sps(bits: _Bits) -> tuple[int, int]:
    profile, chroma = bits.take(8), 1
    bits.take(16)  # constraint flags, level
    bits.golomb()  # its number
    if profile in _HIGH_PROFILES:
        chroma = _chroma_of_high_profile(bits)
    bits.golomb()  # log2_max_frame_num_minus4
    order = bits.golomb()
    if order == 0:
        bits.golomb()
    elif order == 1:
        bits.take(1)
        bits.golomb()
        bits.golomb()
        for _ in range(min(bits.golomb(), 255)):
            bits.golomb()
    bits.golomb()  # max_num_ref_frames
    bits.take(1)
    width, height = 16 * (bits.golomb() + 1), 16 * (bits.golomb() + 1)
    fields = 2 - bits.take(1)
    height *= fields
    bits.take(fields)  # mb_adaptive_frame_field_flag of interlaced ones, direct_8x8_inference_flag
    if bits.take(1):
        left, right, top, bottom = (bits.golomb() for _ in range(4))
        across = (left + right) * (2 if chroma in (1, 2) else 1)
        down = (top + bottom) * (2 if chroma == 1 else 1) * fields
        if max(across, down) < _MACROBLOCK_PAIR_PX:
            return width - across, height - down
    return width, height


def _chroma_of_high_profile(bits: _Bits) -> int:
    """chroma_format_idc; the rest of what these profiles say is skipped."""
    chroma = bits.golomb()
    if chroma == 3:
        bits.take(1)
    bits.golomb()
    bits.golomb()
    bits.take(1)
    if bits.take(1):
        for index in range(8 if chroma != 3 else 12):
            if bits.take(1):
                _skip_scaling_list(bits, 16 if index < 6 else 64)
    return chroma


def _skip_scaling_list(bits: _Bits, length: int) -> None:
    """7.3.2.1.1.1: it ends early where the next scale would be 0."""
    last = following = 8
    for _ in range(length):
        if following:
            code = bits.golomb()
            following = (last + ((code + 1) // 2 if code % 2 else -(code // 2))) % 256
        last = following or last


class _Bits:
    """Reads bits from the front; EOFError past the end."""

    def __init__(self, payload: bytes) -> None:
        self._value = int.from_bytes(payload, "big")
        self._left = 8 * len(payload)

    def take(self, count: int) -> int:
        """The next `count` bits as a number."""
        if count > self._left:
            raise EOFError
        self._left -= count
        return (self._value >> self._left) & ((1 << count) - 1)

    def golomb(self) -> int:
        """An unsigned Exp-Golomb code (9.1)."""
        zeros = 0
        while not self.take(1):
            zeros += 1
            if zeros > 31:
                raise EOFError
        return (1 << zeros) - 1 + self.take(zeros)
