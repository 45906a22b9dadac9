"""What a training step costs: `python -m model.cost --system paper|autoretouch|bpfre`, all as published.

Counted, not run: the step is the trainer's own, on tensors that have shapes and no content (torch's meta
device), so that no GPU and no memory is needed. Arithmetic is that of products and convolutions, forward and
backward; memory is the most that autograd keeps at a time for the backward passes, each tensor once, beside
the weights, their gradients, Adam's two moments and the moving average. What a library takes for its own work
is not in it.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from model.arguments import above_zero, positive
from model.autoretouch import WINDOW_PX
from model.config import UnknownPresetError
from model.data.clips import Clip
from model.earlier import Pairs, PairTraining
from model.earlier.systems import config_of, perceptual_of, training_of
from model.paper.config import preset as paper_preset
from model.paper.losses import PERCEPTUAL_LAYERS
from model.paper.training import PaperTraining
from model.perceptual import Perceptual, Vgg19
from model.systems import EARLIER, PAPER
from model.training import weights_of

SECONDS_AN_HOUR = 3600
LEAST_PX = 32  # smaller pictures end on VGG-19's way down


@dataclass(frozen=True)
class Step:
    """What is counted.

    Attributes:
        system: "paper", "autoretouch" or "bpfre".
        preset: sizes of its network.
        batch, frames: clips, and frames of each. `paper` adds up its clips' gradients one after another;
            to the others every frame is a pair, all at once.
        size: side of the frames.
    """

    system: str
    preset: str
    batch: int
    frames: int
    size: int


# The step of each system as published, and how many of them.
PUBLISHED = {
    "paper": (Step("paper", "paper", 1, 6, 512), 400_000),
    "autoretouch": (Step("autoretouch", "published", 75, 1, 512), 373_333),
    "bpfre": (Step("bpfre", "published", 1, 1, 512), 400_000),
}


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


def count(step: Step) -> Cost:
    """The step in float32, with all of its perceptual term.

    Raises:
        UnknownPresetError: the system has no such preset.
    """
    return _paper(step) if step.system == PAPER else _earlier(step)


def _paper(step: Step) -> Cost:
    with torch.device("meta"):
        perceptual = _perceptual(PERCEPTUAL_LAYERS)
        training = PaperTraining(paper_preset(step.preset), perceptual, device="meta")
        clips = [_clip(step.frames, step.size)] * step.batch
    training.device = "cpu"  # where autocast, which is off, is asked after
    return _counted(lambda: training.step(clips), _taught(training), training.averaged, perceptual)


def _earlier(step: Step) -> Cost:
    config = config_of(step.system, step.preset)
    layers, distance = perceptual_of(step.system)
    with torch.device("meta"):
        perceptual = _perceptual(layers, distance)
    training = training_of(config, perceptual, 0, "meta")
    pictures = torch.empty(step.batch * step.frames, 3, step.size, step.size, device="meta")
    pairs = Pairs(pictures, pictures.clone())
    return _counted(lambda: training.step(pairs), _taught(training), training.network, perceptual)


def _taught(training: PaperTraining | PairTraining) -> list[Tensor]:
    optimisers = [part for part in training.parts().values() if isinstance(part, torch.optim.Optimizer)]
    return [weight for optimiser in optimisers for weight in weights_of(optimiser)]


def _counted(
    step: Callable[[], object], taught: Sequence[Tensor], averaged: nn.Module, seen: nn.Module
) -> Cost:
    """The step on weights that it teaches, of some of which there is a moving average, and on those that it
    sees with."""
    fixed = list(seen.parameters())
    memory = _Memory({_place(weight) for weight in (*taught, *fixed)})
    hooks = torch.autograd.graph.saved_tensors_hooks(memory.keep, lambda kept: kept.tensor)
    with _Contentless(), hooks:
        step()
    # Apart, as FlopCounterMode keeps graphs longer than they are needed.
    with FlopCounterMode(display=False) as counter, _Contentless():
        step()
    weights = 4 * _bytes(taught) + _bytes(averaged.parameters()) + _bytes(fixed)
    return Cost(counter.get_total_flops() / 1e12, weights / 1e9, memory.most / 1e9)


class _Contentless(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Every number that is read off a tensor without content is 1."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if func is torch.ops.aten._local_scalar_dense.default and args[0].is_meta:
            return 1
        if (
            func is torch.ops.aten._to_copy.default
            and args[0].is_meta
            and given.get("device") == torch.device("cpu")
        ):
            return torch.ones(args[0].shape)
        return func(*args, **given)


class _Memory:
    """How many bytes autograd keeps, and the most at a time."""

    def __init__(self, apart: set[int]) -> None:
        self.apart = apart
        self.holders: Counter[int] = Counter()
        self.now = self.most = 0

    def keep(self, tensor: Tensor) -> "_Kept":
        return _Kept(tensor, self)

    def hold(self, tensor: Tensor) -> None:
        place = _place(tensor)
        self.holders[place] += 1
        if self.holders[place] == 1 and place not in self.apart:
            self.now += tensor.untyped_storage().nbytes()
            self.most = max(self.most, self.now)

    def let_go(self, tensor: Tensor) -> None:
        place = _place(tensor)
        self.holders[place] -= 1
        if self.holders[place] == 0 and place not in self.apart:
            self.now -= tensor.untyped_storage().nbytes()


class _Kept:
    """A tensor as long as autograd keeps it."""

    def __init__(self, tensor: Tensor, memory: _Memory) -> None:
        self.tensor, self.memory = tensor.detach(), memory  # with its graph, an output would keep itself
        memory.hold(tensor)

    def __del__(self) -> None:
        self.memory.let_go(self.tensor)


def _place(tensor: Tensor) -> int:
    """The same for tensors that share their memory, if they had any."""
    return int(tensor.untyped_storage()._cdata)


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.untyped_storage().nbytes() for tensor in tensors)


def _perceptual(layers: Sequence[str], distance: Any = nn.functional.mse_loss) -> Perceptual:
    """VGG-19 whole, without content."""
    made = Perceptual(None, layers, distance, seed=0)
    made.vgg = Vgg19(made.vgg.layers[-1])
    return made.to("meta")


def _clip(frames: int, size: int) -> Clip:
    shapes = {"raw": 3, "target": 3, "map": 1, "flow": 2, "skin": 1, "keep": 2}
    assert set(shapes) < {field.name for field in fields(Clip)}
    parts = {name: torch.empty(1, frames, channels, size, size) for name, channels in shapes.items()}
    return Clip(**parts, to_canvas=None, face_index=[0])


def wrong_side(step: Step) -> str | None:
    """What is wrong with the frames' side, in a sentence, if anything is.

    Raises:
        UnknownPresetError: the system has no such preset.
    """
    if step.system == PAPER:
        wrong = paper_preset(step.preset).wrong_side(step.size)
        if wrong:
            return wrong
    else:
        multiple = config_of(step.system, step.preset).multiple_px
        if step.size % multiple:
            return f"A size of {step.size} is no multiple of {multiple}, as {step.system} needs it."
    if step.size < LEAST_PX:
        return f"A size of {step.size} leaves nothing for VGG-19 to see; give --size {LEAST_PX} or more."
    return None


def main(argv: list[str] | None = None) -> int:
    """Run the command line."""
    p = argparse.ArgumentParser(
        prog="python -m model.cost",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    p.add_argument("--system", default=PAPER, choices=(PAPER, *EARLIER))
    p.add_argument("--preset", help="sizes of its network (as published)")
    p.add_argument("--batch", type=positive, help="clips of a step (as published: 1, autoretouch 75)")
    p.add_argument("--frames", type=positive, help="frames of a clip (6, the earlier systems 1)")
    p.add_argument(
        "--size", type=positive, help=f"side of a frame; autoretouch sees {WINDOW_PX} px of it (512)"
    )
    p.add_argument("--steps", type=positive, help="(as published: 400000, autoretouch 373333)")
    p.add_argument("--tflops", type=above_zero, default=35.6, help="of the device (35.6: RTX 3090, float32)")
    p.add_argument("--share", type=above_zero, default=0.5, help="of them that are reached (0.5)")
    o = p.parse_args(argv)
    step, steps = _asked(o)
    try:
        wrong = wrong_side(step)
    except UnknownPresetError as error:
        wrong = str(error)
    if wrong:
        print(wrong, file=sys.stderr)
        return 2
    cost = count(step)
    print(
        f"{step.system}, preset {step.preset}, {step.batch} x {step.frames} frames of {step.size} px: "
        f"{cost.tflop:.2f} TFLOP a step, weights and Adam {cost.weights_gb:.2f} GB, "
        f"kept for the backward passes {cost.kept_gb:.1f} GB in float32; "
        f"{steps} steps at {o.share:g} of {o.tflops:g} TFLOP/s: "
        f"{cost.hours(steps, o.tflops, o.share):.0f} hours"
    )
    return 0


def _asked(options: argparse.Namespace) -> tuple[Step, int]:
    """The published step of the system, with what is asked otherwise."""
    published, steps = PUBLISHED[options.system]
    asked = {f.name: getattr(options, f.name) for f in fields(Step)}
    given = {name: value for name, value in asked.items() if value is not None}
    return Step(**{**vars(published), **given}), options.steps or steps


if __name__ == "__main__":
    sys.exit(main())
