"""A head as a solid that turns before a camera: where a frame's pixels come from, and their exact flow."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

SETTLING_STEPS = 12
SMOOTH_FRAMES = 5.0
CAMERA_FAR = 7.0


@dataclass(frozen=True)
class Sway:
    """Standard deviations of the motion: yaw, pitch and roll in degrees, scale, shift in px."""

    yaw: float
    pitch: float
    roll: float
    scale: float
    shift: float


BEFORE_A_CAMERA = Sway(4.0, 2.5, 2.5, 0.025, 9.0)
ALIGNED = Sway(2.0, 1.2, 0.25, 0.004, 0.9)


@dataclass(frozen=True)
class Head:
    """centre (x, y) px; half, its half width px; turns float64 [T, 3, 3]; scales [T]; shifts [T, 2] px."""

    centre: npt.NDArray[np.float64]
    half: float
    turns: npt.NDArray[np.float64]
    scales: npt.NDArray[np.float64]
    shifts: npt.NDArray[np.float64]

    def shown_at(self, canvas: npt.NDArray[np.float64], t: int) -> npt.NDArray[np.float64]:
        """Frame points of canvas points [..., 2] at frame t; a smooth dome stands for the head's depth."""
        flat = canvas - self.centre
        depth = 0.9 * self.half * np.exp(-0.8 * (flat**2).sum(-1, keepdims=True) / self.half**2)
        turned = np.concatenate([flat, depth], -1) @ self.turns[t].T
        far = CAMERA_FAR * self.half
        nearer = (far - depth) / (far - turned[..., 2:])
        return np.asarray(self.centre + self.shifts[t] + self.scales[t] * nearer * turned[..., :2])

    def came_from(self, frame: npt.NDArray[np.float64], t: int) -> npt.NDArray[np.float64]:
        """Canvas points of frame points [..., 2] at frame t: `shown_at` inverted by fixed-point steps."""
        found = frame.copy()
        for _ in range(SETTLING_STEPS):
            found += frame - self.shown_at(found, t)
        return found


def moving_head(
    centre: npt.NDArray[np.float64], half: float, frames: int, sway: Sway, rng: np.random.Generator
) -> Head:
    """Smooth random motion: filtered noise, frame 0 like any other."""
    noise = rng.normal(size=(frames + 40, 6))
    smooth = cv2.GaussianBlur(noise, (1, 61), 0.1, sigmaY=SMOOTH_FRAMES, borderType=cv2.BORDER_REPLICATE)
    path = (smooth / smooth.std(0))[20 : 20 + frames]
    yaw, pitch, roll = (np.radians(v) for v in (path[:, :3] * (sway.yaw, sway.pitch, sway.roll)).T)
    turns = np.stack([_turn(*angles) for angles in zip(yaw, pitch, roll, strict=True)])
    return Head(centre, half, turns, np.exp(sway.scale * path[:, 3]), sway.shift * path[:, 4:])


def _turn(yaw: float, pitch: float, roll: float) -> npt.NDArray[np.float64]:
    (cy, sy), (cp, sp), (cr, sr) = ((np.cos(a), np.sin(a)) for a in (yaw, pitch, roll))
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return np.asarray(about_z @ about_x @ about_y, np.float64)


def frame_grids(head: Head, side: int, corner: int) -> tuple[Floats, Floats]:
    """Canvas points float32 [T, side, side, 2] of every frame pixel, and the backward flow, alike, px.

    corner: canvas x and y of the frame's first pixel. Flow is zero in frame 0.
    """
    y, x = np.mgrid[0:side, 0:side].astype(np.float64) + corner
    here = np.dstack([x, y])
    grids, flows = [], []
    for t in range(len(head.scales)):
        grid = head.came_from(here, t)
        grids.append(grid.astype(np.float32))
        flow = head.shown_at(grid, t - 1) - here if t else np.zeros_like(here)
        flows.append(flow.astype(np.float32))
    return np.stack(grids), np.stack(flows)
