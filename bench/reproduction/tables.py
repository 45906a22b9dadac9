"""The paper's Tables 1 and 4 of what was measured, means and spreads over the seeds, and whether their orders
hold."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.report import Part
from bench.reproduction.judged import FIGURES, Judged
from bench.reproduction.methods import (
    ABLATIONS,
    AUTORETOUCH,
    BASE,
    BPFRE,
    BY_DELTA,
    COMPARED,
    FULL,
    NO_FIR,
    NO_MMA,
)
from bench.reproduction.trained import Spent
from model.ablate import cell

RAW, BILATERAL, EMPTY = "Raw pairs", "Bilateral filter", "Empty map"
COLUMNS = {
    "psnr_db": ("PSNR↑", 2),
    "ssim": ("SSIM↑", 4),
    "lpips": ("LPIPS↓", 4),
    "vfid": ("VFID↓", 3),
    "gain_db": ("gain over raw, dB↑", 2),
    "removal": ("removal↑", 3),
    "drift": ("drift, levels↓", 3),
    "flicker": ("flicker, levels↓", 3),
    "soft_iou": ("Soft-IoU↑", 3),
    "map_ssim": ("map SSIM↑", 3),
}
RAW_COLUMNS = ("Methods", *(title for title, _ in COLUMNS.values()))
PAPERS_MAP_SSIM, PAPERS_SOFT_IOU = 0.755, 0.568
WHOSE_MAPS = (
    "AutoRetouch infers no map: its Soft-IoU and map SSIM are those of what it changes, on the scale of the "
    "true maps. BPFRe's are those of its first stage's map."
)


@dataclass
class Results:
    """Everything measured.

    Attributes:
        said: budget, seeds and clips, for every caption.
        untrained: what needs no training, by title.
        networks: a judgement for each seed, by the method's key.
        spent: alike, what each training took.
        gmac: of a face, by the method's key.
    """

    said: str
    untrained: dict[str, Judged]
    networks: dict[str, list[Judged]]
    spent: dict[str, list[Spent]] = field(default_factory=dict)
    gmac: dict[str, float] = field(default_factory=dict)

    def values(self, key: str, figure: str) -> list[float]:
        """A figure of one method, seed by seed; empty where there is none."""
        found = [judged.figures[figure] for judged in self.networks[key]]
        return [value for value in found if value is not None]


def spread(values: Sequence[float]) -> float:
    """Standard deviation over the seeds; 0 of one."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def table(results: Results, methods: Sequence[tuple[str, str]], untrained: Sequence[str]) -> Part:
    """A row for each of `untrained`, then for each method (key, title)."""
    header = (*RAW_COLUMNS, "GMAC a face", "steps")
    rows = [(title, *figure_cells(results.untrained[title]), "-", "-") for title in untrained]
    for key, title in methods:
        cells = [cell(results.values(key, name), digits) for name, (_, digits) in COLUMNS.items()]
        steps = cell([float(spent.steps) for spent in results.spent.get(key, ())], 0)
        rows.append((title, *cells, f"{results.gmac[key]:.2f}" if key in results.gmac else "-", steps))
    return header, rows


def figure_cells(judged: Judged) -> list[str]:
    """A cell for each of COLUMNS."""
    found = {name: judged.figures[name] for name in COLUMNS}
    return [cell([] if (v := found[name]) is None else [v], digits) for name, (_, digits) in COLUMNS.items()]


def beyond(better: Sequence[float], worse: Sequence[float]) -> bool:
    """Whether the worst seed of the one is above the best of the other."""
    return bool(better) and bool(worse) and min(better) > max(worse)


def order(results: Results, pairs: Sequence[tuple[str, str]], figure: str, sign: float = 1.0) -> list[str]:
    """What does not hold of "the first is ahead of the second", each said with its figures. sign: -1 where
    less is better."""
    missed = []
    for first, second in pairs:
        a, b = ([sign * v for v in results.values(key, figure)] for key in (first, second))
        if not beyond(a, b):
            shown = (cell(results.values(key, figure), 3) for key in (first, second))
            missed.append(f"{TITLES[first]} before {TITLES[second]} ({' against '.join(shown)})")
    return missed


TABLE_4_ORDER = (
    (FULL.key, NO_FIR.key),
    (FULL.key, NO_MMA.key),
    (NO_FIR.key, BASE.key),
    (NO_MMA.key, BASE.key),
)
TABLE_1_ORDER = ((FULL.key, AUTORETOUCH.key), (FULL.key, BPFRE.key))
# The paper's figure, and the one that a live picture shows first.
IN_ORDER = (("PSNR", "psnr_db", 1.0), ("flicker", "flicker", -1.0))
AHEAD_IN = (("gain", "gain_db", 1.0), ("removal", "removal", 1.0), ("flicker", "flicker", -1.0))
TITLES = {method.key: method.title for method in (*COMPARED, *ABLATIONS)}


def table_4_verdicts(results: Results) -> list[str]:
    """Whether full > w/o FIR, full > w/o MMA and both > base, in PSNR and in flicker."""
    return [
        _verdict(f"The order of Table 4 ({name})", results, order(results, TABLE_4_ORDER, figure, sign))
        for name, figure, sign in IN_ORDER
    ]


def table_1_verdict(results: Results) -> str:
    """Whether VRetouchEr is ahead of both earlier systems in gain, removal and flicker."""
    missed = [
        f"{name}: {text}"
        for name, figure, sign in AHEAD_IN
        for text in order(results, TABLE_1_ORDER, figure, sign)
    ]
    return _verdict("VRetouchEr ahead of AutoRetouch and BPFRe in gain, removal and flicker", results, missed)


def _verdict(what: str, results: Results, missed: Sequence[str]) -> str:
    seeds = len(results.networks[FULL.key])
    if seeds < 2:
        return f"{what}: of one seed nothing can be said beyond the spread; give --seeds 2 or more."
    rule = f"the worst of {seeds} seeds against the other's best"
    if not missed:
        return f"{what} holds beyond the spread of the seeds ({rule})."
    return f"{what} does not hold beyond the spread of the seeds ({rule}). Not so: {'; '.join(missed)}."


def over_fewest(results: Results) -> dict[int, list[float]]:
    """Gain of each number of references over that of the fewest, seed by seed, dB."""
    gains = {delta: results.values(method.key, "gain_db") for delta, method in BY_DELTA.items()}
    fewest = gains[min(gains)]
    return {
        delta: [one - least for one, least in zip(of, fewest, strict=True)] for delta, of in gains.items()
    }


def delta_verdict(results: Results) -> str:
    """What more references gain."""
    over = {delta: values for delta, values in over_fewest(results).items() if delta > min(BY_DELTA)}
    said = (
        f"{delta}: {statistics.fmean(values):+.3f} ± {spread(values):.3f} "
        f"(more in {sum(value > 0 for value in values)} of {len(values)})"
        for delta, values in over.items()
    )
    return f"Gain in dB over that of delta = {min(BY_DELTA)}, seed by seed: {', '.join(said)}."


def maps_verdict(results: Results) -> str:
    """The maps against the paper's figures on its own videos."""
    found = {name: results.values(FULL.key, name) for name in ("map_ssim", "soft_iou")}
    bounds = {"map_ssim": PAPERS_MAP_SSIM, "soft_iou": PAPERS_SOFT_IOU}
    empty = results.untrained[EMPTY].figures
    words = [
        f"{COLUMNS[name][0].rstrip('↑')} {cell(values, 3)} "
        f"({'above' if values and statistics.fmean(values) > bounds[name] else 'not above'} the paper's "
        f"{bounds[name]} on its own videos; an empty map has {cell([empty[name] or 0.0], 3)})"
        for name, values in found.items()
    ]
    return f"Maps of VRetouchEr: {', '.join(words)}."


def reasons_said(all_judged: Sequence[Judged]) -> list[str]:
    """Why columns are empty, a sentence each."""
    reasons = {
        name: judged.reasons[name]
        for judged in all_judged
        for name in FIGURES
        if name in judged.reasons and name not in ("soft_iou", "map_ssim")
    }
    return [f"{COLUMNS[name][0][:-1]} was not measured: {reason}." for name, reason in reasons.items()]


def parts(results: Results) -> list[Part]:
    """Both tables, their captions and verdicts."""
    compared = [(method.key, method.title) for method in COMPARED]
    ablated = [(method.key, method.title) for method in ABLATIONS]
    return [
        f"Mean ± standard deviation over the seeds. {results.said}",
        *reasons_said([*results.untrained.values(), *results.networks[FULL.key]]),
        "## Table 1. Quantitative comparison on held-out people in motion",
        results.said,
        table(results, compared, (RAW, BILATERAL)),
        WHOSE_MAPS,
        table_1_verdict(results),
        maps_verdict(results),
        "## Table 4. Quantitative results of ablative models",
        results.said,
        table(results, ablated, ()),
        *table_4_verdicts(results),
    ]
