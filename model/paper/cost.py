"""What a training step of the published network costs: `python -m model.paper.cost`.

Counted, not run: the step's tensors have shapes and no content (torch's meta device), so that no GPU and no
memory is needed. Arithmetic is that of products and convolutions, forward and backward; memory is what
autograd keeps for the backward passes, each tensor once, beside the weights, their gradients and Adam's two
moments. What a library takes for its own work is not in it.
"""

import argparse
import sys
from collections.abc import Iterable
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from model.arguments import above_zero, positive
from model.data.clips import Clip
from model.paper.config import PRESETS, preset
from model.paper.losses import PERCEPTUAL_LAYERS
from model.paper.training import PaperTraining
from model.perceptual import Perceptual, Vgg19
from model.training import weights_of

SECONDS_AN_HOUR = 3600
LEAST_PX = 32  # smaller pictures end on VGG-19's way down


@dataclass(frozen=True)
class Cost:
    """Of one step: tflop, 10^12 operations; weights_gb, kept_gb: memory of what stays, and of what the
    backward passes need, in 10^9 bytes."""

    tflop: float
    weights_gb: float
    kept_gb: float

    def hours(self, steps: int, tflops: float, share: float) -> float:
        """Of `steps` on a device of `tflops` 10^12 operations a second, of which a share is reached."""
        return steps * self.tflop / (tflops * share) / SECONDS_AN_HOUR


def count(name: str, frames: int, size: int) -> Cost:
    """A step of the preset `name` on one clip, in float32, with all of Eq. 9."""
    with torch.device("meta"):
        perceptual = _perceptual()
        training = PaperTraining(preset(name), perceptual, device="meta")
        clip = _clip(frames, size)
    training.device = "cpu"  # where autocast, which is off, is asked after
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[_place(tensor)] = tensor
        return tensor

    turns = (training.localizing, training.retouching, training.judging)
    with FlopCounterMode(display=False) as counter:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            losses = training.losses(clip)
        for loss, turn in zip((losses.localize, losses.retouch, losses.judge), turns, strict=True):
            torch.autograd.backward(loss, inputs=weights_of(turn), retain_graph=True)
    taught = [weight for turn in turns for weight in weights_of(turn)]
    fixed = list(perceptual.parameters())
    shared = {_place(weight) for weight in (*taught, *fixed)}
    needed = sum(t.untyped_storage().nbytes() for place, t in kept.items() if place not in shared)
    weights = 4 * _bytes(taught) + _bytes(training.averaged.parameters()) + _bytes(fixed)
    return Cost(counter.get_total_flops() / 1e12, weights / 1e9, needed / 1e9)


def _place(tensor: Tensor) -> int:
    """The same for tensors that share their memory, if they had any."""
    return int(tensor.untyped_storage()._cdata)


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.untyped_storage().nbytes() for tensor in tensors)


def _perceptual() -> Perceptual:
    """VGG-19 whole, without content."""
    made = Perceptual(None, PERCEPTUAL_LAYERS, seed=0)
    made.vgg = Vgg19(made.vgg.layers[-1])
    return made.to("meta")


def _clip(frames: int, size: int) -> Clip:
    shapes = {"raw": 3, "target": 3, "map": 1, "flow": 2, "skin": 1, "keep": 2}
    assert set(shapes) < {field.name for field in fields(Clip)}
    parts = {name: torch.empty(1, frames, channels, size, size) for name, channels in shapes.items()}
    return Clip(**parts, to_canvas=None, face_index=[0])


def main(argv: list[str] | None = None) -> int:
    """Run the command line."""
    p = argparse.ArgumentParser(
        prog="python -m model.paper.cost",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    p.add_argument("--preset", default="paper", choices=sorted(PRESETS))
    p.add_argument("--frames", type=positive, default=6)
    p.add_argument("--size", type=positive, default=512)
    p.add_argument("--steps", type=positive, default=400_000)
    p.add_argument("--tflops", type=above_zero, default=35.6, help="of the device (35.6: RTX 3090, float32)")
    p.add_argument("--share", type=above_zero, default=0.5, help="of them that are reached (0.5)")
    o = p.parse_args(argv)
    wrong = preset(o.preset).wrong_side(o.size)
    if o.size < LEAST_PX and not wrong:
        wrong = f"A size of {o.size} leaves nothing for VGG-19 to see; give --size {LEAST_PX} or more."
    if wrong:
        print(wrong, file=sys.stderr)
        return 2
    cost = count(o.preset, o.frames, o.size)
    print(
        f"{o.preset}, {o.frames} frames of {o.size} px: {cost.tflop:.2f} TFLOP a step, weights and Adam "
        f"{cost.weights_gb:.2f} GB, kept for the backward passes {cost.kept_gb:.1f} GB in float32; "
        f"{o.steps} steps at {o.share:g} of {o.tflops:g} TFLOP/s: "
        f"{cost.hours(o.steps, o.tflops, o.share):.0f} hours"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
