"""The paper's metrics of trained networks on the test split of raw and retouched pairs, as FFHQR or MRFV."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench import report
from bench.report import BenchError
from model.arguments import positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m bench pairs`."""
    parser.add_argument("data", type=Path, metavar="DATA", help="folder with test / source|target")
    parser.add_argument(
        "--network",
        dest="networks",
        type=titled,
        action="append",
        default=[],
        metavar="TITLE=FILE",
        help="weights of any system, made by `python -m model.train`; may be given several times",
    )
    parser.add_argument("--clips", type=positive, default=50, help="of the first pairs, one each (50)")
    parser.add_argument("--frames", type=positive, default=6, help="frames of each (6)")
    parser.add_argument("--size", type=positive, default=512, help="side of the frames (512)")
    parser.add_argument(
        "--motion",
        default="independent",
        help="of clips from still pairs, independent or smooth, which flicker needs (independent)",
    )
    parser.add_argument("--i3d", type=Path, metavar="FILE", help="I3D as TorchScript, for VFID")
    parser.add_argument("--json", metavar="FILE", help="write the result as JSON; - for standard output")


def titled(text: str) -> tuple[str, Path]:
    """A title and a file, from 'VRetouchEr=weights.pt'."""
    title, sign, path = text.partition("=")
    if not (title and sign and path):
        raise argparse.ArgumentTypeError(f"{text!r} is no TITLE=FILE, as in VRetouchEr=runs/full/weights.pt")
    return title, Path(path)


def main(options: argparse.Namespace) -> int:
    """Run the bench as asked."""
    if options.frames < 2:
        raise BenchError(f"{options.frames} frame has no motion; give --frames 2 or more")
    try:
        from bench.reproduction.on_pairs import measure
    except ImportError as error:
        raise BenchError(
            f"bench pairs needs torch and scikit-image ({error}); run it with .venv-dev/bin/python"
        ) from error
    found = measure(options, lambda text: print(text, file=sys.stderr, flush=True))
    print(report.plain_text(found.parts), file=report.text_stream(options.json))
    if options.json:
        settings = {name: value for name, value in vars(options).items() if name != "networks"}
        report.write_json(
            report.document("pairs", settings, found.figures, [], reasons=found.reasons), options.json
        )
    return 0
