"""What a frame costs on this machine: by stage, the network alone, `vretouch file` whole, memory, delta."""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench import chart, report
from bench.budgets import LATENCY, judge
from bench.ceiling import measured_gflops
from bench.clock import Spread, median_ratio, spread, take_turns
from bench.delta import Variant, given_variants, made_variants
from bench.footage import FPS, SIZE, face_picture, moving_face, repeat_video, write_video
from bench.metrics import Pixels
from bench.paths import engine_for
from bench.process import Run, watch
from bench.report import BenchError
from model.arguments import above_zero
from stream.crop import crop_face
from stream.engine import Engine, find_weights
from stream.results import STAGES
from stream.retoucher import Retoucher

THREADS = (1, 2)
_WARM_FRAMES = 20
_STEPS_PER_ROUND = 6
_SHORT_FRAMES = 30
_FACES = 6
# Options that are of use without --device alone, and with it alone.
_OF_THE_WHOLE = ("seconds", "repeats", "minutes", "model", "no_file", "no_delta")
_OF_A_DEVICE = ("resolution", "faces", "delta", "threads", "no_rivals", "project")
_DEFAULTS = {"seconds": 20.0, "repeats": 3, "minutes": 0.0}


@dataclass
class Measured:
    """What was measured so far. stages: by stage of a frame; steps: by threads; figures: by name, for
    budgets."""

    stages: dict[str, Spread] = field(default_factory=dict)
    steps: dict[str, Spread] = field(default_factory=dict)
    figures: dict[str, float | None] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def frame_stages(retoucher: Retoucher, picture: Pixels, frames: int) -> dict[str, Spread]:
    """Spread of each stage over `frames` 1280x720 frames of a moving face, after a warm-up."""
    taken: dict[str, list[float]] = {stage: [] for stage in STAGES}
    missed = 0
    for number, frame in enumerate(moving_face(picture, _WARM_FRAMES + frames)):
        retoucher.process(frame, number / FPS)
        if number < _WARM_FRAMES:
            continue
        missed += not retoucher.last.faces
        for stage in STAGES:
            taken[stage].append(retoucher.last.stage_ms[stage])
    if missed > frames // 10:
        raise BenchError(
            f"no face was found in {missed} of {frames} frames; give a picture of one face with --input"
        )
    return {stage: spread(samples) for stage, samples in taken.items()}


def aligned_faces(retoucher: Retoucher, picture: Pixels) -> list[Pixels]:
    """Aligned faces uint8 [512, 512, 3] of a few frames, as the network sees them."""
    faces = []
    retoucher.reset()
    for number, frame in enumerate(moving_face(picture, _FACES)):
        retoucher.process(frame, number / FPS)
        faces += [crop_face(frame, face.alignment) for face in retoucher.last.faces[:1]]
    if not faces:
        raise BenchError("no face was found in the picture; give a picture of one face with --input")
    return faces


def stepper(engine: Engine, faces: list[Pixels]) -> Callable[[], object]:
    """A function that runs the engine's next step, on the faces in turn."""
    state = engine.new_state()
    count = iter(range(sys.maxsize))
    return lambda: engine.step(faces[next(count) % len(faces)], state)


def network_steps(engines: dict[str, Engine], faces: list[Pixels], steps: int) -> dict[str, list[float]]:
    """Durations in ms of so many steps of each engine, taken in turns."""
    candidates = {name: stepper(engine, faces) for name, engine in engines.items()}
    return take_turns(candidates, max(1, steps // _STEPS_PER_ROUND), _STEPS_PER_ROUND, warm_up=6)


def delta_cost(variants: list[Variant], faces: list[Pixels], steps: int) -> float | None:
    """Time of delta = 6 over time of delta = 1, two threads; None unless there is one of each."""
    engines = {f"{v.delta}": engine_for("auto", "live", v.path, 2) for v in variants if v.delta in (1, 6)}
    if len(engines) < 2:
        return None
    taken = network_steps(engines, faces, steps)
    return median_ratio(taken["6"], taken["1"], _STEPS_PER_ROUND)


def file_run(source: Path, out: Path, options: argparse.Namespace) -> Run:
    """`vretouch file` as a process of its own."""
    command = [sys.executable, "-m", "stream", "file", str(source), str(out), "--force", "--quiet"]
    return watch([*command, "--preset", options.preset, "--engine", options.engine])


@dataclass(frozen=True)
class FileRun:
    """`vretouch file` on a clip of one second and on one of `frames` frames."""

    frames: int
    short: Run
    run: Run


def measure_file(picture: Pixels, options: argparse.Namespace, measured: Measured) -> None:
    """Frames per second and memory of `vretouch file`; a longer run also tells whether memory grows."""
    frames = round(options.seconds * FPS)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        short, clip, out = folder / "short.mp4", folder / "clip.mp4", folder / "out.mp4"
        write_video(short, moving_face(picture, _SHORT_FRAMES))
        write_video(clip, moving_face(picture, frames))
        runs = [
            FileRun(frames, file_run(short, out, options), file_run(clip, out, options))
            for _ in range(options.repeats)
        ]
        if options.minutes:
            times = max(1, round(options.minutes * 60 / options.seconds))
            repeat_video(clip, folder / "long.mp4", times)
            runs.append(FileRun(times * frames, runs[-1].short, file_run(folder / "long.mp4", out, options)))
    measured.figures |= file_figures(runs)


def file_figures(runs: list[FileRun]) -> dict[str, float | None]:
    """Figures of the runs: the median and the best rate, the rate less the start, memory and its growth."""
    whole = [r.frames / r.run.seconds for r in runs]
    steady = [
        (r.frames - _SHORT_FRAMES) / (r.run.seconds - r.short.seconds)
        for r in runs
        if r.run.seconds > r.short.seconds and r.frames > _SHORT_FRAMES
    ]
    longest = max(runs, key=_length)
    return {
        "file_fps": float(np.median(whole)),
        "file_fps_best": max(whole),
        "file_fps_less_start": float(np.median(steady)) if steady else None,
        "file_of_1_s_takes_s": float(np.median([r.short.seconds for r in runs])),
        "file_longest_frames": float(longest.frames),
        "peak_rss_mb": max(r.run.peak_mb for r in runs),
        "rss_slope_mb_per_min": longest.run.slope_mb_per_min(),
    }


def _length(run: FileRun) -> float:
    return run.run.seconds


def measure_network(
    options: argparse.Namespace, faces: list[Pixels], ceilings: dict[int, float], measured: Measured
) -> None:
    """The step on one and two threads, and its share of the arithmetic ceiling."""
    model = options.model[0] if options.model else None
    engines = {
        f"{n} thread{'s' * (n > 1)}": engine_for(options.engine, options.preset, model, n) for n in THREADS
    }
    taken = network_steps(engines, faces, options.steps)
    measured.steps = {name: spread(samples) for name, samples in taken.items()}
    two = measured.steps["2 threads"]
    gmac = _gmac(options, model)
    measured.figures |= {f"step_{key}_ms": value for key, value in asdict(two).items() if key != "count"}
    measured.figures["step_1_thread_p50_ms"] = measured.steps["1 thread"].p50
    measured.figures["gmac"] = gmac
    for count, spent in zip(THREADS, measured.steps.values(), strict=True):
        reached = None if gmac is None else 2.0 * gmac / spent.p50 * 1e3
        measured.figures[f"gflops_{count}"] = reached
        measured.figures[f"ceiling_gflops_{count}"] = ceilings[count]
        measured.figures[f"share_of_ceiling_{count}"] = None if reached is None else reached / ceilings[count]


def _gmac(options: argparse.Namespace, model: Path | None) -> float | None:
    """Billions of multiply-adds of a step, as counted when the file was exported; None if its card is not
    there."""
    if model is None:
        card = find_weights(options.preset).card
    else:
        card = report.read_card(model)
    value = card.get("gmac")
    return float(value) if isinstance(value, (int, float)) else None


def measure(options: argparse.Namespace) -> Measured:
    """Everything, in an order that leaves the caches of one part cold for none of the others."""
    measured = Measured()
    picture = face_picture(options.input)
    model = options.model[0] if options.model else None
    ceilings = {threads: measured_gflops(threads) for threads in THREADS}
    with Retoucher(options.preset, engine_for(options.engine, options.preset, model)) as retoucher:
        _say("stages of a frame")
        measured.stages = frame_stages(retoucher, picture, options.frames)
        faces = aligned_faces(retoucher, picture)
    total = measured.stages["total"]
    measured.figures |= {
        "frame_fps": 1000.0 / total.p50,
        "frame_p50_ms": total.p50,
        "frame_p99_ms": total.p99,
    }
    _say("the network's step")
    measure_network(options, faces, ceilings, measured)
    # A neighbour on the machine can only lower what was seen, so the higher of two is the ceiling.
    _raise_ceilings(measured)
    if not options.no_delta:
        _say("delta 6 against delta 1")
        _measure_delta(options, faces, measured)
    if model is not None:
        measured.notes.append("vretouch file runs the shipped weights, so it was not measured with --model")
    elif not options.no_file:
        _say("vretouch file")
        measure_file(picture, options, measured)
    return measured


def _raise_ceilings(measured: Measured) -> None:
    for threads in THREADS:
        key = f"ceiling_gflops_{threads}"
        before, again = measured.figures[key], measured_gflops(threads)
        ceiling = again if before is None else max(before, again)
        reached = measured.figures[f"gflops_{threads}"]
        measured.figures[key] = ceiling
        measured.figures[f"share_of_ceiling_{threads}"] = None if reached is None else reached / ceiling


def _measure_delta(options: argparse.Namespace, faces: list[Pixels], measured: Measured) -> None:
    with tempfile.TemporaryDirectory() as made:
        variants = given_variants(options.model) if options.model else []
        if {v.delta for v in variants} < {1, 6}:
            variants = made_variants(options.preset, (6, 1), Path(made), measured.notes.append)
        measured.figures["delta_cost"] = delta_cost(variants, faces, options.steps)


def parts(measured: Measured) -> list[report.Part]:
    """The whole result for people, in tables and sentences."""
    figures = [(name, report.number(value)) for name, value in measured.figures.items()]
    return [
        (
            (f"stage of a {SIZE[0]}x{SIZE[1]} frame, ms", *report.SPREAD_HEADER),
            report.spread_rows(measured.stages),
        ),
        (("network step alone, ms", *report.SPREAD_HEADER), report.spread_rows(measured.steps)),
        (("other figures", "measured"), figures),
        (report.VERDICT_HEADER, report.verdict_rows(judge(LATENCY, measured.figures))),
        *measured.notes,
    ]


def tables(measured: Measured) -> str:
    """The whole result for a terminal."""
    return report.plain_text(parts(measured))


def result(measured: Measured, settings: dict[str, Any]) -> dict[str, Any]:
    """The whole result for programs."""
    return report.document(
        "latency",
        settings,
        measured.figures,
        judge(LATENCY, measured.figures),
        stages_ms={name: asdict(s) for name, s in measured.stages.items()},
        steps_ms={name: asdict(s) for name, s in measured.steps.items()},
        notes=measured.notes,
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m bench latency`."""
    add = parser.add_argument
    add("--input", type=Path, metavar="PICTURE", help="a picture of one face (the demo's)")
    add("--frames", type=int, default=300, metavar="N", help="frames timed by stage (300)")
    add("--steps", type=int, default=240, metavar="N", help="steps timed on each engine (240)")
    add("--preset", default="live", help="live (the default), or with --device studio and others")
    add("--engine", default="auto")
    add("--chart", type=Path, metavar="PNG", help="write a chart of the stages")
    add("--markdown", metavar="FILE", help="write the tables as Markdown")
    add("--json", metavar="FILE", help="write the result as JSON; - for standard output")
    _add_whole(parser.add_argument_group("the retoucher and vretouch file on this CPU (without --device)"))
    _add_device(parser.add_argument_group("one device, step and frame to frame (with --device)"))


def _add_whole(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--seconds", type=float, metavar="S", help="length of the file's clip (20)")
    add("--repeats", type=int, metavar="N", help="runs of vretouch file (3)")
    add("--minutes", type=above_zero, metavar="M", help="also one long file, for memory")
    add(
        "--model", type=Path, action="append", metavar="ONNX", help="time this file; twice, for delta 6 and 1"
    )
    add("--no-file", action="store_true", help="leave out vretouch file")
    add("--no-delta", action="store_true", help="leave out delta 6 against delta 1")


def _add_device(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--device", choices=("cpu", "cuda"), help="time this device, whose class has targets of its own")
    add(
        "--resolution",
        type=_listed(str),
        metavar="R,R",
        help="frames (720p,1080p,2160p)",
    )
    add("--faces", type=_listed(int), metavar="N,N", help="faces in a frame (1,2,4)")
    add("--delta", type=_listed(int), metavar="N,N", help="references of the step alone (1,6)")
    add("--threads", type=int, metavar="N", help="cores that a step uses (as vretouch would)")
    add(
        "--no-rivals",
        action="store_true",
        help="leave out plain torch, torch.compile and the matting network",
    )
    add("--project", choices=("rtx3090",), help="also what another GPU would make of it, by the roofline")


def _listed(kind: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    def values(text: str) -> list[Any]:
        return [kind(part) for part in text.split(",")]

    values.__name__ = "list"
    return values


def main(options: argparse.Namespace) -> int:
    """Run the bench as asked."""
    _complete(options)
    least = min(options.frames, options.steps, options.repeats)
    if least < 1 or not math.isfinite(options.seconds) or options.seconds < 2.0:
        raise BenchError(
            "--frames, --steps and --repeats must be 1 or more, --seconds 2 or more; give larger ones"
        )
    if options.device is not None:
        return _on_device(options)
    measured = measure(options)
    shown = parts(measured)
    print(report.plain_text(shown), file=report.text_stream(options.json))
    if options.markdown:
        report.write_markdown("python -m bench latency", shown, options.markdown)
    if options.chart:
        chart.save(measured.stages | measured.steps, options.chart)
    if options.json:
        report.write_json(result(measured, vars(options)), options.json)
    return 0


def _complete(options: argparse.Namespace) -> None:
    """Refuse what would be ignored, and give what was left out its default."""
    ignored, why = _OF_THE_WHOLE, "has no use with --device; leave one of them out"
    if options.device is None:
        ignored, why = _OF_A_DEVICE, "needs --device; name one, or leave it out"
    for name in ignored:
        # An option may be given as 0.
        if getattr(options, name) is not None and getattr(options, name) is not False:
            raise BenchError(f"--{name.replace('_', '-')} {why}")
    for name, value in _DEFAULTS.items():
        if getattr(options, name) is None:
            setattr(options, name, value)


def _on_device(options: argparse.Namespace) -> int:
    try:
        from bench import sweep
    except ImportError as error:
        raise BenchError(f"--device needs torch and onnx ({error}); run it in .venv-dev") from error
    return sweep.main(options)


def _say(text: str) -> None:
    print(f"measuring {text}", file=sys.stderr, flush=True)
