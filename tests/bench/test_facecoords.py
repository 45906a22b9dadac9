"""A face in motion stands still on its canvas."""

from __future__ import annotations

import math

import cv2
import numpy as np

from bench.facecoords import from_canvas, view_of

SIDE = 96


def bent_grid(turn: float, shift: tuple[float, float], bend_px: float) -> np.ndarray:
    """Canvas points of a frame that shows the canvas turned, shifted and bent."""
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    c, s = math.cos(turn), math.sin(turn)
    u = c * x - s * y + shift[0] + bend_px * np.sin(x / 15.0)
    v = s * x + c * y + shift[1] + bend_px * np.cos(y / 17.0)
    return np.dstack([u, v]).astype(np.float32)


def smooth_picture() -> np.ndarray:
    noise = np.random.default_rng(3).random((SIDE, SIDE, 3)).astype(np.float32) * 255
    return cv2.GaussianBlur(noise, (0, 0), 4.0)


def test_a_frame_taken_back_is_the_canvas_it_was_made_from() -> None:
    canvas = smooth_picture()
    grid = bent_grid(0.1, (4.0, -3.0), 1.5)
    frame = cv2.remap(
        canvas, grid[..., 0].copy(), grid[..., 1].copy(), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    view = view_of(grid, SIDE)
    inner = view.seen.copy()
    inner[:3] = inner[-3:] = False
    inner[:, :3] = inner[:, -3:] = False
    assert inner.mean() > 0.7
    assert np.abs(view.take(frame) - canvas)[inner].max() < 0.5


def test_what_the_frame_does_not_show_is_not_seen() -> None:
    view = view_of(bent_grid(0.0, (30.0, 0.0), 0.0), SIDE)
    assert not view.seen[:, :30].any()
    assert view.seen[:, 30:].all()


def test_a_canvas_mask_moves_with_the_frame() -> None:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[40:50, 40:50] = 255
    shown = from_canvas(mask, bent_grid(0.0, (10.0, 20.0), 0.0))
    assert np.argwhere(shown).min(axis=0).tolist() == [20, 30]
    assert int((shown > 0).sum()) == 100
