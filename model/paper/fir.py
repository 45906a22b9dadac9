"""Flow-based Imperfection Refinement (FIR), Eq. 2-3, on maps of as many channels as the features."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.warp import warp


def neighbours(x: Tensor) -> Tensor:
    """[B, C, h, w] to the 3x3 about each place [B, C, 9, h * w], zeros beyond the border."""
    batch, channels = x.shape[:2]
    return F.unfold(x, 3, padding=1).reshape(batch, channels, 9, -1)


class PixelAdaptive(nn.Module):
    """theta of Eq. 3: a 3x3 pixel-adaptive convolution (Su et al., CVPR 2019) of its first argument, guided
    by its second.

    Neighbour j counts at i with exp(-|g_j - g_i|^2 / 2). Decided: the square is a mean over the channels; a
    sum over 512 of them would leave none but the middle.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(channels))
        nn.init.dirac_(self.weight)  # at first the map stays as it is

    def forward(self, content: Tensor, guide: Tensor) -> Tensor:
        """Two maps [B, C, h, w] to one."""
        away = neighbours(guide) - guide.flatten(2)[:, :, None]
        affinity = torch.exp(-0.5 * away.square().mean(1, keepdim=True))  # [B, 1, 9, h w]
        weighed = (neighbours(content) * affinity).flatten(1, 2)  # [B, 9 C, h w]
        fused = self.weight.flatten(1) @ weighed + self.bias[:, None]
        return fused.reshape(content.shape)


class FIR(nn.Module):
    """The refined map before its sigmoid. Decided: the align factors alpha and beta are one number each."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.tensor(1.0))
        self.beta = nn.Parameter(torch.tensor(0.0))
        self.align = PixelAdaptive(channels)
        self.fuse = PixelAdaptive(channels)

    def forward(self, found: Tensor, found_prev: Tensor, flow: Tensor, seen: Tensor) -> Tensor:
        """Eq. 2-3.

        Args:
            found: M^j of N [B, C, h, w].
            found_prev: M^i of N, of the frame before, not refined, as Eq. 2 has it.
            flow: O_{i->j} [B, 2, h, w] in pixels of the maps.
            seen: [B, 1, 1, 1], 1 where there was a frame before. Decided: where there was none, the map of N
                stands in for the aligned one.
        """
        warped = warp(found_prev, flow)  # Eq. 2
        aligned = self.align(self.alpha * warped + self.beta, found)
        refined: Tensor = self.fuse(found, seen * aligned + (1 - seen) * found)
        return refined
