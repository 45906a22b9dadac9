"""`python -m bench latency --device`: the network and the way from frame to frame on one device, by
resolution and number of faces, beside what the device reaches at most."""

from __future__ import annotations

import argparse
import copy
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from bench import chart, compiled, cuda, precision, report
from bench.clock import median_ratio, now_ns, spread, take_turns
from bench.demo_face import enlarged
from bench.device import Device, device_of, own_mb
from bench.footage import face_picture, moving_face
from bench.frame_on_device import DevicePipeline
from bench.latency import stepper
from bench.metrics import Pixels
from bench.networks import UNTRAINED, check_preset, dtype_of, engine_named, is_trained, loader, network_of
from bench.operations import least_work, step_operations
from bench.pipeline import (
    RESOLUTIONS,
    UNTIMED_FRAMES,
    Case,
    HostPipeline,
    Pipeline,
    located_ms,
    shots_of,
    size_of,
    stages_of,
    time_frames,
)
from bench.project import TARGETS, Target, roofline_ms
from bench.report import BenchError
from bench.rivals import GridSample, MattingTensors
from bench.swept import Swept, bars, parts, result
from model.vretoucher import VRetouchEr
from stream import parity
from stream.crop import crop_face
from stream.device import board_of, guarded
from stream.engine import DeviceEngine, Engine, default_threads
from stream.engines.torch_ import UNRECORDED_STEPS, TorchEngine
from stream.errors import EngineError
from stream.retoucher import Retoucher

STEPS_PER_ROUND = 6
UNTIMED_STEPS = UNRECORDED_STEPS + 2


def measure(options: argparse.Namespace) -> Swept:
    """Everything that the options ask for."""
    threads = options.threads or default_threads()
    device = device_of(options.device, threads)
    name = engine_named(options.engine, device)
    _say(f"what {device.name} reaches at most")
    dtype = dtype_of(name, device)
    swept = Swept(device, device.roof(dtype), options.preset, name, dtype)
    if not is_trained(options.preset):
        swept.notes.append(f"Preset {options.preset}: {UNTRAINED}.")
    network = network_of(options.preset)
    engines = _engines(swept, network, options, threads)
    engine = engines[network.config.delta]
    picture = face_picture(options.input)
    rival = None if options.no_rivals else _compiled(swept, network, engine)
    _measure_steps(swept, network, engines, options.steps, rival)
    _measure_work(swept, network, engine)
    _say("the engine's rounding")
    _measure_precision(swept, engine, network, threads)
    for resolution in options.resolution:
        for faces in options.faces:
            case = Case(resolution, faces)
            _say(str(case))
            _measure_frames(swept, engine, network, picture, case, options)
    swept.roof = swept.roof.best(device.roof(dtype))
    _share_of_roofline(swept, network)
    if options.project:
        _project(swept, TARGETS[options.project])
    return swept


def main(options: argparse.Namespace) -> int:
    """Run the bench as asked."""
    _complete(options)
    swept = measure(options)
    shown = parts(swept)
    print(report.plain_text(shown), file=report.text_stream(options.json))
    if options.markdown:
        report.write_markdown(f"python -m bench latency --device {options.device}", shown, options.markdown)
    if options.chart:
        chart.save_bars(bars(swept), options.chart)
    if options.json:
        report.write_json(result(swept, vars(options)), options.json)
    return 0


def _complete(options: argparse.Namespace) -> None:
    """Give what was left out its default, and refuse what cannot be."""
    options.resolution = options.resolution or ["720p", "1080p", "2160p"]
    options.faces = options.faces or [1, 2, 4]
    options.delta = options.delta or [1, 6]
    for resolution in options.resolution:
        size_of(resolution)
    if min(*options.faces, *options.delta, options.threads or 1) < 1:
        raise BenchError("--faces, --delta and --threads must be 1 or more; give larger ones")
    check_preset(options.preset)


def _engines(
    swept: Swept, network: VRetouchEr, options: argparse.Namespace, threads: int
) -> dict[int, Engine]:
    """An engine for the network's own delta, whose first frame and memory are noted, and for the others."""
    own = network.config.delta
    with tempfile.TemporaryDirectory() as made:
        _say(f"the engine, delta {own}")
        engines = {own: _first_frame(swept, loader(swept.engine, network, threads, Path(made)))}
        for delta in sorted({*options.delta} - {own}):
            _say(f"the engine, delta {delta}")
            engines[delta] = loader(swept.engine, network_of(options.preset, delta), threads, Path(made))()
    return engines


def _first_frame(swept: Swept, load: Callable[[], Engine]) -> Engine:
    """The engine, after it has seen a face often enough for everything to be made."""
    face = parity.spotted_faces(1)[0]
    swept.device.forget_peak()
    began_ns = now_ns()
    engine = load()
    loaded_ns = now_ns()
    state = engine.new_state()
    engine.step(face, state)
    first_ns = now_ns()
    for _ in range(UNTIMED_STEPS):
        engine.step(face, state)
    swept.figures |= {
        "load_ms": (loaded_ns - began_ns) / 1e6,
        "first_frame_ms": (first_ns - began_ns) / 1e6,
        "device_peak_mb": swept.device.peak_mb(),
        "rss_mb": own_mb(),
    }
    return engine


def steps_of(engine: Engine) -> Callable[[], object]:
    """Sets the engine's next step going; of a torch engine between the device's own buffers."""
    faces = parity.spotted_faces()
    state = engine.new_state()
    if not isinstance(engine, DeviceEngine):
        return stepper(engine, faces)
    if not isinstance(engine, TorchEngine):
        return partial(engine.begin, state, board_of(engine).stream)
    state.face_u8.copy_(torch.from_numpy(faces[0]))

    def run() -> None:
        with torch.inference_mode():
            engine.run(state)

    return run


def _waited(run: Callable[[], object], device: Device) -> Callable[[], None]:
    """`run` to its end."""

    def whole() -> None:
        run()
        device.synchronize()

    return whole


def _compiled(swept: Swept, network: VRetouchEr, engine: Engine) -> Engine | None:
    """The step of a torch engine on a GPU as torch.compile makes it; None with a note where that fails."""
    if swept.device.kind != "cuda" or not isinstance(engine, TorchEngine):
        return None
    _say(f"{compiled.NAME}; compiling it takes minutes")
    try:
        return compiled.compiled_beside(engine, network)
    except BenchError as error:
        swept.notes.append(f"{compiled.NAME}: not measured ({error}).")
        return None


def _measure_steps(
    swept: Swept, network: VRetouchEr, engines: dict[int, Engine], steps: int, rival: Engine | None = None
) -> None:
    """The step alone with each delta, and torch.compile's if there is one, in turns."""
    _say("the network's step")
    named = {f"delta {n}": engine for n, engine in engines.items()}
    if rival is not None:
        named[compiled.NAME] = rival
    runs = {name: _waited(steps_of(engine), swept.device) for name, engine in named.items()}
    rounds = max(1, steps // STEPS_PER_ROUND)
    taken = take_turns(runs, rounds, STEPS_PER_ROUND, warm_up=UNTIMED_STEPS)
    swept.steps = {name: spread(samples) for name, samples in taken.items()}
    own = f"delta {network.config.delta}"
    swept.figures |= {
        f"step_{key}_ms": getattr(swept.steps[own], key) for key in ("p50", "p95", "p99", "max")
    }
    if rival is not None:
        swept.figures["compiled_step_p50_ms"] = swept.steps[compiled.NAME].p50
        swept.figures["compiled_step_x"] = median_ratio(taken[compiled.NAME], taken[own], STEPS_PER_ROUND)
    if {"delta 1", "delta 6"} <= set(taken):
        swept.figures["delta_cost"] = median_ratio(taken["delta 6"], taken["delta 1"], STEPS_PER_ROUND)


def _measure_work(swept: Swept, network: VRetouchEr, engine: Engine) -> None:
    """What a step has to do, and on a GPU what the host sets going for it and whether it waits."""
    swept.work = step_operations(network, swept.dtype)
    least = least_work(network, swept.dtype)
    swept.figures |= {
        "step_gmac": least.flops / 2e9,
        "step_operations": float(len(swept.work)),
        "step_moved_mb": sum(work.bytes for work in swept.work) / 1e6,
        "step_least_moved_mb": least.bytes / 1e6,
    }
    if swept.device.kind == "cuda":
        run = steps_of(engine)
        waits = cuda.host_syncs(run)  # of a step that is not yet recorded
        for _ in range(UNTIMED_STEPS):
            run()
        if isinstance(engine, TorchEngine):  # of another library's waits torch knows nothing
            swept.figures["host_syncs"] = float(max(waits, cuda.host_syncs(run)))
        swept.figures |= cuda.launches(run)


def _measure_precision(swept: Swept, engine: Engine, network: VRetouchEr, threads: int) -> None:
    """The engine beside single precision on the CPU, over the demo's face in motion."""
    single = TorchEngine(swept.preset, threads, "cpu", torch.float32, copy.deepcopy(network))
    with Retoucher(engine=engine) as retoucher:
        shots = shots_of(face_picture(None), RESOLUTIONS["720p"], 1, retoucher, parity.FRAMES)
    alignments = [shot.located.faces[0].alignment for shot in shots]
    faces = [crop_face(shot.frame_u8, a) for shot, a in zip(shots, alignments, strict=True)]
    targets = None
    try:
        frames = list(moving_face(enlarged(), UNTIMED_FRAMES + parity.FRAMES, RESOLUTIONS["720p"]))
        targets = [crop_face(f, a) for f, a in zip(frames[UNTIMED_FRAMES:], alignments, strict=True)]
    except ImportError as error:
        swept.notes.append(f"Gain against single precision needs scikit-image ({error}).")
    found = precision.compare(engine, single, faces, targets)
    swept.figures |= {"precision_levels": found.levels, "gain_lost_db": found.gain_lost_db}


def _measure_frames(
    swept: Swept,
    engine: Engine,
    network: VRetouchEr,
    picture: Pixels,
    case: Case,
    options: argparse.Namespace,
) -> None:
    """From frame to frame at a resolution, with so many faces, rivals in turns with ours."""
    size = size_of(case.resolution)
    with Retoucher(engine=engine, max_faces=case.faces) as retoucher:
        shots = shots_of(picture, size, case.faces, retoucher)
        pipelines = pipelines_of(swept, engine, retoucher)
        own = pipelines[0]
        if isinstance(own, DevicePipeline):
            shots = [replace(s, located=guarded(s.located, s.frame_u8.shape)) for s in shots]
        if not options.no_rivals:
            pipelines.append(GridSample(network, swept.device, case.faces))
        if not options.no_rivals and case.faces == options.faces[0]:
            pipelines.append(MattingTensors(swept.device, size))
        timed = time_frames(pipelines, swept.device, shots, options.frames)
    swept.located[str(case)] = located_ms(shots)
    for pipeline in pipelines:
        times = timed[pipeline.name]
        swept.frames[pipeline.name, case] = times
        swept.stages[pipeline.name, case] = stages_of(pipeline, times, shots[0])
        key, wall = f"{pipeline.key}_{case.key}", times.wall
        swept.figures |= {f"{key}_p50_ms": wall.p50, f"{key}_p99_ms": wall.p99, f"{key}_fps": 1e3 / wall.p50}
    if GridSample.name in timed:
        theirs, ours = (
            sum(timed[name].stages[stage].p50 for stage in ("crop", "paste"))
            for name in (GridSample.name, own.name)
        )
        swept.figures[f"grid_sample_{case.key}_crop_and_paste_x"] = theirs / ours


def pipelines_of(swept: Swept, engine: Engine, retoucher: Retoucher) -> list[Pipeline]:
    """The whole frame on the device where that can be, and the way through the host."""
    if swept.device.kind == "cuda" and isinstance(engine, DeviceEngine):
        try:
            board = board_of(engine)
        except EngineError as error:
            swept.notes.append(f"Frames stay on the host: {error}.")
        else:
            width = np.dtype(engine.buffers(engine.new_state()).dtype).itemsize
            on_device = DevicePipeline(engine, board, swept.device, swept.work, width)
            return [on_device, HostPipeline(retoucher, swept.work, "host_path")]
    return [HostPipeline(retoucher, swept.work)]


def _project(swept: Swept, target: Target) -> None:
    """Our frames on the target."""
    swept.target = target
    ours = next((pipeline for pipeline, _ in swept.stages), None)
    for (pipeline, case), stages in swept.projected.items():
        if pipeline == ours:
            key, whole = f"projected_{case.key}", sum(stage.ms for stage in stages)
            swept.figures |= {f"{key}_ms": whole, f"{key}_fps": 1e3 / whole}


def _share_of_roofline(swept: Swept, network: VRetouchEr) -> None:
    """The step against the least time in which the device could do it."""
    roof = swept.roof
    least_ms = roofline_ms([least_work(network, swept.dtype)], roof)
    step_ms = swept.figures["step_p50_ms"]
    assert step_ms is not None
    swept.figures |= {
        "matrix_gflops": roof.matrix_gflops,
        "copy_gbs": roof.copy_gbs,
        "link_gbs": roof.link_gbs,
        "roofline_ms": least_ms,
        "roofline_share": least_ms / step_ms,
        "roofline_by_operation_ms": roofline_ms(swept.work, roof),
    }


def _say(text: str) -> None:
    print(f"measuring {text}", file=sys.stderr, flush=True)
