"""`python -m model.data harvest FACES_DIR` and `python -m model.data sheet FACES_DIR OUT.png`."""

from __future__ import annotations

import argparse
import sys
from collections import Counter

from model.data.harvest import BANK_NAME, BROWN, MOLE, REDDISH, UNSURE, open_bank
from model.data.portraits import SPLITS, FacesError, Portraits
from model.data.sheet import camera_sheet, contact_sheet

NAMES = {REDDISH: "reddish", BROWN: "brown", MOLE: "moles", UNSURE: "unsure"}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m model.data", description="Clips made from portraits.")
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("harvest", help=f"take the portraits' own marks into {BANK_NAME}")
    one.add_argument("faces_dir")
    two = commands.add_parser("sheet", help="contact sheet: raw | target | map, from light skin to dark")
    two.add_argument("faces_dir")
    two.add_argument("out")
    two.add_argument("--split", choices=SPLITS, default="train")
    two.add_argument("--seed", type=int, default=0)
    two.add_argument("--count", type=int, default=8, help="faces shown")
    two.add_argument("--zoom", type=int, default=1, help="show a part of each face, so many times enlarged")
    two.add_argument("--camera", action="store_true", help="show training's frames, raw over target")
    return parser


def _run(options: argparse.Namespace) -> None:
    if options.command == "harvest":
        bank = open_bank(Portraits(options.faces_dir), lambda text: print(text, flush=True), fresh=True)
        counts = Counter(bank.kind.tolist())
        print(f"{len(bank)} marks: " + ", ".join(f"{counts[k]} {name}" for k, name in NAMES.items()))
    elif options.camera:
        camera_sheet(options.faces_dir, options.out, options.split, options.seed)
    else:
        where, how = (
            (options.faces_dir, options.out),
            (options.split, options.seed, options.count, options.zoom),
        )
        contact_sheet(*where, *how)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0, or 2 with one sentence on standard error."""
    try:
        _run(_parser().parse_args(arguments))
    except (FacesError, OSError) as error:
        print(f"model.data: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
