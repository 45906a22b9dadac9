"""What a training of the causal network is asked to do, and its command line."""

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from model.arguments import above_zero, not_negative, positive, share, side
from model.config import PRESETS
from model.distributed import world
from model.losses import LossWeights


@dataclass(frozen=True)
class Options:
    """What one training is asked to do; saved in the checkpoint.

    Attributes:
    faces: folder of prepared portraits.
    out: folder for checkpoints, weights, curves and pictures.
    preset: which network.
    minutes, steps: budget, whichever ends first.
    batch, frames, size: clips a step, frames a clip, side of a crop in face pixels.
    rate: peak learning rate.
    seed: of weights and clips.
    device: `cpu` or `cuda`, with its number where torchrun has started several.
    bf16: run the network and Muon in bfloat16 (losses and weights stay float32).
    average: decay of the moving average of the weights.
    every: steps between validations.
    takes: how often each painted face is filmed, with other motion, light and camera each time: painting
        takes most of the time (data echoing, Choi et al., 2019).
    density: factor on the number of marks: a denser clip teaches more a minute.
    diffuse: factor on how often redness, shine, shadow and the like are drawn: a clip has many marks, but one
        shine at most, so that it is learnt late.
    noise: factor on the most noise that a clip's camera has; at 1 it is a good camera's in good light.
    keep: weight of moles and freckles, beyond clean skin's 1, in the terms of what is retouched
        (model.losses); that of the localizer's classes is another.
    clean_share: clips with nothing painted, which teach the network to leave skin alone.
    compile: fuse the network and the losses with torch.compile; minutes at the start, a tenth less a step.
    gain_first: part of the budget in which the squared error that is left leads the loss; for a network that
        begins with nothing.
    leak: slope of ReLU's gradient below 0 (model.encoder.leaking), but for the end of the budget; for
        a network that begins with nothing, whose features die otherwise.
    teacher: weights of a wider network to learn from (model.distil).
    lean: how far targets go from the truth to the teacher's pictures.
    """

    faces: Path
    out: Path
    preset: str = "live"
    minutes: float = 60.0
    steps: int = 10**9
    batch: int = 4
    frames: int = 6
    size: int = 256
    rate: float = 1e-3
    seed: int = 0
    device: str = "cpu"
    bf16: bool = False
    average: float = 0.999
    every: int = 500
    takes: int = 2
    density: float = 1.5
    diffuse: float = 1.2
    noise: float = 1.0
    keep: float = LossWeights.keep
    clean_share: float = 0.08
    compile: bool = False
    gain_first: float = 0.0
    leak: float = 0.0
    teacher: Path | None = None
    lean: float = 0.5

    def settings(self) -> dict[str, Any]:
        """What a resumed training must have the same. Free are where, how long and how fast; and its rate and
        precision, which is what helps one that went astray."""
        free = ("faces", "out", "minutes", "steps", "device", "every", "compile", "rate", "bf16")
        return {k: v for k, v in self.plain().items() if k not in free}

    def plain(self) -> dict[str, Any]:
        """All of it, and how many processes share it, as plain values for the checkpoint."""
        asked = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(self).items()}
        return {**asked, "processes": world()}


def parse(description: str | None, argv: list[str] | None = None) -> argparse.Namespace:
    """The command line, which `description` introduces."""
    p = argparse.ArgumentParser(
        prog="python -m model.train", description=description, formatter_class=argparse.RawTextHelpFormatter
    )
    p.add_argument("faces", type=Path, help="prepared portraits, made by `python -m stream.portraits`")
    p.add_argument("out", type=Path, help="folder for checkpoint, weights, curves and pictures")
    p.add_argument("--preset", default="live", choices=sorted(PRESETS), help="which network (live)")
    p.add_argument(
        "--minutes",
        type=above_zero,
        default=Options.minutes,
        help="budget over all resumed runs (%(default)g)",
    )
    p.add_argument("--steps", type=positive, default=Options.steps, help="the same in steps (no end)")
    p.add_argument("--batch", type=positive, default=Options.batch, help="clips a step (%(default)s)")
    p.add_argument("--frames", type=positive, default=Options.frames, help="frames a clip (%(default)s)")
    p.add_argument(
        "--size",
        type=side,
        default=Options.size,
        help="side of a training crop, a multiple of 64, at most 512 (%(default)s)",
    )
    p.add_argument(
        "--rate", type=above_zero, default=Options.rate, help="highest learning rate (%(default)g)"
    )
    p.add_argument("--seed", type=int, default=Options.seed, help="of weights and clips (%(default)s)")
    p.add_argument(
        "--device",
        default="cuda" if torch.cuda.is_available() else "cpu",
        choices=["cpu", "cuda"],
        help="where it is trained (cuda where there is one)",
    )
    p.add_argument(
        "--bf16", action="store_true", help="bfloat16 in the network; twice as fast where the chip has it"
    )
    _add_clips(p)
    p.add_argument(
        "--compile", action="store_true", help="fuse with torch.compile: slower to start, faster to run"
    )
    _add_loss(p)
    p.add_argument(
        "--average",
        type=share,
        default=Options.average,
        help="decay of the average of the weights, 0 to 1 (%(default)g)",
    )
    p.add_argument(
        "--every", type=positive, default=Options.every, help="steps between validations (%(default)s)"
    )
    p.add_argument("--resume", action="store_true", help="go on from OUT/checkpoint.pt")
    p.add_argument("--start-from", type=Path, help="weights to begin with")
    found = p.parse_args(argv)
    if found.lean is None:
        found.lean = Options.lean
    elif found.teacher is None:
        p.error("--lean is for a teacher; give --teacher WEIGHTS too")
    return found


def _add_clips(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--takes",
        type=positive,
        default=Options.takes,
        help="how often each painted face is filmed (%(default)s)",
    )
    p.add_argument(
        "--density",
        type=not_negative,
        default=Options.density,
        help="factor on the number of marks (%(default)g)",
    )
    p.add_argument(
        "--diffuse",
        type=not_negative,
        default=Options.diffuse,
        help="factor on how often what has no border is drawn, redness, shine, shadow (%(default)g)",
    )
    p.add_argument(
        "--noise",
        type=above_zero,
        default=Options.noise,
        help="factor on the cameras' noise: 2.4 for rooms with little light (%(default)g)",
    )
    p.add_argument(
        "--clean-share",
        type=share,
        default=Options.clean_share,
        help="part of the clips with nothing painted, 0 to 1 (%(default)g)",
    )


def _add_loss(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--keep",
        type=above_zero,
        default=Options.keep,
        help="how much moles and freckles count in what is retouched, beyond clean skin's 1 (%(default)g)",
    )
    p.add_argument(
        "--gain-first",
        type=share,
        default=Options.gain_first,
        help="part of the budget in which the squared error leads, 0 to 1: from nothing it learns sooner",
    )
    p.add_argument(
        "--leak",
        type=share,
        default=Options.leak,
        help="slope of ReLU's gradient below 0 in most of the budget: from nothing, 0.1 keeps features alive",
    )
    p.add_argument(
        "--teacher", type=Path, help="weights of a wider network, to learn from what it makes of clips"
    )
    p.add_argument(
        "--lean",
        type=share,
        help=f"how far targets go from the truth to the teacher's pictures, 0 to 1 (default: {Options.lean})",
    )
