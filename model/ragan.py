"""Relativistic average GAN (Jolicoeur-Martineau, ICLR 2019), its averages running over past predictions."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.encoder import conv, leaky

LENGTH = 300


class Critic(nn.Module):
    """How real a picture is, one number whatever its size: strided convolutions, then the mean place."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        widths = [3, *channels]
        self.convs = nn.ModuleList(
            conv(inputs, outputs, stride=2) for inputs, outputs in zip(widths, channels, strict=False)
        )
        self.judge = nn.Linear(channels[-1], 1)

    def forward(self, image: Tensor) -> Tensor:
        """RGB [B, 3, H, W] in [0, 1] to predictions [B], unbounded."""
        x = image
        for layer in self.convs:
            x = leaky(layer(x))
        predicted: Tensor = self.judge(x.mean((2, 3)))[:, 0]
        return predicted


class RunningEstimate(nn.Module):
    """Mean of the last `length` predictions; the past ones are constants, so that a small batch has a steady
    rival."""

    past: Tensor
    count: Tensor

    def __init__(self, length: int = LENGTH) -> None:
        super().__init__()
        self.register_buffer("past", torch.zeros(length))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def forward(self, predictions: Tensor) -> Tensor:
        """Mean of `predictions` [B], through which the gradient goes, and of the newest of the past."""
        seen = torch.cat([self.past, predictions])
        return seen[-self._filled(len(predictions)) :].mean()

    @torch.no_grad()
    def push(self, predictions: Tensor) -> None:
        """Remember `predictions` [B]; the oldest go."""
        self.count.fill_(self._filled(len(predictions)))
        self.past.copy_(torch.cat([self.past, predictions])[-len(self.past) :].clone())

    def _filled(self, more: int) -> int:
        return min(len(self.past), int(self.count) + more)


def relativistic(better: Tensor, worse: Tensor, mean_better: Tensor, mean_worse: Tensor) -> Tensor:
    """RaGAN's loss of who wants `better` [B] predicted above the mean of the others and `worse` [B] below.

    -E log s(better - mean_worse) - E log(1 - s(worse - mean_better)). The critic's has the targets for
    better, the network's its own pictures.
    """
    return F.softplus(mean_worse - better).mean() + F.softplus(worse - mean_better).mean()
