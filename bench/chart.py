"""A bar chart of durations as PNG: the median as a bar, p95 and p99 as ticks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from bench.clock import Spread
from bench.report import BenchError
from model.whole import part_of

_WIDTH, _ROW_PX, _LABEL_PX, _NUMBER_PX = 900, 30, 130, 150
_LONG_LABEL_PX = 270
_BAR, _TICK, _INK = (74, 124, 178), (178, 60, 50), (40, 40, 40)
_COLOURS = (_BAR, (112, 164, 96), (222, 160, 66), (140, 110, 170), (120, 150, 160), (200, 120, 130))


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


@dataclass(frozen=True)
class Bar:
    """A row of stages, each as long as its median in ms, and a tick at the whole's p99."""

    label: str
    stages: Mapping[str, float]
    p99: float


def draw_bars(bars: Sequence[Bar]) -> Image.Image:
    """The chart, one row for each bar, a colour for each stage."""
    names = list(dict.fromkeys(name for bar in bars for name in bar.stages))
    colours = {name: _COLOURS[number % len(_COLOURS)] for number, name in enumerate(names)}
    picture = Image.new("RGB", (_WIDTH, _ROW_PX * (len(bars) + 1)), "white")
    pen = ImageDraw.Draw(picture)
    most = max(max(bar.p99, sum(bar.stages.values())) for bar in bars)
    scale = (_WIDTH - _LONG_LABEL_PX - _NUMBER_PX) / max(most, 1e-9)
    pen.text((8, 8), "ms: medians of the stages, the tick is p99", fill=_INK)
    for number, (name, colour) in enumerate(colours.items()):
        left = _LONG_LABEL_PX + 90 * number
        pen.rectangle((left, 9, left + 10, 19), fill=colour)
        pen.text((left + 15, 8), name, fill=_INK)
    for row, bar in enumerate(bars, 1):
        top, begin = row * _ROW_PX, float(_LONG_LABEL_PX)
        pen.text((8, top + 8), bar.label, fill=_INK)
        for name, ms in bar.stages.items():
            pen.rectangle((begin, top + 5, begin + scale * ms, top + _ROW_PX - 6), fill=colours[name])
            begin += scale * ms
        x = _LONG_LABEL_PX + scale * bar.p99
        pen.line((x, top + 3, x, top + _ROW_PX - 4), fill=_TICK, width=2)
        said = f"{sum(bar.stages.values()):.2f} / {bar.p99:.2f}"
        pen.text((_WIDTH - _NUMBER_PX + 8, top + 8), said, fill=_INK)
    return picture


def save_bars(bars: Sequence[Bar], path: Path) -> None:
    """Draw the bars and write them."""
    _write(draw_bars(bars), path)


def save(spreads: Mapping[str, Spread], path: Path) -> None:
    """Draw the chart and write it."""
    _write(draw(spreads), path)


def _write(picture: Image.Image, path: Path) -> None:
    try:
        with part_of(path) as part:
            picture.save(part, format="PNG")
    except OSError as error:
        raise BenchError(
            f"{path} cannot be written ({error.strerror}); give a file in a folder that is"
        ) from error
