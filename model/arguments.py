"""Numbers on the command lines of the trainings, each refused in a sentence where it is out of range."""

import argparse
import math

from model.config import FACE_PX


def side(text: str) -> int:
    """A crop's side: a multiple of the widest context, 64, that fits into a face."""
    if not text.isdecimal() or int(text) % 64 or not 64 <= int(text) <= FACE_PX:
        raise argparse.ArgumentTypeError(f"{text!r} is no side of a crop; give a multiple of 64 up to 512")
    return int(text)


def positive(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def above_zero(text: str) -> float:
    """A number above 0."""
    number = _number(text)
    if not 0.0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


def not_negative(text: str) -> float:
    """A number of at least 0."""
    number = _number(text)
    if not 0.0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 0")
    return number


def finite(text: str) -> float:
    """Any number."""
    number = _number(text)
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return number


def share(text: str) -> float:
    """A part of a whole, 0 to 1."""
    number = _number(text)
    if not 0.0 <= number <= 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return number


def _number(text: str) -> float:
    """nan where it is none, which lies in no range."""
    try:
        return float(text)
    except ValueError:
        return math.nan
