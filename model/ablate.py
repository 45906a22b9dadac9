"""What each part of the causal design is worth: `python -m model.ablate FACES OUT --start-from WEIGHTS`.

Every variant starts from the same weights, sees the same clips in the same order for the same number of
steps, and is judged on the same held-out clips in motion. OUT receives `ablation.md` and `ablation.json`,
written anew after each variant. The gain of a variant over the weights it started from is not the part's
whole worth: what the part taught the weights before is in all of them. A part that cannot be taken out
without loss, though the rest was trained again without it, earns its place.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from model.arguments import above_zero, positive, side
from model.config import Config
from model.data.clips import Clip, ClipConfig, ClipSampler
from model.data.portraits import FacesError
from model.train import Options, Training
from model.validate import Figures, validate
from model.vretoucher import VRetouchEr
from model.weights import WeightsError, load_weights

JUDGED_BY = ClipConfig(size=512, frames=8, clean_share=0.0)
JUDGED_BATCHES = 3


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


def training_clips(options: argparse.Namespace) -> Iterator[Clip]:
    """The same clips in the same order for every variant; each painted face is filmed twice."""
    config = ClipConfig(size=options.size, frames=options.frames, density=1.5, diffuse=1.3)
    sampler = ClipSampler(options.faces, config, split="train", seed=options.seed)
    for step in range(0, options.steps, 2):
        yield from sampler.takes(options.batch, 2)[: options.steps - step]


def trained(variant: Variant, start: VRetouchEr, clips: Iterator[Clip], options: Options) -> VRetouchEr:
    """The variant's averaged network after one pass over the clips."""
    training = Training(options, variant.changed(start.config))
    training.take(start)
    for clip in clips:
        training.update(cut(clip, variant.frames) if variant.frames else clip)
    return training.averaged


def report(rows: list[tuple[str, Figures]], settings: dict[str, Any], out: Path) -> None:
    """Write the table, and the same for programs."""
    names = list(Figures.__dataclass_fields__)
    said = ", ".join(f"{k} {v}" for k, v in settings.items())
    lines = [said, "", f"| variant | {' | '.join(names)} |", "| --- " * (len(names) + 1) + "|"]
    lines += [
        f"| {name} | {' | '.join(f'{getattr(figures, n):.3f}' for n in names)} |" for name, figures in rows
    ]
    (out / "ablation.md").write_text("\n".join(lines) + "\n")
    content = {"settings": settings, "variants": {name: figures.to_dict() for name, figures in rows}}
    (out / "ablation.json").write_text(json.dumps(content, indent=1))


def run(faces: Path, out: Path, start_from: Path, options: argparse.Namespace) -> None:
    """Train and judge every variant."""
    if options.frames % 2:
        raise AblationError(f"{options.frames} frames cannot be cut into pairs; give an even number")
    start = load_weights(start_from)
    held_out = ClipSampler(faces, JUDGED_BY, split="heldout", seed=99)
    judged = [held_out.sample(4) for _ in range(JUDGED_BATCHES)]
    out.mkdir(parents=True, exist_ok=True)
    settings = {k: getattr(options, k) for k in ("steps", "batch", "frames", "size", "rate", "seed")}
    rows = [("the weights at the start", validate(start, judged))]
    with tempfile.TemporaryDirectory() as unused:
        asked = Options(
            faces, Path(unused), steps=options.steps, rate=options.rate, seed=options.seed, average=0.98
        )
        for variant in VARIANTS:
            network = trained(variant, start, training_clips(options), asked)
            rows.append((variant.name, validate(network, judged)))
            print(f"{variant.name}: {rows[-1][1]}", flush=True)
            report(rows, settings, out)


def main(argv: list[str] | None = None) -> int:
    """Run the command line."""
    p = argparse.ArgumentParser(
        prog="python -m model.ablate", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    p.add_argument("faces", type=Path, help="prepared portraits, made by `python -m stream.portraits`")
    p.add_argument("out", type=Path, help="folder for the table")
    p.add_argument("--start-from", type=Path, required=True, help="weights that every variant begins with")
    p.add_argument("--steps", type=positive, default=120)
    p.add_argument("--batch", type=positive, default=2)
    p.add_argument("--frames", type=positive, default=4, help="frames of a clip, an even number")
    p.add_argument("--size", type=side, default=256, help="side of a crop, a multiple of 64, at most 512")
    p.add_argument("--rate", type=above_zero, default=4e-4)
    p.add_argument("--seed", type=int, default=5)
    options = p.parse_args(argv)
    try:
        run(options.faces, options.out, options.start_from, options)
    except (AblationError, FacesError, WeightsError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
