"""Train a preset recurrently over clips: `python -m model.train FACES_DIR OUT_DIR`.

One resumable command. OUT_DIR receives `checkpoint.pt` (everything, written atomically), `weights.pt` (the
averaged weights), `curves.png`, `history.json` and `validation-<step>.png`. The schedule follows the budget
(`--minutes` or `--steps`, the whole budget over all resumed runs), so that a resumed run goes on where the
stopped one was. For the published network, which learns from raw and retouched pairs, and for the systems
that came before, see `python -m model.train --system paper|autoretouch|bpfre --help`.

`torchrun --nproc-per-node N -m model.train ...` shares the work between N processes: each draws clips of its
own, and each step is by the mean of their gradients, so that a step has N times --batch clips.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from model.clip_stream import ClipStream, validation_clips
from model.config import Config, preset
from model.curves import draw_curves
from model.data.clips import Clip
from model.data.portraits import FacesError, Portraits
from model.distil import Teacher
from model.distributed import leave, mean, rank
from model.encoder import leaking
from model.losses import ERROR_LED, LossWeights, Terms, Truth, frame_terms
from model.optimiser import Optimiser
from model.options import Options, parse
from model.state import State
from model.systems import LIVE, chosen_system, trainer_of
from model.together import average_gradients, say, together
from model.training import (
    LossNotFiniteError,
    TrainingError,
    average_into,
    check_same,
    found_checkpoint,
    fused,
    joined,
    learning_rate,
    mean_terms,
    memory_said,
    not_finite,
    to_device,
    warm_average,
)
from model.validate import validate
from model.vretoucher import Step, Trace, VRetouchEr
from model.weights import WeightsError, load_weights, loading, save_atomic, save_weights
from model.whole import write_whole

TraceFunction = Callable[[Tensor, State], tuple[Step, Trace]]
TermsFunction = Callable[[Step, Trace, Truth, Tensor | None, LossWeights], tuple[Terms, Tensor]]

# Part of the budget in which ReLU may leak: it ends with the network's own gradients.
LEAKY_SHARE = 0.7


@dataclass
class Progress:
    """Where a training stands: what a checkpoint keeps beside the tensors."""

    step: int = 0
    minutes: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)

    def share(self, options: Options) -> float:
        """Part of the budget that is used, 0 to 1."""
        return min(1.0, max(self.minutes / options.minutes, self.step / options.steps))


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
        self.optimiser = Optimiser(self.network, options.rate, options.bf16)
        self.progress = Progress()
        self.saved: int | None = None  # step of the checkpoint
        self.teacher: Teacher | None = None
        if options.teacher is not None:
            self.teacher = Teacher(options.teacher, options.lean, options.device, options.bf16)
        self.trace: TraceFunction = self.network.trace
        self.frame_terms: TermsFunction = frame_terms
        if options.compile:
            self.trace, self.frame_terms = fused(self.trace), fused(self.frame_terms)
        else:  # what torch.compile makes is slower so
            for part in (self.network, self.averaged):
                part.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def path(self) -> Path:
        """Where the checkpoint is."""
        return self.options.out / "checkpoint.pt"

    def parts(self) -> dict[str, Any]:
        """The parts with tensors, by name."""
        return {"network": self.network, "averaged": self.averaged, "optimiser": self.optimiser}

    def save(self) -> None:
        """Checkpoint and averaged weights, each whole or not at all."""
        content = {name: part.state_dict() for name, part in self.parts().items()}
        save_atomic(
            {**content, "progress": asdict(self.progress), "options": self.options.plain()}, self.path
        )
        save_weights(self.averaged, self.options.out / "weights.pt")

    def resume(self) -> None:
        """Continue from the checkpoint in the output folder.

        Raises:
            WeightsError: it is damaged, or of another network.
            TrainingError: it is of a training with other settings.
        """
        path = self.path
        remedy = "give another folder, or train on from its weights with --start-from"
        with loading(path, "checkpoint of this network", remedy):
            saved = torch.load(path, map_location=self.options.device, weights_only=True)
            now = {k: v for k, v in self.options.settings().items() if k in saved["options"]}
            check_same(path, saved["options"], now)
            for name, part in self.parts().items():
                part.load_state_dict(saved[name])
            self.progress = Progress(**saved["progress"])
            self.saved = self.progress.step

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
        return replace(ERROR_LED if led else LossWeights(), keep=self.options.keep)

    def clip_loss(self, clip: Clip) -> tuple[Tensor, dict[str, float]]:
        """Mean loss over the frames of a clip, run recurrently, and its terms."""
        clip = self.teacher.taught(clip) if self.teacher else clip
        weights, state = self.weights, self.network.fresh_state(clip.raw[:, 0])
        kind = torch.device(self.options.device).type
        error_prev: Tensor | None = None
        totals: list[Tensor] = []
        terms: list[Terms] = []
        for t in range(clip.raw.shape[1]):
            truth = Truth(clip.raw[:, t], clip.target[:, t], clip.map[:, t], clip.flow[:, t], clip.keep[:, t])
            with torch.autocast(kind, torch.bfloat16, enabled=self.options.bf16):
                step, trace = self.trace(truth.raw, state)
            state = step.state
            frame, error_prev = self.frame_terms(step, trace, truth, error_prev, weights)
            totals.append(frame.total(weights))
            terms.append(frame)
        names = Terms.__dataclass_fields__
        means = {name: sum(float(getattr(t, name).detach()) for t in terms) / len(terms) for name in names}
        return torch.stack(totals).mean(), means

    def update(self, clip: Clip) -> dict[str, float]:
        """One optimiser step; the loss's terms.

        Raises:
            LossNotFiniteError: the loss is infinite or no number.
            ElsewhereError: another process cannot make the step.
        """
        share = self.progress.share(self.options)
        self.optimiser.set_rate(learning_rate(share, self.options.rate))
        self.optimiser.zero_grad()
        with together(self.options.device):  # before the processes exchange anything
            with leaking(self.options.leak if share < LEAKY_SHARE else 0.0):
                loss, terms = self.clip_loss(clip)
            if not torch.isfinite(loss):  # the backward pass of a warp along NaN crashes
                raise LossNotFiniteError(f"its loss is {float(loss.detach()):g}")
            torch.autograd.backward(loss)
        average_gradients(self.network.parameters())
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        with together(self.options.device):  # the first step makes the moments
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
        write_whole(json.dumps(self.progress.history, indent=1), out / "history.json")
        draw_curves(self.progress.history, out / "curves.png")
        self.save()
        line = ", ".join(f"{k} {v:.3g}" for k, v in {**terms, **figures}.items())
        print(f"step {step}, {self.progress.minutes:.1f} min: {line}", flush=True)


def train(training: Training, clips: list[Clip]) -> None:
    """Run until the budget is used; validate and save on the way and at the end, in the first process."""
    options, progress = training.options, training.progress
    loader = DataLoader(ClipStream(options, progress.step), batch_size=None, num_workers=1, prefetch_factor=4)
    recent: list[dict[str, float]] = []
    last = time.monotonic()
    with together(options.device):
        stream = iter(loader)
    while True:
        with together(options.device):
            clip = to_device(next(stream), options.device)
        recent.append(_updated(training, clip))
        now = time.monotonic()
        taken = progress.minutes + min(now - last, 30.0) / 60  # a paused process does not use its budget
        # All processes must be at one place of the schedule.
        progress.minutes = float(mean(torch.tensor(taken, dtype=torch.float64, device=options.device)))
        last = now
        done = progress.share(options) >= 1
        if done or progress.step % options.every == 0:
            with together(options.device):
                if rank() == 0:
                    training.report(mean_terms(recent), clips)
            training.saved = progress.step
            recent = []
            last = time.monotonic()
        if done:
            return


def _updated(training: Training, clip: Clip) -> dict[str, float]:
    progress = training.progress
    try:
        return training.update(clip)
    except LossNotFiniteError as error:
        remedy = "with a lower --rate, or without --bf16"
        raise TrainingError(
            not_finite(progress.step + 1, error, training.saved, training.path, remedy)
        ) from error


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
    arguments = vars(parse(__doc__, argv))
    try:
        run(arguments.pop("resume"), arguments.pop("start_from"), Options(**arguments))
    except (TrainingError, FacesError, WeightsError, OSError) as error:
        say(error)
        return 2
    finally:
        leave()
    return 0


def run(resume: bool, start_from: Path | None, options: Options) -> None:
    """Train as asked.

    Raises:
        TrainingError: there is no device for this process, memory is out, the folder holds another training,
            or the loss is no number.
        FacesError, WeightsError: the portraits or the weights cannot be used.
    """
    found = found_checkpoint(options.out, resume)
    options = replace(options, device=joined(options.device))
    with memory_said(options.batch, options.frames, options.size, "lower --batch, --frames or --size"):
        with together(options.device):
            # What cannot be is said before the clips are made, which takes a while.
            ClipStream(options, 0)
            Portraits(options.faces, "heldout")
            training = Training(options)
            if found:
                training.resume()
            elif start_from is not None:
                training.start_from(start_from)
            clips = validation_clips(options) if rank() == 0 else []
            clips = [to_device(clip, options.device) for clip in clips]
            options.out.mkdir(parents=True, exist_ok=True)
        train(training, clips)


if __name__ == "__main__":
    raise SystemExit(main())
