"""The paper's Tables 1 and 4 and Figures 5 to 8: every system and variant trained on equal budgets, judged in
motion."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench import report
from bench.report import BenchError
from model.arguments import above_zero, positive, side

FACES_HINT = "make them with `python -m stream.portraits DATA FACES`"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m bench paper`."""
    parser.add_argument(
        "faces", type=Path, metavar="FACES", help="prepared portraits, made by `python -m stream.portraits`"
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for paper.md and pictures/paper-*.png")
    parser.add_argument(
        "--networks",
        type=Path,
        default=Path("runs/paper"),
        metavar="DIR",
        help="where the networks are kept; a run that was stopped goes on from them (runs/paper)",
    )
    parser.add_argument("--minutes", type=above_zero, default=10.0, help="of training for each network (10)")
    parser.add_argument("--steps", type=positive, help="so many steps for each in place of minutes")
    parser.add_argument(
        "--no-deltas",
        dest="deltas",
        action="store_false",
        help="leave out the networks of delta 1, 2, 4 and 8, and Figure 8 with them",
    )
    parser.add_argument("--seeds", type=positive, default=3, metavar="N", help="networks of each method (3)")
    parser.add_argument("--jobs", type=positive, default=1, help="networks to train at a time (1)")
    parser.add_argument("--batch", type=positive, default=4, help="clips of a step (4)")
    parser.add_argument("--frames", type=positive, default=6, help="frames of a training clip (6)")
    parser.add_argument("--size", type=side, default=256, help="side of their frames in face pixels (256)")
    parser.add_argument("--rate", type=above_zero, default=1e-3, help="of the causal network (1e-3)")
    parser.add_argument(
        "--earlier-rate",
        type=above_zero,
        default=1e-3,
        help="of the earlier systems; as published, 2e-4, is too slow for so short a training (1e-3)",
    )
    parser.add_argument(
        "--bf16", action="store_true", help="train the causal network in bfloat16, as `python -m model.train`"
    )
    parser.add_argument("--compile", action="store_true", help="fuse its training with torch.compile")
    parser.add_argument("--preset", choices=("live", "tiny"), default="live", help="sizes (live)")
    parser.add_argument("--every", type=positive, default=500, help="steps between checkpoints (500)")
    parser.add_argument("--clips", type=positive, default=16, help="held-out clips to judge by (16)")
    parser.add_argument("--judged-frames", type=positive, default=10, help="frames of each (10)")
    parser.add_argument("--vgg", type=Path, metavar="FILE", help="VGG-19's weights (torch hub's cache)")
    parser.add_argument("--i3d", type=Path, metavar="FILE", help="I3D as TorchScript, for VFID")
    parser.add_argument("--json", metavar="FILE", help="write the result as JSON; - for standard output")


def main(options: argparse.Namespace) -> int:
    """Run the bench as asked."""
    if not (options.faces / "index.json").is_file():
        raise BenchError(f"{options.faces} holds no prepared portraits; {FACES_HINT}")
    if options.judged_frames < 2:
        raise BenchError(f"{options.judged_frames} frame has no motion; give --judged-frames 2 or more")
    try:
        from bench.reproduction import run as reproduce
    except ImportError as error:
        raise BenchError(
            f"bench paper needs torch, scikit-image and matplotlib ({error}); run it with `make venv-dev`'s "
            ".venv-dev/bin/python"
        ) from error
    results = reproduce.measure(options, _say)
    parts = reproduce.write(results, options)
    print(report.plain_text(parts), file=report.text_stream(options.json))
    if options.json:
        report.write_json(reproduce.result(results, vars(options)), options.json)
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
