"""Backward warp W of Eq. 2: fetch every pixel from where it was a frame ago."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

# What warps as `warp` does: image and flow to the warped image.
Warp = Callable[[Tensor, Tensor], Tensor]


def identity_grid(like: Tensor) -> Tensor:
    """Where each pixel of `like` [B, C, H, W] is, as [1, H, W, 2] (x, y) from -1 at the left or top border to
    1 at the other."""
    height, width = like.shape[-2:]
    ys = (2 * torch.arange(height, dtype=like.dtype, device=like.device) + 1) / height - 1
    xs = (2 * torch.arange(width, dtype=like.dtype, device=like.device) + 1) / width - 1
    return torch.stack(torch.meshgrid(ys, xs, indexing="ij")[::-1], dim=-1)[None]


def warp(image: Tensor, flow: Tensor) -> Tensor:
    """Backward warp, bilinear, borders replicated (Eq. 2).

    Args:
        image: [B, C, H, W], the earlier frame's picture or map.
        flow: [B, 2, H, W] pixels (x, y): the content at x now was at x + flow then.

    Returns:
        [B, C, H, W], `image` carried to the present frame.
    """
    height, width = image.shape[-2:]
    # Filled on the device: a copy of the host's numbers would wait, and no CUDA graph can record one.
    scale = torch.cat([image.new_full((1, 1, 1, 1), 2 / side) for side in (width, height)], dim=1)
    # Scaled before the axes change places: ONNX Runtime is slow where the last axis is two long.
    position = identity_grid(image) + (flow * scale).permute(0, 2, 3, 1)
    return F.grid_sample(image, position, mode="bilinear", padding_mode="border", align_corners=False)
