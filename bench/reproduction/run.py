"""The run behind `python -m bench paper`: train, judge, write."""

from __future__ import annotations

import argparse
import hashlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from bench import report
from bench.baselines import bilateral, nothing
from bench.report import BenchError
from bench.reproduction import figures, maps
from bench.reproduction.judged import (
    FIGURES,
    Judged,
    Retouch,
    frames_of,
    held_out,
    judge,
    with_empty_map,
    without_map,
)
from bench.reproduction.kept import read_kept, write_kept
from bench.reproduction.methods import BPFRE, BY_DELTA, FULL, IN_TABLES, METHODS, NO_FIR, Method, causal, gmac
from bench.reproduction.tables import BILATERAL, EMPTY, RAW, Results, delta_verdict, parts
from bench.reproduction.trained import (
    Budget,
    Named,
    Spent,
    Work,
    by_key,
    has_vgg,
    named,
    side_by_side,
    train_all,
)
from bench.scores import seers
from model.config import FACE_PX
from model.training import memory_said

Say = Callable[[str], None]
PICTURES = {
    "fig5": "Figure 5. PSNR and Soft-IoU frame by frame, of one clip",
    "fig6": "Figure 6. Imperfection localization",
    "fig7": "Figure 7. Imperfection maps (face: NASA, public domain)",
    "fig8": "Figure 8. By the number of references",
}
DELTA = (
    "Here delta counts the frames that are remembered besides the present one, and the published network's "
    "counts the present one too: its delta 1 is a single frame, delta 1 here is two."
)


def budget_of(options: argparse.Namespace) -> Budget:
    """What the options ask for."""
    return Budget(
        minutes=1e9 if options.steps else options.minutes,
        steps=options.steps or Budget.steps,
        batch=options.batch,
        frames=options.frames,
        size=options.size,
        preset=options.preset,
        rate=options.rate,
        earlier_rate=options.earlier_rate,
        perceptual=has_vgg(options.vgg),
        bf16=options.bf16,
        compile=options.compile,
        every=options.every,
    )


def measure(options: argparse.Namespace, say: Say) -> Results:
    """Train every network asked for that is not there yet, and judge them."""
    budget = budget_of(options)
    work = Work(options.faces, options.networks, budget, options.vgg, say)
    work.begin()
    made_ready(options.out)
    methods = METHODS if options.deltas else IN_TABLES
    if not budget.perceptual:
        say("VGG-19's weights are not here: the earlier systems train without their perceptual term (--vgg)")
    # Seed by seed, so that a run that is stopped has whole comparisons.
    wanted = [(method, seed) for seed in range(options.seeds) for method in methods]
    trainings = work.trainings(methods)
    train_all(work, [(method, seed) for seed in range(options.seeds) for method in trainings], options.jobs)
    judge_all(work, wanted, options)
    untrained = {RAW: without_map(nothing), BILATERAL: without_map(bilateral), EMPTY: with_empty_map}
    judged = {name: judged_now(retouch, options.faces, options) for name, retouch in untrained.items()}
    results = Results(_said(options, budget), judged, {})
    for method in methods:
        results.gmac[method.key] = gmac(method, budget.preset)
        found = [judgement(work, method, seed, options) for seed in range(options.seeds)]
        results.networks[method.key] = [figures for figures, _ in found]
        results.spent[method.key] = [spent for _, spent in found]
    return results


clips_of = lru_cache(maxsize=1)(held_out)
seers_of = lru_cache(maxsize=1)(seers)


def made_ready(out: Path) -> Path:
    """OUT's folder of pictures, made if it is not there; both are seen to take files.

    Raises:
        BenchError: they cannot be made, or take none.
    """
    pictures = out / "pictures"
    try:
        pictures.mkdir(parents=True, exist_ok=True)
        for folder in (out, pictures):
            with tempfile.TemporaryFile(dir=folder):
                pass
    except OSError as error:
        raise BenchError(
            f"{out} cannot take paper.md and its pictures ({error.strerror}); give another folder for OUT"
        ) from error
    return pictures


def judged_now(retouch: Retouch, faces: Path, options: argparse.Namespace) -> Judged:
    """The figures of `retouch` on the clips asked for.

    Raises:
        TrainingError: the memory does not suffice.
    """
    remedy = "lower --clips, --judged-frames or --jobs"
    with memory_said(options.clips, options.judged_frames, FACE_PX, remedy):
        clips = clips_of(faces, options.clips, options.judged_frames)
        return judge(retouch, clips, seers_of(options.i3d))


def judge_all(work: Work, wanted: Sequence[tuple[Method, int]], options: argparse.Namespace) -> None:
    """Each network that is not judged yet, `--jobs` at a time."""
    side_by_side(partial(_judge, work, options), named(wanted), options.jobs)


def _judge(work: Work, options: argparse.Namespace, one: Named) -> None:
    judgement(work, by_key(one[0]), one[1], options)


def _said(options: argparse.Namespace, budget: Budget) -> str:
    seeds = f"{options.seeds} seed{'s' * (options.seeds > 1)}"
    term = "" if budget.perceptual else ", AutoRetouch and BPFRe without their perceptual term"
    return (
        f"{seeds}; each network trained from nothing for {budget.said()}, preset {budget.preset}{term}; "
        f"judged on {options.clips} clips of {options.judged_frames} frames of held-out people's faces."
    )


def judgement(work: Work, method: Method, seed: int, options: argparse.Namespace) -> tuple[Judged, Spent]:
    """One network's figures; kept beside it, as judging takes a while too, with all that they depend on."""
    network, spent = work.trained(method, seed)
    seen_by = seers_of(options.i3d)
    path = work.folder(method, seed) / "judged.json"
    asked = {
        "faces": str(work.faces.resolve()),
        "clips": options.clips,
        "frames": options.judged_frames,
        "i3d": str(options.i3d),
        "lpips at hand": not isinstance(seen_by.lpips, str),
        "vfid at hand": not isinstance(seen_by.vfid, str),
        "weights": hashlib.sha256(work.weights(method, seed).read_bytes()).hexdigest(),
    }
    kept = read_kept(path)
    if kept is not None and kept["asked"] == asked:
        return Judged(**kept["judged"]), spent
    work.say(f"judging {method.title}, seed {seed}")
    judged = judged_now(frames_of(causal(network)), work.faces, options)
    path.parent.mkdir(exist_ok=True)
    write_kept(path, {"asked": asked, "judged": judged.to_dict()})
    return judged, spent


def write(results: Results, options: argparse.Namespace) -> list[report.Part]:
    """paper.md and its pictures; what stands in it."""
    folder = made_ready(options.out)
    paths = figures.draw_all(results, folder)
    paths["fig7"] = folder / "paper-fig7.png"
    work = Work(options.faces, options.networks, budget_of(options), options.vgg, lambda _: None)
    networks = [(m.title, causal(work.trained(m, 0)[0])) for m in (BPFRE, NO_FIR, FULL)]
    maps.draw(networks, paths["fig7"], f"Seed 0 of {results.said}")
    written = parts(results)
    said = dict.fromkeys(PICTURES, results.said) | {"fig8": f"{DELTA} {results.said}"}
    pictures = [f"![{title}]({_beside(paths[name], options.out)})\n\n*{title}. {said[name]}*"
                for name, title in PICTURES.items() if name in paths]  # fmt: skip
    if "fig8" in paths:
        pictures += [delta_verdict(results), *_unfilled(work)]
    title = "The paper's tables and figures, measured"
    report.write_markdown(title, [*written, "## Figures", *pictures], str(options.out / "paper.md"))
    return written


def _unfilled(work: Work) -> list[str]:
    """Which rings training clips are too short for."""
    frames = work.budget.frames
    same = [str(delta) for delta, method in BY_DELTA.items() if work.taught(method) is FULL]
    if len(same) < 2:
        return []
    return [
        f"Training clips of {frames} frames have {frames - 1} before the last, so that networks of delta "
        f"{', '.join(same)} learn the same step by step: they are trained once, and differ in judging alone."
    ]


def _beside(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def result(results: Results, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The whole result for programs."""
    flat = {
        f"{name} {figure}": judged.figures[figure]
        for name, judged in results.untrained.items()
        for figure in FIGURES
    }
    return report.document(
        "paper",
        settings,
        flat,
        [],
        said=results.said,
        networks={key: [judged.to_dict() for judged in seeds] for key, seeds in results.networks.items()},
        spent={key: [vars(spent) for spent in seeds] for key, seeds in results.spent.items()},
        gmac=results.gmac,
    )
