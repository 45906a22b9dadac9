"""Algorithm 1: the networks of the published system, their three optimisers and one step of them all."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from model.data.clips import Clip
from model.distributed import mean
from model.paper.config import PaperConfig
from model.paper.discriminator import Discriminator
from model.paper.losses import (
    ZETA,
    Perceptual,
    flow_loss,
    fooling_loss,
    judging_loss,
    map_loss,
    perceptual_loss,
    pixel_loss,
)
from model.paper.network import PaperVRetouchEr
from model.together import average_gradients, together
from model.training import LossNotFiniteError, average_into, warm_average, weights_of

RATE = 2e-4


@dataclass(frozen=True)
class Losses:
    """What each of Algorithm 1's optimisers lowers, and the terms it is made of, scalars.

    Attributes:
        localize: L_flow + L_imp (Eq. 8, line 11).
        retouch: L_con + L_adv^syn (Eq. 11, line 12).
        judge: -L_adv^real (Eq. 11, line 13).
        terms: by name, unweighted.
    """

    localize: Tensor
    retouch: Tensor
    judge: Tensor
    terms: dict[str, Tensor]


class PaperTraining:
    """E, N, S, FIR, T, G and D, "jointly optimized from scratch".

    Decided: FIR's weights, alpha, beta and I, which no line of Algorithm 1 lists, learn with N and S, as
    Eq. 7 is the loss of the refined map. All three gradients are of one forward pass, taken before the first
    step, each with respect to its own networks alone; so E learns through N and FIR too, as line 12 says, and
    N does not learn from line 12.
    """

    def __init__(
        self,
        config: PaperConfig,
        perceptual: Perceptual | None,
        *,
        references: str = "past",
        rate: float = RATE,
        average: float = 0.999,
        bf16: bool = False,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        """Set the networks up.

        Args:
            config: sizes of the network.
            perceptual: squared distance on V's features; None leaves the second term of Eq. 9 out.
            references: which frames are references, "past" or "around" (`model.paper.network.choose`).
            rate: of Adam, for all three.
            average: decay of the moving average of the weights.
            bf16: run the networks in bfloat16; losses and weights stay float32.
            seed: of the first weights.
            device: where all of it is.
        """
        torch.manual_seed(seed)
        self.average, self.bf16, self.device = average, bf16, device
        self.perceptual = perceptual
        self.network = PaperVRetouchEr(config, references).to(device)
        self.discriminator = Discriminator(config).to(device)
        self.averaged = copy.deepcopy(self.network).eval().requires_grad_(False)
        network = self.network
        self.localizing = adam([network.localizer, network.spynet, network.fir, network.show], rate)
        self.retouching = adam([network.encoder, network.transformer, network.decoder], rate)
        self.judging = adam([self.discriminator], rate)
        self.steps = 0

    def set_rate(self, rate: float) -> None:
        """Adam's rate of the steps to come, for all three."""
        for optimiser in (self.localizing, self.retouching, self.judging):
            for group in optimiser.param_groups:
                group["lr"] = rate

    def parts(self) -> dict[str, Any]:
        """What has a `state_dict`, by name."""
        return {
            "network": self.network,
            "discriminator": self.discriminator,
            "averaged": self.averaged,
            "localizing": self.localizing,
            "retouching": self.retouching,
            "judging": self.judging,
        }

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {**{name: part.state_dict() for name, part in self.parts().items()}, "steps": self.steps}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        for name, part in self.parts().items():
            part.load_state_dict(saved[name])
        self.steps = saved["steps"]

    def losses(self, clip: Clip, flow_known: bool = True) -> Losses:
        """Lines 6-10 and the losses of lines 11-13; where the flow is not known, L_flow is zero."""
        with torch.autocast(self.device.partition(":")[0], torch.bfloat16, enabled=self.bf16):
            made = self.network.clip(clip.raw, self.network.references)
            of_image = self.discriminator(made.image)
            of_target = self.discriminator(clip.target)
            zero = made.image.new_zeros(())
            likeness = self.perceptual
            perceptual = perceptual_loss(made.image, clip.target, likeness) if likeness else zero
        flow = flow_loss(made.flow, clip.flow) if flow_known else zero
        found = map_loss(made.map, clip.map)
        pixel = pixel_loss(made.image, clip.target)
        fooling, judging = fooling_loss(of_image), judging_loss(of_target, of_image)
        return Losses(
            localize=flow + found,
            retouch=ZETA * pixel + perceptual + fooling,
            judge=judging,
            terms={
                "flow": flow,
                "map": found,
                "pixel": pixel,
                "perceptual": perceptual,
                "fooling": fooling,
                "judging": judging,
            },
        )

    def step(self, clips: Sequence[Clip], flow_known: bool = True) -> dict[str, float]:
        """Lines 6-13 on `clips`, whose gradients are added up before the optimisers' steps.

        Returns:
            The terms, and "loss", Eq. 8 and the first of Eq. 11 together: means over clips and processes.

        Raises:
            LossNotFiniteError: before any weight is changed.
            ElsewhereError: another process cannot make the step.
        """
        turns = (self.localizing, self.retouching, self.judging)
        for optimiser in turns:
            optimiser.zero_grad(set_to_none=True)
        with together(self.device):  # before the processes exchange anything
            terms = torch.stack([self._descend(self.losses(clip, flow_known), len(clips)) for clip in clips])
            self._check_gradients()
        averages = mean(terms.mean(0))
        for optimiser in turns:
            average_gradients(weights_of(optimiser))
        with together(self.device):  # the first step makes the moments
            for optimiser in turns:  # lines 11, 12, 13
                optimiser.step()
        self.steps += 1
        average_into(self.averaged, self.network, warm_average(self.average, self.steps))
        names = ("flow", "map", "pixel", "perceptual", "fooling", "judging", "loss")
        return dict(zip(names, averages.tolist(), strict=True))

    def _descend(self, losses: Losses, among: int) -> Tensor:
        """Add the gradients of one of `among` clips' losses; the terms and the loss [7], detached."""
        terms = [*losses.terms.values(), losses.localize + losses.retouch]
        found = torch.stack([term.detach().float() for term in terms])
        if not bool(
            torch.isfinite(found).all()
        ):  # before the backward pass: that of a warp along NaN crashes
            raise LossNotFiniteError(f"loss {float(found[-1])}")
        for loss, optimiser, more in (
            (losses.localize, self.localizing, True),
            (losses.judge, self.judging, True),
            (losses.retouch, self.retouching, False),  # last, as it frees what all three share
        ):
            torch.autograd.backward(loss / among, inputs=weights_of(optimiser), retain_graph=more)
        return found

    def _check_gradients(self) -> None:
        gradients = [
            weight.grad
            for optimiser in (self.localizing, self.retouching, self.judging)
            for weight in weights_of(optimiser)
            if weight.grad is not None
        ]
        norm = float(nn.utils.get_total_norm(gradients))
        if not math.isfinite(norm):
            raise LossNotFiniteError(f"norm of the gradients {norm}")


def adam(parts: Sequence[nn.Module], rate: float) -> torch.optim.Adam:
    """Adam on the weights of the parts."""
    return torch.optim.Adam([weight for part in parts for weight in part.parameters()], lr=rate)
