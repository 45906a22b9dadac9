"""Multi-frame Masked Attention (MMA), Eq. 4-6 and Table 2, over cached references.

Decided, since the text and Table 2 say different things: Eq. 5's "." is the matrix product of attention,
within windows and heads as Table 2 has them (Eq. 4 and 6 write the element-wise product as a circled cross).
K and V are summed over the references first, which is what makes it additive and as cheap for many references
as for one. Lambda is the features' channel number, as said, not a head's. LayerNorm stands before each
product; the MLP (GELU), with a sum around it, is part of delta-f, so that Eq. 6 is a block's last word and
clean skin stays. Windows are not shifted. Tokens are [..., h, w, C].
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.paper.config import PaperConfig


class Masked(nn.Module):
    """W(f * mask + b) of Eq. 4: the bias stands inside."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))
        self.project = nn.Linear(channels, channels, bias=False)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """Tokens and mask [..., C] to [..., C]."""
        projected: Tensor = self.project(features * mask + self.bias)
        return projected


class References(nn.Module):
    """K_i and V_i of Eq. 4 for one block: of a reference's features and map alone, so made once a frame."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.key = Masked(channels)
        self.value = Masked(channels)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """f_r and M_r [N, h, w, C] to [N, 2, h, w, C]: K, then V."""
        normed, clean = self.norm(features), 1 - mask
        return torch.stack([self.key(normed, clean), self.value(normed, clean)], dim=1)


def reference_sum(references: Tensor, counts: Tensor, delta: int) -> Tensor:
    """The sums of Eq. 5 over the references that count, times delta over their number: where there are
    delta of them, as printed; where there are fewer yet, as large.

    Args:
        references: [B, I, ...].
        counts: [B, T, I], 1 where reference I counts for frame T.
        delta: full number of references.

    Returns:
        [B, T, ...].
    """
    shape = references.shape[2:]
    share = counts * (delta / counts.sum(2, keepdim=True))
    return (share.to(references.dtype) @ references.flatten(2)).reshape(*counts.shape[:2], *shape)


def windows(tokens: Tensor, window: tuple[int, int]) -> Tensor:
    """Tokens [B, h, w, C] to windows [B, rows, columns, n, C], zeros beyond the border."""
    batch, height, width, channels = tokens.shape
    down, across = window
    padded = F.pad(tokens, (0, 0, 0, -width % across, 0, -height % down))
    rows, columns = padded.shape[1] // down, padded.shape[2] // across
    parts = padded.reshape(batch, rows, down, columns, across, channels).transpose(2, 3)
    return parts.reshape(batch, rows, columns, down * across, channels)


def unite(parts: Tensor, window: tuple[int, int], height: int, width: int) -> Tensor:
    """Windows [B, rows, columns, n, C] back to tokens [B, h, w, C]."""
    batch, rows, columns, _, channels = parts.shape
    down, across = window
    tokens = parts.reshape(batch, rows, columns, down, across, channels).transpose(2, 3)
    return tokens.reshape(batch, rows * down, columns * across, channels)[:, :height, :width]


class MMA(nn.Module):
    """One block of Table 2: the masked target asks, the references' normal skin answers."""

    def __init__(self, config: PaperConfig) -> None:
        super().__init__()
        channels = config.channels[3]
        hidden = round(channels * config.mlp_ratio)
        self.heads, self.window, self.scale = config.heads, config.window, channels**-0.5
        self.references = References(channels)
        self.norm = nn.LayerNorm(channels)
        self.query = Masked(channels)
        self.out = nn.Linear(channels, channels)
        self.mlp = nn.Sequential(
            nn.LayerNorm(channels), nn.Linear(channels, hidden), nn.GELU(), nn.Linear(hidden, channels)
        )

    def forward(self, features: Tensor, mask: Tensor, sums: Tensor) -> Tensor:
        """f_t and M_t [B, h, w, C], the sums of K and V [B, 2, h, w, C] to f^_t [B, h, w, C]."""
        query = self.query(self.norm(features), mask)
        found = self.out(self.attend(query, sums[:, 0], sums[:, 1]))  # Eq. 5
        change = found + self.mlp(found)
        blended: Tensor = features * (1 - mask) + change * mask  # Eq. 6
        return blended

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Eq. 5 on tokens [B, h, w, C], each window and head by itself; padding is no key."""
        height, width, channels = query.shape[1:]
        q, k, v = (self.split(x) for x in (query, key, value))
        inside = windows(torch.ones_like(query[:1, :, :, :1]), self.window)[..., 0] > 0  # [1, r, c, n]
        mask = inside[:, :, :, None, None, :].expand(*q.shape[:3], 1, q.shape[4], -1)
        shape = q.shape
        q, k, v, mask = (x.flatten(0, 2) for x in (q, k, v, mask))
        found = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=self.scale)
        parts = found.reshape(shape).transpose(3, 4).reshape(*shape[:3], -1, channels)
        return unite(parts, self.window, height, width)

    def split(self, tokens: Tensor) -> Tensor:
        """Tokens [B, h, w, C] to [B, rows, columns, heads, n, C / heads]."""
        parts = windows(tokens, self.window)
        return parts.reshape(*parts.shape[:4], self.heads, -1).transpose(3, 4)


class Transformer(nn.Module):
    """T of Table 2: the MMA blocks, one after another."""

    def __init__(self, config: PaperConfig) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(MMA(config) for _ in range(config.blocks))

    def references(self, features: Tensor, mask: Tensor) -> Tensor:
        """f_r and M_r [N, h, w, C] to K and V of every block [N, blocks, 2, h, w, C]."""
        made = []
        for block in self.blocks:
            assert isinstance(block, MMA)
            made.append(block.references(features, mask))
        return torch.stack(made, dim=1)

    def forward(self, features: Tensor, mask: Tensor, sums: Tensor) -> Tensor:
        """f_t and M_t [B, h, w, C], the sums of K and V of every block [B, blocks, 2, h, w, C] to f^_t."""
        for index, block in enumerate(self.blocks):
            features = block(features, mask, sums[:, index])
        return features
