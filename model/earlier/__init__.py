"""What the two earlier systems, AutoRetouch and BPFRe, share: batches of stills and a training's step here,
presets, weights on disk and the trainer beside."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from model.distributed import share_of, world
from model.together import average_gradients, together
from model.training import LossNotFiniteError, weights_of


@dataclass(frozen=True)
class Pairs:
    """One batch, float32 RGB in [0, 1], all of one size.

    Attributes:
        raw, target: [B, 3, H, W], the same faces before and after retouching.
        unpaired_raw, unpaired_target: [U, 3, H, W], other faces, raw and retouched, that no pair exists of;
            both or neither.
    """

    raw: Tensor
    target: Tensor
    unpaired_raw: Tensor | None = None
    unpaired_target: Tensor | None = None

    def __post_init__(self) -> None:
        if self.raw.shape != self.target.shape:
            raise ValueError(
                f"raw is {tuple(self.raw.shape)}, target {tuple(self.target.shape)}; give pairs of one size."
            )
        lone, other = self.unpaired_raw, self.unpaired_target
        if (lone is None) != (other is None):
            raise ValueError("Unpaired pictures are of one kind only; give raw and retouched ones.")
        if lone is not None and other is not None and lone.shape != other.shape:
            raise ValueError(
                f"Unpaired raw is {tuple(lone.shape)}, retouched {tuple(other.shape)}; "
                "give as many of one size."
            )


def crop(pairs: Pairs, side: int, draws: torch.Generator) -> Pairs:
    """Windows [B, 3, side, side] at one random place of each pair; a side that is no longer stays whole."""
    height, width = pairs.raw.shape[-2:]
    count = len(pairs.raw)
    drawn = [[_offset(length, side, draws) for length in (height, width)] for _ in range(world() * count)]
    windows = []
    for raw, target, (y, x) in zip(pairs.raw, pairs.target, drawn[share_of(count)], strict=True):
        windows.append((raw[:, y : y + side, x : x + side], target[:, y : y + side, x : x + side]))
    raws, targets = zip(*windows, strict=True)
    return Pairs(torch.stack(raws), torch.stack(targets))


def _offset(length: int, side: int, draws: torch.Generator) -> int:
    return int(torch.randint(max(1, length - side + 1), (), generator=draws))


def mirror(pairs: Pairs, draws: torch.Generator) -> Pairs:
    """Each pair turned left to right, or not, by a coin."""
    count = len(pairs.raw)
    drawn = torch.rand(world() * count, 1, 1, 1, generator=draws)[share_of(count)]
    turned = drawn.to(pairs.raw.device) < 0.5
    return Pairs(
        torch.where(turned, pairs.raw.flip(-1), pairs.raw),
        torch.where(turned, pairs.target.flip(-1), pairs.target),
    )


def perturb_colour(pairs: Pairs, draws: torch.Generator, amount: float = 0.1) -> Pairs:
    """Every channel of each pair scaled by 1 +- amount and shifted by +- amount / 2, the same for both."""
    count = len(pairs.raw)
    drawn = torch.rand(2, world() * count, 3, 1, 1, generator=draws)[:, share_of(count)]
    drawn = drawn.to(pairs.raw.device) * 2 - 1
    scale, shift = 1 + amount * drawn[0], amount / 2 * drawn[1]
    return Pairs((pairs.raw * scale + shift).clamp(0, 1), (pairs.target * scale + shift).clamp(0, 1))


class PairTraining(ABC):
    """A network with all that trains it: `step` owns its optimisers, the state holds everything a resumed
    training needs. Processes that share it begin with the same seed, and have the state of one with all of
    their pairs."""

    network: nn.Module
    device: str

    @abstractmethod
    def parts(self) -> dict[str, Any]:
        """What has a `state_dict`, by name."""

    @abstractmethod
    def step(self, pairs: Pairs) -> dict[str, float]:
        """One step of every optimiser on `pairs`; the network's loss, and its terms by name, unweighted.

        Raises:
            LossNotFiniteError: before the weights that it would spoil are changed.
            ElsewhereError: another process cannot make the step.
        """

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {name: part.state_dict() for name, part in self.parts().items()}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on from a checkpoint, to the same losses as without the stop."""
        for name, part in self.parts().items():
            part.load_state_dict(saved[name])


def descend(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step on the mean of all processes' `loss` of the weights that `optimiser` owns and of no others.

    Raises:
        LossNotFiniteError: before any weight is changed.
        ElsewhereError: another process cannot make the step.
    """
    owned = weights_of(optimiser)
    with together(str(loss.device)):
        if not bool(torch.isfinite(loss)):
            raise LossNotFiniteError(f"loss {float(loss.detach())}")
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss, inputs=owned)
        norm = float(nn.utils.get_total_norm([weight.grad for weight in owned if weight.grad is not None]))
        if not math.isfinite(norm):
            raise LossNotFiniteError(f"norm of the gradients {norm}")
    average_gradients(owned)
    with together(str(loss.device)):  # the first step makes the moments
        optimiser.step()
