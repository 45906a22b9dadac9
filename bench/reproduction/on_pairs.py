"""The run behind `python -m bench pairs`: networks of any system on the test split of pairs."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from bench.baselines import bilateral, nothing
from bench.report import BenchError, Part
from bench.reproduction.judged import SEED, Judged, Retouch, frames_of, judge, kept_small, without_map
from bench.reproduction.tables import BILATERAL, RAW, RAW_COLUMNS, figure_cells, reasons_said
from bench.scores import seers
from model.data.sequences import PairClips, SequenceConfig
from model.earlier.systems import FrameByFrame
from model.earlier.weights import load_earlier
from model.paper.weights import load_paper
from model.systems import EARLIER, PAPER
from model.validate import Causal
from model.weights import load_weights, loading, system_of


@dataclass(frozen=True)
class Found:
    """For people and for programs: tables and sentences, figures by name, and why some are not there."""

    parts: list[Part]
    figures: dict[str, float | None]
    reasons: dict[str, str]


def load_any(path: Path) -> Causal:
    """The network of a file, which says of which system it is.

    Raises:
        WeightsError: there is none.
    """
    with loading(path, "weights", "train them with `python -m model.train`"):
        system = system_of(torch.load(path, map_location="cpu", weights_only=True))
    if system in EARLIER:
        return FrameByFrame(load_earlier(system, path))
    return load_paper(path) if system == PAPER else load_weights(path)


def check_titles(titles: Sequence[str]) -> None:
    """That each network has a row of its own.

    Raises:
        BenchError: two have one title, or one has that of what is judged anyway.
    """
    for place, title in enumerate(titles):
        if title in (RAW, BILATERAL, *titles[:place]):
            raise BenchError(f"two rows would be titled {title!r}; give that --network another title")


def no_flicker(tests: PairClips) -> str:
    """Why these clips have no flicker; empty where they have."""
    if not tests.flow_known:
        return "the motion of filmed videos is not known"
    if tests.config.motion == "independent":
        return "much of an independent crop was outside the one before; give --motion smooth"
    return ""


def measure(options: argparse.Namespace, say: Callable[[str], None]) -> Found:
    """Judge raw pairs, the filter and every network on the same clips."""
    check_titles([title for title, _ in options.networks])
    config = SequenceConfig(options.size, options.frames, options.motion)
    networks = {title: frames_of(load_any(path)) for title, path in options.networks}
    tests = PairClips(options.data, "test", config, SEED)
    count = min(options.clips, len(tests))
    clips = [kept_small(tests.clip(number, index=number)) for number in range(count)]
    seen_by = seers(options.i3d)
    methods: dict[str, Retouch] = {RAW: without_map(nothing), BILATERAL: without_map(bilateral), **networks}
    judged: dict[str, Judged] = {}
    for title, retouch in methods.items():
        say(f"judging {title}")
        judged[title] = judge(retouch, clips, seen_by, no_flicker(tests))
    rows = [(title, *figure_cells(one)) for title, one in judged.items()]
    said = (
        f"{count} clips of {options.frames} frames of {options.size} px of {options.data}, "
        f"motion {options.motion if tests.flow_known else 'as filmed'}."
    )
    figures = {f"{title} {name}": v for title, one in judged.items() for name, v in one.figures.items()}
    reasons = judged[RAW].reasons
    return Found([said, (RAW_COLUMNS, rows), *reasons_said(list(judged.values()))], figures, reasons)
