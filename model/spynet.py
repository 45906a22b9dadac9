"""Imperfection flow S of Eq. 1: a small spatial pyramid (Ranjan and Black, SpyNet, CVPR 2017) at 1/8
scale."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.config import PATCH_CHANNELS, Config
from model.encoder import activate, conv
from model.warp import Warp, warp


class FlowLevel(nn.Module):
    """One level: warps the earlier picture by the coarser flow and adds a correction.

    warp: what warps; see VRetouchEr.warp_by.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.warp: Warp = warp
        self.first = conv(2 * PATCH_CHANNELS + 2, channels, size=5)
        self.second = conv(channels, channels)
        self.third = conv(channels, 2)
        nn.init.zeros_(self.third.weight)

    def forward(self, earlier: Tensor, now: Tensor, flow: Tensor) -> Tensor:
        """Patches [B, 4, h, w] and flow [B, 2, h, w] (pixels of this level) to the corrected flow."""
        x = torch.cat([now, self.warp(earlier, flow), flow], dim=1)
        x = activate(self.second(activate(self.first(x))))
        corrected: Tensor = flow + self.third(x)
        return corrected


class SpyNet(nn.Module):
    """Backward flow between consecutive faces, coarse to fine."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, PATCH_CHANNELS, 8, stride=8)
        self.levels = nn.ModuleList(FlowLevel(config.flow_channels) for _ in range(config.flow_levels))

    def patches(self, face: Tensor) -> Tensor:
        """Face [B, 3, H, W] RGB in [0, 1] to learned 8x8 patches [B, 4, H/8, W/8], kept for the next
        frame."""
        embedded: Tensor = self.embed(face)
        return embedded

    def forward(self, earlier: Tensor, now: Tensor) -> Tensor:
        """Patches [B, 4, H/8, W/8] of both faces to O_t [B, 2, H/8, W/8], in pixels at 1/8 scale (x, y)."""
        pyramid = [(earlier, now)]
        for _ in range(len(self.levels) - 1):
            pyramid.append((F.avg_pool2d(pyramid[-1][0], 2), F.avg_pool2d(pyramid[-1][1], 2)))
        flow = torch.zeros_like(pyramid[-1][0][:, :2])
        for level, (before, after) in zip(self.levels, reversed(pyramid), strict=True):
            if flow.shape[-1] != after.shape[-1]:
                flow = 2 * F.interpolate(flow, scale_factor=2.0, mode="bilinear", align_corners=False)
            flow = level(before, after, flow)
        return flow
