"""Multi-frame Masked Attention (MMA), Eq. 4-6, over cached references.

K and V of a reference come from its own features and map alone (Eq. 4), so they are computed once, when the
frame is new; Eq. 5 needs only their sums, so a frame's cost does not grow with delta. The sums are taken
anew from the ring in every step: adds only, nothing drifts. The present frame counts as a reference too, so
that a still and the first frame of a clip have one. Eq. 5's softmax is a sigmoid gate here: the same
product, bounded, without a reduction.
"""

import torch
from torch import Tensor, nn

from model.config import Config
from model.encoder import activate, conv


class References(nn.Module):
    """W_k and W_v of Eq. 4 for all blocks at once; 3x3, so that skin around an imperfection fills it."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.project = conv(config.channels[2], config.reference_channels)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """f_r [B, c8, h, w] and its map [B, 1, h, w] to K and V of every block [B, C, h, w]."""
        projected: Tensor = self.project(features * (1 - mask))
        return projected


def reference_mean(ring: Tensor, valid: Tensor, present: Tensor) -> Tensor:
    """Mean over the valid slots and the present frame (the sums of Eq. 5, steady while the ring fills).

    Args:
        ring: [B, delta, C, h, w].
        valid: [B, delta].
        present: [B, C, h, w].

    Returns:
        [B, C, h, w].
    """
    batch, delta = valid.shape
    total = torch.matmul(valid[:, None], ring.reshape(batch, delta, -1)).reshape(present.shape)
    return (total + present) / (valid.sum(1) + 1).reshape(batch, 1, 1, 1)


class MMA(nn.Module):
    """One block: the masked target asks, the references' normal skin answers."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        channels, inner = config.channels[2], config.mma_channels
        self.query = conv(channels, inner, size=1)
        self.out = conv(inner, channels, size=1)
        self.widen = conv(channels, channels * config.mlp_ratio, size=1)
        self.narrow = conv(channels * config.mlp_ratio, channels, size=1)
        self.scale = inner**-0.5
        nn.init.zeros_(self.narrow.weight)

    def forward(self, features: Tensor, mask: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """f_t [B, c8, h, w], M_t [B, 1, h, w], mean K and V [B, Lambda, h, w] to the retouched features
        (Eq. 6)."""
        query = self.query(features * mask)
        change = self.out(torch.sigmoid(query * key * self.scale) * value)
        blended = features * (1 - mask) + change * mask
        retouched: Tensor = blended + self.narrow(activate(self.widen(blended)))
        return retouched


class Transformer(nn.Module):
    """T: the MMA blocks, one after another."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(MMA(config) for _ in range(config.mma_blocks))

    def forward(self, features: Tensor, mask: Tensor, references: Tensor) -> Tensor:
        """f_t, M_t and the mean K and V of all blocks [B, C, h, w] to f^_t [B, c8, h, w]."""
        parts = references.chunk(2 * len(self.blocks), dim=1)
        for index, block in enumerate(self.blocks):
            features = block(features, mask, parts[2 * index], parts[2 * index + 1])
        return features
