"""The paper's Figures 5, 6 and 8 of what was measured, as PNG."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.reproduction.judged import Judged
from bench.reproduction.methods import AUTORETOUCH, BPFRE, BY_DELTA, FULL, NO_FIR
from bench.reproduction.tables import RAW, Results, over_fewest, spread
from model.whole import part_of

COLOURS = {
    RAW: "#888888",
    AUTORETOUCH.key: "#7fa650",
    BPFRE.key: "#d08c2e",
    NO_FIR.key: "#8a6db1",
    FULL.key: "#2a6f97",
}
WITH_MAPS = (BPFRE, NO_FIR, FULL)


def draw_all(results: Results, folder: Path) -> dict[str, Path]:
    """Every figure, written into `folder`; by name. Fig. 8 only where there are networks of every delta."""
    drawings = {"fig5": per_frame, "fig6": map_bars}
    if all(method.key in results.networks for method in BY_DELTA.values()):
        drawings["fig8"] = delta_curve
    paths = {}
    for name, draw in drawings.items():
        paths[name] = folder / f"paper-{name}.png"
        with part_of(paths[name]) as part:
            draw(results).savefig(part, dpi=100)
    return paths


def _figure(results: Results, panels: int) -> tuple[Any, list[Any]]:
    """A figure with so many panels side by side and what it was measured with."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5 * panels, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    figure.supxlabel(results.said, fontsize=7, color="#555555", wrap=True)
    axes = [figure.add_subplot(1, panels, k + 1) for k in range(panels)]
    for each in axes:
        each.grid(alpha=0.3)
    return figure, axes


def per_frame(results: Results) -> Any:
    """Fig. 5: PSNR and Soft-IoU of the first clip, frame by frame; the mean of the seeds, and from the least
    to the most of them."""
    figure, (psnr, overlap) = _figure(results, 2)
    _line(psnr, [results.untrained[RAW]], "psnr_db", RAW, RAW)
    for method in (AUTORETOUCH, *WITH_MAPS):
        _line(psnr, results.networks[method.key], "psnr_db", method.key, method.title)
    for method in WITH_MAPS:
        _line(overlap, results.networks[method.key], "soft_iou", method.key, method.title)
    for axes, title in ((psnr, "PSNR, dB"), (overlap, "Soft-IoU")):
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("frame", fontsize=8)
        axes.legend(fontsize=7)
    return figure


def _line(axes: Any, seeds: Sequence[Judged], name: str, key: str, title: str) -> None:
    curves = list(zip(*(judged.curves[name] for judged in seeds), strict=True))
    frames = range(1, len(curves) + 1)
    axes.plot(frames, [statistics.fmean(c) for c in curves], color=COLOURS[key], label=title)
    axes.fill_between(
        frames, [min(c) for c in curves], [max(c) for c in curves], color=COLOURS[key], alpha=0.2
    )


def map_bars(results: Results) -> Any:
    """Fig. 6: mean SSIM and mean Soft-IoU of the maps; the whisker is the standard deviation of the seeds."""
    figure, panels = _figure(results, 2)
    for axes, name, title in zip(panels, ("map_ssim", "soft_iou"), ("map SSIM", "Soft-IoU"), strict=True):
        for place, method in enumerate(WITH_MAPS):
            values = results.values(method.key, name)
            mean = statistics.fmean(values)
            axes.bar(place, mean, 0.6, yerr=spread(values), color=COLOURS[method.key], capsize=4)
            axes.text(place, mean, f" {mean:.3f}", fontsize=8, ha="left", va="bottom")
        axes.set_xticks(range(len(WITH_MAPS)), [method.title for method in WITH_MAPS], fontsize=7)
        axes.set_title(title, fontsize=10)
    return figure


def delta_curve(results: Results) -> Any:
    """Fig. 8: gain by the number of references, also over that of the fewest seed by seed, since seeds differ
    by more than rings do; and VFID where it was measured."""
    shown = {
        "gain over raw, dB": {d: results.values(method.key, "gain_db") for d, method in BY_DELTA.items()},
        f"gain over that of {min(BY_DELTA)}, seed by seed, dB": over_fewest(results),
    }
    if results.values(FULL.key, "vfid"):
        shown["VFID"] = {d: results.values(method.key, "vfid") for d, method in BY_DELTA.items()}
    figure, panels = _figure(results, len(shown))
    for axes, (title, found) in zip(panels, shown.items(), strict=True):
        axes.errorbar(
            list(found),
            [statistics.fmean(values) for values in found.values()],
            [spread(values) for values in found.values()],
            color=COLOURS[FULL.key],
            marker="o",
            capsize=4,
        )
        axes.set_xticks(list(found))
        axes.set_xlabel("delta, references besides the present frame", fontsize=8)
        axes.set_title(title, fontsize=10)
    return figure
