"""The systems that `python -m model.train` trains, each with a command line of its own."""

import argparse
import sys
from collections.abc import Callable
from functools import partial

from model.paper.config import PRESETS as PAPER_PRESETS

LIVE, PAPER = "live", "paper"
EARLIER = ("autoretouch", "bpfre")
SYSTEMS = (LIVE, PAPER, *EARLIER)


def chosen_system(argv: list[str] | None) -> tuple[str, list[str]]:
    """The system that the command line names with `--system`, or by a preset of the published network, and
    the command line without `--system`."""
    given = sys.argv[1:] if argv is None else argv
    p = argparse.ArgumentParser(prog="python -m model.train", add_help=False, allow_abbrev=False)
    p.add_argument("--system", choices=SYSTEMS)
    found, rest = p.parse_known_args(given)
    if found.system is None:
        return (PAPER if _preset(rest) in PAPER_PRESETS else LIVE), rest
    return str(found.system), rest


def _preset(argv: list[str]) -> str | None:
    p = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    p.add_argument("--preset")
    found: str | None = p.parse_known_args(argv)[0].preset
    return found


def trainer_of(system: str) -> Callable[[list[str]], int]:
    """The command that trains `system`, which is not `live`."""
    if system == PAPER:
        from model.paper.train import main as train_paper

        return train_paper
    from model.earlier.train import main as train_earlier

    return partial(train_earlier, system)
