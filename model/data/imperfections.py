"""Imperfections painted in absorbance: papules, pustules, comedones, marks left behind, scars, razor bumps.

Colour is a mixture of the two pigments' absorbance, so it is right on every tone: raw = target * exp(-D) with
D [B, 3, h, w] the added -log of sRGB. Relief is a height field lit from the portrait's own light; a wet or
taut top reflects. Sizes and depths are log-normal about the values measured on real marks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from model.data.kinds import CELL_PX, KINDS, PROPERTIES, REGIONS, ZONES, Kind
from model.data.portraits import HAEMOGLOBIN, MELANIN, SKIN
from model.data.stamps import NoiseBank, Places, Stamp, splat, stamps, turned

LN2 = math.log(2.0)
HEAD_ABSORBANCE = (-0.10, -0.07, 0.05)
CRUST_ABSORBANCE = (0.28, 0.62, 0.60)
PLUG_ABSORBANCE = (0.84, 0.95, 1.0)
GLOSS_TOP = 0.45
SHADE_TOP = 0.22
DEPTH_KNEE = 0.5


@dataclass(frozen=True)
class Marks:
    """n marks: places, kind int64 [n], radius px [n], depth [n], and each property of `Kind` as float32
    [n]."""

    places: Places
    kind: Tensor
    radius: Tensor
    depth: Tensor
    properties: dict[str, Tensor]

    def __len__(self) -> int:
        return len(self.places)

    def pick(self, chosen: Tensor) -> Marks:
        """The marks of an index or a mask."""
        properties = {name: value[chosen] for name, value in self.properties.items()}
        return Marks(
            self.places.pick(chosen), self.kind[chosen], self.radius[chosen], self.depth[chosen], properties
        )


@dataclass
class Layers:
    """What is added to a box: absorbance [B, 3, h, w], height px [B, 1, h, w], gloss [B, 1, h, w] in [0,
    1]."""

    absorb: Tensor
    height: Tensor
    gloss: Tensor

    @staticmethod
    def empty(batch: int, h: int, w: int) -> Layers:
        """Nothing painted."""
        return Layers(*(torch.zeros(batch, c, h, w) for c in (3, 1, 1)))


def draw_marks(
    density: Tensor, counts: Tensor, shares: Tensor, gen: torch.Generator, kinds: tuple[Kind, ...] = KINDS
) -> Marks:
    """Draw kinds, places and properties.

    density float32 [B, zones, ch, cw]: how likely each cell of CELL_PX is; counts int64 [B]; shares float32
    [B, kinds]: how often each kind occurs in each clip.
    """
    clip = torch.repeat_interleave(torch.arange(len(counts)), counts)
    kind = torch.multinomial(shares[clip] + 1e-9, 1, generator=gen).flatten() if len(clip) else clip
    zone = torch.tensor([k.zone for k in kinds])[kind]
    places = _scatter(density, clip, zone, gen)
    radius = _log_normal([k.radius for k in kinds], kind, gen).clamp(0.7, 10.0)
    depth = _log_normal([k.depth for k in kinds], kind, gen).clamp(0.02, 1.2)
    ranges = torch.tensor([[getattr(k, name) for name in PROPERTIES] for k in kinds])[
        kind
    ]  # [n, properties, 2]
    mix = torch.rand(len(clip), len(PROPERTIES), generator=gen)
    values = ranges[..., 0] + (ranges[..., 1] - ranges[..., 0]) * mix
    return Marks(places, kind, radius, depth, dict(zip(PROPERTIES, values.unbind(1), strict=True)))


def _log_normal(pairs: list[tuple[float, float]], kind: Tensor, gen: torch.Generator) -> Tensor:
    rows = torch.tensor(pairs)[kind]
    return rows[:, 0] * torch.exp(rows[:, 1] * torch.randn(len(kind), generator=gen))


def zone_density(bits: Tensor, paintable: Tensor, gen: torch.Generator) -> Tensor:
    """Chance of a mark in each cell for each zone, float32 [B, zones, ch, cw].

    bits uint8 [B, h, w]; paintable [B, 1, h, w] in [0, 1]. Each face favours its own regions and patches.
    """
    cells = bits[:, ::CELL_PX, ::CELL_PX].long()
    b, ch, cw = cells.shape
    room = paintable[:, :, ::CELL_PX, ::CELL_PX]
    whim = torch.exp(0.6 * torch.randn(b, len(REGIONS) + 1, generator=gen))
    weight = torch.tensor(ZONES) * whim.unsqueeze(1)  # [B, zones, regions + 1]
    density = weight[..., -1, None, None].expand(-1, -1, ch, cw).clone()
    for r, region in enumerate(REGIONS):
        here = (cells & region).bool().unsqueeze(1)
        density = torch.where(here, weight[..., r, None, None], density)
    whim = torch.randn(b, 1, 5, 5, generator=gen)
    patchy = F.interpolate(whim, size=(ch, cw), mode="bicubic", align_corners=False)
    return density * torch.exp(0.9 * patchy) * (room > 0.6) * (cells & SKIN).bool().unsqueeze(1)


def _scatter(density: Tensor, clip: Tensor, zone: Tensor, gen: torch.Generator) -> Places:
    """Places drawn from the density, a third of them as neighbours of an earlier mark of the same clip."""
    b, zones, ch, cw = density.shape
    n = len(clip)
    if n == 0:
        return Places(clip, torch.zeros(0), torch.zeros(0))
    rows = density.reshape(b * zones, ch * cw) + 1e-12
    drawn = torch.multinomial(rows, n, replacement=True, generator=gen)
    cell = drawn[clip * zones + zone, torch.arange(n)]
    jitter = torch.rand(2, n, generator=gen) * CELL_PX
    y = torch.div(cell, cw, rounding_mode="floor") * CELL_PX + jitter[0]
    x = (cell % cw) * CELL_PX + jitter[1]
    first = torch.searchsorted(clip, clip)
    parent = first + (torch.rand(n, generator=gen) * (torch.arange(n) - first)).long()
    joins = torch.rand(n, generator=gen) < 0.35
    apart = torch.randn(2, n, generator=gen) * (5.0 + 14.0 * torch.rand(n, generator=gen))
    y, x = torch.where(joins, y[parent] + apart[0], y), torch.where(joins, x[parent] + apart[1], x)
    return Places(clip, x, y)


def on_skin(places: Places, paintable: Tensor, least: float = 0.5) -> Tensor:
    """Which marks have their centre well inside paintable skin [B, 1, h, w]: bool [n]."""
    _, _, h, w = paintable.shape
    x, y = places.x.round().long(), places.y.round().long()
    inside = (x >= 0) & (x < w) & (y >= 0) & (y < h)
    return inside & (paintable[places.clip, 0, y.clamp(0, h - 1), x.clamp(0, w - 1)] > least)


def apart(marks: Marks, least: float = 0.75) -> Tensor:
    """Which marks do not lie upon an earlier one of their clip: distance over summed radii, bool [n]."""
    p = marks.places
    far = torch.hypot(p.x[:, None] - p.x, p.y[:, None] - p.y)
    near = (far < least * (marks.radius[:, None] + marks.radius)) & (p.clip[:, None] == p.clip)
    return ~torch.tril(near, -1).any(1)


def paint_marks(layers: Layers, marks: Marks, light: Tensor, noise: NoiseBank, gen: torch.Generator) -> None:
    """Add the marks to the layers; light float32 [B, 2] points to where it comes from in the image plane."""
    n = len(marks)
    random = torch.rand(n, 4, generator=gen)
    widest = torch.where(marks.properties["halo"] > 0, marks.properties["halo_size"], 1.0)
    reach = marks.radius * (1.5 + 1.3 * widest) / (1.0 - marks.properties["slim"]).sqrt()
    for stamp in stamps(marks.places, reach.clamp(max=64.0)):
        m = {name: value[stamp.chosen].view(-1, 1, 1) for name, value in marks.properties.items()}
        m["radius"], m["depth"] = (v[stamp.chosen].view(-1, 1, 1) for v in (marks.radius, marks.depth))
        clip = marks.places.clip[stamp.chosen]
        patch = _mark(stamp, m, random[stamp.chosen], light[clip], noise)
        edge = _window(stamp, reach[stamp.chosen])
        splat(layers.absorb, clip, stamp, patch[:, :3] * edge)
        splat(layers.height, clip, stamp, patch[:, 3:4] * edge)
        splat(layers.gloss, clip, stamp, patch[:, 4:5] * edge)


def _window(stamp: Stamp, reach: Tensor) -> Tensor:
    """Falls to 0 at a mark's reach, so that no square shows: [m, 1, K, K]."""
    far = torch.sqrt(stamp.dx.square() + stamp.dy.square()) / reach.view(-1, 1, 1)
    return (4.0 * (1.0 - far)).clamp(0.0, 1.0).unsqueeze(1)


def _mark(stamp: Stamp, m: dict[str, Tensor], random: Tensor, light: Tensor, noise: NoiseBank) -> Tensor:
    """Absorbance, height and gloss of one group of marks: float32 [m, 5, K, K]."""
    u, v = turned(stamp, math.tau * random[:, 0], 1.0 - m["slim"].flatten())
    u, v = u / m["radius"], v / m["radius"]
    field = (random[:, 1] * noise.count).long()
    rough = noise.at(field, 0.22 * u, 0.22 * v)
    rho = torch.sqrt(u.square() + v.square() + 1e-6) * torch.exp(m["ragged"] * rough)
    core = torch.exp(-LN2 * rho.pow(m["edge"]))
    speckle = noise.at(field + noise.count, 0.3 * v, 0.3 * u)
    mottled = core * (1.0 + m["mottle"] * speckle).clamp(min=0.2)
    du, dv = ((random[:, k] - 0.5).view(-1, 1, 1) * 0.3 for k in (2, 3))
    from_head = torch.hypot(u - du, v - dv) * torch.exp(0.6 * m["ragged"] * rough) / m["head_size"]
    head = m["head"] * torch.exp(-LN2 * from_head.pow(4))
    halo = m["halo"] * torch.exp(-LN2 * (rho / m["halo_size"]).pow(1.7))
    rim = m["rim"] * torch.exp(-((rho - 1.0) / 0.25).square())
    pigment = m["depth"] * (mottled * (1.0 - 0.8 * head) + rim)
    absorb = _colour(pigment, m["melanin"]) + _colour(m["depth"] * halo, 0.3 * m["melanin"])
    absorb = absorb + head.unsqueeze(1) * _vector(HEAD_ABSORBANCE, u)
    absorb = absorb + (m["crust"] * core).unsqueeze(1) * _vector(CRUST_ABSORBANCE, u)
    absorb = absorb + (m["plug"] * core).unsqueeze(1) * _vector(PLUG_ABSORBANCE, u)
    # A mark's colour frays, its swelling does not.
    dome = torch.exp(-LN2 * (u.square() + v.square()).pow(0.5 * m["edge"].clamp(1.8, 2.6)))
    height = m["relief"] * m["radius"] * dome
    gloss = m["gloss"] * dome * _highlight(stamp, m["radius"], light, rough)
    return torch.cat([absorb, height.unsqueeze(1), gloss.unsqueeze(1)], 1)


def _highlight(stamp: Stamp, radius: Tensor, light: Tensor, rough: Tensor) -> Tensor:
    toward = 0.35 * light / (light.norm(dim=1, keepdim=True) + 0.2)
    x = stamp.dx / radius - toward[:, 0].view(-1, 1, 1)
    y = stamp.dy / radius - toward[:, 1].view(-1, 1, 1)
    # Sharper than the mark, but no sharper than a pixel: a smaller highlight would alias in motion.
    width = (0.3 * radius).clamp(min=0.8) / radius
    return torch.exp(-0.5 * (x.square() + y.square()) / width.square()) * (1.0 + 0.4 * rough).clamp(0.0, 2.0)


def _vector(values: tuple[float, ...], like: Tensor) -> Tensor:
    return like.new_tensor(values).view(1, 3, 1, 1)


def _colour(green: Tensor, melanin: Tensor) -> Tensor:
    """Absorbance [m, 3, K, K] of a pigment mixture whose green absorbance is [m, K, K]."""
    share = melanin.unsqueeze(1)
    mixed = (1.0 - share) * _vector(HAEMOGLOBIN, green) + share * _vector(MELANIN, green)
    return green.unsqueeze(1) * mixed


def render(pictures: list[Tensor], layers: Layers, paintable: Tensor, light: Tensor) -> list[Tensor]:
    """Put the same layers on pictures [B, 3, h, w] in [0, 1] RGB; the same shapes and range.

    paintable [B, 1, h, w] in [0, 1] bounds everything; light [B, 2]. Pixels are unchanged where paintable is
    0.
    """
    total = layers.absorb * paintable
    # Marks upon marks do not add without end: skin has only so much blood to show.
    total = torch.where(total > DEPTH_KNEE, DEPTH_KNEE + 0.6 * torch.tanh((total - DEPTH_KNEE) / 0.6), total)
    factor = torch.exp(shading(layers.height * paintable, light) * paintable - total)
    if not bool(layers.gloss.any()):
        return [(picture * factor).clamp_(0.0, 1.0) for picture in pictures]
    gloss = GLOSS_TOP * torch.tanh(layers.gloss * paintable / GLOSS_TOP)
    return [_glossed((picture * factor).clamp_(0.0, 1.0), picture, gloss) for picture in pictures]


def _glossed(lit: Tensor, picture: Tensor, gloss: Tensor) -> Tensor:
    # A highlight is as bright as the light that falls there, which skin in shadow does not get.
    glow = gloss * (0.3 + picture.amax(1, keepdim=True)).clamp(max=1.0)
    return lit + glow * (1.0 - lit)


def shading(height: Tensor, light: Tensor) -> Tensor:
    """Log of Lambert's shading of a height field [B, 1, h, w] px, lit from light [B, 2]; flat skin gives
    0."""
    padded = F.pad(height, (1, 1, 1, 1), mode="replicate")
    gx = 0.5 * (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2])
    gy = 0.5 * (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1])
    lx, ly = (light[:, k].view(-1, 1, 1, 1) for k in (0, 1))
    # The slope of a bump toward the light faces it: its normal is (-gx, -gy, 1).
    facing = (1.0 - lx * gx - ly * gy) / torch.sqrt(1.0 + gx.square() + gy.square())
    # Light scatters inside skin, which fills the shadows and softens the lit side of so small a thing.
    return SHADE_TOP * torch.tanh(torch.log(facing.clamp(0.4, 1.8)) / SHADE_TOP)
