"""Tiny made-up faces with spots, raw and retouched, for the trainings of the earlier systems."""

from __future__ import annotations

import torch
from torch import Tensor


def spotted(count: int, side: int = 32, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Raw and target [count, 3, side, side]: smooth skin of several tones, raw with two reddish spots."""
    draws = torch.Generator().manual_seed(seed)
    ys, xs = torch.meshgrid(torch.arange(side) / side, torch.arange(side) / side, indexing="ij")
    tone = torch.tensor([0.85, 0.65, 0.55]).reshape(1, 3, 1, 1) * (
        0.6 + 0.4 * torch.rand(count, 1, 1, 1, generator=draws)
    )
    target = tone * (1 - 0.2 * (xs - 0.4) ** 2)
    raw = target.clone()
    for _ in range(2):
        centre = 0.25 + 0.5 * torch.rand(count, 2, 1, 1, generator=draws)
        distance = (ys - centre[:, :1]) ** 2 + (xs - centre[:, 1:]) ** 2
        depth = torch.exp(-distance / (2 * 0.06**2))
        raw = raw - 0.25 * torch.tensor([0.4, 1.0, 1.0]).reshape(1, 3, 1, 1) * depth
    return raw.clamp(0, 1), target
