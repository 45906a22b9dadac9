"""Flow-based Imperfection Refinement (FIR), Eq. 2-3: this frame's evidence fused with the warped refined
map."""

import torch
from torch import Tensor, nn

from model.warp import Warp, warp


def shift_kernels() -> Tensor:
    """[9, 3, 3]: kernel k fetches neighbour k."""
    return torch.eye(9).reshape(9, 3, 3)


class PixelAdaptive(nn.Module):
    """theta of Eq. 3: a 3x3 pixel-adaptive convolution (Su et al., CVPR 2019) of two maps, guided by the
    second.

    Neighbour j counts at i with exp(-(sharpness * (g_j - g_i))^2 / 2), so that nothing leaks over the
    guide's edges.
    """

    shift: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("shift", shift_kernels(), persistent=False)
        self.sharpness = nn.Parameter(torch.tensor(1.0))
        self.mix = nn.Conv2d(18, 1, 1)  # of which only weight and bias are used
        nn.init.constant_(self.mix.weight, 0.2 / 18)
        with torch.no_grad():
            self.mix.weight[:, [4, 13]] = 0.6
        assert self.mix.bias is not None
        nn.init.zeros_(self.mix.bias)

    def forward(self, content: Tensor, guide: Tensor) -> Tensor:
        """Two maps [B, 1, h, w] to their fusion [B, 1, h, w]."""
        difference = (self.shift - self.shift[4])[:, None]  # of each neighbour from the middle
        away = torch.conv2d(guide, self.sharpness * 0.5**0.5 * difference, padding=1)
        affinity = torch.exp(-(away * away))  # [B, 9, h, w]
        # Weighing both maps' neighbours in one kernel leaves one product with the affinity and one sum.
        weighed = self.mix.weight.reshape(2, 9).T[:, :, None, None] * self.shift[:, None]
        neighbours = torch.conv2d(torch.cat([content, guide], dim=1), weighed, padding=1)
        assert self.mix.bias is not None
        fused: Tensor = (neighbours * affinity).sum(1, keepdim=True) + self.mix.bias
        return fused


class FIR(nn.Module):
    """Refined map as a logit; the sigmoid of Eq. 3 is the caller's.

    warp: W of Eq. 2; see VRetouchEr.warp_by.
    """

    def __init__(self) -> None:
        super().__init__()
        self.warp: Warp = warp
        self.alpha = nn.Parameter(torch.tensor(2.0))
        self.beta = nn.Parameter(torch.tensor(-1.0))
        self.align = PixelAdaptive()
        self.fuse = PixelAdaptive()

    def forward(self, evidence: Tensor, map_prev: Tensor, flow: Tensor, seen: Tensor) -> Tensor:
        """Eq. 2-3.

        Args:
            evidence: M_t [B, 1, h, w], a logit.
            map_prev: refined map of the frame before [B, 1, h, w] in [0, 1].
            flow: O_t [B, 2, h, w] in pixels of the maps.
            seen: [B, 1, 1, 1], 1 where there was a frame before; elsewhere the evidence stands alone.

        Returns:
            Logit of the refined map [B, 1, h, w].
        """
        aligned = self.align(self.alpha * self.warp(map_prev, flow) + self.beta, evidence)
        guide = seen * aligned + (1 - seen) * evidence
        refined: Tensor = self.fuse(evidence, guide)
        return refined
