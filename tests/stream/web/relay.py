"""A relay as `vretouch relay` runs it, but with stand-ins for the network and the face models.

`python -m tests.stream.web.relay --port 8080` runs it. It darkens one patch of the picture, so that it shows
where and how strongly the effect is at work.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from stream.live.filter import Filtered, LiveFilter
from stream.relay.command import add_arguments, run
from stream.retoucher import Retoucher
from tests.stream.fakes import PATCH, FakeEngine, FakeFinder, face_at

LEVELS = -57.0
PROMISED_FPS = 8.0
"""Far less than the camera sends, so that a busy machine is no reason to retouch less."""
FACE_XY, FACE_SCALE = (320.0, 250.0), 0.5


def patch_at() -> tuple[int, int]:
    """Middle of the patch in the frame: x, y."""
    rows, columns = PATCH
    inside = np.array([columns.start + columns.stop, rows.start + rows.stop]) / 2.0
    x, y = np.array(FACE_XY) + FACE_SCALE * (inside - 256.0)
    return round(float(x)), round(float(y))


def make_filter(on_frame: Callable[[Filtered[Any]], None]) -> LiveFilter[Any]:
    """One face, always at the same place, with an imperfection on its cheek."""
    engine = FakeEngine(LEVELS - 3.0)
    finder = FakeFinder(face_at(*FACE_XY, FACE_SCALE))
    return LiveFilter(lambda: Retoucher("live", engine, finder=finder), on_frame, fps=PROMISED_FPS)


def main() -> int:
    """Serve until a signal."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    return run(parser.parse_args(), make_filter)


if __name__ == "__main__":
    sys.exit(main())
