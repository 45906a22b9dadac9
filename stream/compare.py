"""Views that show before and after in one picture: side by side, split down the middle, or the imperfection
map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from stream.crop import invert, transform
from stream.frame import RgbImage

DIVIDER_PX = 2
_DIVIDER_RGB = (255, 255, 255)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_CAPTION_HEIGHT = 0.045
_CAPTION_LEAST_PX = 160
_MAP_DIM = 0.45
# Shadow under the eyes, redness, shine, in the order of stream.broad.BROAD_KINDS.
KIND_RGB = ((70, 110, 255), (255, 70, 190), (90, 230, 230))
# Moles, freckles and lines that are kept, in the order of stream.traits.SHOWN.
TRAIT_RGB = ((70, 210, 90), (190, 230, 110), (150, 150, 165))
_TRAIT_COVER = 0.8


class Face(Protocol):
    """What a view needs of a face: alignment float64 [2, 3] (frame to face pixels), map float32 [512, 512] in
    [0, 1], fade in [0, 1], shares of the broad kinds of imperfection float32 [3, S, S] in [0, 1], and where
    something of the person is kept, alike, or None."""

    @property
    def alignment(self) -> npt.NDArray[np.float64]: ...
    @property
    def map(self) -> npt.NDArray[np.float32]: ...
    @property
    def fade(self) -> float: ...
    @property
    def traits(self) -> npt.NDArray[np.float32] | None: ...
    def kinds(self) -> npt.NDArray[np.float32]: ...


def view_size(view: str, width: int, height: int) -> tuple[int, int]:
    """Width and height of the view of a frame of this size; both even, as most codecs want them."""
    if view == "side":
        width = 2 * width + DIVIDER_PX
    return width + width % 2, height + height % 2


def compose(
    view: str,
    raw_rgb_u8: RgbImage,
    retouched_rgb_u8: RgbImage,
    faces: Sequence[Face],
    *,
    changed: bool,
    split_at: float = 0.5,
) -> RgbImage:
    """The view as uint8 [H', W', 3] RGB, of view_size; raw and retouched are uint8 [H, W, 3] RGB. changed:
    whether any face was retouched, which the caption says. split_at: share of the width, 0 to 1, that the
    view `split` shows raw."""
    if view == "side":
        picture = _side(raw_rgb_u8, retouched_rgb_u8, changed)
    elif view == "split":
        picture = _split(raw_rgb_u8, retouched_rgb_u8, changed, split_at)
    else:
        picture = map_view(retouched_rgb_u8, faces)
    height, width = picture.shape[:2]
    if height % 2 or width % 2:
        border = cv2.copyMakeBorder(picture, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        picture = np.asarray(border, np.uint8)
    return picture


def _side(raw: RgbImage, retouched: RgbImage, changed: bool) -> RgbImage:
    height, width = raw.shape[:2]
    picture = np.empty((height, 2 * width + DIVIDER_PX, 3), np.uint8)
    picture[:, :width] = raw
    picture[:, width : width + DIVIDER_PX] = _DIVIDER_RGB
    picture[:, width + DIVIDER_PX :] = retouched
    _captions(picture, changed, width, width + DIVIDER_PX)
    return picture


def _split(raw: RgbImage, retouched: RgbImage, changed: bool, at: float) -> RgbImage:
    middle = int(at * raw.shape[1])
    picture = retouched.copy()
    picture[:, :middle] = raw[:, :middle]
    left = max(0, middle - DIVIDER_PX // 2)
    picture[:, left : left + DIVIDER_PX] = _DIVIDER_RGB
    _captions(picture, changed, middle, middle)
    return picture


def _captions(picture: RgbImage, changed: bool, left_width: int, right_at: int) -> None:
    """Small words at the lower left of both parts; none where they would be in the way."""
    height, width = picture.shape[:2]
    size_px = max(12, round(_CAPTION_HEIGHT * min(height, width // 2)))
    done = "retouched" if changed else "passed through"
    for words, start, end in (("raw", 0, left_width), (done, right_at, width)):
        if end - start >= max(_CAPTION_LEAST_PX, _extent(words, size_px)[0] + size_px):
            caption(picture, words, (start + size_px // 2, height - size_px // 2), size_px)


def caption(picture: RgbImage, words: str, at: tuple[int, int], size_px: int) -> None:
    """Write words in place: white on a darkened plate, `at` the lower left corner (x, y), size_px tall."""
    width, height, below = _extent(words, size_px)
    scale, thin = _lettering(size_px)
    rim = max(3, size_px // 4)
    plate = picture[
        max(0, at[1] - height - rim) : at[1] + below // 2 + rim, max(0, at[0] - rim) : at[0] + width + rim
    ]
    plate[:] = plate // 10 * 4
    cv2.putText(picture, words, at, _FONT, scale, (245, 245, 245), thin, cv2.LINE_AA)


def _lettering(size_px: int) -> tuple[float, int]:
    """Scale and line width, as OpenCV wants them, of words size_px tall."""
    thin = max(1, round(size_px / 16))
    return cv2.getFontScaleFromHeight(_FONT, max(6, round(0.7 * size_px)), thin), thin


def _extent(words: str, size_px: int) -> tuple[int, int, int]:
    """Width of words, and height above and below their line, in px."""
    (width, height), below = cv2.getTextSize(words, _FONT, *_lettering(size_px))
    return width, height, below


def map_view(frame_rgb_u8: RgbImage, faces: Sequence[Face]) -> RgbImage:
    """The frame in dim gray, the imperfection maps of its faces glowing on it: marks dark red at 0+, yellow,
    white at 1; the broad kinds, and what is kept, in colours of their own (KIND_RGB, TRAIT_RGB)."""
    gray = cv2.cvtColor(frame_rgb_u8, cv2.COLOR_RGB2GRAY)
    dim = cv2.convertScaleAbs(gray, alpha=_MAP_DIM)
    picture = np.asarray(cv2.cvtColor(dim, cv2.COLOR_GRAY2RGB), np.uint8)
    for face in faces:
        _lay(picture, _layers(face), face.alignment, len(face.map))
    return picture


def _layers(face: Face) -> npt.NDArray[np.float32]:
    """What glows on a face, float32 [S, S, 4]: light to be added in levels, and how much of what is beneath
    shines through; of the size of its kinds."""
    kinds = face.kinds()
    size = kinds.shape[:0:-1]
    marks = cv2.resize(face.map, size, interpolation=cv2.INTER_AREA) * np.float32(face.fade)
    layers = np.zeros((4, *kinds.shape[1:]), np.float32)
    layers[3] = 1.0
    shown = np.asarray(marks, np.float32)
    for colour, share in zip(KIND_RGB, kinds, strict=True):
        if share.any():
            part = shown * share
            marks = marks - part
            _cover(layers, [np.float32(level) for level in colour], np.sqrt(part))  # a tenth is seen well
    heat = [np.clip(np.float32(255.0) * (np.float32(3.0) * marks - k), 0.0, 255.0) for k in range(3)]
    _cover(layers, heat, np.minimum(np.float32(2.0) * marks, np.float32(1.0)))
    for colour, share in zip(TRAIT_RGB, () if face.traits is None else face.traits, strict=False):
        if share.any():
            part = cv2.resize(share, size, interpolation=cv2.INTER_AREA)
            cover = np.asarray(part * np.float32(_TRAIT_COVER * face.fade), np.float32)
            _cover(layers, [np.float32(level) for level in colour], cover)
    return np.asarray(cv2.merge(list(layers)), np.float32)


def _cover(layers: npt.NDArray[np.float32], colour: Sequence[Any], cover: npt.NDArray[np.float32]) -> None:
    """Lay a colour (three levels or planes) over layers [4, S, S], in place, as far as cover [S, S] says."""
    layers *= np.float32(1.0) - cover
    for plane, level in zip(layers, colour, strict=False):
        plane += level * cover


def _lay(
    picture: RgbImage, layers: npt.NDArray[np.float32], to_face: npt.NDArray[np.float64], face_px: int
) -> None:
    """Lay a face's layers on the picture, in place, within the box of the frame that shows the face."""
    corners = np.array([[0, 0], [face_px, 0], [0, face_px], [face_px, face_px]], np.float64)
    low, high = (f(transform(corners, invert(to_face)), axis=0) for f in (np.min, np.max))
    left, top = (max(0, int(v)) for v in low)
    right, bottom = (min(int(v) + 1, most) for v, most in zip(high, picture.shape[1::-1], strict=True))
    if left >= right or top >= bottom:
        return
    inward = to_face.copy()
    inward[:, 2] += to_face[:, :2] @ (left, top)
    scale = len(layers) / face_px
    inward *= scale
    inward[:, 2] += (scale - 1.0) / 2.0
    seen = cv2.warpAffine(
        layers,
        inward,
        (right - left, bottom - top),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderValue=(0.0, 0.0, 0.0, 1.0),
    )
    part = picture[top:bottom, left:right]
    part[:] = np.rint(part * seen[..., 3:] + seen[..., :3])
