"""What a retoucher must leave: moles, freckles, stubble, pores, creases, stray hair, blush, glasses, ink.

Painted alike into raw and target. Moles are dark, brown and sharp-edged, freckles light, small and many; the
marks that acne leaves are softer and redder, so that the two can be told apart, though not at a glance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from model.data import imperfections as imp
from model.data.harvest import BROWN, MOLE
from model.data.imperfections import Layers, Marks
from model.data.kinds import FRECKLED, PROPERTIES, WHOLE, WHOLE_SKIN_PX, Kind
from model.data.pasted import RealMarks
from model.data.portraits import CHEEKS, HAEMOGLOBIN, JAW, LIP, NOSE, SKIN
from model.data.stamps import NoiseBank, Places

# fmt: off
KINDS = (
    Kind("flat mole", WHOLE, (1.5, 0.35), (0.55, 0.35), (0.9, 1.15), (2.6, 6.0), (0.02, 0.10), (0.0, 0.15),
         real="mole"),
    Kind("raised mole", WHOLE, (2.6, 0.3), (0.42, 0.4), (0.75, 1.1), (2.4, 4.5), (0.02, 0.10), (0.05, 0.2),
         relief=(0.08, 0.25), gloss=(0.0, 0.08), real="mole"),
    Kind("lentigo", FRECKLED, (2.4, 0.35), (0.20, 0.3), (0.9, 1.1), (3.5, 6.0), (0.10, 0.25), (0.1, 0.3),
         real="brown"),
    Kind("freckle", FRECKLED, (1.15, 0.28), (0.15, 0.35), (0.85, 1.1), (1.6, 3.0), (0.10, 0.30), (0.0, 0.2),
         real="brown"),
)
# fmt: on
# Chance on a face, fewest and most, share of each kind.
FIELDS = (
    (0.45, 1, 8, (1.0, 0.4, 0.1, 0.0)),
    (0.12, 30, 180, (0.02, 0.005, 0.04, 1.0)),
    (0.10, 4, 25, (0.15, 0.05, 1.0, 0.4)),
)
KEPT_ABSORBANCE = 0.05


@dataclass(frozen=True)
class Negatives:
    """layers to render into both pictures; keep [B, 2, h, w] in [0, 1], the moles (and age spots) and the
    freckles."""

    layers: Layers
    keep: Tensor


def paint_negatives(
    bits: Tensor,
    paintable: Tensor,
    light: Tensor,
    real: RealMarks,
    noise: NoiseBank,
    often: float,
    gen: torch.Generator,
) -> Negatives:
    """Draw all of them: bits uint8 [B, h, w], paintable [B, 1, h, w], light [B, 2]; often is a factor on
    chances."""
    b, h, w = bits.shape
    layers = Layers.empty(b, h, w)
    # Of all negatives these are the ones that must be found again.
    moles, freckles = _spots(layers, bits, paintable, light, real, noise, often, gen)
    keep = torch.cat([kept(moles * paintable), kept(freckles * paintable)], 1)
    _pores(layers, bits, 0.4 * often, gen)
    _stubble(layers, bits, 0.09 * often, gen)
    _blush(layers, bits, 0.08 * often, gen)
    _strokes(layers, bits, paintable, light, noise, often, gen)
    return Negatives(layers, keep)


def kept(absorb: Tensor) -> Tensor:
    """Where absorbance [B, 3, h, w] is seen, [B, 1, h, w] in [0, 1]."""
    return (absorb[:, 1:2] / KEPT_ABSORBANCE - 0.4).clamp(0.0, 1.0)


def _spots(
    layers: Layers,
    bits: Tensor,
    paintable: Tensor,
    light: Tensor,
    real: RealMarks,
    noise: NoiseBank,
    often: float,
    gen: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """The absorbance of moles and that of freckles [B, 3, h, w]."""
    b = len(bits)
    found: list[tuple[Marks, bool]] = []
    density = imp.zone_density(bits, paintable, gen)
    skin = ((paintable > 0).sum((1, 2, 3)) / WHOLE_SKIN_PX).clamp(max=1.2)
    for chance, fewest, most, shares in FIELDS:
        on = torch.rand(b, generator=gen) < chance * often
        whole = fewest * (most / fewest) ** torch.rand(b, generator=gen)
        counts = torch.poisson(whole * skin, generator=gen).clamp(min=1).long() * on
        marks = imp.draw_marks(density, counts, torch.tensor(shares).repeat(b, 1), gen, KINDS)
        marks = marks.pick(imp.on_skin(marks.places, paintable))
        freckle = torch.tensor([k.name == "freckle" for k in KINDS])[marks.kind]
        found += [(marks.pick(~freckle), False), (marks.pick(freckle), True)]
    absorb = [layers.absorb.clone()]
    for freckles in (False, True):
        for marks, are in found:
            if are == freckles:
                _lay(layers, marks, light, real, noise, gen)
        absorb.append(layers.absorb.clone())
    return absorb[1] - absorb[0], absorb[2] - absorb[1]


def _lay(
    layers: Layers, marks: Marks, light: Tensor, real: RealMarks, noise: NoiseBank, gen: torch.Generator
) -> None:
    taken = torch.rand(len(marks), generator=gen) < 0.6
    left = torch.ones(len(marks), dtype=torch.bool)
    for name, kind in (("mole", MOLE), ("brown", BROWN)):
        chosen = taken & torch.tensor([k.real == name for k in KINDS])[marks.kind]
        some = marks.pick(chosen)
        if len(some) and real.has(kind):
            pasting = real.as_marks(kind, some.radius, some.depth, some.properties["melanin"], gen)
            real.paste(layers.absorb, some.places, pasting)
            left &= ~chosen
    imp.paint_marks(layers, marks.pick(left), light, noise, gen)


def _soft(bits: Tensor, regions: int, k: int) -> Tensor:
    """Soft mask of regions on skin, float32 [B, 1, h, w]."""
    here = (((bits & regions) != 0) & ((bits & SKIN) != 0)).float().unsqueeze(1)
    small = F.avg_pool2d(here, 4, ceil_mode=True)
    small = F.avg_pool2d(small, k, 1, k // 2, count_include_pad=False)
    wide = F.interpolate(small, scale_factor=4, mode="bilinear", align_corners=False)
    return wide[..., : bits.shape[1], : bits.shape[2]]


def _dots(bits: Tensor, share: float, kernel: Tensor, gen: torch.Generator) -> Tensor:
    """Random points, a share of all pixels, each drawn as the kernel: float32 [B, 1, h, w]."""
    b, h, w = bits.shape
    value = torch.rand(b, 1, h, w, generator=gen)
    points = torch.where(value > 1.0 - share, (value - (1.0 - share)) / share, 0.0)
    return F.conv2d(points, kernel.view(1, 1, *kernel.shape), padding=kernel.shape[-1] // 2)


def _pores(layers: Layers, bits: Tensor, chance: float, gen: torch.Generator) -> None:
    """Pores on nose and cheeks and fine grain elsewhere; what generated portraits lack most."""
    on = torch.rand(len(bits), generator=gen) < chance
    if not bool(on.any()):
        return
    much = on * 0.07 * torch.rand(len(bits), generator=gen)
    kernel = _bump(0.75, 0.75, 0.0)
    where = 0.3 + _soft(bits, CHEEKS | NOSE, 9)
    layers.absorb += _dots(bits, 0.05, kernel, gen) * where * much.view(-1, 1, 1, 1)


def _stubble(layers: Layers, bits: Tensor, chance: float, gen: torch.Generator) -> None:
    """Short dark hair stumps over jaw and lip, lying more or less one way."""
    on = torch.rand(len(bits), generator=gen) < chance
    if not bool(on.any()):
        return
    much = on * (0.08 + 0.30 * torch.rand(len(bits), generator=gen))
    lean = 0.5 * float(torch.randn(1, generator=gen))
    share = 0.05 + 0.10 * float(torch.rand(1, generator=gen))
    dots = _dots(bits, share, _bump(0.42, 0.85, lean), gen)
    grey = dots.new_tensor((1.1, 1.05, 1.0)).view(1, 3, 1, 1)
    layers.absorb += dots * _soft(bits, JAW | LIP, 7) * grey * much.view(-1, 1, 1, 1)


def _bump(across: float, along: float, lean: float) -> Tensor:
    axis = torch.arange(-3, 4).float()
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    u = (x - lean * y) / math.sqrt(1.0 + lean * lean)
    return torch.exp(-0.5 * ((u / across).square() + (y / along).square()))


def _blush(layers: Layers, bits: Tensor, chance: float, gen: torch.Generator) -> None:
    """Rouge: even, wide and symmetrical, where blotches are mottled."""
    on = torch.rand(len(bits), generator=gen) < chance
    if not bool(on.any()):
        return
    much = on * (0.03 + 0.14 * torch.rand(len(bits), generator=gen))
    tint = layers.absorb.new_tensor(HAEMOGLOBIN).view(1, 3, 1, 1)
    layers.absorb += _soft(bits, CHEEKS, 19).pow(1.5) * tint * much.view(-1, 1, 1, 1)


@dataclass(frozen=True)
class Line:
    """A sort of line: chance on a face, how many, (low, high) of length px, radius px and depth; relief over
    radius; wander, how far it turns over its length, rad; melanin, the share of that pigment in its
    colour."""

    chance: float
    count: tuple[int, int]
    length: tuple[float, float]
    radius: tuple[float, float]
    depth: tuple[float, float]
    relief: float
    wander: float
    melanin: float


CREASE = Line(0.10, (2, 7), (25.0, 90.0), (0.9, 1.6), (0.03, 0.13), -0.3, 0.7, 1.4)
STRAY_HAIR = Line(0.06, (1, 5), (50.0, 200.0), (0.6, 0.9), (0.20, 1.0), 0.0, 1.6, 1.7)
INK = Line(0.008, (3, 10), (8.0, 40.0), (0.9, 1.6), (0.5, 1.2), 0.0, 4.0, 1.3)
# Half-depth bumps one radius apart add to this.
OVERLAP = 2.1


def _strokes(
    layers: Layers,
    bits: Tensor,
    paintable: Tensor,
    light: Tensor,
    noise: NoiseBank,
    often: float,
    gen: torch.Generator,
) -> None:
    for line in (CREASE, STRAY_HAIR, INK):
        on = torch.rand(len(bits), generator=gen) < line.chance * often
        for clip in torch.nonzero(on).flatten().tolist():
            marks = _chain(line, clip, (int(bits.shape[1]), int(bits.shape[2])), gen)
            inside = imp.on_skin(marks.places, paintable, 0.1)
            imp.paint_marks(layers, marks.pick(inside), light, noise, gen)


def _chain(line: Line, clip: int, size: tuple[int, int], gen: torch.Generator) -> Marks:
    """Curved lines as chains of small marks one radius apart, thinner and fainter towards their ends."""
    count = int(torch.randint(line.count[0], line.count[1] + 1, (1,), generator=gen))
    low, high = (torch.tensor([pair[k] for pair in (line.length, line.radius, line.depth)]) for k in (0, 1))
    length, radius, depth = (low + (high - low) * torch.rand(count, 3, generator=gen)).unsqueeze(2).unbind(1)
    steps = int(line.length[1] / line.radius[0])
    along = torch.arange(steps) * radius  # [lines, steps]
    bend = line.wander * (torch.rand(count, 1, generator=gen) - 0.5) * along / length
    angle = math.tau * torch.rand(count, 1, generator=gen) + bend
    start = torch.rand(count, 2, 1, generator=gen) * torch.tensor(size).view(1, 2, 1)
    y = start[:, 0] + (torch.sin(angle) * radius).cumsum(1)
    x = start[:, 1] + (torch.cos(angle) * radius).cumsum(1)
    taper = (4.0 * (along / length) * (1.0 - along / length)).clamp(min=0.0).sqrt()
    kept = along < length
    n = int(kept.sum())
    places = Places(torch.full((n,), clip), x[kept], y[kept])
    properties = {name: torch.zeros(n) for name in PROPERTIES}
    relief = line.relief / OVERLAP
    fixed = {"edge": 2.0, "melanin": line.melanin, "relief": relief, "halo_size": 1.0, "head_size": 0.5}
    properties.update({name: torch.full((n,), value) for name, value in fixed.items()})
    thick = (radius * (0.6 + 0.4 * taper)).clamp(min=0.6)[kept]
    return Marks(places, torch.zeros(n, dtype=torch.long), thick, (depth * taper / OVERLAP)[kept], properties)


# Corners of the eyes in the face mesh: outer and inner of the right eye, inner and outer of the left.
EYES = ((33, 133), (362, 263))
FRAMES = ((0.05, 0.05, 0.06), (0.55, 0.43, 0.25), (0.62, 0.62, 0.64), (0.30, 0.16, 0.10))


def put_on_glasses(
    base: Tensor, bits: Tensor, landmarks: Tensor, corner: Tensor, gen: torch.Generator
) -> None:
    """Thin-rimmed glasses on one face, in place: base [3, h, w] in [0, 1] RGB, bits uint8 [h, w].

    landmarks float32 [468, 2] canvas px; corner [2] (x, y) of the box. The rim is no longer skin.
    """
    h, w = bits.shape
    grid_y, grid_x = torch.meshgrid(torch.arange(h).float(), torch.arange(w).float(), indexing="ij")
    centres = torch.stack([landmarks[list(pair)].mean(0) for pair in EYES]) - corner
    apart = float((centres[1] - centres[0]).norm())
    wide, tall, power, thick, drop = torch.rand(5, generator=gen).tolist()
    rx, ry, width = apart * (0.36 + 0.08 * wide), apart * (0.26 + 0.1 * tall), 0.7 + 1.3 * thick
    alpha = torch.zeros(h, w)
    for cx, cy in centres.tolist():
        u, v = ((grid_x - cx) / rx).abs(), ((grid_y - cy - 0.06 * apart * drop) / ry).abs()
        rho = (u.pow(2.0 + 2.0 * power) + v.pow(2.0 + 2.0 * power)).pow(1.0 / (2.0 + 2.0 * power))
        # The rim is as wide everywhere: distance is about (rho - 1) times the mean radius.
        alpha = torch.maximum(alpha, (width + 0.5 - (rho - 1.0).abs() * 0.5 * (rx + ry)).clamp(0.0, 1.0))
    bridge = (width + 0.5 - (grid_y - centres[:, 1].mean() + 0.05 * apart).abs()).clamp(0.0, 1.0)
    inner = (grid_x - centres[0, 0] - rx > 0) & (centres[1, 0] - rx - grid_x > 0)
    alpha = torch.maximum(alpha, bridge * inner)
    colour = torch.tensor(FRAMES[int(torch.randint(len(FRAMES), (1,), generator=gen))]).view(3, 1, 1)
    glint = 0.25 * torch.rand(1, generator=gen) * torch.sin(grid_x / (0.3 * rx)).clamp(min=0.0).pow(4)
    base.copy_(base * (1.0 - alpha) + (colour + glint).clamp(0.0, 1.0) * alpha)
    bits.masked_fill_(alpha > 0.02, 0)
