"""Carry a face on by optical flow: how the picture around it moved since the frame before."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from stream.crop import fit_similarity, invert, transform

PATCH_PX = 192
MARGIN = 0.15
WINDOW_PX = 17
PYRAMID = 2
MAX_BACKWARD_PX = 0.8
LEAST_POINTS = 12


@dataclass(frozen=True)
class _Patch:
    """gray uint8 [h, w]: the green of a window of the frame (x0, y0, x1, y1, the last two exclusive), made
    small. to_patch float64 [2, 3] takes frame pixels to its own."""

    window: tuple[int, int, int, int]
    gray: npt.NDArray[np.uint8]
    to_patch: npt.NDArray[np.float64]


class Glide:
    """Remembers the picture around a face, and finds from it the similarity to the next one.

    Pyramidal Lucas-Kanade (Bouguet, 2000) on a small gray patch, forward and backward (Kalal et al., 2010);
    what does not come back to where it was, a hand or a lock of hair, is left out.
    """

    def __init__(self) -> None:
        self._before: _Patch | None = None

    def remember(self, frame_rgb_u8: npt.NDArray[np.uint8], box_px: npt.NDArray[np.float32]) -> None:
        """Keep what the frame uint8 [H, W, 3] shows around box_px float32 [4]: x0, y0, x1, y1."""
        self._before = _patch(frame_rgb_u8, _window(frame_rgb_u8.shape, box_px))

    def forget(self) -> None:
        """Keep nothing, so that the next frame is followed from nowhere."""
        self._before = None

    def __call__(
        self, frame_rgb_u8: npt.NDArray[np.uint8], points_px: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float64] | None:
        """float64 [2, 3]: the similarity that takes points_px [N, 2] of the remembered frame to this one;
        None where the pictures do not tell."""
        before = self._before
        now = None if before is None else _patch(frame_rgb_u8, before.window)
        if before is None or now is None:
            return None
        start = transform(points_px, before.to_patch)
        end, kept = _tracked(before.gray, now.gray, start)
        if int(kept.sum()) < LEAST_POINTS:
            return None
        back = invert(before.to_patch)
        return fit_similarity(transform(start[kept], back), transform(end[kept], back))


def _tracked(
    before: npt.NDArray[np.uint8], now: npt.NDArray[np.uint8], start: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Where the points [N, 2] went, and which of them can be trusted: they go back to where they were, and
    with the most of the others."""
    points = start.reshape(-1, 1, 2)
    end, found = _flow(before, now, points)
    again, found_again = _flow(now, before, end)
    missed = np.linalg.norm(again - points, axis=2)[:, 0]
    kept = found & found_again & (missed < MAX_BACKWARD_PX)
    moved = (end - points)[:, 0]
    if kept.any():
        away = np.linalg.norm(moved - np.median(moved[kept], axis=0), axis=1)
        kept &= away < max(1.0, 3.0 * float(np.median(away[kept])))
    return end[:, 0], kept


def _flow(
    one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8], points: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Points [N, 1, 2] of one picture in the other, and which were found, [N]."""
    nowhere = np.zeros_like(points)
    window = (WINDOW_PX, WINDOW_PX)
    ends, found, _ = cv2.calcOpticalFlowPyrLK(one, other, points, nowhere, winSize=window, maxLevel=PYRAMID)
    return np.asarray(ends, np.float32), np.asarray(found)[:, 0] > 0


def _window(shape: tuple[int, ...], box_px: npt.NDArray[np.float32]) -> tuple[int, int, int, int]:
    """The box and a margin, within the frame: x0, y0, x1, y1, the last two exclusive."""
    margin = MARGIN * (box_px[2:] - box_px[:2])
    low = np.floor(box_px[:2] - margin).clip(0, [shape[1], shape[0]])
    high = np.ceil(box_px[2:] + margin).clip(0, [shape[1], shape[0]])
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _patch(frame_rgb_u8: npt.NDArray[np.uint8], window: tuple[int, int, int, int]) -> _Patch | None:
    """That window of the frame, gray, at most PATCH_PX long; None where nothing of it is in the frame."""
    x0, y0, x1, y1 = window
    every = max(1, max(y1 - y0, x1 - x0) // (2 * PATCH_PX) + 1)
    # Green is nearly gray, and every second pixel of a large face says as much: a tenth of the time.
    part = np.ascontiguousarray(frame_rgb_u8[y0:y1:every, x0:x1:every, 1])
    height, width = part.shape
    if min(height, width) * every < WINDOW_PX:
        return None
    scale = min(1.0, PATCH_PX / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
    sx, sy = size[0] / width, size[1] / height
    shift_x, shift_y = 0.5 * sx - 0.5 - x0 * sx / every, 0.5 * sy - 0.5 - y0 * sy / every
    matrix = np.array([[sx / every, 0.0, shift_x], [0.0, sy / every, shift_y]])
    return _Patch(window, np.asarray(small, np.uint8), matrix)
