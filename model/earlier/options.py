"""The command line of `python -m model.train --system autoretouch|bpfre DATA OUT`.

DATA holds prepared portraits, made by `python -m stream.portraits`, of which single frames of painted clips
are the pairs; or raw and retouched pictures as train|test / source|target, as FFHQR. OUT receives
`checkpoint.pt` (everything), `weights.pt` (the averaged weights), `history.json`, `curves.png` and
`validation-<step>.png`. With `torchrun --nproc-per-node N -m model.train` in place of `python -m model.train`
N processes share the work; a step's clips are those of all processes, of pairs on disk the very ones that a
single process with N times `--batch` would have.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from model.arguments import above_zero, positive, share, side
from model.autoretouch import AUTORETOUCH
from model.bpfre_training import RATE
from model.distributed import world


@dataclass(frozen=True)
class Options:
    """What one training is asked to do.

    Attributes:
        system: "autoretouch" or "bpfre".
        data, out: folders, see the module.
        preset: sizes of the network; "live" costs what the causal network's `live` does.
        minutes, steps: budget over all resumed runs, whichever ends first.
        batch, frames: pairs of one step are the frames of so many clips in each process.
        size: side of a pair's pictures in face pixels; AutoRetouch cuts its windows out of them.
        rate: of the network's Adam; the critic's stays in proportion.
        seed: of weights and pairs.
        device: "cpu" or "cuda".
        average: decay of the moving average of the weights.
        every: steps between reports.
        vgg: file of VGG-19's weights; None for the one in torch hub's cache.
        perceptual: keep the perceptual term of the loss, which needs them.
        unpaired: folder of raw and retouched faces that no pair exists of (`model.earlier.unpaired`), as many
            of each a step as there are pairs; BPFRe alone learns from them. None: pairs only.
        threads: of each process, that read and make pairs from disk ahead; as many again read unpaired ones.
    """

    system: str
    data: Path
    out: Path
    preset: str = "live"
    minutes: float = 60.0
    steps: int = 10**9
    batch: int = 4
    frames: int = 6
    size: int = 256
    rate: float = RATE
    seed: int = 0
    device: str = "cpu"
    average: float = 0.999
    every: int = 500
    vgg: Path | None = None
    perceptual: bool = True
    unpaired: Path | None = None
    threads: int = 2

    def settings(self) -> dict[str, Any]:
        """What a resumed training must have the same; its rate may change, which is what helps one that went
        astray."""
        same = ("preset", "batch", "frames", "size", "seed", "average", "perceptual")
        # None for what was before there were others, as checkpoints of then lack the names.
        added = {
            "unpaired": self.unpaired is not None or None,
            "processes": world() if world() > 1 else None,
        }
        return {**{name: getattr(self, name) for name in same}, **added}


def parser(system: str) -> argparse.ArgumentParser:
    """The command line of one system."""
    p = argparse.ArgumentParser(
        prog=f"python -m model.train --system {system}",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    o = Options
    p.add_argument("data", type=Path, help="prepared portraits, or a folder with train|test / source|target")
    p.add_argument("out", type=Path, help="folder for checkpoint, weights and curves")
    p.add_argument("--preset", default=o.preset, choices=sorted(AUTORETOUCH), help="sizes of the network")
    p.add_argument("--minutes", type=above_zero, default=o.minutes, help="budget over all resumed runs")
    p.add_argument("--steps", type=positive, default=o.steps)
    p.add_argument("--batch", type=positive, default=o.batch, help="clips of a step, of each process")
    p.add_argument("--frames", type=positive, default=o.frames, help="frames of a clip, each a pair")
    p.add_argument("--size", type=side, default=o.size, help="side of a pair's pictures, a multiple of 64")
    p.add_argument("--rate", type=above_zero, default=o.rate)
    p.add_argument("--seed", type=int, default=o.seed)
    p.add_argument(
        "--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=["cpu", "cuda"]
    )
    p.add_argument("--average", type=share, default=o.average, help="decay of the weights' moving average")
    p.add_argument("--every", type=positive, default=o.every, help="steps between reports")
    p.add_argument("--vgg", type=Path, help="file of VGG-19's weights (default: torch hub's cache)")
    p.add_argument(
        "--no-perceptual", dest="perceptual", action="store_false", help="train without VGG-19's term"
    )
    p.add_argument(
        "--threads", type=positive, default=o.threads, help="of each process, that read pairs from disk ahead"
    )
    if system == "bpfre":
        p.add_argument(
            "--unpaired",
            type=Path,
            metavar="DIR",
            help="raw and retouched faces without partners: source, target",
        )
    p.add_argument("--resume", action="store_true", help="go on from OUT/checkpoint.pt")
    return p
