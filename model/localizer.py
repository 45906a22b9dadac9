"""Localizer N of Eq. 2: where the imperfections of this frame are, from this frame alone (paper, Table 4),
and where what must stay is."""

import math

import torch
from torch import Tensor, nn

from model.config import KEPT, KEPT_RARITY, PAINTED_RARITY, Config
from model.encoder import activate, conv, upsample


def probability(kept: Tensor) -> Tensor:
    """How likely it is that what is there stays and is no imperfection, of logits learnt with weights: the
    weights' odds are taken off (Elkan, 2001)."""
    return torch.sigmoid(kept - math.log((1 + KEPT_RARITY) / (1 + PAINTED_RARITY)))


class Localizer(nn.Module):
    """Per-frame imperfection evidence M_t at 1/4 of the face's side, and that of each class of KEPT."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        _, c4, c8, _ = config.channels
        self.reduce = conv(c8, c4, size=1)
        self.mix = conv(c4, c4, size=1)
        self.evidence = conv(c4, 1 + len(KEPT), size=1)

    def forward(self, features: Tensor, skip4: Tensor) -> tuple[Tensor, Tensor]:
        """f_t [B, c8, H/8, W/8] and the skip [B, c4, H/4, W/4] to evidence [B, 1, H/4, W/4] and that of
        what is kept [B, 2, H/4, W/4], logits."""
        x = activate(upsample(self.reduce(features)) + self.mix(skip4))
        evidence, kept = self.evidence(x).split([1, len(KEPT)], dim=1)
        return evidence, kept
