"""Train the published network on pairs: the run behind `python -m model.train --preset paper DATA OUT`."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from model.curves import draw_curves
from model.data.ahead import made_ahead
from model.data.clips import Clip
from model.data.pairs import PairsError
from model.data.sequences import PairClips, SequenceConfig
from model.distributed import leave, rank, world
from model.paper.judge import judge
from model.paper.losses import PERCEPTUAL_LAYERS
from model.paper.options import NONE, Options, parse
from model.paper.teacher import Teacher, open_teacher, taught_flow
from model.paper.training import PaperTraining
from model.paper.weights import save_paper
from model.perceptual import Perceptual
from model.systems import PAPER
from model.together import say, together
from model.training import (
    LossNotFiniteError,
    TrainingError,
    found_checkpoint,
    joined,
    mean_terms,
    memory_said,
    names_hash,
    not_finite,
    resuming,
    to_device,
)
from model.weights import WeightsError, save_atomic
from model.whole import write_whole

JUDGED_SEED = 12345


@dataclass
class Run:
    """One training under way.

    Attributes:
        options: what was asked.
        training: networks and optimisers.
        clips, tests: what is learnt from and judged by.
        teacher: of the flow where it is not known.
        minutes: spent so far, over all resumed runs.
        history: the reports, of the first process alone.
        saved: step of the checkpoint, in every process; None before there is one.
    """

    options: Options
    training: PaperTraining
    clips: PairClips
    tests: list[Clip]
    teacher: Teacher | None
    minutes: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    saved: int | None = None

    @property
    def path(self) -> Path:
        """Of the checkpoint."""
        return self.options.out / "checkpoint.pt"

    @property
    def learnt_from(self) -> dict[str, str]:
        """What a resumed training must have the same of its pictures."""
        return {"DATA": names_hash(pair.name for pair in self.clips.pairs)}

    def numbers(self) -> Iterator[list[int]]:
        """Numbers of the clips of each batch to come, of this process; over all processes and batches of
        step s they are s n to s n + n - 1, so that the curve does not depend on who works out what."""
        o = self.options
        total = o.accumulate * world() * o.batch
        for step in range(self.training.steps, o.iterations):
            for part in range(o.accumulate):
                first = step * total + (part * world() + rank()) * o.batch
                yield list(range(first, first + o.batch))

    def taught(self, clip: Clip) -> Clip:
        """The clip on the device, its flow filled in where it is not known."""
        clip = to_device(clip, self.training.device)
        if self.teacher is None:
            return clip
        return replace(clip, flow=taught_flow(self.teacher, clip.map))

    def train(self) -> None:
        """Run to the end of the budget; report and save on the way."""
        o, training = self.options, self.training
        flow_known = self.clips.flow_known or self.teacher is not None
        made = made_ahead(self.clips.batch, self.numbers(), o.threads)
        recent: list[dict[str, float]] = []
        last = time.monotonic()
        while training.steps < o.iterations:
            with together(training.device):
                clips = [self.taught(next(made)) for _ in range(o.accumulate)]
            recent.append(self.update(clips, flow_known))
            now = time.monotonic()
            self.minutes, last = self.minutes + (now - last) / 60, now
            if training.steps % o.every == 0 or training.steps == o.iterations:
                self.report(mean_terms(recent))
                recent, last = [], time.monotonic()

    def update(self, clips: list[Clip], flow_known: bool) -> dict[str, float]:
        """One step; the loss and its terms.

        Raises:
            TrainingError: it is not finite, or another process cannot make it; the weights are as they were.
        """
        try:
            return self.training.step(clips, flow_known)
        except LossNotFiniteError as error:
            remedy = "with a lower --rate, or without --bf16"
            raise TrainingError(
                not_finite(self.training.steps + 1, error, self.saved, self.path, remedy)
            ) from error

    def report(self, terms: dict[str, float]) -> None:
        """Judge, print a line and write everything, in the first process, for which the others wait."""
        with together(self.training.device):
            if rank() == 0:
                self._write_report(terms)
        self.saved = self.training.steps

    def _write_report(self, terms: dict[str, float]) -> None:
        training, out = self.training, self.options.out
        figures = judge(training.averaged, self.tests, training.averaged.references)
        self.history.append({"step": training.steps, "minutes": self.minutes, **terms, **figures})
        write_whole(json.dumps(self.history, indent=1), out / "history.json")
        draw_curves(self.history, out / "curves.png")
        self.save()
        line = ", ".join(f"{k} {v:.4g}" for k, v in {**terms, **figures}.items())
        print(f"step {training.steps}, {self.minutes:.1f} min: {line}", flush=True)

    def save(self) -> None:
        """Checkpoint and averaged weights."""
        content = {
            "system": PAPER,
            "settings": self.options.settings(),
            "learnt_from": self.learnt_from,
            "training": self.training.state_dict(),
            "minutes": self.minutes,
            "history": self.history,
        }
        save_atomic(content, self.path)
        save_paper(self.training.averaged, self.options.out / "weights.pt")

    def resume(self) -> None:
        """Go on from the checkpoint.

        Raises:
            TrainingError: it is of another network, of other settings or of other pairs.
            WeightsError: it is damaged.
        """
        with resuming(self.path, PAPER, self.options.settings(), self.learnt_from) as saved:
            self.training.load_state_dict(saved["training"])
            self.training.set_rate(self.options.rate)
            self.minutes, self.history = saved["minutes"], saved["history"]
            self.saved = self.training.steps


def prepare(options: Options, resume: bool) -> Run:
    """The training as asked, ready to run in all processes.

    Raises:
        TrainingError, PairsError, WeightsError: it cannot start, in this process or in another.
    """
    device = joined(options.device)
    with together(device):
        return _prepared(options, resume, device)


def _prepared(options: Options, resume: bool, device: str) -> Run:
    config = options.config()
    wrong = config.wrong_side(options.size)
    if wrong:
        raise TrainingError(wrong)
    found = found_checkpoint(options.out, resume)
    clips = PairClips(
        options.data,
        "train",
        SequenceConfig(options.size, options.frames, options.motion),
        seed=options.seed,
    )
    teacher = None if clips.flow_known else _teacher(options.teacher, device)
    training = PaperTraining(
        config,
        _perceptual(options.vgg, device),
        references=options.references,
        rate=options.rate,
        average=options.average,
        bf16=options.bf16,
        seed=options.seed,
        device=device,
    )
    tests = [to_device(clip, device) for clip in test_clips(options)] if rank() == 0 else []
    run = Run(options, training, clips, tests, teacher)
    if found:
        run.resume()
    return run


def test_clips(options: Options) -> list[Clip]:
    """What reports are about: the same clips every time, one of each of the first pairs of `val`, or where
    there is none, of `test`."""
    config = SequenceConfig(options.size, max(2, options.frames), options.motion)
    split = "val" if (options.data / "val").is_dir() else "test"
    tests = PairClips(options.data, split, config, seed=JUDGED_SEED)
    return [tests.clip(number, index=number) for number in range(min(options.judged, len(tests)))]


def _perceptual(vgg: str | None, device: str) -> Perceptual | None:
    if vgg == NONE:
        return None
    return Perceptual(Path(vgg) if vgg else None, PERCEPTUAL_LAYERS).to(device)


def _teacher(name: str | None, device: str) -> Teacher | None:
    if name is None:
        raise TrainingError(
            "The motion in videos is not known; name a teacher of the flow, --teacher SPYNET_FILE or "
            "--teacher raft, or leave L_flow out with --teacher none."
        )
    return None if name == NONE else open_teacher(name, device)


def main(argv: list[str] | None = None) -> int:
    """Run the command line."""
    arguments = vars(parse(argv))
    try:
        train(Options(**{k: v for k, v in arguments.items() if k != "resume"}), arguments["resume"])
    except (TrainingError, PairsError, WeightsError, OSError) as error:
        say(error)
        return 2
    finally:
        leave()
    return 0


def train(options: Options, resume: bool = False) -> None:
    """Train as asked; what stops it is said in a sentence.

    Raises:
        TrainingError: the loss is not finite, or memory is out.
        PairsError, WeightsError: the data or the weights cannot be used.
    """
    remedy = "lower --batch (and raise --accumulate), --size or --frames, or add --bf16"
    with memory_said(options.batch, options.frames, options.size, remedy):
        run = prepare(options, resume)
        with together(run.training.device):
            options.out.mkdir(parents=True, exist_ok=True)
        run.train()
