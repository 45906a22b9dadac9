"""What kinds of marks there are, what a face suffers from, and where each sort likes to be: tables, no code.

Sizes and depths are log-normal about the values measured on real marks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from model.data.portraits import CHEEKS, FOREHEAD, JAW, LIP, NOSE, UNDER_EYE


@dataclass(frozen=True)
class Kind:
    """One sort of mark. Pairs are (low, high), but radius and depth (median, sigma of the log).

    radius px at half depth in the 512 face; depth in absorbance of green; melanin the share of that pigment
    in the colour, below 0 where a mark is redder than blood on average is; edge the exponent of exp(-ln2
    rho^edge), 1.3 soft to 6 sharp; ragged how far noise moves the border; halo, rim and head relative to
    depth and radius; crust and plug what dried blood and oxidised sebum absorb; relief height over radius;
    gloss in [0, 1] added light; slim how much narrower than long, 0 round; real the sort of harvested patch
    that can stand for it. No imperfection is as brown as a mole or a freckle, nor may a harvested brown mark
    stand for one: nobody could say which of two like spots is to go.
    """

    name: str
    zone: int
    radius: tuple[float, float]
    depth: tuple[float, float]
    melanin: tuple[float, float] = (0.1, 0.5)
    edge: tuple[float, float] = (1.5, 3.0)
    ragged: tuple[float, float] = (0.05, 0.18)
    mottle: tuple[float, float] = (0.05, 0.25)
    halo: tuple[float, float] = (0.0, 0.0)
    halo_size: tuple[float, float] = (1.6, 2.4)
    rim: tuple[float, float] = (0.0, 0.0)
    head: tuple[float, float] = (0.0, 0.0)
    head_size: tuple[float, float] = (0.3, 0.5)
    crust: tuple[float, float] = (0.0, 0.0)
    plug: tuple[float, float] = (0.0, 0.0)
    relief: tuple[float, float] = (0.0, 0.0)
    gloss: tuple[float, float] = (0.0, 0.0)
    slim: tuple[float, float] = (0.0, 0.3)
    real: str | None = None


# The places a kind may prefer, rows of ZONES.
WHOLE, T_ZONE, BEARD, CHEEK_JAW, FRECKLED = range(5)
# fmt: off
KINDS = (
    Kind("papule", WHOLE, (2.7, 0.45), (0.22, 0.55), (-0.35, 0.5), (1.3, 6.0),
         mottle=(0.0, 0.35), halo=(0.0, 0.6), rim=(0.0, 0.3), relief=(0.0, 0.55), gloss=(0.0, 0.25),
         slim=(0.0, 0.4), real="reddish"),
    Kind("pustule", WHOLE, (3.0, 0.42), (0.26, 0.45), (-0.35, 0.4), (1.4, 6.0),
         halo=(0.0, 0.7), rim=(0.0, 0.3), head=(0.2, 1.3), head_size=(0.2, 0.75), relief=(0.05, 0.55),
         gloss=(0.0, 0.4)),
    Kind("nodule", CHEEK_JAW, (6.0, 0.35), (0.20, 0.45), (-0.3, 0.45), (1.3, 4.0),
         mottle=(0.1, 0.4), halo=(0.0, 0.6), halo_size=(1.4, 2.0), relief=(0.0, 0.3), gloss=(0.0, 0.2)),
    Kind("scab", WHOLE, (1.9, 0.4), (0.28, 0.4), (0.1, 0.4), (1.5, 4.0),
         ragged=(0.05, 0.3), mottle=(0.1, 0.4), halo=(0.1, 0.8), crust=(0.08, 0.42), relief=(0.0, 0.3),
         slim=(0.0, 0.5)),
    Kind("open comedone", T_ZONE, (1.0, 0.32), (0.06, 0.4), (0.2, 0.7), (1.6, 4.0),
         plug=(0.15, 0.7), relief=(-0.1, 0.15), slim=(0.0, 0.4)),
    Kind("closed comedone", T_ZONE, (1.5, 0.35), (0.03, 0.6), (0.0, 0.4), (1.6, 3.5),
         head=(0.1, 0.6), head_size=(0.5, 0.9), relief=(0.05, 0.4), gloss=(0.0, 0.15)),
    Kind("erythema", CHEEK_JAW, (2.9, 0.5), (0.15, 0.5), (-0.4, 0.4), (1.2, 6.0),
         mottle=(0.0, 0.35), rim=(0.0, 0.3), slim=(0.0, 0.5), real="reddish"),
    Kind("pigment", CHEEK_JAW, (3.0, 0.45), (0.16, 0.4), (0.35, 0.7), (1.2, 2.6),
         ragged=(0.05, 0.20), mottle=(0.05, 0.25), rim=(0.0, 0.3), real="reddish"),
    Kind("small mark", WHOLE, (1.2, 0.4), (0.20, 0.45), (-0.35, 0.4), (1.4, 4.0),
         relief=(0.0, 0.3), gloss=(0.0, 0.15), real="reddish"),
    Kind("razor bump", BEARD, (1.7, 0.35), (0.20, 0.45), (0.0, 0.45), (1.4, 4.0),
         halo=(0.0, 0.6), head=(0.0, 0.6), head_size=(0.2, 0.45), relief=(0.1, 0.5), gloss=(0.0, 0.2),
         real="reddish"),
    Kind("ice-pick scar", CHEEK_JAW, (1.2, 0.35), (0.13, 0.5), (0.2, 0.8), (2.0, 5.0), relief=(-0.7, -0.25)),
    Kind("boxcar scar", CHEEK_JAW, (2.6, 0.35), (0.06, 0.5), (0.1, 0.6), (2.2, 6.0),
         rim=(0.0, 0.3), relief=(-0.4, -0.1), slim=(0.0, 0.5)),
    Kind("rolling scar", CHEEK_JAW, (5.5, 0.3), (0.02, 0.5), (0.1, 0.6), (1.8, 2.8), relief=(-0.25, -0.08)),
    Kind("scratch", WHOLE, (2.2, 0.35), (0.22, 0.45), (-0.25, 0.5), (1.5, 5.0), ragged=(0.05, 0.25),
         mottle=(0.1, 0.4), halo=(0.0, 0.5), crust=(0.0, 0.4), relief=(0.0, 0.3), slim=(0.5, 0.93)),
)
# fmt: on
NAMES = tuple(kind.name for kind in KINDS)
PROPERTIES = tuple(f.name for f in fields(Kind) if f.name not in ("name", "zone", "radius", "depth", "real"))

# What a face suffers from: chance, fewest and most marks on a whole face, share of each kind in NAMES' order.
CONDITIONS: tuple[tuple[str, float, int, int, tuple[float, ...]], ...] = (
    ("a few", 0.15, 3, 12, (4, 2, 0.3, 1, 1, 1, 3, 1.5, 4, 0, 0.2, 0.2, 0.1, 0.5)),
    ("mild acne", 0.17, 10, 30, (6, 2.5, 0.4, 1, 2, 2, 4, 1.5, 5, 0, 0.2, 0.2, 0.1, 0.4)),
    ("acne", 0.17, 30, 80, (8, 3, 0.8, 1, 2, 2, 5, 2, 4, 0, 0.3, 0.4, 0.2, 0.3)),
    ("severe acne", 0.08, 80, 170, (8, 4, 1.6, 1.5, 1, 1, 5, 2, 3, 0, 0.6, 0.6, 0.4, 0.3)),
    ("comedones", 0.12, 30, 110, (1, 0.5, 0, 0.2, 7, 5, 0.5, 0.3, 2, 0, 0, 0, 0, 0.1)),
    ("aftermath", 0.12, 15, 70, (1, 0.2, 0, 0.7, 0.3, 0.3, 7, 5, 3, 0, 0.3, 0.3, 0.1, 0.5)),
    ("scarred", 0.07, 15, 60, (0.5, 0.2, 0.1, 0.2, 0.2, 0.2, 1.5, 1.5, 1, 0, 4, 4, 2, 0.2)),
    ("razor", 0.07, 20, 90, (1, 0.5, 0, 0.7, 0.2, 0.2, 1, 1, 1.5, 9, 0, 0, 0, 0.5)),
    ("many small", 0.05, 30, 110, (0.4, 0.1, 0, 0.4, 1, 1, 1, 1, 10, 0, 0, 0, 0, 0.2)),
)
# How much each zone favours forehead, nose, cheeks, jaw, under-eye, upper lip, and skin of no region.
ZONES = (
    (1.0, 0.5, 1.2, 1.3, 0.12, 0.6, 0.5),
    (1.0, 2.6, 0.6, 0.7, 0.08, 0.5, 0.2),
    (0.0, 0.0, 0.12, 1.4, 0.0, 0.8, 0.05),
    (0.25, 0.1, 1.3, 1.2, 0.05, 0.3, 0.5),
    (0.35, 1.5, 1.3, 0.12, 1.0, 0.2, 0.2),
)


def _pastable_share() -> float:
    """Of all marks the share that is of a kind that a harvested patch can stand for."""
    pastable = whole = 0.0
    for _, chance, fewest, most, shares in CONDITIONS:
        marks = chance * (most - fewest) / math.log(most / fewest)  # the mean of a log-uniform count
        pastable += marks * sum(s for s, k in zip(shares, KINDS, strict=True) if k.real) / sum(shares)
        whole += marks
    return pastable / whole


PASTABLE_SHARE = _pastable_share()
REGIONS = (FOREHEAD, NOSE, CHEEKS, JAW, UNDER_EYE, LIP)
CELL_PX = 4
WHOLE_SKIN_PX = 75_000.0
