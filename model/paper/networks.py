"""Encoder E, localizer N and decoder G of Tables 1, 4 and 3, and the ConvBlk they are made of."""

import torch.nn.functional as F
from torch import Tensor, nn

from model.encoder import upsample
from model.paper.config import PaperConfig

SLOPE = 0.2


def conv3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """3x3 convolution, He-initialised for the leaky ReLU."""
    layer = nn.Conv2d(inputs, outputs, 3, stride, padding=1)
    nn.init.kaiming_normal_(layer.weight, a=SLOPE)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


class AdaIN(nn.Module):
    """Adaptive instance normalization (Huang and Belongie, ICCV 2017): each channel to mean 0 and variance
    1, then scaled and shifted as a style says."""

    def __init__(self, channels: int, style: int) -> None:
        super().__init__()
        self.affine = nn.Linear(style, 2 * channels)
        nn.init.normal_(self.affine.weight, std=0.02)
        nn.init.zeros_(self.affine.bias)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """`x` [B, C, h, w] and `style` [B, S] to [B, C, h, w]."""
        scale, shift = self.affine(style)[:, :, None, None].chunk(2, dim=1)
        styled: Tensor = F.instance_norm(x) * (1 + scale) + shift
        return styled


class ConvBlk(nn.Module):
    """The tables' ConvBlk.

    Decided, as its inside is not printed: one 3x3 convolution, of stride 2 where the size halves and after a
    nearest-neighbour enlargement where it doubles; AdaIN where Table 3 has it; leaky ReLU of slope 0.2.
    """

    def __init__(
        self, inputs: int, outputs: int, stride: int = 1, grow: bool = False, style: int = 0
    ) -> None:
        super().__init__()
        self.conv = conv3(inputs, outputs, stride)
        self.grow = grow
        self.norm = AdaIN(outputs, style) if style else None

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        """`x` [B, inputs, h, w] to [B, outputs, h', w']."""
        x = self.conv(upsample(x) if self.grow else x)
        if self.norm is not None:
            x = self.norm(x, style)
        return F.leaky_relu(x, SLOPE)


class Encoder(nn.Module):
    """E of Table 1."""

    def __init__(self, config: PaperConfig) -> None:
        super().__init__()
        c1, c2, c4, c8 = config.channels
        self.layers = nn.Sequential(
            ConvBlk(3, c1),
            ConvBlk(c1, c2, stride=2),
            ConvBlk(c2, c4, stride=2),
            ConvBlk(c4, c8, stride=2),
            ConvBlk(c8, c8),
            ConvBlk(c8, c8),
        )

    def forward(self, face: Tensor) -> Tensor:
        """`face` [B, 3, H, W] RGB in [0, 1] to f [B, c8, H/8, W/8]."""
        features: Tensor = self.layers(face)
        return features


class Localizer(nn.Module):
    """N of Table 4: the imperfection map M of Eq. 2, of as many channels as the features.

    Decided: Table 4 takes the features in without saying where, and they have the size of its last layer
    alone. So that layer's convolution runs over both, over the picture's part at stride 2. The sigmoid of
    Eq. 3 makes a map of what N gives, so M is a logit here.
    """

    def __init__(self, config: PaperConfig) -> None:
        super().__init__()
        c1, c2, c4, c8 = config.channels
        self.layers = nn.Sequential(ConvBlk(3, c1), ConvBlk(c1, c2, stride=2), ConvBlk(c2, c4, stride=2))
        self.last = conv3(c4, c8, stride=2)
        self.mix = conv3(c8, c8)

    def forward(self, face: Tensor, features: Tensor) -> Tensor:
        """`face` [B, 3, H, W] and f [B, c8, H/8, W/8] to M [B, c8, H/8, W/8]."""
        x = self.last(self.layers(face)) + self.mix(features)
        return F.leaky_relu(x, SLOPE)


class Decoder(nn.Module):
    """G of Table 3: an image, from the retouched features alone.

    Decided: where AdaIN's style comes from is not printed, and G's only input is f^_t; so it is the mean of
    f^_t over the picture, which carries the tone and light that the normalization takes off. Pixels are in
    [0, 1], as the printed last layer, a leaky ReLU, hardly goes below zero.
    """

    def __init__(self, config: PaperConfig) -> None:
        super().__init__()
        c1, c2, c4, c8 = config.channels
        self.layers = nn.ModuleList(
            [
                ConvBlk(c8, c8, style=c8),
                ConvBlk(c8, c8, style=c8),
                ConvBlk(c8, c8, style=c8),
                ConvBlk(c8, c4, grow=True, style=c8),
                ConvBlk(c4, c2, grow=True, style=c8),
                ConvBlk(c2, c1, grow=True, style=c8),
                ConvBlk(c1, 3, style=c8),
            ]
        )

    def forward(self, features: Tensor) -> Tensor:
        """f^_t [B, c8, H/8, W/8] to y^ [B, 3, H, W] RGB, about [0, 1]."""
        style = features.mean((2, 3))
        for layer in self.layers:
            features = layer(features, style)
        return features
