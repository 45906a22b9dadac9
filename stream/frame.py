"""Frame: one picture of a stream, with its time and all that must travel with the pixels."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from itertools import product
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from stream.kernels.launch import Surface

RgbImage = npt.NDArray[np.uint8]
_TURNS = {1: cv2.ROTATE_90_CLOCKWISE, 2: cv2.ROTATE_180, 3: cv2.ROTATE_90_COUNTERCLOCKWISE}
_EXIF = {
    1: (0, False),
    2: (0, True),
    3: (2, False),
    4: (2, True),
    5: (3, True),
    6: (1, False),
    7: (1, True),
    8: (3, False),
}


@dataclass(frozen=True)
class Orientation:
    """How stored pixels become upright: mirrored left to right if `mirrored`, then turned clockwise."""

    turns_cw: int = 0
    mirrored: bool = False

    @property
    def plain(self) -> bool:
        """Whether stored pixels are upright already."""
        return self.turns_cw == 0 and not self.mirrored

    def upright(self, image: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Stored [h, w, ...] to upright, contiguous; the array itself if there is nothing to do."""
        turned = cv2.flip(image, 1) if self.mirrored else image
        return np.asarray(cv2.rotate(turned, _TURNS[self.turns_cw]) if self.turns_cw else turned)

    def stored(self, image: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Upright back to stored: the inverse of `upright`."""
        turned = cv2.rotate(image, _TURNS[4 - self.turns_cw]) if self.turns_cw else image
        return np.asarray(cv2.flip(turned, 1) if self.mirrored else turned)

    def stored_box(self, box: Box, upright_shape: tuple[int, ...]) -> Box:
        """A box of the upright picture, of shape (height, width), in stored pixels."""
        x0, y0, x1, y1 = box
        height, width = upright_shape[:2]
        for _ in range((4 - self.turns_cw) % 4):
            # A clockwise quarter turn puts pixel (x, y) at (height - 1 - y, x).
            x0, y0, x1, y1 = height - y1, x0, height - y0, x1
            height, width = width, height
        return (width - x1, y0, width - x0, y1) if self.mirrored else (x0, y0, x1, y1)


# x0, y0, x1, y1 in pixels, the last two exclusive.
Box = tuple[int, int, int, int]


def orientation_from_exif(tag: int) -> Orientation:
    """The orientation of EXIF tag 0x0112 (values 1 to 8, CIPA DC-008); others mean upright."""
    turns, mirrored = _EXIF.get(tag, (0, False))
    return Orientation(turns, mirrored)


def orientation_from_matrix(matrix: npt.NDArray[np.int32]) -> Orientation:
    """The orientation nearest to a display matrix, int32 [9] in 16.16 (ISO/IEC 14496-12, 6.2.2)."""
    a, b, c, d = (float(v) for v in matrix[[0, 1, 3, 4]])
    wanted = np.array([[a, c], [b, d]])
    wanted /= max(float(np.abs(wanted).max()), 1e-9)
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    choices = [Orientation(turns, mirrored) for mirrored, turns in product((False, True), range(4))]

    def distance(choice: Orientation) -> float:
        linear = np.linalg.matrix_power(turn, choice.turns_cw) @ np.diag(
            [-1.0 if choice.mirrored else 1.0, 1.0]
        )
        return float(np.abs(linear - wanted).sum())

    return min(choices, key=distance)


@dataclass(frozen=True)
class ColourTags:
    """Code points of ITU-T H.273: matrix, primaries, transfer; range 0 unsaid, 1 limited, 2 full. 2 is
    unsaid."""

    matrix: int = 2
    range: int = 0
    primaries: int = 2
    transfer: int = 2


@dataclass(frozen=True)
class Frame:
    """One upright picture.

    rgb_u8: uint8 [H, W, 3] RGB, upright; read it only. pts counts time_base; arrival_ns: monotonic clock when
    it was decoded. alpha: uint8 [H, W] or None. orientation: how it is stored. native: the decoder's own
    frame, stored, which the sink changes only where a residual falls; None where the RGB is all there is.
    surface: where native lies on a GPU, if it does, to be retouched there; rgb_u8 is as it was decoded.
    beside: packets of the other streams (audio, subtitles) that came before this frame.
    """

    rgb_u8: RgbImage
    pts: int
    time_base: Fraction
    arrival_ns: int = 0
    alpha: npt.NDArray[np.uint8] | None = None
    orientation: Orientation = Orientation()
    duration: int = 0
    native: Any = None
    surface: Surface | None = None
    beside: list[Any] = field(default_factory=list)

    @property
    def pts_s(self) -> float:
        """The frame's time in seconds."""
        return float(self.pts * self.time_base)


@dataclass(frozen=True)
class VideoInfo:
    """What is known once the first frame is decoded.

    width, height: stored pixels. pix_fmt: the stored samples as FFmpeg names them; native: the planar format
    frames are kept in, or None where they are RGB. frames: how many to expect, 0 if unknown. display_matrix:
    int32 [9] or None.
    """

    width: int
    height: int
    codec: str
    pix_fmt: str
    native: str | None
    time_base: Fraction
    rate: Fraction
    frames: int
    aspect: Fraction | None
    tags: ColourTags
    orientation: Orientation
    display_matrix: npt.NDArray[np.int32] | None
    interlaced: bool
    alpha: bool
