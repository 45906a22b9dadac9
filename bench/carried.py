"""What `python -m bench throughput` tries, and what it says of it."""

from __future__ import annotations

import argparse
import copy
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bench import chart, report
from bench.device import Device, device_of, own_mb
from bench.footage import face_picture
from bench.networks import UNTRAINED, check_preset, engine_named, is_trained, loader, network_of
from bench.pipeline import Shot, shots_of, size_of
from bench.report import BenchError
from bench.streams import Batched, OneByOne, Trial, Way, ran_out_of_memory, try_streams
from bench.streams_on_device import BatchedOnDevice, OneByOneOnDevice, give_back
from bench.throughput import most_streams
from model.vretoucher import VRetouchEr
from stream.device import board_of, guarded
from stream.engine import DeviceEngine, Engine, default_threads
from stream.engines.torch_ import TorchEngine
from stream.errors import EngineError
from stream.retoucher import Retoucher


@dataclass
class Carried:
    """What was tried. said: preset, device and budget in two sentences; figures: by name, among them the most
    streams of each way."""

    device: Device
    said: str
    trials: list[Trial] = field(default_factory=list)
    figures: dict[str, float | None] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def measure(options: argparse.Namespace) -> Carried:
    """The most streams, one by one and batched; options.device becomes the one it ran on."""
    check_preset(options.preset)
    size, threads = size_of(options.resolution), options.threads or default_threads()
    options.device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    device = device_of(options.device, threads)
    try:
        engine, together = _engines(options, device, network_of(options.preset), threads)
    except Exception as error:
        if not ran_out_of_memory(error):
            raise
        raise BenchError(
            f"{device.name} has too little memory for the engine ({_reason(error)}); end what else uses it, "
            "or give a smaller --preset"
        ) from error
    with Retoucher(engine=engine) as retoucher:
        shots = shots_of(face_picture(options.input), size, 1, retoucher)
    if device.kind == "cuda":
        # Made where faces are found, which is not timed here.
        shots = [replace(shot, located=guarded(shot.located, shot.frame_u8.shape)) for shot in shots]
    found = Carried(device, _said(options, device))
    if not is_trained(options.preset):
        found.notes.append(f"Preset {options.preset}: {UNTRAINED}.")
    for name, make in _ways(engine, together, device, threads).items():
        _search(found, name, make, shots, options)
    found.figures |= {"device_peak_mb": device.peak_mb(), "rss_mb": own_mb()}
    return found


def _engines(
    options: argparse.Namespace, device: Device, network: VRetouchEr, threads: int
) -> tuple[Engine, TorchEngine]:
    """The one that steps streams one by one, and the one that steps them together."""
    with tempfile.TemporaryDirectory() as made:
        engine = loader(engine_named(options.engine, device), network, threads, Path(made))()
    if isinstance(engine, TorchEngine):
        return engine, engine
    own = copy.deepcopy(network)
    return engine, TorchEngine(options.preset, threads, device.kind, device.dtype, own)


def _ways(
    engine: Engine, together: TorchEngine, device: Device, threads: int
) -> dict[str, Callable[[int], Way]]:
    """How streams are carried, by name: with their frames on the GPU where that is the device."""
    one, many = f"one by one, {engine.name}", f"batched, {together.name}"
    if device.kind != "cuda":
        return {one: partial(OneByOne, engine), many: partial(Batched, together)}
    assert isinstance(engine, DeviceEngine)  # all of GPU_ENGINES are
    try:
        board = board_of(engine)
    except EngineError as error:
        raise BenchError(f"{error}, or give --device cpu") from error
    return {
        one: partial(OneByOneOnDevice, engine, board, device, threads),
        many: partial(BatchedOnDevice, together, board, device, threads),
    }


def budget_ms(options: argparse.Namespace) -> float:
    """The one that is asked for, else what passes from one frame to the next."""
    return float(options.budget_ms or 1000.0 / options.fps)


def _search(
    found: Carried,
    name: str,
    make: Callable[[int], Way],
    shots: list[Shot],
    options: argparse.Namespace,
) -> None:
    """Try streams one way."""

    def fits(streams: int) -> bool:
        if found.device.kind == "cuda":
            give_back()
        trial = try_streams(name, make, streams, found.device, shots, options.ticks, budget_ms(options))
        found.trials.append(trial)
        print(f"{name}: {_count(streams)}, {_verdict(trial)}", file=sys.stderr, flush=True)
        return trial.kept

    most = most_streams(fits, options.limit)
    found.figures[f"streams_{name.partition(',')[0].replace(' ', '_')}"] = float(most)
    if most == options.limit:
        found.notes.append(f"{name}: more than {_count(most)} were not tried; give a larger --limit.")


def parts(found: Carried) -> list[report.Part]:
    """The whole result for people, in tables and sentences."""
    header = ("streams, ms from the frames to all of them retouched", "streams", *report.SPREAD_HEADER)
    rows = []
    for trial in found.trials:
        spent = report.spread_rows({trial.way: trial.ticks})[0] if trial.ticks else (trial.way, *["-"] * 5)
        rows.append((spent[0], str(trial.streams), *spent[1:], _verdict(trial)))
    figures = [(name, report.number(value)) for name, value in found.figures.items()]
    return [found.said, *found.notes, ((*header, "verdict"), rows), (("figure", "measured"), figures)]


def result(found: Carried, settings: dict[str, Any]) -> dict[str, Any]:
    """The whole result for programs."""
    return report.document(
        "throughput",
        settings,
        found.figures,
        [],
        device={"name": found.device.name, "class": found.device.group},
        trials=[asdict(trial) for trial in found.trials],
        notes=found.notes,
    )


def save_chart(found: Carried, path: Path) -> None:
    """A bar for each trial that ended, of the medians of its stages."""
    chart.save_bars(
        [
            chart.Bar(
                f"{_count(trial.streams)}: {trial.way}",
                {name: stage.p50 for name, stage in trial.stages.items()},
                trial.ticks.p99,
            )
            for trial in found.trials
            if trial.ticks and trial.stages
        ],
        path,
    )


def _said(options: argparse.Namespace, device: Device) -> str:
    way = (
        "goes to the GPU and comes back once"
        if device.kind == "cuda"
        else "is cropped and pasted by the host"
    )
    return (
        f"Preset {options.preset} on {device.name} (class {device.group}): streams of {options.resolution}, "
        f"a face in each, whose frames arrive together. From then to the last one retouched p99 may take "
        f"{budget_ms(options):.4g} ms; each frame {way}, and finding the faces is not in it."
    )


def _reason(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _verdict(trial: Trial) -> str:
    return "kept" if trial.kept else "broken" if trial.ticks else "too little memory"


def _count(streams: int) -> str:
    return f"{streams} stream{'s' * (streams > 1)}"
