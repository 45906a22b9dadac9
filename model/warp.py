"""Backward warp W of Eq. 2: fetch every pixel from where it was a frame ago."""

import torch
import torch.nn.functional as F
from torch import Tensor


def identity_grid(like: Tensor) -> Tensor:
    """Pixel coordinates (x, y) of `like` [B, C, H, W], as [1, H, W, 2]."""
    height, width = like.shape[-2:]
    ys = torch.arange(height, dtype=like.dtype, device=like.device)
    xs = torch.arange(width, dtype=like.dtype, device=like.device)
    grid = torch.stack(torch.meshgrid(ys, xs, indexing="ij")[::-1], dim=-1)
    return grid[None]


def warp(image: Tensor, flow: Tensor) -> Tensor:
    """Backward warp, bilinear, borders replicated (Eq. 2).

    Args:
        image: [B, C, H, W], the earlier frame's picture or map.
        flow: [B, 2, H, W] pixels (x, y): the content at x now was at x + flow then.

    Returns:
        [B, C, H, W], `image` carried to the present frame.
    """
    height, width = image.shape[-2:]
    size = torch.tensor([width, height], dtype=image.dtype, device=image.device)
    position_px = identity_grid(image) + flow.permute(0, 2, 3, 1)
    position = (2 * position_px + 1) / size - 1
    return F.grid_sample(image, position, mode="bilinear", padding_mode="border", align_corners=False)
