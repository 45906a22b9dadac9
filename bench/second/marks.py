"""Marks as closed curves of random harmonics, in millimetres, coloured by shifts in CIE L*a*b*.

Sizes follow dermatology's definitions (papules and pustules up to 5 mm, nodules above, comedones 1-2 mm;
ice-pick scars under 2 mm, boxcar 1.5-4 mm). Shifts of colour are of the order that colorimetry of acne finds:
erythema raises a*, marks left behind lower L*.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from stream.regions import CHEEKS, FOREHEAD, JAW, NOSE, SKIN, UPPER_LIP

Floats = npt.NDArray[np.float32]
Span = tuple[float, float]

ANYWHERE = FOREHEAD | NOSE | CHEEKS | JAW | UPPER_LIP
T_ZONE = FOREHEAD | NOSE
LOWER = CHEEKS | JAW
HARMONICS = 4
REACH = 1.9
USUAL_LIGHTNESS = 65.0


@dataclass(frozen=True)
class Sort:
    """A sort of mark; pairs are (low, high).

    often: how often beside the others. mm: diameter. light, red, yellow: shift in L*, a*, b* at its
    strongest. soft: width of the edge over the radius. ragged: size of the harmonics. head: shift in L* of a
    pale middle. swell: height over radius, negative for a pit. length: how much longer than wide.
    """

    often: float
    zone: int
    mm: Span
    light: Span
    red: Span
    yellow: Span
    soft: Span = (0.3, 0.8)
    ragged: float = 0.08
    head: Span = (0.0, 0.0)
    swell: Span = (0.0, 0.0)
    length: Span = (1.0, 1.3)


IMPERFECTIONS = {
    "papule": Sort(5.0, ANYWHERE, (1.5, 5.0), (-8, -2), (5, 15), (0, 4), swell=(0.03, 0.15)),
    "pustule": Sort(2.5, ANYWHERE, (2.0, 5.0), (-7, -2), (6, 15), (0, 4), head=(6, 16), swell=(0.05, 0.2)),
    "nodule": Sort(0.4, LOWER, (5.0, 9.0), (-8, -3), (5, 12), (-1, 3), soft=(0.6, 1.0), swell=(0.03, 0.1)),
    "open comedone": Sort(2.0, T_ZONE, (0.7, 1.8), (-16, -6), (0, 2), (1, 4), soft=(0.2, 0.5)),
    "closed comedone": Sort(1.5, T_ZONE, (1.0, 2.0), (1, 4), (-1, 1), (0, 2), swell=(0.08, 0.2)),
    "red mark": Sort(4.0, LOWER, (1.5, 6.0), (-4, -1), (4, 11), (0, 2), soft=(0.4, 1.0)),
    "brown mark": Sort(1.5, LOWER, (2.0, 6.0), (-9, -4), (3, 6), (1, 4), soft=(0.4, 0.9), ragged=0.12),
    "scratch": Sort(0.7, ANYWHERE, (0.6, 1.4), (-12, -5), (6, 14), (2, 6), ragged=0.2, length=(2.0, 6.0)),
    "ice-pick scar": Sort(0.5, CHEEKS, (0.8, 2.0), (-9, -4), (0, 2), (0, 2), swell=(-0.5, -0.25)),
    "boxcar scar": Sort(
        0.4, CHEEKS, (1.5, 4.0), (-4, -1), (0, 3), (0, 1), soft=(0.1, 0.3), swell=(-0.3, -0.1)
    ),
}
MOLE = Sort(1.0, ANYWHERE, (1.2, 4.5), (-34, -16), (0, 3), (0, 5), soft=(0.15, 0.4), ragged=0.04)
FRECKLE = Sort(1.0, NOSE | CHEEKS, (0.6, 1.8), (-8, -3), (1, 3), (3, 6), soft=(0.5, 1.0), ragged=0.12)


@dataclass
class Canvas:
    """What is laid on a face: shift float32 [S, S, 3] in L*a*b*, cover float32 [S, S] in [0, 1]."""

    shift: Floats
    cover: Floats

    @classmethod
    def empty(cls, side: int) -> Canvas:
        """Nothing yet."""
        return cls(np.zeros((side, side, 3), np.float32), np.zeros((side, side), np.float32))


def within(span: Span, rng: np.random.Generator) -> float:
    """A number of the span, evenly."""
    return float(rng.uniform(*span))


def places(
    bits: npt.NDArray[np.uint8], zone: int, count: int, clustered: float, rng: np.random.Generator
) -> Floats:
    """Centres float32 [n, 2] (x, y) in a zone of the regions [S, S]: a part of them about common parents
    (Thomas process)."""
    here = (((bits & zone) != 0) & ((bits & SKIN) != 0)).astype(np.uint8)
    inner = np.asarray(cv2.erode(here, np.ones((9, 9), np.uint8)), np.uint8)
    ys, xs = np.nonzero(inner)
    if not len(xs) or not count:
        return np.zeros((0, 2), np.float32)
    pick = rng.integers(len(xs), size=count)
    points = np.stack([xs[pick], ys[pick]], 1) + rng.random((count, 2))
    parents = points[rng.integers(count, size=count)]
    near = parents + rng.normal(0.0, 18.0, (count, 2))
    points = np.where(rng.random((count, 1)) < clustered, near, points)
    at = np.clip(points.round().astype(int), 0, bits.shape[0] - 1)
    return np.asarray(points[inner[at[:, 1], at[:, 0]] > 0], np.float32)


def lay(
    canvas: Canvas,
    sort: Sort,
    centre: Floats,
    mm_px: float,
    lightness: float,
    light_xy: Floats,
    rng: np.random.Generator,
) -> None:
    """Lay one mark on the canvas, in place. mm_px: pixels of a millimetre; lightness: L* of the skin, since
    dark skin shows red less and brown more; light_xy: where the light comes from, a unit vector."""
    radius = max(0.5 * within(sort.mm, rng) * mm_px, 0.9)
    side = canvas.shift.shape[0]
    reach = int(np.ceil(REACH * radius * sort.length[1])) + 2
    x0, y0 = (int(v) - reach for v in centre)
    left, top, right, bottom = max(x0, 0), max(y0, 0), min(x0 + 2 * reach, side), min(y0 + 2 * reach, side)
    x, y = np.meshgrid(np.arange(left, right) - centre[0], np.arange(top, bottom) - centre[1])
    inside, level = _curve(x, y, radius, sort, rng)
    part = slice(top, bottom), slice(left, right)
    shift = _colour(sort, lightness, rng) * inside[..., None]
    shift[..., 0] += within(sort.head, rng) * _step(0.5, 0.25, level)
    swell = within(sort.swell, rng) * radius
    if swell:
        height = swell * np.exp(-2.0 * np.square(level))
        slope_y, slope_x = np.gradient(height)
        shift[..., 0] -= 28.0 * np.clip(slope_x * light_xy[0] + slope_y * light_xy[1], -0.35, 0.35)
    # Where marks meet, the stronger one is seen: they do not add up.
    stronger = np.abs(shift).sum(-1) > np.abs(canvas.shift[part]).sum(-1)
    canvas.shift[part][stronger] = shift[stronger]
    np.maximum(canvas.cover[part], inside, out=canvas.cover[part])


def _curve(
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    radius: float,
    sort: Sort,
    rng: np.random.Generator,
) -> tuple[Floats, Floats]:
    """How much each pixel is inside, in [0, 1], and its distance over the curve's own radius there."""
    turn, longer = rng.uniform(0, np.pi), within(sort.length, rng)
    u, v = np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x
    u = u / longer
    angle = np.arctan2(v, u)
    border = np.ones_like(angle)
    for k in range(2, 2 + HARMONICS):
        border += sort.ragged * rng.normal() / (k - 1) * np.cos(k * angle + rng.uniform(0, 2 * np.pi))
    level = np.hypot(u, v) / (radius * np.maximum(border, 0.4))
    soft = max(within(sort.soft, rng), 0.8 / radius)
    grain = 1.0 + 0.12 * cv2.GaussianBlur(rng.normal(size=x.shape), (0, 0), 1.2) / 0.24
    inside = _step(1.0 + 0.5 * soft, 1.0 - 0.5 * soft, level) * np.clip(grain, 0.5, 1.5)
    return np.clip(inside, 0.0, 1.2).astype(np.float32), level.astype(np.float32)


def _step(outer: float, inner: float, level: npt.NDArray[np.floating]) -> Floats:
    """1 within inner, 0 beyond outer, smooth between."""
    t = np.clip((outer - level) / max(outer - inner, 1e-6), 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t), np.float32)


def _colour(sort: Sort, lightness: float, rng: np.random.Generator) -> Floats:
    dark = float(np.clip(lightness / USUAL_LIGHTNESS, 0.45, 1.15))
    light, red, yellow = (within(span, rng) for span in (sort.light, sort.red, sort.yellow))
    return np.array([light * (1.5 - 0.5 * dark), red * dark, yellow * dark], np.float32)
