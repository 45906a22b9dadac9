"""BPFRe (Xie et al., CVPR 2023), the second of the two earlier systems: two stages, told where blemishes are.

From its poster: an encoder-decoder retouches coarsely; a generator made of StyleGAN's, on the decoder's
features of every scale, renders the finer details; between encoder and decoder, and between decoder and
generator, a blemish-aware attention module infers a map and weighs the features with it, so that blemishes
are not passed on. Its losses stand in `model.bpfre_training`.

The poster leaves out what follows, which is decided here:
- An attention module brings every scale to the finest, adds them up, and infers the map M there; the weights
  of a scale are 1 - M at that scale.
- A stage's picture is the one before where M is 0 and what the stage renders where M is 1, in proportion
  between: the input goes through where nothing is to be done, and what is rendered is a clean face.
  What renders is told M.
- The generator starts at the decoder's coarsest features, not at a constant; its style is of their mean over
  the picture. Kernels are modulated and demodulated as StyleGAN2's (Karras et al., CVPR 2020). There is no
  noise: a picture is retouched the same way twice.
- Sizes. `published` has StyleGAN2's channels at 512 px. `live` costs what preset `live` costs; it works on
  cells of 2x2 pixels, as that does.
- Leaky ReLU as StyleGAN's; no normalisation but the demodulation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.encoder import conv, leaky, upsample

_LEAST = 1e-8


@dataclass(frozen=True)
class BPFReConfig:
    """Sizes.

    Attributes:
        channels: features of each scale, fine to coarse, each half the size of the one before.
        cell: pixels along a side of what the finest scale works on, the discriminator's as well.
        attention: channels in which an attention module adds up the scales.
        style: channels of the generator's style.
        critic: channels of the discriminator's scales, fine to coarse.
    """

    channels: tuple[int, ...]
    cell: int
    attention: int
    style: int
    critic: tuple[int, ...]

    @property
    def multiple_px(self) -> int:
        """What a picture's sides must be multiples of."""
        return self.cell << len(self.channels) - 1


BPFRE: dict[str, BPFReConfig] = {
    "live": BPFReConfig((8, 16, 24, 32, 48), 2, 8, 32, (16, 32, 48, 64)),
    "published": BPFReConfig((64, 128, 256, 512, 512, 512, 512), 1, 64, 512, (64, 128, 256, 512)),
    "tiny": BPFReConfig((4, 6, 8), 1, 4, 4, (4, 6)),
}


class Retouched(NamedTuple):
    """What both stages make of a picture.

    Attributes:
        coarse, refined: x~ and x^, [B, 3, H, W], not held within [0, 1].
        map_coarse, map_refined: M^E2D and M^D2G, [B, 1, H, W] in [0, 1]: the blemishes of the picture, and
            those that the coarse stage has left.
    """

    coarse: Tensor
    refined: Tensor
    map_coarse: Tensor
    map_refined: Tensor


class Coarse(NamedTuple):
    """What the first stage makes of a picture: x~, M^E2D, and the decoder's features, coarse to fine."""

    picture: Tensor
    map: Tensor
    features: list[Tensor]


def blended(picture: Tensor, rendered: Tensor, mask: Tensor) -> Tensor:
    """`picture` where `mask` [B, 1, H, W] is 0, `rendered` where it is 1."""
    return picture * (1 - mask) + rendered * mask


def shrunk(mask: Tensor, like: Tensor) -> Tensor:
    """`mask` [B, 1, H, W] at the size of `like` [B, C, h, w], by means of whole cells."""
    return F.avg_pool2d(mask, mask.shape[-1] // like.shape[-1])


class BlemishAware(nn.Module):
    """Blemish-aware attention: infers the map from features of every scale, takes blemishes out of them."""

    def __init__(self, config: BPFReConfig) -> None:
        super().__init__()
        self.cell = config.cell
        self.bring = nn.ModuleList(conv(channels, config.attention, size=1) for channels in config.channels)
        self.mix = conv(config.attention, config.attention)
        self.infer = conv(config.attention, config.cell**2)
        assert self.infer.bias is not None
        with torch.no_grad():
            self.infer.weight.mul_(0.1)
            self.infer.bias.fill_(-2.0)  # blemishes are rare

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Features [B, c, h, w], fine to coarse, to M [B, 1, H, W] in [0, 1] and the features weighed."""
        pairs = list(zip(self.bring, features, strict=True))
        brought = pairs[-1][0](pairs[-1][1])
        for bring, scale in reversed(pairs[:-1]):
            brought = upsample(brought) + bring(scale)
        mask = torch.sigmoid(F.pixel_shuffle(self.infer(leaky(self.mix(leaky(brought)))), self.cell))
        return mask, [scale * (1 - shrunk(mask, scale)) for scale in features]


class Render(nn.Module):
    """The finest features, and the map, to a picture."""

    def __init__(self, config: BPFReConfig) -> None:
        super().__init__()
        self.cell = config.cell
        self.out = conv(config.channels[0] + config.cell**2, 3 * config.cell**2)
        with torch.no_grad():
            self.out.weight.mul_(0.1)
            assert self.out.bias is not None
            self.out.bias.fill_(0.5)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """[B, c, h, w] and M [B, 1, H, W] to RGB [B, 3, H, W]."""
        told = torch.cat([features, F.pixel_unshuffle(mask, self.cell)], dim=1)
        return F.pixel_shuffle(self.out(told), self.cell)


class Encoder(nn.Module):
    """Features of every scale."""

    def __init__(self, config: BPFReConfig) -> None:
        super().__init__()
        widths = config.channels
        self.first = conv(3, widths[0], stride=config.cell)
        self.down = nn.ModuleList(conv(fine, coarse, stride=2) for fine, coarse in pairwise(widths))
        self.convs = nn.ModuleList(conv(channels, channels) for channels in widths[1:])

    def forward(self, image: Tensor) -> list[Tensor]:
        """RGB [B, 3, H, W] in [0, 1] to features [B, c, h, w], fine to coarse."""
        scales = [leaky(self.first(image))]
        for down, layer in zip(self.down, self.convs, strict=True):
            scales.append(leaky(layer(leaky(down(scales[-1])))))
        return scales


class Decoder(nn.Module):
    """A U-Net's other half."""

    def __init__(self, config: BPFReConfig) -> None:
        super().__init__()
        rising = config.channels[::-1]
        self.join = nn.ModuleList(conv(coarse + fine, fine) for coarse, fine in pairwise(rising))
        self.convs = nn.ModuleList(conv(channels, channels) for channels in rising[1:])

    def forward(self, scales: Sequence[Tensor]) -> list[Tensor]:
        """Weighed features, fine to coarse, to the decoder's, coarse to fine."""
        rising = [scales[-1]]
        for join, layer, skip in zip(self.join, self.convs, scales[-2::-1], strict=True):
            rising.append(leaky(layer(leaky(join(torch.cat([upsample(rising[-1]), skip], dim=1))))))
        return rising


class Modulated(nn.Module):
    """StyleGAN2's convolution: inputs scaled by the style, outputs scaled back to unit variance."""

    def __init__(self, inputs: int, outputs: int, style: int) -> None:
        super().__init__()
        self.scale = nn.Linear(style, inputs)
        nn.init.ones_(self.scale.bias)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3) / (9 * inputs) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """[B, inputs, h, w] and the style [B, S] to [B, outputs, h, w]."""
        scale = self.scale(style)  # [B, inputs]
        power = scale.square() @ self.weight.square().sum((2, 3)).T  # [B, outputs]
        y = F.conv2d(x * scale[:, :, None, None], self.weight, padding=1)
        demodulated = y * torch.rsqrt(power + _LEAST)[:, :, None, None]
        return leaky(demodulated + self.bias[:, None, None])


class Generator(nn.Module):
    """StyleGAN's generator on the decoder's features of every scale."""

    def __init__(self, config: BPFReConfig) -> None:
        super().__init__()
        rising = config.channels[::-1]
        self.mapping = nn.Sequential(
            nn.Linear(rising[0], config.style),
            nn.LeakyReLU(0.2),
            nn.Linear(config.style, config.style),
            nn.LeakyReLU(0.2),
        )
        self.first = Modulated(rising[0], rising[0], config.style)
        self.join = nn.ModuleList(
            Modulated(coarse + fine, fine, config.style) for coarse, fine in pairwise(rising)
        )
        self.convs = nn.ModuleList(Modulated(channels, channels, config.style) for channels in rising[1:])

    def forward(self, rising: Sequence[Tensor]) -> Tensor:
        """The decoder's weighed features, coarse to fine, to the finest of the generator's [B, c, h, w]."""
        style = self.mapping(rising[0].mean((2, 3)))
        x: Tensor = self.first(rising[0], style)
        for join, layer, scale in zip(self.join, self.convs, rising[1:], strict=True):
            x = layer(join(torch.cat([upsample(x), scale], dim=1), style), style)
        return x


class BPFRe(nn.Module):
    """Both stages."""

    def __init__(self, config: BPFReConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.encoder_to_decoder = BlemishAware(config)
        self.decoder = Decoder(config)
        self.render_coarse = Render(config)
        self.decoder_to_generator = BlemishAware(config)
        self.generator = Generator(config)
        self.render_refined = Render(config)

    def coarse(self, image: Tensor) -> Coarse:
        """The first stage on RGB [B, 3, H, W] in [0, 1], sides multiples of `config.multiple_px`."""
        mask, weighed = self.encoder_to_decoder(self.encoder(image))
        features = self.decoder(weighed)
        return Coarse(blended(image, self.render_coarse(features[-1], mask), mask), mask, features)

    def forward(self, image: Tensor) -> Retouched:
        """Both stages on RGB [B, 3, H, W] in [0, 1], sides multiples of `config.multiple_px`."""
        first = self.coarse(image)
        mask, weighed = self.decoder_to_generator(first.features[::-1])
        rendered = self.render_refined(self.generator(weighed[::-1]), mask)
        return Retouched(first.picture, blended(first.picture, rendered, mask), first.map, mask)


class Discriminator(nn.Module):
    """Pixel-level discriminator D_disc: a small U-Net (Schonfeld et al., CVPR 2020), a logit a pixel."""

    def __init__(self, config: BPFReConfig) -> None:
        super().__init__()
        self.cell = config.cell
        channels = config.critic
        rising = channels[::-1]
        self.first = conv(3, channels[0], stride=config.cell)
        self.down = nn.ModuleList(conv(fine, coarse, stride=2) for fine, coarse in pairwise(channels))
        self.up = nn.ModuleList(conv(coarse + fine, fine) for coarse, fine in pairwise(rising))
        self.judge = conv(channels[0], config.cell**2)

    def forward(self, image: Tensor) -> Tensor:
        """RGB [B, 3, H, W] in [0, 1], sides multiples of `config.cell`, to logits [B, 1, H, W]: retouched?"""
        scales = [leaky(self.first(image))]
        for down in self.down:
            scales.append(leaky(down(scales[-1])))
        x = scales[-1]
        for up, skip in zip(self.up, scales[-2::-1], strict=True):
            height, width = skip.shape[-2:]
            x = leaky(up(torch.cat([upsample(x)[..., :height, :width], skip], dim=1)))
        return F.pixel_shuffle(self.judge(x), self.cell)
