"""Tables, verdicts and figures of made-up results: means, spreads, what holds beyond them, what is absent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import require

require("torch")
require("matplotlib")

from bench import report  # noqa: E402
from bench.reproduction import figures, maps, tables  # noqa: E402
from bench.reproduction.judged import FIGURES, Judged  # noqa: E402
from bench.reproduction.methods import (  # noqa: E402
    AUTORETOUCH,
    BASE,
    BPFRE,
    BY_DELTA,
    FULL,
    METHODS,
    NO_FIR,
    NO_MMA,
    gmac,
)
from bench.reproduction.tables import BILATERAL, EMPTY, RAW, Results  # noqa: E402
from bench.reproduction.trained import Spent  # noqa: E402
from model.ablate import cell  # noqa: E402

AHEAD = {FULL.key: 3.0, NO_FIR.key: 2.0, NO_MMA.key: 2.0, BASE.key: 1.0}


def judged(value: float, seed: int = 0, absent: tuple[str, ...] = ("lpips", "vfid")) -> Judged:
    """Every figure `value` and a tenth a seed more; flicker its opposite."""
    found: dict[str, float | None] = dict.fromkeys(FIGURES, value + 0.1 * seed)
    found["flicker"] = 9.0 - value - 0.1 * seed
    found |= dict.fromkeys(absent)
    reasons = {name: f"no weights of {name}" for name in absent}
    curves = {"psnr_db": [value, value + 1], "soft_iou": [0.5, 0.6]}
    return Judged(found, reasons, curves)


def results(ahead: dict[str, float] | None = None, seeds: int = 3) -> Results:
    values = {method.key: 1.5 for method in METHODS} | (AHEAD if ahead is None else ahead)
    networks = {key: [judged(value, seed) for seed in range(seeds)] for key, value in values.items()}
    spent = {key: [Spent(7, 0.5)] * seeds for key in values}
    untrained = {RAW: judged(0.0), BILATERAL: judged(-1.0), EMPTY: judged(0.7)}
    return Results(f"{seeds} seeds; 7 steps.", untrained, networks, spent, {FULL.key: 1.25})


def test_a_cell_is_mean_and_standard_deviation() -> None:
    assert cell([1.0, 2.0, 3.0], 2) == "2.00 ± 1.00"
    assert cell([1.0], 1) == "1.0"
    assert cell([], 2) == "-"


def test_table_1_has_the_papers_rows_and_dashes_where_nothing_was_measured() -> None:
    text = report.plain_text(tables.parts(results()))
    first, second = text.split("## Table 4")
    lines = {line.split("  ")[0]: line for line in first.splitlines()}
    for title in (RAW, BILATERAL, "AutoRetouch", "BPFRe", "VRetouchEr"):
        assert title in lines
    assert "3.10 ± 0.10" in lines["VRetouchEr"] and "1.25" in lines["VRetouchEr"]
    assert lines["VRetouchEr"].split()[-1] == "7" or "7 ± 0" in lines["VRetouchEr"]
    assert "LPIPS was not measured: no weights of lpips." in first
    assert "AutoRetouch infers no map: its Soft-IoU and map SSIM are those of what it changes" in first
    assert "infers no map" not in second
    assert first.count("3 seeds; 7 steps.") == 2 and "3 seeds; 7 steps." in second
    for title in ("Base model", "VRetouchEr w/o MMA", "VRetouchEr w/o FIR"):
        assert title in second


def test_an_order_holds_only_beyond_the_spread() -> None:
    for said, name in zip(tables.table_4_verdicts(results()), ("PSNR", "flicker"), strict=True):
        assert f"Table 4 ({name}) holds beyond the spread" in said
    said, flicker = tables.table_4_verdicts(results(AHEAD | {NO_FIR.key: 2.85}))
    assert "does not hold" in said and "does not hold" in flicker
    assert "VRetouchEr before VRetouchEr w/o FIR (3.100 ± 0.100 against 2.950 ± 0.100)" in said
    assert "w/o MMA before" not in said
    assert "Base model" in tables.table_4_verdicts(results(AHEAD | {BASE.key: 2.0}))[0]
    assert "of one seed nothing can be said" in tables.table_4_verdicts(results(seeds=1))[0]


def test_the_order_by_flicker_is_told_apart_from_that_by_psnr() -> None:
    found = results()
    for one in found.networks[NO_MMA.key]:
        one.figures["flicker"] = 0.0
    psnr, flicker = tables.table_4_verdicts(found)
    assert "holds beyond" in psnr
    assert "VRetouchEr before VRetouchEr w/o MMA (" in flicker and "w/o FIR" not in flicker


def test_table_1_asks_for_less_flicker_and_more_of_the_rest() -> None:
    assert "holds beyond" in tables.table_1_verdict(results())
    found = results()
    for one in found.networks[BPFRE.key]:
        one.figures["flicker"] = 0.0
    said = tables.table_1_verdict(found)
    assert "flicker: VRetouchEr before BPFRe" in said and "gain:" not in said and "AutoRetouch (" not in said


def test_maps_are_held_against_the_papers_figures() -> None:
    found = results()
    for one in found.networks[FULL.key]:
        one.figures |= {"map_ssim": 0.8, "soft_iou": 0.5}
    said = tables.maps_verdict(found)
    assert (
        "map SSIM 0.800 ± 0.000 (above the paper's 0.755 on its own videos; an empty map has 0.700)" in said
    )
    assert "Soft-IoU 0.500 ± 0.000 (not above the paper's 0.568" in said


def test_every_figure_is_a_picture_and_vfid_has_a_panel_where_it_was_measured(tmp_path: Path) -> None:
    paths = figures.draw_all(results(), tmp_path)
    assert set(paths) == {"fig5", "fig6", "fig8"}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths.values())
    assert len(figures.delta_curve(results()).axes) == 2
    found = results()
    for key in found.networks:
        found.networks[key] = [judged(1.0, seed, ()) for seed in range(3)]
    assert len(figures.delta_curve(found).axes) == 3


def test_what_is_said_below_the_maps_is_there_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    black = np.zeros((maps.FRAMES, 32, 32, 3), np.uint8)
    monkeypatch.setattr(maps, "astronaut", lambda: (black, np.zeros((32, 32), np.float32)))
    rows = []
    for said in ("short", " ".join(["word"] * 60)):
        maps.draw([], tmp_path / "maps.png", said)
        below = np.asarray(Image.open(tmp_path / "maps.png"))[320:]
        assert (below[:, -4:] == 255).all()
        rows.append(int((below < 128).any((1, 2)).sum()))
    assert rows[1] > 2 * rows[0] > 0


def test_the_delta_curve_shows_each_number_of_references() -> None:
    ahead = {method.key: float(delta) for delta, method in BY_DELTA.items()}
    gain, over = (axes.lines[0] for axes in figures.delta_curve(results(AHEAD | ahead)).axes)
    assert list(gain.get_xdata()) == list(over.get_xdata()) == [1, 2, 4, 6, 8]
    assert list(gain.get_ydata()) == pytest.approx([1.1, 2.1, 4.1, 6.1, 8.1])
    assert list(over.get_ydata()) == pytest.approx([0.0, 1.0, 3.0, 5.0, 7.0])
    assert gain.axes.get_xlabel() == "delta, references besides the present frame"


def test_more_references_are_held_against_the_fewest_seed_by_seed() -> None:
    found = results()
    of = {delta: found.networks[method.key] for delta, method in BY_DELTA.items()}
    for delta, seeds in of.items():
        for seed, one in enumerate(seeds):
            one.figures["gain_db"] = 10.0 * seed + (
                0.5 if delta == 8 else -0.25 if (delta, seed) == (2, 1) else 0.0
            )
    said = tables.delta_verdict(found)
    assert "2: -0.083 ± 0.144 (more in 0 of 3), 4: +0.000 ± 0.000" in said
    assert "8: +0.500 ± 0.000 (more in 3 of 3)." in said


def test_methods_are_what_their_names_say_and_cost_alike() -> None:
    full = FULL.config("live")
    assert (full.fir, full.mma, full.delta) == (True, True, 6)
    assert (NO_FIR.config("live").fir, NO_FIR.config("live").mma) == (False, True)
    assert (NO_MMA.config("live").fir, NO_MMA.config("live").mma) == (True, False)
    assert (BASE.config("live").fir, BASE.config("live").mma) == (False, False)
    assert {delta: method.config("live").delta for delta, method in BY_DELTA.items()} == {
        delta: delta for delta in (1, 2, 4, 6, 8)
    }
    assert len({method.key for method in METHODS}) == len(METHODS) == 10
    ours = gmac(FULL, "live")
    for method in (AUTORETOUCH, BPFRE):
        assert gmac(method, "live") == pytest.approx(ours, rel=0.15)
