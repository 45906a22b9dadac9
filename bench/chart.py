"""A bar chart of durations as PNG: the median as a bar, p95 and p99 as ticks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from PIL import Image, ImageDraw

from bench.clock import Spread
from bench.report import BenchError

_WIDTH, _ROW_PX, _LABEL_PX, _NUMBER_PX = 900, 30, 130, 150
_BAR, _TICK, _INK = (74, 124, 178), (178, 60, 50), (40, 40, 40)


def draw(spreads: Mapping[str, Spread]) -> Image.Image:
    """The chart, one row for each name."""
    picture = Image.new("RGB", (_WIDTH, _ROW_PX * (len(spreads) + 1)), "white")
    pen = ImageDraw.Draw(picture)
    most = max(s.p99 for s in spreads.values())
    scale = (_WIDTH - _LABEL_PX - _NUMBER_PX) / max(most, 1e-9)
    pen.text((8, 8), "ms: the bar is the median, the ticks are p95 and p99", fill=_INK)
    for row, (name, s) in enumerate(spreads.items(), 1):
        top = row * _ROW_PX
        pen.text((8, top + 8), name, fill=_INK)
        pen.rectangle((_LABEL_PX, top + 5, _LABEL_PX + scale * s.p50, top + _ROW_PX - 6), fill=_BAR)
        for value in (s.p95, s.p99):
            x = _LABEL_PX + scale * value
            pen.line((x, top + 3, x, top + _ROW_PX - 4), fill=_TICK, width=2)
        pen.text((_WIDTH - _NUMBER_PX + 8, top + 8), f"{s.p50:.2f} / {s.p95:.2f} / {s.p99:.2f}", fill=_INK)
    return picture


def save(spreads: Mapping[str, Spread], path: Path) -> None:
    """Draw the chart and write it."""
    try:
        draw(spreads).save(path, format="PNG")
    except OSError as error:
        raise BenchError(
            f"{path} cannot be written ({error.strerror}); give a file in a folder that is"
        ) from error
