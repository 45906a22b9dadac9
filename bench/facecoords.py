"""Frames seen in face coordinates: the canvas a clip was made from, on which a moving face stands still."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from bench.metrics import Floats, Mask

_NEWTON_STEPS = 4
_TOLERANCE_PX = 0.1
_EDGE_PX = 0.01


@dataclass(frozen=True)
class CanvasView:
    """For each canvas pixel the frame pixel that shows it, x and y float32 [S, S]; seen [S, S]: if any
    does."""

    x: Floats
    y: Floats
    seen: Mask

    def take(self, frame: Floats) -> Floats:
        """Frame [H, W, C] resampled (bilinear) onto the canvas: [S, S, C]; where not seen, the border's."""
        sampled = cv2.remap(frame, self.x, self.y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(sampled, np.float32)


def view_of(to_canvas: Floats, canvas_px: int) -> CanvasView:
    """Invert to_canvas float32 [H, W, 2], the canvas point (x, y) that each frame pixel shows.

    Newton's method with the Jacobian of the best affine fit, which the motion is close to.
    """
    height, width = to_canvas.shape[:2]
    affine = _affine_fit(to_canvas)
    inward = np.linalg.inv(affine[:, :2])
    y, x = np.mgrid[0:canvas_px, 0:canvas_px].astype(np.float32)
    wanted = np.dstack([x, y])  # [S, S, 2]
    at = ((wanted - affine[:, 2]) @ inward.T).astype(np.float32)
    for _ in range(_NEWTON_STEPS):
        at += (wanted - _sample(to_canvas, at)) @ inward.T.astype(np.float32)
    off = np.abs(wanted - _sample(to_canvas, at)).max(axis=-1)
    last = np.array([width - 1, height - 1]) + _EDGE_PX
    inside = ((at >= -_EDGE_PX) & (at <= last)).all(axis=-1)
    x, y = np.ascontiguousarray(at[..., 0]), np.ascontiguousarray(at[..., 1])
    return CanvasView(x, y, inside & (off < _TOLERANCE_PX))


def _sample(field: Floats, at: Floats) -> Floats:
    sampled = cv2.remap(field, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(sampled, np.float32)


def _affine_fit(to_canvas: Floats) -> npt.NDArray[np.float64]:
    """float64 [2, 3]: frame px to canvas px, least squares over a coarse lattice."""
    height, width = to_canvas.shape[:2]
    y, x = np.mgrid[0:height:16, 0:width:16]
    rows = np.stack([x.ravel(), y.ravel(), np.ones(x.size)], axis=1)
    fit = np.linalg.lstsq(rows, to_canvas[::16, ::16].reshape(-1, 2).astype(np.float64), rcond=None)[0]
    return np.asarray(fit.T, np.float64)


def from_canvas(picture: npt.NDArray[np.uint8], to_canvas: Floats) -> npt.NDArray[np.uint8]:
    """A canvas mask uint8 [S, S] as the frame shows it: uint8 [H, W], nearest pixel, 0 beyond the canvas."""
    x, y = np.ascontiguousarray(to_canvas[..., 0]), np.ascontiguousarray(to_canvas[..., 1])
    shown = cv2.remap(picture, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)
    return np.asarray(shown, np.uint8)
