"""A relay as `vretouch relay` runs it, but with stand-ins for the network and the face models.

`python -m tests.stream.web.relay --port 8080` runs it. It darkens one patch of the picture, so that it shows
where and how strongly the effect is at work. Its network takes as many ms for a face as the file FILE says at
that moment, with `--takes-ms FILE`.
"""

from __future__ import annotations

import argparse
import functools
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stream.live.filter import Filtered, LiveFilter
from stream.relay.command import add_arguments, run
from stream.retoucher import Retoucher
from tests.stream.fakes import PATCH, FakeEngine, FakeFinder, FakeState, face_at

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


class SlowEngine(FakeEngine):
    """Takes as many ms for a face as a file says at that moment."""

    def __init__(self, takes_ms: Path) -> None:
        super().__init__(LEVELS - 3.0)
        self._takes_ms = takes_ms

    def step(
        self, face_rgb_u8: npt.NDArray[np.uint8], state: FakeState
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        time.sleep(float(self._takes_ms.read_text() or 0.0) / 1e3)
        return super().step(face_rgb_u8, state)


def make_filter(
    on_frame: Callable[[Filtered[Any]], None], *, takes_ms: Path | None = None
) -> LiveFilter[Any]:
    """One face, always at the same place, with an imperfection on its cheek."""
    engine = FakeEngine(LEVELS - 3.0) if takes_ms is None else SlowEngine(takes_ms)
    finder = FakeFinder(face_at(*FACE_XY, FACE_SCALE))
    return LiveFilter(lambda: Retoucher("live", engine, finder=finder), on_frame, fps=PROMISED_FPS)


def main() -> int:
    """Serve until a signal."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    parser.add_argument("--takes-ms", type=Path, metavar="FILE")
    options = parser.parse_args()
    return run(options, functools.partial(make_filter, takes_ms=options.takes_ms))


if __name__ == "__main__":
    sys.exit(main())
