"""What the commands' options have in common: their types, and those that describe a Retoucher."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from fractions import Fraction

from stream import keep
from stream.broad import ALL, BROAD_KINDS
from stream.engine import ENGINES, PRESETS
from stream.several import MOST_FACES

MAX_S = 1e9


def seconds(text: str) -> float:
    """Seconds from '12.5', '1:30' or '0:01:30.5'."""
    parts = text.split(":")
    if len(parts) > 3 or not all(re.fullmatch(r"\d+(\.\d*)?", part) for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write seconds (12.5) or hh:mm:ss (0:01:30)")
    value = math.fsum(float(part) * 60**power for power, part in enumerate(reversed(parts)))
    if value > MAX_S:
        raise argparse.ArgumentTypeError(f"{text!r} is longer than any video; write seconds or hh:mm:ss")
    return value


def strength(text: str) -> float:
    """A number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} is no strength; write a number from 0 to 1")
    return value


def broad_kinds(text: str) -> frozenset[str]:
    """Broad kinds of imperfection from 'redness,shine'; 'none' and 'all' are understood."""
    return _some_of(BROAD_KINDS, text)


def traits(text: str) -> frozenset[str]:
    """What is to be kept, from 'moles,lines'; 'none' and 'all' are understood."""
    return _some_of(keep.TRAITS, text)


def _some_of(names: tuple[str, ...], text: str) -> frozenset[str]:
    said = text.strip().lower()
    if said in ("none", "all"):
        return frozenset(names if said == "all" else ())
    chosen = frozenset(word.strip() for word in said.split(",") if word.strip()) or frozenset({said})
    if not chosen <= set(names):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no list of {', '.join(names)}; write some of them with commas, none, or all"
        )
    return chosen


def whole(text: str) -> int:
    """A whole number of 1 or more."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no count; write a whole number of 1 or more")
    return int(text)


def whole_from(least: int, most: int) -> Callable[[str], int]:
    """What reads a whole number in this range."""

    def read(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}")
        return int(text)

    return read


def faces(text: str) -> int:
    """A whole number of faces from 1 to MOST_FACES."""
    count = whole(text)
    if count > MOST_FACES:
        raise argparse.ArgumentTypeError(f"{text!r} is too many; follow {MOST_FACES} faces or fewer")
    return count


def size(text: str) -> tuple[int, int]:
    """Width and height from '1280x720'."""
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if match is None or 0 in (found := (int(match[1]), int(match[2]))):
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write WIDTHxHEIGHT, as in 1280x720")
    return found


def rate(text: str) -> Fraction:
    """Frames per second from '30', '29.97' or '30000/1001'."""
    try:
        value = Fraction(text)
    except (ValueError, ZeroDivisionError):
        value = Fraction(0)
    if value <= 0:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no rate; write frames per second, as in 30 or 30000/1001"
        )
    return value


def add_retoucher(command: argparse.ArgumentParser) -> None:
    """The options that say which network runs on what, and how strongly."""
    command.add_argument(
        "--strength", type=strength, default=1.0, metavar="S", help="0 (nothing) to 1 (default)"
    )
    command.add_argument(
        "--also",
        type=broad_kinds,
        default=ALL,
        metavar="KINDS",
        help=f"what is taken away beside marks: some of {','.join(BROAD_KINDS)}, none, or all (the default)",
    )
    command.add_argument(
        "--keep",
        type=traits,
        default=keep.DEFAULT,
        metavar="TRAITS",
        help="what of a person is guarded beyond what the network leaves by itself: some of "
        f"{','.join(keep.TRAITS)}, none, or all (default: moles)",
    )
    command.add_argument(
        "--preset", choices=PRESETS, default="live", help="size of the network (default: live)"
    )
    command.add_argument("--engine", choices=ENGINES, default="auto", help="what runs it (default: auto)")
    command.add_argument(
        "--max-faces",
        type=faces,
        default=1,
        metavar="N",
        help=f"at most N faces, up to {MOST_FACES} (default: 1)",
    )
    command.add_argument(
        "--threads",
        type=whole,
        metavar="N",
        help="cores for the network (default: all but one, up to 4; live at least two)",
    )
