"""Decoder G: a residual and a full-resolution mask, not an image (paper, Table 3, without AdaIN).

AutoRetouch's finding: most pixels must not change, so the input goes through and only M_full * r is added
to it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.config import Config
from model.encoder import activate, conv, upsample

# Of the last layer's 16 outputs so many are the residual, three of each pixel of a cell; four are the mask.
RESIDUAL_CELLS = 12


def gate(logit: Tensor) -> Tensor:
    """Mask of a logit: a hard sigmoid, so that clean skin is exactly 0 and is changed by exactly nothing."""
    return F.hardtanh(logit * 0.25 + 0.5, 0.0, 1.0)


def lay_out(cells: Tensor) -> Tensor:
    """Cells [B, 4 C, H/2, W/2] as a picture [B, C, H, W]."""
    return F.pixel_shuffle(cells, 2)


class Decoder(nn.Module):
    """Features and skips to r and M_full, worked out for the 2x2 pixels of a cell at once."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        c2, c4, c8, _ = config.channels
        self.up4 = conv(c8, c4)
        self.up2 = conv(c4, c2)
        self.skip2 = conv(c2, c2, size=1)
        self.map2 = conv(1, c2, size=1)
        self.conv2 = conv(c2, c2)
        self.out = conv(c2, 16, size=1)
        with torch.no_grad():
            self.out.weight.mul_(0.1)

    def begin_at_nothing(self) -> None:
        """Let r be 0 everywhere, for a training that begins with nothing. Drawn at random it is worse than to
        change nothing, and what makes it smaller soonest is to kill the features before it."""
        with torch.no_grad():
            self.out.weight[:RESIDUAL_CELLS].zero_()
            assert self.out.bias is not None
            self.out.bias[:RESIDUAL_CELLS].zero_()

    def forward(
        self, features: Tensor, skip4: Tensor, skip2: Tensor, refined: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One picture's residual and mask.

        Args:
            features: f^_t [B, c8, H/8, W/8].
            skip4: [B, c4, H/4, W/4].
            skip2: [B, c2, H/2, W/2].
            refined: logit of the refined map [B, 1, H/4, W/4].

        Returns:
            r [B, 3 * 4, H/2, W/2]; M_full [B, 4, H/2, W/2] in [0, 1]; the logit of M_full, alike. The four
            of a channel are the pixels of a cell: `lay_out` puts them in place.
        """
        x = activate(upsample(self.up4(features)) + skip4)
        x = activate(self.skip2(skip2) + upsample(self.up2(x) + self.map2(refined)))
        x = activate(self.conv2(x))
        coarse = F.interpolate(refined, scale_factor=2.0, mode="bilinear", align_corners=False)
        residual, sharpen = self.out(x).split([RESIDUAL_CELLS, 4], dim=1)
        full = sharpen + coarse
        return residual, gate(full), full
