"""Encoder E: one pass a frame, features at 1/8 and skips that keep the detail (paper, Table 1)."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch.nn.functional as F
from torch import Tensor, nn

from model.config import Config


class _Leak:
    """slope: of the gradient below 0."""

    slope = 0.0


_leak = _Leak()


@contextmanager
def leaking(slope: float) -> Iterator[None]:
    """Within, what is below 0 before a ReLU has a gradient, `slope` times as large as above: features that no
    picture wakes any more can come back. What they are worth stays the same."""
    before, _leak.slope = _leak.slope, slope
    try:
        yield
    finally:
        _leak.slope = before


def conv(inputs: int, outputs: int, stride: int = 1, size: int = 3) -> nn.Conv2d:
    """Same-size (or strided) convolution, He-initialised."""
    layer = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def leaky(x: Tensor) -> Tensor:
    """Leaky ReLU of slope 0.2, as the earlier systems and the critics have it."""
    return F.leaky_relu(x, 0.2)


def activate(x: Tensor) -> Tensor:
    """ReLU where the paper has leaky ReLU: the runtime fuses it with the sum before it, which halves those
    layers. Within `leaking`, its gradient is the leaky one's."""
    if _leak.slope == 0.0:
        return F.relu(x)
    below = _leak.slope * x.clamp(max=0.0)
    return F.relu(x) + (below - below.detach())


def upsample(x: Tensor) -> Tensor:
    """Twice the side, by nearest neighbour; a convolution follows."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def enlarge(x: Tensor, like: Tensor) -> Tensor:
    """At the side of `like`, bilinear: what is broad has no blocks."""
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


class Encoder(nn.Module):
    """Features f_t of a face, with the scales 1/16 to 1/64 mixed in: what is broad (redness, shine, shadow)
    is seen only against the rest of the face."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        c2, c4, c8, c16 = config.channels
        self.down2 = conv(3, c2, stride=2)
        self.down4 = conv(c2, c4, stride=2)
        self.down8 = conv(c4, c8, stride=2)
        self.conv8 = conv(c8, c8)
        self.down16 = conv(c8, c16, stride=2)
        self.down32 = conv(c16, c16, stride=2)
        self.down64 = conv(c16, c16, stride=2)
        self.conv64 = conv(c16, c16)
        self.up64 = conv(c16, c16, size=1)
        self.up32 = conv(c16, c16, size=1)
        self.conv16 = conv(c16, c16)
        self.context = conv(c16, c8, size=1)

    def forward(self, face: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`face` [B, 3, H, W] RGB in [0, 1] to f_t [B, c8, H/8, W/8] and the skips at 1/4 and 1/2."""
        skip2 = activate(self.down2(face))
        skip4 = activate(self.down4(skip2))
        x = activate(self.down8(skip4))
        x = activate(x + self.conv8(x))
        wide = activate(self.down16(x))
        wider = activate(self.down32(wide))
        widest = activate(self.down64(wider))
        widest = activate(widest + self.conv64(widest))
        wider = activate(wider + enlarge(self.up64(widest), wider))
        wide = activate(wide + enlarge(self.up32(wider), wide))
        wide = activate(wide + self.conv16(wide))
        return x + enlarge(self.context(wide), x), skip4, skip2
