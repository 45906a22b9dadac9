"""AutoRetouch (Shafaei, Little and Schmidt, WACV 2021), the first of the two earlier systems.

From its slides: fully convolutional; scaled down by two and no further, for beyond that texture is lost;
additive skips, so that the input goes through where nothing is to be done; trained on windows of 150 px, used
on whole pictures or on windows that overlap; L = 1e-3 RaGAN + 6e-3 perceptual + 0.5 MSE; Adam; mirrored and
recoloured pairs. It knows no imperfection map.

The slides leave out what follows, which is decided here:
- Sizes. `published` has as many residual blocks as still leave a window more core than margin, and channels
  with which 75 windows fit on the four 11 GB cards that are named. `live` costs what preset `live` costs; its
  few blocks look further apart (dilation), where depth is too dear.
- Leaky ReLU: with ReLU, all features behind the last sum died within 200 steps at 1e-3, and what was left
  added a constant.
- No normalisation: a window's statistics are not the picture's, so windows would show.
- The 14th of VGG-19's layers is the 14th that has weights, conv5_2, after its ReLU.
- The critic sees one window and gives one number. The gradient goes through the present batch's share of a
  running estimate; the estimates move on once a step.
- Colours: each channel scaled by up to 10 % and shifted by up to 5 %, raw and target alike.

Where the training here is another than the slides':
- Windows show more of the picture, and that coarser. Pictures are brought to 640 px, of which frames of
  `--size`, at most 512 px, take 1 to 1.25 a pixel (`model.data.sequences`), and windows are cut out of these.
  So 150 px cover 150 to 188 of 640, a side 1.6 to 2 times that of 150 px out of FFHQR's 1024.
- Windows lie anywhere in the frame, theirs around the head.
- A step has `--batch` times `--frames` windows in each process, 24 by default, theirs 75. Their 500 epochs
  of 56,000 pictures, at a window of each, are 373,333 such steps.
- The weights that are saved are a moving average.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.distributed import gathered, world
from model.earlier import Pairs, PairTraining, crop, descend, mirror, perturb_colour
from model.encoder import conv, leaky, upsample
from model.ragan import Critic, RunningEstimate, relativistic
from model.together import together

WINDOW_PX = 150
PERCEPTUAL_LAYERS = ("relu5_2",)
RAGAN, PERCEPTUAL, MSE = 1e-3, 6e-3, 0.5  # weights of the loss's terms
RATE, CRITIC_RATE = 2e-4, 1e-4


@dataclass(frozen=True)
class AutoRetouchConfig:
    """Sizes.

    Attributes:
        channels: at the picture's size, and at half of it.
        dilations: one residual block each, at half the size.
        critic: channels of the critic's strided convolutions.
    """

    channels: tuple[int, int]
    dilations: tuple[int, ...]
    critic: tuple[int, ...]

    @property
    def multiple_px(self) -> int:
        """What a picture's sides must be multiples of: it takes any."""
        return 1

    @property
    def reach_px(self) -> int:
        """How far off a pixel can still change a pixel: the convolutions' reach, to a whole cell of two."""
        return 6 + 2 * sum(dilation + 1 for dilation in self.dilations)


AUTORETOUCH: dict[str, AutoRetouchConfig] = {
    "live": AutoRetouchConfig((8, 16), (1, 2, 4), (16, 32, 64, 64)),
    "published": AutoRetouchConfig((64, 192), (1,) * 8, (64, 128, 256, 512)),
    "tiny": AutoRetouchConfig((4, 8), (1, 2), (4, 8)),
}


class Block(nn.Module):
    """Residual block; its second convolution is `dilation` apart and starts small."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.first = conv(channels, channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation)
        nn.init.normal_(self.second.weight, std=0.1 * (2 / (9 * channels)) ** 0.5)
        assert self.second.bias is not None
        nn.init.zeros_(self.second.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] to the same."""
        added: Tensor = x + self.second(leaky(self.first(x)))
        return added


class AutoRetouch(nn.Module):
    """Picture to retouched picture."""

    def __init__(self, config: AutoRetouchConfig) -> None:
        super().__init__()
        self.config = config
        full, half = config.channels
        self.head = conv(3, full)
        self.down = conv(full, half, stride=2)
        self.blocks = nn.ModuleList(Block(half, dilation) for dilation in config.dilations)
        self.up = conv(half, full)
        self.tail = conv(full, 3)
        with torch.no_grad():
            self.tail.weight.mul_(0.1)

    def forward(self, image: Tensor) -> Tensor:
        """RGB [B, 3, H, W] in [0, 1], of any size, to the same, not yet held within [0, 1]."""
        height, width = image.shape[-2:]
        fine = leaky(self.head(image))
        x = leaky(self.down(fine))
        for block in self.blocks:
            x = block(x)
        x = leaky(fine + upsample(self.up(x))[..., :height, :width])
        retouched: Tensor = image + self.tail(x)
        return retouched

    @torch.no_grad()
    def retouch(self, image: Tensor, window_px: int | None = None) -> Tensor:
        """The retouched picture [B, 3, H, W] in [0, 1] of `image`, alike.

        Args:
            image: RGB [B, 3, H, W] in [0, 1], of any size.
            window_px: work in windows of at most this side (WINDOW_PX as published), which need less memory,
                more time and give the same; None for the whole picture at once.
        """
        if window_px is None:
            whole: Tensor = self(image)
            return whole.clamp(0, 1)
        retouched = torch.empty_like(image)
        spans_y, spans_x = (self._spans(length, window_px) for length in image.shape[-2:])
        for core_y, window_y in spans_y:
            for core_x, window_x in spans_x:
                part = self(image[..., window_y, window_x])
                inside_y, inside_x = _within(core_y, window_y), _within(core_x, window_x)
                retouched[..., core_y, core_x] = part[..., inside_y, inside_x]
        return retouched.clamp(0, 1)

    def _spans(self, length: int, window_px: int) -> list[tuple[slice, slice]]:
        """Along one side, each core that a window is right about, and the window."""
        reach = self.config.reach_px
        core_px = window_px - window_px % 2 - 2 * reach
        if core_px < 2:
            raise ValueError(
                f"A window of {window_px} px is too small for this network; give {2 * reach + 2} or more."
            )
        starts = range(0, length, core_px)
        return [
            (
                slice(start, min(length, start + core_px)),
                slice(max(0, start - reach), min(length, start + core_px + reach)),
            )
            for start in starts
        ]


def _within(core: slice, window: slice) -> slice:
    """The core in the window's own coordinates."""
    return slice(core.start - window.start, core.stop - window.start)


class AutoRetouchTraining(PairTraining):
    """AutoRetouch, its critic, and their optimisers."""

    network: AutoRetouch

    def __init__(
        self,
        config: AutoRetouchConfig,
        perceptual: nn.Module | None,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        """perceptual: mean squared distance on PERCEPTUAL_LAYERS (`model.perceptual`); None: without."""
        torch.manual_seed(seed)
        self.device = device
        self.draws = torch.Generator().manual_seed(seed)
        self.network = AutoRetouch(config).to(device)
        self.critic = Critic(config.critic).to(device)
        self.of_target, self.of_out = RunningEstimate().to(device), RunningEstimate().to(device)
        self.perceptual = perceptual.to(device) if perceptual else None
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=RATE)
        self.critic_optimiser = torch.optim.Adam(self.critic.parameters(), lr=CRITIC_RATE)

    def parts(self) -> dict[str, Any]:
        """What has a `state_dict`, by name."""
        return {
            "network": self.network,
            "critic": self.critic,
            "of_target": self.of_target,
            "of_out": self.of_out,
            "optimiser": self.optimiser,
            "critic_optimiser": self.critic_optimiser,
        }

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint; with what the next windows are drawn from."""
        return super().state_dict() | {"draws": self.draws.get_state()}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on from a checkpoint, to the same losses as without the stop."""
        super().load_state_dict(saved)
        self.draws.set_state(saved["draws"].cpu())

    def step(self, pairs: Pairs) -> dict[str, float]:
        """One step of the critic, then one of the network, on a window of each pair."""
        with together(self.device):
            pairs = crop(pairs, WINDOW_PX, self.draws)
            pairs = perturb_colour(mirror(pairs, self.draws), self.draws)
            out = self.network(pairs.raw)
        critic = self._teach_critic(pairs.target, out.detach())
        ragan = self._fooled(pairs.target, out)
        with together(self.device):
            perceptual = self.perceptual(out, pairs.target) if self.perceptual else out.new_zeros(())
            mse = F.mse_loss(out, pairs.target)
        likeness = PERCEPTUAL * perceptual + MSE * mse
        loss = RAGAN * ragan + likeness
        descend(self.optimiser, RAGAN * world() * ragan + likeness)
        terms = {"loss": loss, "mse": mse, "perceptual": perceptual, "ragan": ragan, "critic": critic}
        return {name: float(term.detach()) for name, term in terms.items()}

    def _teach_critic(self, target: Tensor, out: Tensor) -> Tensor:
        with together(self.device):
            of_target, of_out = self.critic(target), self.critic(out)
        of_target, of_out = gathered(of_target), gathered(of_out)
        means = self.of_target(of_target), self.of_out(of_out)
        loss = relativistic(of_target, of_out, *means)
        descend(self.critic_optimiser, world() * loss)
        return loss

    def _fooled(self, target: Tensor, out: Tensor) -> Tensor:
        """The network's RaGAN term, over the windows of all processes; the estimates move on."""
        with together(self.device):
            with torch.no_grad():
                of_target = self.critic(target)
            of_out = self.critic(out)
        of_target, of_out = gathered(of_target), gathered(of_out)
        means = self.of_out(of_out), self.of_target(of_target)
        loss = relativistic(of_out, of_target, *means)
        self.of_target.push(of_target)
        self.of_out.push(of_out)
        return loss
