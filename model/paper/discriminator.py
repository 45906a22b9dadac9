"""Patch discriminator D over sequences."""

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from model.paper.config import PaperConfig
from model.paper.networks import SLOPE


class Discriminator(nn.Module):
    """How much each patch of a sequence looks manually retouched.

    Decided, as only its kind is said: convolutions over time and space of 3x5x5, halving the picture's sides
    (Chang et al., ICCV 2019, use the same for video inpainting), and no normalization, so that clips of a
    batch do not depend on each other.
    """

    def __init__(self, config: PaperConfig) -> None:
        super().__init__()
        widths = (3, *config.judge_channels)
        self.layers = nn.ModuleList(
            nn.Conv3d(inputs, outputs, (3, 5, 5), (1, 2, 2), (1, 2, 2))
            for inputs, outputs in pairwise(widths)
        )
        self.out = nn.Conv3d(widths[-1], 1, (3, 5, 5), padding=(1, 2, 2))

    def forward(self, clip: Tensor) -> Tensor:
        """`clip` [B, T, 3, H, W] RGB in [0, 1] to logits [B, T, h, w], each of a patch of 16 px with
        four layers; sigmoid gives D of Eq. 10."""
        x = clip.transpose(1, 2)
        for layer in self.layers:
            x = F.leaky_relu(layer(x), SLOPE)
        logits: Tensor = self.out(x)
        return logits.squeeze(1)
