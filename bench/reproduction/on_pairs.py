"""The run behind `python -m bench pairs`: networks of any system on the test split of pairs."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import lcm
from pathlib import Path
from typing import TypeGuard

import torch

from bench.baselines import bilateral, nothing
from bench.report import BenchError, Part
from bench.reproduction.judged import (
    SEED,
    Judged,
    Retouch,
    frames_of,
    judge,
    kept_small,
    whole_clips_of,
    without_map,
)
from bench.reproduction.tables import BILATERAL, RAW, RAW_COLUMNS, WHOSE_MAPS, figure_cells, reasons_said
from bench.scores import seers
from model.config import FACE_PX
from model.data.sequences import PairClips, SequenceConfig
from model.earlier.systems import FrameByFrame
from model.earlier.weights import load_earlier
from model.paper.network import PaperVRetouchEr
from model.paper.weights import load_paper
from model.systems import EARLIER, PAPER
from model.validate import Causal
from model.weights import load_weights, loading, system_of

LIVE_MULTIPLE_PX = 32  # what a face's sides must be multiples of for the causal network


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


def retouching(network: Causal) -> Retouch:
    """What retouches a clip with the network as it was trained: frame after frame, or, where its references
    are around a frame, the whole clip."""
    if _looks_ahead(network):
        return whole_clips_of(network, network.references)
    return frames_of(network)


def _looks_ahead(network: Causal) -> TypeGuard[PaperVRetouchEr]:
    return isinstance(network, PaperVRetouchEr) and network.references != "past"


def multiple_px(network: Causal) -> int:
    """What a face's sides must be multiples of for the network."""
    if isinstance(network, PaperVRetouchEr):
        return network.config.multiple
    return network.network.config.multiple_px if isinstance(network, FrameByFrame) else LIVE_MULTIPLE_PX


def check_size(networks: Mapping[str, Causal], size: int) -> None:
    """That every network can retouch faces of `size` pixels.

    Raises:
        BenchError: one cannot.
    """
    needed = {title: multiple_px(network) for title, network in networks.items()}
    common = lcm(*needed.values())
    for title, multiple in needed.items():
        if size % multiple:
            fit = min(max(common, size // common * common), FACE_PX)
            raise BenchError(
                f"{title} takes faces whose sides are multiples of {multiple} pixels, and --size is {size}; "
                f"give --size {fit}"
            )


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
    networks = {title: load_any(path) for title, path in options.networks}
    check_size(networks, options.size)
    tests = PairClips(options.data, "test", config, SEED)
    count = min(options.clips, len(tests))
    clips = [kept_small(tests.clip(number, index=number)) for number in range(count)]
    seen_by = seers(options.i3d)
    methods: dict[str, Retouch] = {RAW: without_map(nothing), BILATERAL: without_map(bilateral)}
    methods |= {title: retouching(network) for title, network in networks.items()}
    judged: dict[str, Judged] = {}
    for title, retouch in methods.items():
        say(f"judging {title}")
        judged[title] = judge(retouch, clips, seen_by, no_flicker(tests))
    rows = [(title, *figure_cells(one)) for title, one in judged.items()]
    said = (
        f"{count} clips of {options.frames} frames of {options.size} px of {options.data}, "
        f"motion {options.motion if tests.flow_known else 'as filmed'}."
    )
    ahead = [title for title, network in networks.items() if _looks_ahead(network)]
    if ahead:
        said += f" References around a frame, so that frames to come are seen: {', '.join(ahead)}."
    if any(isinstance(network, FrameByFrame) for network in networks.values()):
        said += f" {WHOSE_MAPS}"
    figures = {f"{title} {name}": v for title, one in judged.items() for name, v in one.figures.items()}
    reasons = judged[RAW].reasons
    return Found([said, (RAW_COLUMNS, rows), *reasons_said(list(judged.values()))], figures, reasons)
