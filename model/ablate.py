"""What each part of the causal design is worth: `python -m model.ablate FACES OUT --start-from WEIGHTS`.

Every variant starts from the same weights, sees the same clips in the same order for the same number of
steps, and is judged on the same held-out clips in motion; all of it once for every seed. OUT receives
`ablation.md` and `ablation.json`, written anew after each seed.

Parts are taken out of the weights, which had learnt with them: what a part taught the others is in all
variants, and a variant without it has to learn to do without. `--base-steps` asks the other way round: the
network without FIR and MMA is trained for so many steps first (OUT/base.pt), and every variant starts from
that with parts that have learnt nothing. A part that is worth something both ways earns its place.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from model.arguments import above_zero, positive, side
from model.config import Config
from model.data.clips import Clip, ClipConfig, ClipSampler
from model.data.portraits import FacesError, Portraits
from model.options import Options
from model.train import Training
from model.training import LossNotFiniteError, TrainingError, memory_said
from model.validate import Figures, validate
from model.vretoucher import VRetouchEr
from model.weights import WeightsError, load_weights, save_weights
from model.whole import write_whole

JUDGED_BY = ClipConfig(size=512, frames=8, clean_share=0.0)
JUDGED_BATCHES = 3
# Which modules a network without FIR, and one without MMA, has no use for.
OF_PART = {"fir": ("fir", "spynet"), "mma": ("references", "transformer")}
START = "the weights at the start"


@dataclass(frozen=True)
class Variant:
    """A name, the config it makes of the full one, and the frames its recurrence runs over (0: all)."""

    name: str
    changed: Callable[[Config], Config] = lambda config: config
    frames: int = 0


VARIANTS = (
    Variant("full"),
    Variant("without FIR", lambda c: replace(c, fir=False)),
    Variant("without MMA", lambda c: replace(c, mma=False)),
    Variant("neither", lambda c: replace(c, fir=False, mma=False)),
    Variant("maps do not guide MMA", lambda c: replace(c, guided=False)),
    Variant("delta 1", lambda c: replace(c, delta=1)),
    Variant("delta 2", lambda c: replace(c, delta=2)),
    Variant("delta 4", lambda c: replace(c, delta=4)),
    Variant("trained on single frames", frames=1),
    Variant("trained on pairs of frames", frames=2),
)


class AblationError(ValueError):
    """The ablation cannot run as asked; one sentence for a person."""


def cut(clip: Clip, frames: int) -> Clip:
    """Clips [B, T, ...] as [B T / frames, frames, ...]: the same pictures, but no memory beyond `frames`."""
    parts = {
        name: value.reshape(-1, frames, *value.shape[2:])
        for name, value in vars(clip).items()
        if isinstance(value, Tensor)
    }
    return Clip(**{**vars(clip), **parts})


class TrainingClips(IterableDataset[Clip]):
    """The same clips in the same order for every variant; each painted face is filmed twice."""

    def __init__(self, faces: Path, options: Options) -> None:
        Portraits(faces, "train")  # what cannot be read is said here, not by the process that draws
        self.faces, self.options = faces, options

    def __iter__(self) -> Iterator[Clip]:
        o = self.options
        config = ClipConfig(size=o.size, frames=o.frames, density=1.5, diffuse=1.3)
        sampler = ClipSampler(self.faces, config, split="train", seed=o.seed)
        for step in range(0, o.steps, 2):
            yield from sampler.takes(o.batch, 2)[: o.steps - step]


def begun(config: Config, start: VRetouchEr, options: Options) -> Training:
    """A training of a variant from `start`; parts that `start` lacks begin with what the seed draws."""
    training = Training(options, config)
    lacking = [name for part, names in OF_PART.items() if not getattr(start.config, part) for name in names]
    known = {k: v for k, v in start.state_dict().items() if k.split(".")[0] not in lacking}
    training.network.load_state_dict({**training.network.state_dict(), **known})
    training.averaged.load_state_dict(training.network.state_dict())
    return training


def trained(
    variants: Sequence[Variant], start: VRetouchEr, clips: Iterable[Clip], options: Options
) -> list[VRetouchEr]:
    """Each variant's averaged network after one pass over the clips, which all see side by side: making the
    clips takes a third of a step."""
    whole = replace(start.config, fir=True, mma=True)
    trainings = [begun(variant.changed(whole), start, options) for variant in variants]
    for clip in clips:
        for variant, training in zip(variants, trainings, strict=True):
            training.update(cut(clip, variant.frames) if variant.frames else clip)
    return [training.averaged for training in trainings]


def cell(values: Sequence[float], digits: int = 3) -> str:
    """Mean and standard deviation over the seeds, a dash where nothing was measured."""
    if not values:
        return "-"
    mean = f"{statistics.fmean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.{digits}f}"


def report(rows: dict[str, list[Figures]], settings: dict[str, Any], out: Path) -> None:
    """Write the table, and the same, seed by seed, for programs."""
    names = list(Figures.__dataclass_fields__)
    said = ", ".join(f"{k} {v}" for k, v in settings.items())
    lines = [said, "", f"| variant | {' | '.join(names)} |", "| --- " * (len(names) + 1) + "|"]
    lines += [
        f"| {variant} | {' | '.join(cell([getattr(f, n) for f in found]) for n in names)} |"
        for variant, found in rows.items()
    ]
    content = {"settings": settings, "variants": {k: [f.to_dict() for f in v] for k, v in rows.items()}}
    write_whole("\n".join(lines) + "\n", out / "ablation.md")
    write_whole(json.dumps(content, indent=1), out / "ablation.json")


def clips_of(faces: Path, options: Options) -> Iterable[Clip]:
    """Training clips, made by a process of their own."""
    return DataLoader(TrainingClips(faces, options), batch_size=None, num_workers=1, prefetch_factor=4)


def base_of(start: VRetouchEr, faces: Path, options: Options) -> VRetouchEr:
    """`start` without FIR and MMA, trained to do without."""
    base = [variant for variant in VARIANTS if variant.name == "neither"]
    return trained(base, start, clips_of(faces, options), options)[0]


def run(options: argparse.Namespace) -> None:
    """Train and judge every variant, once for every seed."""
    if options.frames % 2:
        raise AblationError(f"{options.frames} frames cannot be cut into pairs; give an even number")
    start = load_weights(options.start_from)
    Portraits(options.faces, "train")  # what cannot be read is said before the clips are made
    held_out = ClipSampler(options.faces, JUDGED_BY, split="heldout", seed=99)
    judged = [held_out.sample(4) for _ in range(JUDGED_BATCHES)]
    options.out.mkdir(parents=True, exist_ok=True)
    asked = ("steps", "base_steps", "batch", "frames", "size", "rate", "bf16", "seed", "seeds")
    settings = {k: getattr(options, k) for k in asked} | {"judged clips": 4 * JUDGED_BATCHES}
    variants = [v for v in VARIANTS if v.name in (options.variants or [v.name])]
    with tempfile.TemporaryDirectory() as unused:
        of_a_step = {k: getattr(options, k) for k in ("batch", "frames", "size", "rate", "seed", "bf16")}
        common = Options(options.faces, Path(unused), average=0.98, **of_a_step)
        if options.base_steps:
            start = base_of(start, options.faces, replace(common, steps=options.base_steps))
            save_weights(start, options.out / "base.pt")
        rows = {START: [validate(start, judged)], **{variant.name: [] for variant in variants}}
        print(f"{START}: {rows[START][0]}", flush=True)
        for seed in range(options.seed, options.seed + options.seeds):
            this = replace(common, steps=options.steps, seed=seed)
            networks = trained(variants, start, clips_of(options.faces, this), this)
            for variant, network in zip(variants, networks, strict=True):
                rows[variant.name].append(validate(network, judged))
                print(f"seed {seed}, {variant.name}: {rows[variant.name][-1]}", flush=True)
            report(rows, settings, options.out)


def main(argv: list[str] | None = None) -> int:
    """Run the command line."""
    p = argparse.ArgumentParser(
        prog="python -m model.ablate", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    p.add_argument("faces", type=Path, help="prepared portraits, made by `python -m stream.portraits`")
    p.add_argument("out", type=Path, help="folder for the table")
    p.add_argument("--start-from", type=Path, required=True, help="weights that every variant begins with")
    p.add_argument("--steps", type=positive, default=120)
    p.add_argument(
        "--base-steps", type=positive, help="train so long without FIR and MMA first; all start from that"
    )
    p.add_argument(
        "--variants",
        nargs="+",
        choices=[v.name for v in VARIANTS],
        help="of all, these alone",
        metavar="NAME",
    )
    p.add_argument("--batch", type=positive, default=2)
    p.add_argument("--frames", type=positive, default=4, help="frames of a clip, an even number")
    p.add_argument("--size", type=side, default=256, help="side of a crop, a multiple of 64, at most 512")
    p.add_argument("--rate", type=above_zero, default=4e-4)
    p.add_argument("--bf16", action="store_true", help="train in bfloat16, as `python -m model.train`")
    p.add_argument("--seed", type=int, default=5, help="the first of them")
    p.add_argument("--seeds", type=positive, default=1, help="how often all of it is done (1)")
    options = p.parse_args(argv)
    remedy = "lower --batch, --frames or --size, or name fewer --variants"
    try:
        with memory_said(options.batch, options.frames, options.size, remedy):
            run(options)
    except LossNotFiniteError as error:
        print(f"A variant went astray ({error}); lower --rate, or leave out --bf16.", file=sys.stderr)
        return 2
    except (AblationError, FacesError, TrainingError, WeightsError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"stopped; the seeds that were done are in {options.out}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
