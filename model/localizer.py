"""Localizer N of Eq. 2: where the imperfections of this frame are, from this frame alone (paper, Table 4)."""

from torch import Tensor, nn

from model.config import Config
from model.encoder import activate, conv, upsample


class Localizer(nn.Module):
    """Per-frame imperfection evidence M_t at 1/4 of the face's side."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        _, c4, c8, _ = config.channels
        self.reduce = conv(c8, c4, size=1)
        self.mix = conv(c4, c4, size=1)
        self.evidence = conv(c4, 1, size=1)

    def forward(self, features: Tensor, skip4: Tensor) -> Tensor:
        """f_t [B, c8, H/8, W/8] and the skip [B, c4, H/4, W/4] to evidence (a logit) [B, 1, H/4, W/4]."""
        x = activate(upsample(self.reduce(features)) + self.mix(skip4))
        evidence: Tensor = self.evidence(x)
        return evidence
