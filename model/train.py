"""Train a preset recurrently over clips: `python -m model.train FACES_DIR OUT_DIR`.

One resumable command. OUT_DIR receives `checkpoint.pt` (everything, written atomically), `weights.pt` (the
averaged weights), `curves.png`, `history.json` and `validation-<step>.png`. The schedule follows the budget
(`--minutes` or `--steps`, the whole budget over all resumed runs), so that a resumed run goes on where the
stopped one was. For the published network, which learns from raw and retouched pairs, and for the systems
that came before, see `python -m model.train --system paper|autoretouch|bpfre --help`.
"""

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from model.arguments import above_zero, positive, share, side
from model.config import PRESETS, Config, preset
from model.curves import draw_curves
from model.data.clips import Clip, ClipConfig, ClipSampler
from model.data.portraits import FacesError, Portraits
from model.encoder import leaking
from model.losses import GAIN_LED, LossWeights, Terms, Truth, frame_terms
from model.optimiser import Optimiser
from model.state import State
from model.systems import LIVE, chosen_system, trainer_of
from model.training import (
    TrainingError,
    average_into,
    demand_one_process,
    fused,
    learning_rate,
    mean_terms,
    memory_said,
    to_device,
    warm_average,
)
from model.validate import validate
from model.vretoucher import Step, Trace, VRetouchEr
from model.weights import WeightsError, load_weights, loading, save_atomic, save_weights

TraceFunction = Callable[[Tensor, State], tuple[Step, Trace]]
TermsFunction = Callable[[Step, Trace, Truth, Tensor | None, LossWeights], tuple[Terms, Tensor]]

# Batches that wait to be drawn: so far apart, on average, are two takes of one face.
SHUFFLED = 8
# Part of the budget in which ReLU may leak: it ends with the network's own gradients.
LEAKY_SHARE = 0.7


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
    device: `cpu` or `cuda`.
    bf16: run the network in bfloat16 (losses and weights stay float32).
    average: decay of the moving average of the weights.
    every: steps between validations.
    takes: how often each painted face is filmed, with other motion, light and camera each time: painting
        takes most of the time (data echoing, Choi et al., 2019).
    density: factor on the number of marks: a denser clip teaches more a minute.
    diffuse: factor on how often redness, shine, shadow and the like are drawn: a clip has many marks, but one
        shine at most, so that it is learnt late.
    clean_share: clips with nothing painted, which teach the network to leave skin alone.
    compile: fuse the network and the losses with torch.compile; minutes at the start, a third less a step.
    gain_first: part of the budget in which the gain leads the loss; for a network that begins with nothing.
    leak: slope of ReLU's gradient below 0 (model.encoder.leaking) in the first LEAKY_SHARE of the budget; for
        a network that begins with nothing, whose features die otherwise.
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
    clean_share: float = 0.08
    compile: bool = False
    gain_first: float = 0.0
    leak: float = 0.0


@dataclass
class Progress:
    """Where a training stands: what a checkpoint keeps beside the tensors."""

    step: int = 0
    minutes: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)

    def share(self, options: Options) -> float:
        """Part of the budget that is used, 0 to 1."""
        return min(1.0, max(self.minutes / options.minutes, self.step / options.steps))


class ClipStream(IterableDataset[Clip]):
    """Endless training clips; the seed holds the step, so that a resumed run does not see the same ones
    again."""

    def __init__(self, options: Options, step: int) -> None:
        Portraits(options.faces, "train")  # what cannot be read is said here, not by the process that draws
        self.options, self.step = options, step

    def __iter__(self) -> Iterator[Clip]:
        worker = torch.utils.data.get_worker_info()
        number = worker.id if worker else 0
        torch.set_num_threads(1)
        o = self.options
        seed = o.seed * 1_000_003 + self.step * 64 + number
        config = ClipConfig(
            size=o.size,
            frames=o.frames,
            density=o.density,
            diffuse=o.diffuse,
            clean_share=o.clean_share,
        )
        sampler = ClipSampler(o.faces, config, split="train", seed=seed)
        waiting: list[Clip] = []
        draw = random.Random(seed)
        while True:
            while len(waiting) < (SHUFFLED if o.takes > 1 else 1):
                waiting += sampler.takes(o.batch, o.takes)
            yield waiting.pop(draw.randrange(len(waiting)))


class Training:
    """A network, its average, its optimiser and its progress, saved and resumed as one."""

    def __init__(self, options: Options, config: Config | None = None) -> None:
        """`config` in place of the one of `options.preset`, for a network without some part."""
        torch.manual_seed(options.seed)
        self.options = options
        config = config or preset(options.preset)
        self.network = VRetouchEr(config).to(options.device)
        self.network.decoder.begin_at_nothing()
        self.averaged = VRetouchEr(config).to(options.device)
        self.averaged.load_state_dict(self.network.state_dict())
        self.optimiser = Optimiser(self.network, options.rate)
        self.progress = Progress()
        self.trace: TraceFunction = self.network.trace
        self.frame_terms: TermsFunction = frame_terms
        if options.compile:
            self.trace, self.frame_terms = fused(self.trace), fused(self.frame_terms)

    def parts(self) -> dict[str, Any]:
        """The parts with tensors, by name."""
        return {"network": self.network, "averaged": self.averaged, "optimiser": self.optimiser}

    def save(self) -> None:
        """Checkpoint and averaged weights, each whole or not at all."""
        content = {name: part.state_dict() for name, part in self.parts().items()}
        options = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(self.options).items()}
        save_atomic(
            {**content, "progress": asdict(self.progress), "options": options},
            self.options.out / "checkpoint.pt",
        )
        save_weights(self.averaged, self.options.out / "weights.pt")

    def resume(self) -> None:
        """Continue from the checkpoint in the output folder.

        Raises:
            WeightsError: it is damaged, or of another network.
        """
        path = self.options.out / "checkpoint.pt"
        remedy = "give another folder, or train on from its weights with --start-from"
        with loading(path, "checkpoint of this network", remedy):
            saved = torch.load(path, map_location=self.options.device, weights_only=True)
            for name, part in self.parts().items():
                part.load_state_dict(saved[name])
            self.progress = Progress(**saved["progress"])

    def start_from(self, path: Path) -> None:
        """Take the weights at `path` as a beginning.

        Raises:
            WeightsError: they are missing, damaged or of another preset.
        """
        found = load_weights(path)
        if found.config != self.network.config:
            raise WeightsError(f"{path} is of preset {found.config.preset!r}; name it with --preset")
        self.take(found)

    def take(self, network: VRetouchEr) -> None:
        """Begin with the weights of `network`, of the same sizes."""
        self.network.load_state_dict(network.state_dict())
        self.averaged.load_state_dict(network.state_dict())

    @property
    def weights(self) -> LossWeights:
        """Of the loss's terms, now."""
        led = self.progress.share(self.options) < self.options.gain_first
        return GAIN_LED if led else LossWeights()

    def clip_loss(self, clip: Clip) -> tuple[Tensor, dict[str, float]]:
        """Mean loss over the frames of a clip, run recurrently, and its terms."""
        weights, state = self.weights, self.network.fresh_state(clip.raw[:, 0])
        error_prev: Tensor | None = None
        totals: list[Tensor] = []
        terms: list[Terms] = []
        for t in range(clip.raw.shape[1]):
            truth = Truth(clip.raw[:, t], clip.target[:, t], clip.map[:, t], clip.flow[:, t], clip.keep[:, t])
            with torch.autocast(self.options.device, torch.bfloat16, enabled=self.options.bf16):
                step, trace = self.trace(truth.raw, state)
            state = step.state
            frame, error_prev = self.frame_terms(step, trace, truth, error_prev, weights)
            totals.append(frame.total(weights))
            terms.append(frame)
        names = Terms.__dataclass_fields__
        means = {name: sum(float(getattr(t, name).detach()) for t in terms) / len(terms) for name in names}
        return torch.stack(totals).mean(), means

    def update(self, clip: Clip) -> dict[str, float]:
        """One optimiser step; the loss's terms."""
        share = self.progress.share(self.options)
        self.optimiser.set_rate(learning_rate(share, self.options.rate))
        with leaking(self.options.leak if share < LEAKY_SHARE else 0.0):
            loss, terms = self.clip_loss(clip)
        self.optimiser.zero_grad()
        torch.autograd.backward(loss)
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        if torch.isfinite(norm):
            self.optimiser.step()
        self.progress.step += 1
        decay = warm_average(self.options.average, self.progress.step)
        average_into(self.averaged, self.network, decay)
        return {"loss": float(loss.detach()), "norm": float(norm), **terms}

    def report(self, terms: dict[str, float], clips: list[Clip]) -> None:
        """Validate, print a line, write curves, pictures and the checkpoint."""
        out, step = self.options.out, self.progress.step
        figures = validate(self.averaged, clips, out / f"validation-{step:06d}.png").to_dict()
        self.progress.history.append({"step": step, "minutes": self.progress.minutes, **terms, **figures})
        (out / "history.json").write_text(json.dumps(self.progress.history, indent=1))
        draw_curves(self.progress.history, out / "curves.png")
        self.save()
        line = ", ".join(f"{k} {v:.3g}" for k, v in {**terms, **figures}.items())
        print(f"step {step}, {self.progress.minutes:.1f} min: {line}", flush=True)


def validation_clips(options: Options) -> list[Clip]:
    """The same held-out clips every time."""
    config = ClipConfig(size=512, frames=5, clean_share=0.0)
    sampler = ClipSampler(options.faces, config, split="heldout", seed=12345)
    return [sampler.sample(4) for _ in range(2)]


def train(training: Training, clips: list[Clip]) -> None:
    """Run until the budget is used; validate and save on the way and at the end."""
    options, progress = training.options, training.progress
    loader = DataLoader(ClipStream(options, progress.step), batch_size=None, num_workers=1, prefetch_factor=4)
    recent: list[dict[str, float]] = []
    last = time.monotonic()
    for clip in loader:
        recent.append(training.update(to_device(clip, options.device)))
        now = time.monotonic()
        progress.minutes += min(now - last, 30.0) / 60  # a paused process does not use its budget
        last = now
        done = progress.share(options) >= 1
        if done or progress.step % options.every == 0:
            training.report(mean_terms(recent), clips)
            recent = []
            last = time.monotonic()
        if done:
            return


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="python -m model.train", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    p.add_argument("faces", type=Path, help="prepared portraits, made by `python -m stream.portraits`")
    p.add_argument("out", type=Path, help="folder for checkpoint, weights, curves and pictures")
    p.add_argument("--preset", default="live", choices=sorted(PRESETS))
    p.add_argument("--minutes", type=above_zero, default=Options.minutes, help="budget over all resumed runs")
    p.add_argument("--steps", type=positive, default=Options.steps)
    p.add_argument("--batch", type=positive, default=Options.batch)
    p.add_argument("--frames", type=positive, default=Options.frames)
    p.add_argument(
        "--size",
        type=side,
        default=Options.size,
        help="side of a training crop, a multiple of 64, at most 512",
    )
    p.add_argument("--rate", type=above_zero, default=Options.rate)
    p.add_argument("--seed", type=int, default=Options.seed)
    p.add_argument(
        "--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=["cpu", "cuda"]
    )
    p.add_argument(
        "--bf16", action="store_true", help="bfloat16 in the network; twice as fast where the chip has it"
    )
    p.add_argument(
        "--takes", type=positive, default=Options.takes, help="how often each painted face is filmed"
    )
    p.add_argument("--density", type=float, default=Options.density, help="factor on the number of marks")
    p.add_argument(
        "--diffuse", type=float, default=Options.diffuse, help="factor on what has no border: redness, shine"
    )
    p.add_argument(
        "--clean-share",
        type=float,
        default=Options.clean_share,
        help="part of the clips with nothing painted",
    )
    p.add_argument(
        "--compile", action="store_true", help="fuse with torch.compile: slower to start, faster to run"
    )
    p.add_argument(
        "--gain-first",
        type=share,
        default=Options.gain_first,
        help="part of the budget in which the gain leads the loss, 0 to 1: from nothing it learns sooner",
    )
    p.add_argument(
        "--leak",
        type=share,
        default=Options.leak,
        help="slope of ReLU's gradient below 0 in most of the budget: from nothing, 0.1 keeps features alive",
    )
    p.add_argument("--average", type=float, default=Options.average)
    p.add_argument("--every", type=positive, default=Options.every, help="steps between validations")
    p.add_argument("--resume", action="store_true", help="go on from OUT/checkpoint.pt")
    p.add_argument("--start-from", type=Path, help="weights to begin with")
    return p.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the command line."""
    try:
        return _main(argv)
    except KeyboardInterrupt:
        print("stopped; go on from the last checkpoint with --resume", file=sys.stderr)
        return 130


def _main(argv: list[str] | None) -> int:
    system, argv = chosen_system(argv)
    if system != LIVE:
        return trainer_of(system)(argv)
    arguments = vars(parse(argv))
    try:
        run(arguments.pop("resume"), arguments.pop("start_from"), Options(**arguments))
    except (TrainingError, FacesError, WeightsError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def run(resume: bool, start_from: Path | None, options: Options) -> None:
    """Train as asked.

    Raises:
        TrainingError: torchrun has started several of it, or memory is out.
        FacesError, WeightsError: the portraits or the weights cannot be used.
    """
    demand_one_process("preset live", "python -m model.train")
    with memory_said(options.batch, options.frames, options.size, "lower --batch, --frames or --size"):
        # What cannot be is said before the clips are made, which takes a while.
        ClipStream(options, 0)
        training = Training(options)
        if resume and (options.out / "checkpoint.pt").is_file():
            training.resume()
        elif start_from is not None:
            training.start_from(start_from)
        clips = validation_clips(options)
        options.out.mkdir(parents=True, exist_ok=True)
        train(training, clips)


if __name__ == "__main__":
    raise SystemExit(main())
