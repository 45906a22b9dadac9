"""Train an earlier system: the run behind `python -m model.train --system autoretouch|bpfre DATA OUT`."""

import copy
import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import nn

from model.config import UnknownPresetError
from model.curves import draw_curves
from model.data.clips import Clip
from model.data.pairs import PairsError
from model.data.portraits import FacesError
from model.distributed import leave, mean, rank
from model.earlier import Pairs, PairTraining
from model.earlier.options import Options, parser
from model.earlier.pairs import batches, held_out, learnt_from, to_device
from model.earlier.systems import Earlier, FrameByFrame, config_of, perceptual_of, training_of
from model.earlier.weights import save_earlier
from model.perceptual import Perceptual
from model.together import say, together
from model.train import Progress
from model.training import (
    LossNotFiniteError,
    TrainingError,
    average_into,
    found_checkpoint,
    joined,
    mean_terms,
    memory_said,
    not_finite,
    resuming,
    warm_average,
)
from model.training import to_device as clip_to_device
from model.validate import validate
from model.weights import WeightsError, save_atomic
from model.whole import write_whole


@dataclass
class Run:
    """One training under way.

    Attributes:
        options: what was asked.
        training: network, critic and optimisers.
        averaged: the network with the moving average of its weights.
        tests: what reports are about.
        learnt_from: hash of its pictures' names, by the argument that names their folder.
        progress: where it stands.
        saved: step of the checkpoint; None before there is one.
    """

    options: Options
    training: PairTraining
    averaged: Earlier
    tests: list[Clip]
    learnt_from: dict[str, str]
    progress: Progress = field(default_factory=Progress)
    saved: int | None = None

    @property
    def path(self) -> Path:
        """Of the checkpoint."""
        return self.options.out / "checkpoint.pt"

    @property
    def done(self) -> bool:
        """Whether the budget is used."""
        return self.progress.step >= self.options.steps or self.progress.minutes >= self.options.minutes

    def train(self) -> None:
        """Run until the budget is used; report and save on the way and at the end."""
        o, progress, device = self.options, self.progress, self.training.device
        recent: list[dict[str, float]] = []
        last = time.monotonic()
        with together(device):
            stream = batches(o, progress.step)
        while not self.done:
            with together(device):
                pairs = to_device(next(stream), device)
            recent.append(self.update(pairs))
            now = time.monotonic()
            taken = progress.minutes + min(now - last, 30.0) / 60  # a paused process does not use its budget
            progress.minutes = float(mean(torch.tensor(taken, dtype=torch.float64, device=device)))
            last = now
            if self.done or progress.step % o.every == 0:
                self.report(mean_terms(recent))
                recent, last = [], time.monotonic()

    def update(self, pairs: Pairs) -> dict[str, float]:
        """One step; the loss and its terms, means over the processes.

        Raises:
            TrainingError: it is not finite, or another process cannot make it; the weights are as they were.
        """
        try:
            terms = self.training.step(pairs)
        except LossNotFiniteError as error:
            step, remedy = self.progress.step + 1, "with a lower --rate"
            raise TrainingError(not_finite(step, error, self.saved, self.path, remedy)) from error
        self.progress.step += 1
        decay = warm_average(self.options.average, self.progress.step)
        average_into(self.averaged, self.training.network, decay)
        values = mean(torch.tensor(list(terms.values()), dtype=torch.float64, device=self.training.device))
        return dict(zip(terms, values.tolist(), strict=True))

    def report(self, terms: dict[str, float]) -> None:
        """Judge, print a line, and write everything, in the first process, for which the others wait."""
        with together(self.training.device):
            if rank() == 0:
                self._write_report(terms)
        self.saved = self.progress.step

    def _write_report(self, terms: dict[str, float]) -> None:
        out, progress = self.options.out, self.progress
        picture = out / f"validation-{progress.step:06d}.png"
        figures = validate(FrameByFrame(self.averaged), self.tests, picture).to_dict()
        progress.history.append({"step": progress.step, "minutes": progress.minutes, **terms, **figures})
        write_whole(json.dumps(progress.history, indent=1), out / "history.json")
        draw_curves(progress.history, out / "curves.png")
        self.save()
        line = ", ".join(f"{k} {v:.3g}" for k, v in {**terms, **figures}.items())
        print(f"step {progress.step}, {progress.minutes:.1f} min: {line}", flush=True)

    def save(self) -> None:
        """Checkpoint and averaged weights, each whole or not at all."""
        o = self.options
        content = {
            "system": o.system,
            "settings": o.settings(),
            "learnt_from": self.learnt_from,
            "training": self.training.state_dict(),
            "averaged": self.averaged.state_dict(),
            "progress": asdict(self.progress),
        }
        save_atomic(content, self.path)
        save_earlier(o.system, self.averaged, o.out / "weights.pt", perceptual=o.perceptual)

    def resume(self) -> None:
        """Go on from the checkpoint.

        Raises:
            TrainingError: it is of another system, of other settings or of other pictures.
            WeightsError: it is damaged.
        """
        o = self.options
        with resuming(self.path, o.system, o.settings(), self.learnt_from) as saved:
            self.training.load_state_dict(saved["training"])
            set_rate(self.training, o.rate)
            self.averaged.load_state_dict(saved["averaged"])
            self.progress = Progress(**saved["progress"])
            self.saved = self.progress.step


def prepare(options: Options, resume: bool, tests: list[Clip] | None = None) -> Run:
    """The training as asked, ready to run; `tests` in place of the usual clips for its reports.

    Raises:
        TrainingError, PairsError, FacesError, WeightsError: it cannot start, in this process or in another.
    """
    device = joined(options.device)
    with together(device):
        return _prepared(options, resume, tests, device)


def _prepared(options: Options, resume: bool, tests: list[Clip] | None, device: str) -> Run:
    found = found_checkpoint(options.out, resume)
    config = config_of(options.system, options.preset)
    if tests is None:
        tests = held_out(options) if rank() == 0 else []
    tests = [clip_to_device(clip, device) for clip in tests]
    training = training_of(config, _perceptual(options), options.seed, device)
    set_rate(training, options.rate)
    network = training.network
    averaged = copy.deepcopy(network)
    run = Run(options, training, averaged, tests, learnt_from(options))  # type: ignore[arg-type]
    if found:
        run.resume()
    return run


def set_rate(training: PairTraining, rate: float) -> None:
    """The network's rate, the critic's in proportion."""
    parts = training.parts()
    factor = rate / parts["optimiser"].param_groups[0]["lr"]
    for part in parts.values():
        if isinstance(part, torch.optim.Optimizer):
            for group in part.param_groups:
                group["lr"] *= factor


def _perceptual(options: Options) -> nn.Module | None:
    """VGG-19's term, if it is kept.

    Raises:
        WeightsError: its weights are not there.
    """
    if not options.perceptual:
        return None
    layers, distance = perceptual_of(options.system)
    try:
        return Perceptual(options.vgg, layers, distance)
    except WeightsError as error:
        said = str(error).removesuffix(".")
        raise WeightsError(
            f"{said}, with --vgg FILE; or train without that term, with --no-perceptual."
        ) from error


def main(system: str, argv: list[str] | None = None) -> int:
    """Run the command line."""
    arguments = vars(parser(system).parse_args(argv))
    resume = arguments.pop("resume")
    try:
        train(Options(system, **arguments), resume)
    except (TrainingError, PairsError, FacesError, WeightsError, UnknownPresetError, OSError) as error:
        say(error)
        return 2
    finally:
        leave()
    return 0


def train(options: Options, resume: bool = False) -> None:
    """Train as asked; what stops it is said in a sentence.

    Raises:
        TrainingError: the loss is not finite, or memory is out.
        PairsError, FacesError, WeightsError: the data or the weights cannot be used.
    """
    remedy = "lower --batch, --frames or --size"
    with memory_said(options.batch, options.frames, options.size, remedy):
        run = prepare(options, resume)
        with together(run.training.device):
            options.out.mkdir(parents=True, exist_ok=True)
        run.train()
