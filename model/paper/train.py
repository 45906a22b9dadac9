"""Train the published network on pairs: the run behind `python -m model.train --preset paper DATA OUT`."""

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from model.curves import draw_curves
from model.data.ahead import made_ahead
from model.data.clips import Clip
from model.data.pairs import PairsError
from model.data.sequences import PairClips, SequenceConfig
from model.distributed import join, leave, rank, world
from model.paper.config import preset
from model.paper.judge import judge
from model.paper.losses import PERCEPTUAL_LAYERS
from model.paper.options import NONE, Options, parse
from model.paper.teacher import Teacher, open_teacher, taught_flow
from model.paper.training import LossNotFiniteError, PaperTraining
from model.paper.weights import SYSTEM, save_paper
from model.perceptual import Perceptual
from model.train import mean_terms, to_device
from model.weights import WeightsError, save_atomic

JUDGED_SEED = 12345


class TrainingError(ValueError):
    """The training cannot start or go on; one sentence for a person."""


@dataclass
class Run:
    """One training under way.

    Attributes:
        options: what was asked.
        training: networks and optimisers.
        clips, tests: what is learnt from and judged by.
        teacher: of the flow where it is not known.
        minutes: spent so far, over all resumed runs.
        history: the reports.
    """

    options: Options
    training: PaperTraining
    clips: PairClips
    tests: list[Clip]
    teacher: Teacher | None
    minutes: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)

    @property
    def path(self) -> Path:
        """Of the checkpoint."""
        return self.options.out / "checkpoint.pt"

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
            clips = [self.taught(next(made)) for _ in range(o.accumulate)]
            recent.append(training.step(clips, flow_known))
            now = time.monotonic()
            self.minutes, last = self.minutes + (now - last) / 60, now
            if training.steps % o.every == 0 or training.steps == o.iterations:
                self.report(mean_terms(recent))
                recent, last = [], time.monotonic()

    def report(self, terms: dict[str, float]) -> None:
        """Judge, print a line and write everything, in the first process."""
        if rank() != 0:
            return
        training, out = self.training, self.options.out
        figures = judge(training.averaged, self.tests, self.options.references)
        self.history.append({"step": training.steps, "minutes": self.minutes, **terms, **figures})
        (out / "history.json").write_text(json.dumps(self.history, indent=1))
        draw_curves(self.history, out / "curves.png")
        self.save()
        line = ", ".join(f"{k} {v:.4g}" for k, v in {**terms, **figures}.items())
        print(f"step {training.steps}, {self.minutes:.1f} min: {line}", flush=True)

    def save(self) -> None:
        """Checkpoint and averaged weights."""
        content = {
            "system": SYSTEM,
            "config": self.training.network.config.to_dict(),
            "settings": self.options.settings(),
            "training": self.training.state_dict(),
            "minutes": self.minutes,
            "history": self.history,
        }
        save_atomic(content, self.path)
        save_paper(self.training.averaged, self.options.out / "weights.pt")

    def resume(self) -> None:
        """Go on from the checkpoint.

        Raises:
            TrainingError: it is of another network or of other settings.
            WeightsError: it is damaged.
        """
        try:
            saved = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise WeightsError(
                f"{self.path} cannot be read ({type(error).__name__}); restore it, or begin in another "
                "folder."
            ) from error
        if saved.get("system") != SYSTEM:
            raise TrainingError(f"{self.path} is of another network; give another folder for OUT.")
        self._check_same(saved["settings"])
        self.training.load_state_dict(saved["training"])
        self.minutes, self.history = saved["minutes"], saved["history"]

    def _check_same(self, then: dict[str, Any]) -> None:
        now = self.options.settings()
        changed = [f"{name} was {then.get(name)}, not {value}" for name, value in now.items()
                   if then.get(name) != value]  # fmt: skip
        if changed:
            raise TrainingError(
                f"{self.path} is of a training with other settings ({'; '.join(changed)}); resume with "
                "those, or give another folder for OUT."
            )


def prepare(options: Options, resume: bool) -> Run:
    """The training as asked, ready to run.

    Raises:
        TrainingError, PairsError, WeightsError: it cannot start.
    """
    config = preset(options.preset)
    if options.size % config.multiple:
        raise TrainingError(
            f"A size of {options.size} is no multiple of {config.multiple}; preset {config.preset} needs one."
        )
    found = (options.out / "checkpoint.pt").is_file()
    if found and not resume:
        raise TrainingError(
            f"{options.out} holds a training already; go on with --resume, or give another folder."
        )
    device = join(options.device)
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
        print(error, file=sys.stderr)
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
    run: Run | None = None
    try:
        run = prepare(options, resume)
        options.out.mkdir(parents=True, exist_ok=True)
        run.train()
    except LossNotFiniteError as error:
        raise TrainingError(not_finite(run, error)) from error
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise TrainingError(
            f"The memory does not suffice for {options.batch} clips of {options.frames} frames of "
            f"{options.size} pixels; lower --batch (and raise --accumulate), --size or --frames, or add "
            "--bf16."
        ) from error


def not_finite(run: Run | None, error: LossNotFiniteError) -> str:
    """What to say of a training that went astray."""
    assert run is not None
    step, good = run.training.steps + 1, [int(entry["step"]) for entry in run.history]
    kept = f"{run.path} is of step {good[-1]}, go on from it" if good else "nothing was saved yet, begin anew"
    return f"Step {step} is not finite ({error}); {kept} with a lower --rate, or without --bf16."


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, the machine's or a GPU's, is out."""
    said = str(error).lower()
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in said
