"""What can be said of a file without decoding it: whether it is there to be read, and as long as it says it
is, told from its outermost boxes."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from stream.errors import SourceError

_EBML = b"\x1a\x45\xdf\xa3"
_SEGMENT = b"\x18\x53\x80\x67"
_TOP_BOXES = (b"ftyp", b"styp", b"wide", b"free", b"skip", b"moov", b"mdat")


def check_whole(name: str, *, in_part: bool) -> None:
    """Raise SourceError for a file that is a folder, empty, unreadable, or cut short, which matters not where
    it is read in part."""
    path = Path(name)
    try:
        if path.is_dir():
            raise SourceError(f"{name} is a folder; name a video or image file in it")
        if path.is_file() and path.stat().st_size == 0:
            raise SourceError(f"{name} is empty (0 bytes); get a whole copy of it")
        lost = missing_bytes(path) if path.is_file() and not in_part else 0
    except OSError as error:
        raise SourceError(f"{name} cannot be read ({error.strerror}); check its rights") from error
    if lost:
        raise SourceError(
            f"{name} is cut short: at least {lost:,} bytes are missing at its end; get a whole copy, or "
            "add --duration SECONDS to retouch a part that is there"
        )


def missing_bytes(path: Path) -> int:
    """At least how many bytes are missing at the end of an MP4, MOV, Matroska, WebM or AVI file; 0 if none
    are, or nobody can tell (other formats, recordings of unknown size)."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if head[4:8] in _TOP_BOXES:
            return max(0, _end_of_boxes(file, size) - size)
        if head[:4] == _EBML:
            return max(0, _end_of_segment(file) - size)
        if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
            return max(0, 8 + int(struct.unpack("<I", head[4:8])[0]) - size)
    return 0


def _end_of_boxes(file: BinaryIO, size: int) -> int:
    """Where the last top box of an ISO base media file ends (ISO/IEC 14496-12, 4.2)."""
    at = 0
    while at < size:
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            return at + 8
        length = int(struct.unpack(">I", head[:4])[0])
        if length == 1:
            length = int(struct.unpack(">Q", head[8:16])[0]) if len(head) == 16 else 16
        if length < 8:
            # 0: this box reaches to the end of the file, wherever that is. Others: nothing that can be read.
            return size
        at += length
    return at


def _end_of_segment(file: BinaryIO) -> int:
    """Where the segment of a Matroska file ends (RFC 8794, RFC 9559); 0 where its size is not given."""
    file.seek(4)
    header = _vint(file)
    if header is None:
        return 0
    file.seek(header, 1)
    if file.read(4) != _SEGMENT:
        return 0
    length = _vint(file)
    return 0 if length is None else file.tell() + length


def _vint(file: BinaryIO) -> int | None:
    """An EBML element's size; None if it is unknown (all ones) or not there."""
    first = file.read(1)
    if not first or first[0] == 0:
        return None
    width = 9 - first[0].bit_length()
    value = int.from_bytes(bytes([first[0] & (0xFF >> width)]) + file.read(width - 1), "big")
    return None if value == (1 << (7 * width)) - 1 else value
