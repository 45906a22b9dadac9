"""Train the published network on pairs: `python -m model.train --preset paper DATA OUT`.

DATA holds train|test / source|target, and val if you like, with still pairs, as FFHQR, or folders of frames,
as MRFV. OUT receives `checkpoint.pt` (everything) and `weights.pt` (the averaged weights), each written whole
or not at all, `history.json` and `curves.png`. With `torchrun --nproc-per-node N -m model.train` in place of
`python -m model.train` N processes share the work; a step's clips are those of all processes.
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from model.arguments import above_zero, positive, share
from model.data.sequences import MOTIONS
from model.distributed import world
from model.paper.config import PRESETS, PaperConfig
from model.paper.config import preset as preset_of
from model.paper.network import REFERENCES
from model.paper.training import RATE

NONE = "none"
PARTS = ("fir", "mma")


@dataclass(frozen=True)
class Options:
    """What one training is asked to do; the defaults are the paper's.

    Attributes:
        data, out: folders, see the module.
        preset: which published network.
        without: parts that are left out of it, of PARTS.
        delta: frames whose K and V are summed; None for the preset's own.
        iterations: steps over all resumed runs.
        batch: clips at once in one process.
        accumulate: batches whose gradients are added up for one step.
        frames, size: frames of a clip and their side in pixels.
        motion: of clips from still pairs, "independent" as published, or "smooth".
        references: which frames are references, "past" or "around".
        rate: of Adam.
        seed: of weights and clips.
        device: "cpu" or "cuda".
        bf16: run the networks in bfloat16.
        average: decay of the moving average of the weights.
        every: steps between reports.
        judged: clips of `val`, or of `test` where there is none, that a report is about.
        vgg: file of VGG-19's weights; None for the one in torch hub's cache, "none" to leave the second
            term of Eq. 9 out.
        teacher: of the flow in videos: path of a SpyNet, "raft", or "none" to leave L_flow out.
        threads: that read and make clips ahead.
    """

    data: Path
    out: Path
    preset: str = "paper"
    without: tuple[str, ...] = ()
    delta: int | None = None
    iterations: int = 400_000
    batch: int = 1
    accumulate: int = 1
    frames: int = 6
    size: int = 512
    motion: str = "independent"
    references: str = "past"
    rate: float = RATE
    seed: int = 0
    device: str = "cpu"
    bf16: bool = False
    average: float = 0.999
    every: int = 1000
    judged: int = 8
    vgg: str | None = None
    teacher: str | None = None
    threads: int = 2

    def config(self) -> PaperConfig:
        """The network's sizes.

        Raises:
            UnknownPresetError: there is no such preset.
        """
        whole = preset_of(self.preset)
        fir, mma = (part not in self.without for part in PARTS)
        return replace(whole, delta=self.delta or whole.delta, fir=fir, mma=mma)

    def settings(self) -> dict[str, Any]:
        """What a resumed training must have the same; its rate and precision may change, which is what helps
        one that went astray."""
        config = self.config()
        # None for the whole network, as checkpoints of before there were others lack the names.
        changed = {
            "without": ", ".join(sorted(self.without)) or None,
            "delta": config.delta if config.delta != preset_of(self.preset).delta else None,
        }
        same = ("preset", "frames", "size", "motion", "references", "seed", "average")
        chosen = {name: getattr(self, name) for name in same}
        clips = self.batch * self.accumulate * world()
        return {
            **chosen,
            **changed,
            "clips of a step": clips,
            "vgg": self.vgg != NONE,
            "teacher": self.teacher,
        }


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="python -m model.train --preset paper",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    o = Options
    p.add_argument("data", type=Path, help="folder with train|test / source|target")
    p.add_argument("out", type=Path, help="folder for checkpoint, weights and curves")
    p.add_argument("--preset", default=o.preset, choices=sorted(PRESETS))
    p.add_argument(
        "--without",
        action="append",
        default=[],
        choices=PARTS,
        help="leave a part out, as Table 4 does; may be given twice",
    )
    p.add_argument(
        "--delta", type=positive, help="frames whose K and V are summed (the preset's: 6 in paper)"
    )
    p.add_argument("--iterations", type=positive, default=o.iterations, help="steps over all resumed runs")
    p.add_argument("--batch", type=positive, default=o.batch, help="clips at once in one process")
    p.add_argument("--accumulate", type=positive, default=o.accumulate, help="batches for one step")
    p.add_argument("--frames", type=positive, default=o.frames, help="frames of a clip")
    p.add_argument("--size", type=positive, default=o.size, help="side of a clip's frames, 512 a whole face")
    p.add_argument("--motion", default=o.motion, choices=MOTIONS, help="of clips from still pairs")
    p.add_argument(
        "--references", default=o.references, choices=REFERENCES, help="past: causal; around: for files"
    )
    p.add_argument("--rate", type=above_zero, default=o.rate)
    p.add_argument("--seed", type=int, default=o.seed)
    p.add_argument(
        "--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=["cpu", "cuda"]
    )
    p.add_argument("--bf16", action="store_true", help="bfloat16 in the networks: half the memory")
    p.add_argument("--average", type=share, default=o.average, help="decay of the weights' moving average")
    p.add_argument("--every", type=positive, default=o.every, help="steps between reports")
    p.add_argument(
        "--judged", type=positive, default=o.judged, help="clips of val, or test, that a report is about"
    )
    p.add_argument("--vgg", help="file of VGG-19's weights (default: torch hub's cache), or none")
    p.add_argument("--teacher", help="of the flow in videos: file of a SpyNet, raft, or none")
    p.add_argument("--threads", type=positive, default=o.threads, help="that make clips ahead")
    p.add_argument("--resume", action="store_true", help="go on from OUT/checkpoint.pt")
    found = p.parse_args(argv)
    found.without = tuple(sorted(set(found.without)))
    return found
