"""Pictures between a codec's colours and RGB.

As browsers read them: VP8 is BT.601, limited range (RFC 6386, section 9.2). H.264 goes out as BT.709, limited
range, and says so: Chromium 156 shows H.264 that says nothing as BT.709, whatever its size, and itself sends
BT.601 that says nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from stream.frame import RgbImage
from stream.relay.options import LEAST_PX

SENT_AS = {"vp8": Colorspace.ITU601, "h264": Colorspace.ITU709}
# Code points of matrices (ITU-T H.273, table 4) and what swscale calls them.
_MATRICES = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
}


class ToYuv:
    """RGB pictures as yuv420p in a codec's colours. One thread's own."""

    def __init__(self, codec: str) -> None:
        self._matrix = SENT_AS[codec]
        self._reformatter = VideoReformatter()

    def __call__(self, rgb_u8: RgbImage) -> VideoFrame:
        """rgb_u8: uint8 [H, W, 3]; an odd last row or column is left out."""
        height, width = rgb_u8.shape[0] & ~1, rgb_u8.shape[1] & ~1
        picture = np.ascontiguousarray(rgb_u8)[:height, :width]
        return self._reformatter.reformat(
            VideoFrame.from_numpy_buffer(picture, "rgb24"),
            format="yuv420p",
            dst_colorspace=self._matrix,
            dst_color_range=ColorRange.MPEG,
            interpolation=Interpolation.BILINEAR,
            threads=1,
        )


def shrunk(width: int, height: int, most: tuple[int, int]) -> tuple[int, int]:
    """The size, even and of the same shape, of a picture that shall fit into `most`, upright or turned; its
    own if it does. No side gets shorter than what the relay takes in."""
    scale = min(max(most) / max(width, height), min(most) / min(width, height))
    if scale >= 1.0:
        return width, height
    wide, high = (max(LEAST_PX, int(side * scale + 1e-6) & ~1) for side in (width, height))
    return wide, high


class ToRgb:
    """Decoded pictures as RGB, by the matrix and range they name; BT.601 limited where they name none. Those
    that do not fit into `most` (width, height) are scaled down. One thread's own."""

    def __init__(self, most: tuple[int, int] | None = None) -> None:
        self._reformatter = VideoReformatter()
        self._most = most

    def __call__(self, frame: VideoFrame) -> RgbImage:
        """uint8 [H, W, 3]."""
        size = frame.width, frame.height
        wanted = size if self._most is None else shrunk(*size, self._most)
        full = frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj")
        matrix = _MATRICES.get(frame.colorspace, Colorspace.ITU601)
        even = frame.width % 2 == frame.height % 2 == 0
        if matrix == Colorspace.ITU601 and not full and even and frame.format.name == "yuv420p":
            # What browsers send. OpenCV rounds where swscale's fast way cuts off, one to two levels too dark.
            planes = np.asarray(frame.to_ndarray(), np.uint8)
            if wanted != size:
                planes = _scaled(planes, wanted)
            return np.asarray(cv2.cvtColor(planes, cv2.COLOR_YUV2RGB_I420), np.uint8)
        filtered = Interpolation.BILINEAR if wanted == size else Interpolation.AREA
        picture = self._reformatter.reformat(
            frame,
            *wanted,
            format="rgb24",
            src_colorspace=matrix,
            src_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
            interpolation=filtered | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND,
            threads=1,
        )
        return np.asarray(picture.to_ndarray(), np.uint8)


def _scaled(i420_u8: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Planes [H * 3/2, W] as those of a smaller picture: half the bytes that it would have as RGB."""
    (rows, width), (wide, high) = i420_u8.shape, size
    height = rows * 2 // 3
    scaled = np.empty((high * 3 // 2, wide), np.uint8)
    cv2.resize(i420_u8[:height], size, dst=scaled[:high], interpolation=cv2.INTER_AREA)
    chroma = i420_u8[height:].reshape(2, height // 2, width // 2)
    for plane, to in zip(chroma, scaled[high:].reshape(2, high // 2, wide // 2), strict=True):
        cv2.resize(plane, (wide // 2, high // 2), dst=to, interpolation=cv2.INTER_AREA)
    return scaled


@dataclass(frozen=True)
class DecodedFrame:
    """A publisher's frame; a stream.live.filter.LiveFrame. native: as it was decoded. pts counts time_base,
    from the publisher. arrival_ns: monotonic clock when its last packet came."""

    native: VideoFrame
    pts: int
    time_base: Fraction
    arrival_ns: int
    to_rgb: ToRgb

    @cached_property
    def rgb_u8(self) -> RgbImage:
        """uint8 [H, W, 3] RGB, converted when it is first asked for, in the thread that asks."""
        return self.to_rgb(self.native)
