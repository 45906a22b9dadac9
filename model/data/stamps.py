"""Many small patches at once: where each lies, its own coordinates, and adding them to a picture.

A stamp is a square of K x K pixels about a mark's centre. Marks of like size are drawn together, so a hundred
marks cost a few tensor operations and no loop over pixels or marks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

SIDES = (9, 17, 33, 65, 129)
NOISE_SIDE = 64


@dataclass(frozen=True)
class Places:
    """Where n marks lie: clip int64 [n]; x, y float32 [n] in px of the painted box (integer = pixel
    centre)."""

    clip: Tensor
    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return int(self.clip.shape[0])

    def pick(self, chosen: Tensor) -> Places:
        """The marks of an index or a mask."""
        return Places(self.clip[chosen], self.x[chosen], self.y[chosen])


@dataclass(frozen=True)
class Stamp:
    """One group of marks: `chosen` int64 [m] of the n, side K, corner int64 [m, 2] (y, x), dx and dy [m, K,
    K] px."""

    chosen: Tensor
    side: int
    corner: Tensor
    dx: Tensor
    dy: Tensor


def stamps(places: Places, extent_px: Tensor) -> Iterator[Stamp]:
    """Group marks by how far each reaches, extent_px float32 [n]; what reaches beyond 64 px is cut there."""
    bounds = [0.0, *(float(side // 2) for side in SIDES[:-1]), math.inf]
    for side, low, high in zip(SIDES, bounds[:-1], bounds[1:], strict=True):
        chosen = torch.nonzero((extent_px > low) & (extent_px <= high)).flatten()
        if chosen.numel():
            yield _stamp(places.pick(chosen), chosen, side)


def _stamp(places: Places, chosen: Tensor, side: int) -> Stamp:
    top = torch.round(places.y).long() - side // 2
    left = torch.round(places.x).long() - side // 2
    step = torch.arange(side)
    dy = (top.float() - places.y).view(-1, 1, 1) + step.view(1, side, 1)
    dx = (left.float() - places.x).view(-1, 1, 1) + step.view(1, 1, side)
    return Stamp(chosen, side, torch.stack([top, left], 1), dx.expand(-1, side, -1), dy.expand(-1, -1, side))


def splat(picture: Tensor, clip: Tensor, stamp: Stamp, patches: Tensor) -> None:
    """Add patches [m, C, K, K] to picture [B, C, h, w] in place; what lies outside is dropped.

    clip int64 [m] says which picture of the batch each patch belongs to.
    """
    _, channels, h, w = picture.shape
    step = torch.arange(stamp.side)
    y = stamp.corner[:, :1] + step  # [m, K]
    x = stamp.corner[:, 1:] + step
    inside = ((y >= 0) & (y < h)).unsqueeze(2) & ((x >= 0) & (x < w)).unsqueeze(1)
    plane = (clip.view(-1, 1) * channels + torch.arange(channels)).view(-1, channels, 1, 1)
    at = y.clamp(0, h - 1).unsqueeze(2) * w + x.clamp(0, w - 1).unsqueeze(1)  # [m, K, K]
    index = plane * (h * w) + at.unsqueeze(1)
    picture.view(-1).index_add_(0, index.reshape(-1), (patches * inside.unsqueeze(1)).reshape(-1))


def turned(stamp: Stamp, angle: Tensor, aspect: Tensor) -> tuple[Tensor, Tensor]:
    """The stamp's coordinates along a mark's axes, long axis stretched: angle rad [m], aspect [m] in (0,
    1]."""
    c, s = torch.cos(angle).view(-1, 1, 1), torch.sin(angle).view(-1, 1, 1)
    root = aspect.sqrt().view(-1, 1, 1)
    return (c * stamp.dx + s * stamp.dy) * root, (c * stamp.dy - s * stamp.dx) / root


class NoiseBank:
    """Fields to bend edges (smooth) and to mottle inner parts (rough), drawn once; float32 [2 count, 1, 64,
    64].

    Mean 0, standard deviation 1. The first `count` are smooth.
    """

    def __init__(self, gen: torch.Generator, count: int = 96) -> None:
        smooth = _octaves(((4, 1.0), (8, 0.7), (16, 0.3)), count, gen)
        rough = _octaves(((8, 0.6), (16, 0.8), (32, 0.8), (64, 0.5)), count, gen)
        self.fields = torch.cat([smooth, rough])
        self.count = count

    def at(self, which: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """Fields `which` int64 [m] at u, v [m, K, K] in [-1, 1] (reflected beyond): float32 [m, K, K]."""
        grid = torch.stack([u, v], -1)
        out = F.grid_sample(self.fields[which], grid, padding_mode="reflection", align_corners=False)
        return out[:, 0]


def _octaves(octaves: tuple[tuple[int, float], ...], count: int, gen: torch.Generator) -> Tensor:
    total = torch.zeros(count, 1, NOISE_SIDE, NOISE_SIDE)
    for cells, weight in octaves:
        coarse = torch.randn(count, 1, cells, cells, generator=gen)
        total += weight * F.interpolate(coarse, size=NOISE_SIDE, mode="bicubic", align_corners=False)
    return (total - total.mean((2, 3), keepdim=True)) / total.std((2, 3), keepdim=True)


def coarse_noise(shape: tuple[int, int, int], cell_px: float, gen: torch.Generator) -> Tensor:
    """Smooth noise [B, 1, h, w] of standard deviation about 1 whose features are about cell_px wide."""
    b, h, w = shape
    ch, cw = max(2, round(h / cell_px) + 1), max(2, round(w / cell_px) + 1)
    coarse = torch.randn(b, 1, ch, cw, generator=gen)
    return F.interpolate(coarse, size=(h, w), mode="bicubic", align_corners=False)
