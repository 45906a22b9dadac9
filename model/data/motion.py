"""Smooth motion of a face, and the exact imperfection flow that follows from it.

A frame pixel p of frame t shows the canvas point  C_t(p) = G_t(p + d_t(p)),  with G_t a similarity with mild
perspective and d_t a sum of smooth bumps (expression). Both are known, so the flow is too: the point C_t(p)
was in frame t-1 at the y with  y + d_{t-1}(y) = G_{t-1}^-1(C_t(p)),  found by fixed-point iteration.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

STRIDE = 4
FIXED_POINT_STEPS = 4
FRAMES_PER_S = 30.0


@dataclass(frozen=True)
class Motion:
    """The motion of B clips of T frames, float64. Homographies [B, T, 3, 3] (frame px to canvas px); bumps:
    centres [B, K, 2] and widths [B, K] in frame px, shifts [B, T, K, 2] in px."""

    homography: Tensor
    centres: Tensor
    widths: Tensor
    shifts: Tensor

    def bend(self, points: Tensor, frames: slice) -> Tensor:
        """d_t at points [B, T', n, 2] (x, y), for the frames of the slice: [B, T', n, 2] px."""
        rate = (-0.5 / self.widths.square())[:, None, None].to(points)  # [B, 1, 1, K]
        x = points[..., :1] - self.centres[:, None, None, :, 0].to(points)  # [B, T', n, K]
        y = points[..., 1:] - self.centres[:, None, None, :, 1].to(points)
        bump = x.square_().add_(y.square_()).mul_(rate).exp_()
        return bump @ self.shifts[:, frames].to(points)

    def to_canvas(self, points: Tensor) -> Tensor:
        """C_t at frame points [B, T, n, 2]: canvas points [B, T, n, 2]."""
        return _project(self.homography, points + self.bend(points, slice(None)))

    def to_previous(self, canvas: Tensor) -> Tensor:
        """Where canvas points [B, T-1, n, 2] shown in frames 1..T-1 were in frames 0..T-2: [B, T-1, n, 2]."""
        bent = _project(torch.linalg.inv(self.homography[:, :-1]), canvas)
        at = bent - self.bend(bent, slice(1, None))
        for _ in range(FIXED_POINT_STEPS - 1):
            at = bent - self.bend(at, slice(0, -1))
        return at


def grids(motion: Motion, size: int) -> tuple[Tensor, Tensor]:
    """Canvas points [B, T, 2, size, size] (x, y) of every frame pixel, and backward flow of the same shape.

    Evaluated every fourth pixel and interpolated: the motion is smooth, so the error stays below 0.02 px.
    """
    nodes = _nodes(size, motion.centres)  # [1, 1, n, 2]
    b, t = motion.homography.shape[:2]
    points = nodes.expand(b, t, -1, -1)
    canvas = motion.to_canvas(points)
    flow = torch.zeros_like(canvas)
    if t > 1:
        flow[:, 1:] = motion.to_previous(canvas[:, 1:]) - points[:, 1:]
    return _dense(canvas, size), _dense(flow, size)


def _nodes(size: int, like: Tensor) -> Tensor:
    axis = torch.arange(0, size + STRIDE, STRIDE, device=like.device, dtype=torch.float32)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([x, y], -1).view(1, 1, -1, 2)


def _dense(values: Tensor, size: int) -> Tensor:
    b, t, n, _ = values.shape
    side = math.isqrt(n)
    coarse = values.permute(0, 1, 3, 2).reshape(b, t, 2, side, side).float()
    # Linear interpolation as two products with a banded matrix: faster on a CPU than an upsampling layer.
    place = torch.arange(size, device=coarse.device) / STRIDE
    spread = (1.0 - (place.unsqueeze(1) - torch.arange(side, device=coarse.device)).abs()).clamp(min=0.0)
    return spread @ coarse @ spread.T


def _project(homography: Tensor, points: Tensor) -> Tensor:
    h = homography.to(points).transpose(-1, -2)
    mapped = points @ h[..., :2, :] + h[..., 2:, :]  # [B, T, n, 3]
    return mapped[..., :2] / mapped[..., 2:]


def _wave(shape: tuple[int, ...], frames: int, hertz: tuple[float, float], gen: torch.Generator) -> Tensor:
    """Smooth random curves of standard deviation about 1, float64 [B, frames, *rest]; three sinusoids
    each."""
    low, high = hertz
    rate = low * (high / low) ** torch.rand((3, *shape), generator=gen, dtype=torch.float64)
    phase = 2.0 * math.pi * torch.rand((3, *shape), generator=gen, dtype=torch.float64)
    size = torch.rand((3, *shape), generator=gen, dtype=torch.float64) + 0.3
    size = size / size.square().sum(0).sqrt() * math.sqrt(2.0)
    t = torch.arange(frames, dtype=torch.float64).view(-1, *(1 for _ in shape)) / FRAMES_PER_S
    curve = (size[:, None] * torch.sin(2.0 * math.pi * rate[:, None] * t[None] + phase[:, None])).sum(0)
    return curve.movedim(0, 1)


def _similarity(turn: Tensor, scale: Tensor, shift: Tensor, tilt: Tensor) -> Tensor:
    """Homography about the origin: turn [B, T] rad, scale [B, T], shift and tilt [B, T, 2]; float64 [B, T, 3,
    3]."""
    c, s = torch.cos(turn) * scale, torch.sin(turn) * scale
    rows = [c, -s, shift[..., 0], s, c, shift[..., 1], tilt[..., 0], tilt[..., 1], torch.ones_like(c)]
    return torch.stack(rows, -1).view(*c.shape, 3, 3)


def _translation(xy: Tensor) -> Tensor:
    """Homographies [B, 1, 3, 3] that add xy [B, 2]."""
    move = torch.eye(3, dtype=torch.float64).repeat(xy.shape[0], 1, 1, 1)
    move[:, 0, :2, 2] = xy
    return move


def _limit(curve: Tensor, most: float) -> Tensor:
    """Bend a curve softly so that it stays within +-most."""
    return most * torch.tanh(curve / most)


def _lively(batch: int, still_share: float, gen: torch.Generator) -> Tensor:
    """How much each clip moves, [B, 1]: log-normal about 0.6; the still share a twentieth of it."""
    much = 0.6 * torch.exp(0.5 * torch.randn(batch, 1, generator=gen, dtype=torch.float64))
    still = torch.rand(batch, 1, generator=gen) < still_share
    return torch.where(still, 0.05 * much, much.clamp(max=1.5))


def aligned_motion(batch: int, frames: int, size: int, origin_xy: Tensor, gen: torch.Generator) -> Motion:
    """What smoothed alignment leaves: jitter, lag in fast moves, breathing of scale and angle, expression."""
    much = _lively(batch, 0.2, gen)
    lag = _wave((batch, 2), frames, (0.4, 2.5), gen) * (much * 1.6).unsqueeze(-1)
    jitter = torch.randn(batch, frames, 2, generator=gen, dtype=torch.float64) * (much * 0.35).unsqueeze(-1)
    turn = _wave((batch,), frames, (0.4, 3.0), gen) * much * 0.005
    scale = 1.0 + _wave((batch,), frames, (0.4, 3.0), gen) * much * 0.005
    tilt = _wave((batch, 2), frames, (0.3, 1.5), gen) * (much * 1.2e-5).unsqueeze(-1)
    start = (torch.rand(batch, 1, 2, generator=gen, dtype=torch.float64) - 0.5) * 6.0
    turn = turn + (torch.rand(batch, 1, generator=gen, dtype=torch.float64) - 0.5) * 0.12
    scale = scale * (1.0 + (torch.rand(batch, 1, generator=gen, dtype=torch.float64) - 0.5) * 0.16)
    return _moved(turn, scale, lag + jitter + start, tilt, size, origin_xy, much * 1.8, gen)


def frame_motion(batch: int, frames: int, size: int, origin_xy: Tensor, gen: torch.Generator) -> Motion:
    """A head before a camera: up to about 40 px, 8 degrees and 8 % of scale, seen without any alignment."""
    much = _lively(batch, 0.1, gen).clamp(max=1.0)
    shift = _limit(_wave((batch, 2), frames, (0.15, 0.9), gen) * (much * 20.0).unsqueeze(-1), 40.0)
    turn = _limit(_wave((batch,), frames, (0.15, 0.9), gen) * much * 0.07, 0.14)
    scale = 1.0 + _limit(_wave((batch,), frames, (0.1, 0.6), gen) * much * 0.04, 0.08)
    tilt = _wave((batch, 2), frames, (0.15, 0.8), gen) * (much * 6e-5).unsqueeze(-1)
    return _moved(turn, scale, shift, tilt, size, origin_xy, much * 2.0, gen)


def _moved(
    turn: Tensor,
    scale: Tensor,
    shift: Tensor,
    tilt: Tensor,
    size: int,
    origin_xy: Tensor,
    bend_px: Tensor,
    gen: torch.Generator,
) -> Motion:
    """Put a similarity about the crop's middle and random bumps together; origin_xy [B, 2] is the crop's
    corner."""
    batch, frames = turn.shape
    bumps = 4
    middle = torch.full((batch, 2), (size - 1) / 2.0, dtype=torch.float64)
    turned = _similarity(turn, scale, shift, tilt) @ _translation(-middle)
    about = _translation(origin_xy.double() + middle) @ turned
    centres = torch.rand(batch, bumps, 2, generator=gen, dtype=torch.float64) * size
    widths = 45.0 + 65.0 * torch.rand(batch, bumps, generator=gen, dtype=torch.float64)
    shifts = _wave((batch, bumps, 2), frames, (0.4, 2.5), gen) * bend_px.view(batch, 1, 1, 1)
    return Motion(about, centres, widths, shifts)


def reach(motion: Motion, size: int, origin_xy: Tensor) -> int:
    """How far, in px, any frame looks beyond its crop of the canvas [origin, origin + size)."""
    line = torch.linspace(0.0, size - 1.0, 5, dtype=torch.float64)
    edge = torch.cat([torch.stack([a, b], -1) for a, b in ((line, 0 * line), (line, 0 * line + size - 1))])
    points = torch.cat([edge, edge.flip(-1)]).expand(*motion.homography.shape[:2], -1, -1)
    off = motion.to_canvas(points) - origin_xy.double()[:, None, None]
    return max(0, math.ceil(float(torch.maximum(-off, off - (size - 1)).max()))) + 2
