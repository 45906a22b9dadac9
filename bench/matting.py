"""A rival of similar arithmetic to RobustVideoMatting's (Lin et al., WACV 2022), written anew: an encoder
like MobileNetV3-Large's (Howard et al., 2019, Table 1), a decoder of ConvGRUs, a guided filter to full size.

It is timed and nothing else: the weights are random, and batch normalisation is taken to be folded into them.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Kernel, expanded and given channels, squeeze and excitation, hard swish, stride, dilation.
_BLOCKS = (
    (3, 16, 16, False, False, 1, 1),
    (3, 64, 24, False, False, 2, 1),
    (3, 72, 24, False, False, 1, 1),
    (5, 72, 40, True, False, 2, 1),
    (5, 120, 40, True, False, 1, 1),
    (5, 120, 40, True, False, 1, 1),
    (3, 240, 80, False, True, 2, 1),
    (3, 200, 80, False, True, 1, 1),
    (3, 184, 80, False, True, 1, 1),
    (3, 184, 80, False, True, 1, 1),
    (3, 480, 112, True, True, 1, 1),
    (3, 672, 112, True, True, 1, 1),
    # At 1/16 for good: dilated where MobileNetV3 goes on to 1/32.
    (5, 672, 160, True, True, 1, 2),
    (5, 960, 160, True, True, 1, 2),
    (5, 960, 160, True, True, 1, 2),
)
# After these blocks stand the features at 1/2, 1/4 and 1/8.
_TAKEN = (0, 2, 5)
_SKIPS, _LAST, _POOLED = (16, 24, 40), 960, 128
_DECODED, _SHARPENED = (80, 40, 32), 16
_EPSILON = 1e-3

Memory = tuple[Tensor, Tensor, Tensor, Tensor]


class Matted(NamedTuple):
    """Foreground [B, 3, H, W], alpha [B, 1, H, W] in [0, 1], and what is remembered, finest first."""

    foreground: Tensor
    alpha: Tensor
    memory: Memory


class _Block(nn.Module):
    """An inverted residual: wide, by channel, squeezed and excited, narrow."""

    def __init__(
        self, given: int, kernel: int, wide: int, out: int, squeezed: bool, swish: bool, stride: int, gap: int
    ) -> None:
        super().__init__()
        self.act = nn.Hardswish() if swish else nn.ReLU()
        self.widen = nn.Conv2d(given, wide, 1) if wide != given else None
        around = gap * (kernel // 2)
        self.by_channel = nn.Conv2d(wide, wide, kernel, stride, around, dilation=gap, groups=wide)
        self.squeeze = nn.Conv2d(wide, wide // 4, 1) if squeezed else None
        self.excite = nn.Conv2d(wide // 4, wide, 1) if squeezed else None
        self.narrow = nn.Conv2d(wide, out, 1)
        self.residual = stride == 1 and given == out

    def forward(self, x: Tensor) -> Tensor:
        """[B, given, h, w] to [B, out, h / stride, w / stride]."""
        y = x if self.widen is None else self.act(self.widen(x))
        y = self.act(self.by_channel(y))
        if self.squeeze is not None and self.excite is not None:
            y = y * F.hardsigmoid(self.excite(F.relu(self.squeeze(y.mean((2, 3), keepdim=True)))))
        y = self.narrow(y)
        return torch.add(x, y) if self.residual else y


class _Encoder(nn.Module):
    """Features at 1/2, 1/4, 1/8, and at 1/16 pooled to 128 channels (LR-ASPP)."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 3, 2, 1)
        given = [16, *(block[2] for block in _BLOCKS)]
        self.blocks = nn.ModuleList(_Block(g, *block) for g, block in zip(given, _BLOCKS, strict=False))
        self.last = nn.Conv2d(given[-1], _LAST, 1)
        self.pooled, self.gate = nn.Conv2d(_LAST, _POOLED, 1), nn.Conv2d(_LAST, _POOLED, 1, bias=False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """[B, 3, h, w], finest first."""
        x, taken = F.hardswish(self.first(x)), []
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in _TAKEN:
                taken.append(x)
        x = F.hardswish(self.last(x))
        gate = torch.sigmoid(self.gate(x.mean((2, 3), keepdim=True)))
        return [*taken, F.relu(self.pooled(x)) * gate]


class _Gru(nn.Module):
    """A ConvGRU on the second half of the channels; the first half goes by."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gates = nn.Conv2d(channels, channels, 3, padding=1)
        self.candidate = nn.Conv2d(channels, channels // 2, 3, padding=1)

    def forward(self, x: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """[B, C, h, w] and [B, C / 2, h, w], both anew."""
        by, seen = x.chunk(2, 1)
        reset, update = torch.sigmoid(self.gates(torch.cat([seen, memory], 1))).chunk(2, 1)
        candidate = torch.tanh(self.candidate(torch.cat([seen, reset * memory], 1)))
        memory = (1 - update) * memory + update * candidate
        return torch.cat([by, memory], 1), memory


class RecurrentMatting(nn.Module):
    """One step of matting: a frame and what is remembered, in and out."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = _Encoder()
        given = (_POOLED, *_DECODED)
        widths = [(g, s + 3, out) for g, s, out in zip(given, reversed(_SKIPS), _DECODED, strict=False)]
        self.grus = nn.ModuleList(_Gru(channels) for channels in given)
        self.ups = nn.ModuleList(nn.Conv2d(g + beside, out, 3, padding=1) for g, beside, out in widths)
        self.sharpen = nn.ModuleList(
            nn.Conv2d(channels, _SHARPENED, 3, padding=1) for channels in (_DECODED[-1] + 3, _SHARPENED)
        )
        self.project = nn.Conv2d(_SHARPENED, 4, 1)

    def fresh_memory(self, frame: Tensor, scale: float) -> Memory:
        """All zeros, for frames like `frame` [B, 3, H, W] seen at this scale."""
        height, width = (int(side * scale) for side in frame.shape[2:])
        kept = []
        for channels in (*reversed(_DECODED), _POOLED):
            height, width = (height + 1) // 2, (width + 1) // 2
            kept.append(frame.new_zeros(len(frame), channels // 2, height, width))
        return kept[0], kept[1], kept[2], kept[3]

    def forward(self, frame: Tensor, memory: Memory, scale: float) -> Matted:
        """frame [B, 3, H, W] RGB in [0, 1]; scale: of the picture that the network sees."""
        small = F.interpolate(frame, scale_factor=scale, mode="bilinear", recompute_scale_factor=True)
        *skips, x = self.encoder(small)
        pictures = [small]
        for _ in skips:
            pictures.append(F.avg_pool2d(pictures[-1], 2, ceil_mode=True, count_include_pad=False))
        x, kept = self.grus[0](x, memory[3])
        after = [kept]
        for level in (2, 1, 0):
            skip = skips[level]
            x = torch.cat([_grown(x, skip), skip, pictures[level + 1]], 1)
            x, kept = self.grus[3 - level](F.relu(self.ups[2 - level](x)), memory[level])
            after.append(kept)
        x = torch.cat([_grown(x, small), small], 1)
        for sharpen in self.sharpen:
            x = F.relu(sharpen(x))
        guided = _guided(small, self.project(x), frame)
        foreground = (frame + guided[:, :3]).clamp(0, 1)
        return Matted(foreground, guided[:, 3:].clamp(0, 1), (after[3], after[2], after[1], after[0]))


def seeded_matting() -> RecurrentMatting:
    """With weights that are the same every time."""
    torch.manual_seed(0)
    network = RecurrentMatting().eval().requires_grad_(False)
    assert network.project.bias is not None
    network.project.bias.fill_(0.5)  # so that alpha is not at one of its ends everywhere
    return network


def _grown(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)


def _guided(small: Tensor, result: Tensor, frame: Tensor) -> Tensor:
    """The result [B, 4, h, w] at the frame's size: a fast guided filter (He and Sun, 2015), the guide being
    the picture and its grey."""
    guide, fine = (torch.cat([p, p.mean(1, keepdim=True)], 1) for p in (small, frame))

    def mean(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)

    mean_guide, mean_result = mean(guide), mean(result)
    covariance = mean(guide * result) - mean_guide * mean_result
    slope = covariance / (mean(guide * guide) - mean_guide * mean_guide + _EPSILON)
    return _grown(slope, frame) * fine + _grown(mean_result - slope * mean_guide, frame)
