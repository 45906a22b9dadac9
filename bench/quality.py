"""What retouching does to held-out faces in motion, beside doing nothing and a common filter."""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench import report, sheet, sorts
from bench.baselines import BASELINES
from bench.budgets import QUALITY, SECOND, UNPAINTED, Budget, judge
from bench.clips import DEFAULT_PORTRAITS, HeldoutClips, faces_folder
from bench.judge import ClipFigures, ClipJudge, Footage, FrameTruth, Ground, truth_of
from bench.metrics import Pixels, changed_bytes
from bench.noise import with_noise
from bench.paths import ClipPath, FramePath, NetworkPath, Retouched, engine_for
from bench.report import BenchError
from bench.second.clips import SecondClips
from bench.summary import TONE_FIGURES, by_tone, summary, tone_gaps
from stream.arguments import traits
from stream.engine import EARLIER_SYSTEMS, Engine, load_earlier
from stream.face import FaceFinder, FaceModels
from stream.keep import DEFAULT
from stream.retoucher import Retoucher

OURS = "vretouch"


class Generator(NamedTuple):
    """Where clips come from, made of (faces, frames, seed, aligned only), and what they are held against."""

    clips: Callable[[Path, int, int, bool], Callable[[int], Iterable[Footage]]]
    budgets: tuple[Budget, ...]


GENERATORS = {
    "painted": Generator(HeldoutClips, QUALITY),
    "real": Generator(partial(HeldoutClips, real_marks=True), SECOND),
    "second": Generator(SecondClips, SECOND),
    "unpainted": Generator(partial(SecondClips, painted=False), UNPAINTED),
}
Moved = Callable[[Pixels, Pixels], float]
_MOST_NOISE = 64.0
_STRENGTH_0_FRAMES = 3


@dataclass
class Outcome:
    """Figures of every clip by method, what is left of each sort of imperfection, the sheet's rows, and
    bytes changed at strength 0 (None: not tried)."""

    clips: dict[str, list[ClipFigures]] = field(default_factory=dict)
    sorts: list[sorts.Shares] = field(default_factory=list)
    rows: list[sheet.Row] = field(default_factory=list)
    bytes_at_strength_0: int | None = None


@dataclass(frozen=True)
class Plan:
    """What a run does besides judging: pictures of every n-th clip, word of its progress, how far the face
    mesh of a frame lies from that of another, px (nan: no face)."""

    picture_every: int = 1
    pictures: int = 0
    say: Callable[[str], None] = lambda _: None
    moved: Moved = lambda _raw, _out: math.nan


def run(footages: Iterable[Footage], path: ClipPath, at_zero: ClipPath | None, plan: Plan) -> Outcome:
    """Judge the path and the baselines on every clip; at_zero is the same path at strength 0."""
    outcome = Outcome()
    for number, footage in enumerate(footages):
        pictured = number % plan.picture_every == 0 and len(outcome.rows) < plan.pictures
        figures, truth, ours = _judge_clip(footage, path)
        figures[OURS] = replace(figures[OURS], moved_px=plan.moved(truth.raw, ours.out_u8))
        outcome.sorts.append(sorts.shares(truth.raw, ours.out_u8, truth.target, truth.map, truth.face))
        for method, of_clip in figures.items():
            outcome.clips.setdefault(method, []).append(of_clip)
        if pictured:
            outcome.rows.append(_row(truth, ours, figures[OURS]))
        if at_zero is not None:
            changed = _changed_at_zero(footage, at_zero)
            outcome.bytes_at_strength_0 = (outcome.bytes_at_strength_0 or 0) + changed
        said = figures[OURS]
        plan.say(f"{number + 1}: {footage.name}  gain {said.gain_db:+.2f} dB  removal {said.removal:.2f}")
    if not outcome.clips:
        raise BenchError("there is no clip to judge; ask for one or more with --clips")
    return outcome


def _judge_clip(footage: Footage, path: ClipPath) -> tuple[dict[str, ClipFigures], FrameTruth, Retouched]:
    """Every method's figures, and one frame of the clip with what became of it."""
    ground = Ground(footage)
    judges = {method: ClipJudge(footage) for method in (*BASELINES, OURS)}
    path.begin()
    shown: tuple[FrameTruth, Retouched] | None = None
    for t in range(len(footage)):
        truth = truth_of(footage, t)
        ground.add(truth, footage.keep[t])
        for method, retouch in BASELINES.items():
            judges[method].add(truth, retouch(truth.raw), None)
        ours = path.frame(truth.raw)
        judges[OURS].add(truth, ours.out_u8, ours.map, ours.found)
        if t == len(footage) * 2 // 3:
            shown = truth, ours
    figures = {method: each.result(ground) for method, each in judges.items()}
    assert shown is not None
    return figures, *shown


def _row(truth: FrameTruth, ours: Retouched, figures: ClipFigures) -> sheet.Row:
    caption = (
        f"{figures.clip}  Monk {figures.monk}  gain {figures.gain_db:+.2f} dB  removal {figures.removal:.2f}"
        f"  drift {figures.drift:.2f}  flicker {figures.flicker:.2f}"
    )
    return sheet.Row(truth.raw, ours.out_u8, truth.target, ours.map, truth.map, caption)


def _changed_at_zero(footage: Footage, path: ClipPath) -> int:
    path.begin()
    everywhere = footage.raw_u8[0, ..., 0] >= 0
    frames = footage.raw_u8[:_STRENGTH_0_FRAMES]
    return sum(changed_bytes(path.frame(raw).out_u8, raw, everywhere) for raw in frames)


_SHOWN = (
    ("gain_db", "gain, dB"),
    ("gain_min_db", "gain of the worst clip, dB"),
    ("psnr_db", "PSNR against target, dB"),
    ("removal", "removal"),
    ("drift", "drift, levels"),
    ("false_alarm", "clean skin changed by more than 2 levels, share"),
    ("soft_iou", "Soft-IoU of the map"),
    ("map_ssim", "SSIM of the map"),
    ("flicker", "flicker, levels"),
    ("e_warp", "E_warp"),
    ("d_light", "dL* of clean skin"),
    ("d_hue", "dhue of clean skin, degrees"),
    ("moved_max_px", "landmarks moved in the worst clip, px"),
    ("identity_kept", "moles and freckles kept"),
    ("marks", "moles and freckles judged"),
    ("bytes_outside_head", "bytes changed outside the head"),
    ("found", "frames with a face found"),
)


def tables(outcome: Outcome, figures: dict[str, float | None], budgets: tuple[Budget, ...] = QUALITY) -> str:
    """The whole result for people."""
    methods = {name: summary(clips) for name, clips in outcome.clips.items()}
    rows = [(title, *(report.number(m[key]) for m in methods.values())) for key, title in _SHOWN]
    groups = by_tone(outcome.clips[OURS])
    tones = [(name, *(report.number(v) for v in values.values())) for name, values in groups.items()]
    kinds = [
        (f"{size} {colour}", str(s.count), *(report.number(v) for v in (s.before, s.left / s.before, s.left)))
        for (size, colour), s in sorts.summed(outcome.sorts).items()
        if s.before > 0.0
    ]
    worst = [
        (
            c.clip,
            str(c.monk),
            *(report.number(v) for v in (c.gain_db, c.removal, c.drift, c.flicker, c.found)),
        )
        for c in _worst(outcome.clips[OURS])
    ]
    return "\n\n".join(
        (
            report.table(("figure", *methods), rows),
            report.table(("skin tone", "clips", *TONE_FIGURES.values()), tones),
            "What is left, by size and by what it does to the skin (squared error, mean of clips)\n"
            + report.table(("imperfections", "parts", "share of all", "left of it", "left of all"), kinds),
            "The clips with the least gain\n"
            + report.table(("clip", "Monk", "gain, dB", "removal", "drift", "flicker", "found"), worst),
            report.verdict_table(judge(budgets, figures))
            if budgets
            else "There are no targets for these clips.",
        )
    )


def _worst(clips: Sequence[ClipFigures], count: int = 10) -> list[ClipFigures]:
    return sorted((c for c in clips if not math.isnan(c.gain_db)), key=_gain)[:count]


def _gain(clip: ClipFigures) -> float:
    return clip.gain_db


def flat_figures(outcome: Outcome) -> dict[str, float | None]:
    """The figures of ours that budgets and readers ask for by name; None where nothing was measured."""
    clips = outcome.clips[OURS]
    measured = summary(clips) | tone_gaps(by_tone(clips))
    figures: dict[str, float | None] = {k: None if math.isnan(v) else v for k, v in measured.items()}
    changed = outcome.bytes_at_strength_0
    figures["bytes_at_strength_0"] = None if changed is None else float(changed)
    return figures


def result(
    outcome: Outcome, settings: dict[str, Any], budgets: tuple[Budget, ...] = QUALITY
) -> dict[str, Any]:
    """The whole result for programs."""
    figures = flat_figures(outcome)
    return report.document(
        "quality",
        settings,
        figures,
        judge(budgets, figures),
        methods={name: summary(clips) for name, clips in outcome.clips.items()},
        by_tone=by_tone(outcome.clips[OURS]),
        by_sort={" ".join(key): asdict(share) for key, share in sorts.summed(outcome.sorts).items()},
        clips={name: [asdict(clip) for clip in clips] for name, clips in outcome.clips.items()},
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m bench quality`."""
    parser.add_argument("--clips", type=int, default=24, metavar="N", help="clips to judge (24)")
    parser.add_argument("--frames", type=int, default=24, metavar="T", help="frames of each clip (24)")
    parser.add_argument("--seed", type=int, default=0, help="which clips are drawn (0)")
    parser.add_argument(
        "--faces", type=Path, metavar="DIR", help="prepared portraits (made in the cache if absent)"
    )
    parser.add_argument(
        "--portraits", type=Path, metavar="DIR", default=DEFAULT_PORTRAITS, help="what to make them from"
    )
    parser.add_argument(
        "--generator",
        choices=sorted(GENERATORS),
        default="painted",
        help="painted as training's clips are; real, marks of held-out people alone; second, by a "
        "generator that nothing trains on; unpainted, faces on which nothing is to be done (painted)",
    )
    parser.add_argument("--preset", default="live")
    parser.add_argument("--engine", default="auto")
    parser.add_argument(
        "--model", type=Path, metavar="ONNX", help="judge this file instead of the shipped weights"
    )
    parser.add_argument(
        "--system",
        choices=EARLIER_SYSTEMS,
        help="judge an earlier system in our place, with --weights",
    )
    parser.add_argument(
        "--weights", type=Path, metavar="FILE", help="of --system, made by `python -m model.train --system`"
    )
    parser.add_argument(
        "--keep", type=traits, default=DEFAULT, metavar="TRAITS", help="as of `vretouch file` (moles)"
    )
    parser.add_argument(
        "--noise",
        type=float,
        default=0.0,
        metavar="LEVELS",
        help="a sensor's, laid on raw and target alike (0)",
    )
    parser.add_argument("--network-only", action="store_true", help="aligned faces straight into the network")
    parser.add_argument("--sheet", type=Path, metavar="PNG", help="write a picture sheet")
    parser.add_argument("--sheet-clips", type=int, default=12, metavar="N", help="clips on the sheet (12)")
    parser.add_argument("--json", metavar="FILE", help="write the result as JSON; - for standard output")


def main(options: argparse.Namespace) -> int:
    """Run the bench as asked."""
    if options.clips < 1 or options.frames < 2:
        raise BenchError(
            f"{options.clips} clips of {options.frames} frames; give at least 1 clip and 2 frames"
        )
    if not 0.0 <= options.noise <= _MOST_NOISE:
        raise BenchError(
            f"--noise {options.noise:g} is no noise of a picture; give 0 to {_MOST_NOISE:g} levels"
        )
    _needs_torch()
    engine = _engine(options)
    folder = faces_folder(options.faces, options.portraits)
    generator = GENERATORS[options.generator]
    clips = generator.clips(folder, options.frames, options.seed, options.network_only)
    began = time.perf_counter()
    with FaceModels() as models:
        plan = Plan(
            max(1, options.clips // options.sheet_clips),
            options.sheet_clips if options.sheet else 0,
            _say,
            partial(mesh_moved, models),
        )
        outcome = _run(with_noise(clips(options.clips), options.noise, options.seed), engine, plan, options)
    settings = vars(options) | {
        "engine": engine.name,
        "keep": sorted(options.keep),
        "seconds": round(time.perf_counter() - began, 1),
    }
    budgets = () if options.noise else generator.budgets  # which are for the clips as they are
    print(tables(outcome, flat_figures(outcome), budgets), file=report.text_stream(options.json))
    if options.sheet:
        sheet.save(outcome.rows, options.sheet)
    if options.json:
        report.write_json(result(outcome, settings, budgets), options.json)
    return 0


def _engine(options: argparse.Namespace) -> Engine:
    if (options.system is None) != (options.weights is None):
        raise BenchError("--system and --weights go together; give both, or leave both out")
    if options.system is None:
        return engine_for(options.engine, options.preset, options.model)
    if options.model is not None or options.preset != "live":
        raise BenchError("--model and --preset are not for --system, whose file has its size; leave them out")
    return load_earlier(options.system, options.weights, options.engine)


def _run(footages: Iterable[Footage], engine: Engine, plan: Plan, options: argparse.Namespace) -> Outcome:
    if options.network_only:
        return run(footages, NetworkPath(engine), None, plan)
    with (
        Retoucher(options.preset, engine, keep=options.keep) as full,
        Retoucher(options.preset, engine, strength=0.0) as zero,
    ):
        return run(footages, FramePath(full), FramePath(zero), plan)


def mesh_moved(models: FaceFinder, raw: Pixels, out: Pixels) -> float:
    """Mean distance in px of the face mesh of `out` from that of `raw`, both uint8 [H, W, 3] RGB; nan where
    raw shows no face. The mesh is looked for in the same place, for its own noise is of the order of the
    figure."""
    found = models.detect(raw)
    meshes = [models.landmarks_px(frame, found[0].roi) for frame in (raw, out)] if found else [None]
    if any(mesh is None for mesh in meshes):
        return math.nan
    before, after = (np.asarray(mesh, np.float32) for mesh in meshes)
    return float(np.linalg.norm(after - before, axis=1).mean())


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _needs_torch() -> None:
    try:
        import skimage  # noqa: F401
        import torch  # noqa: F401
    except ImportError as error:
        raise BenchError(
            f"bench quality needs torch and scikit-image ({error}); run it with `make bench`"
        ) from error
