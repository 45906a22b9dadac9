"""Imperfections without a border: redness, blotches, uneven pigment, under-eye shadow, shine, dry skin."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from model.data.imperfections import Layers
from model.data.portraits import (
    CHEEKS,
    FOREHEAD,
    HAEMOGLOBIN,
    JAW,
    LIP,
    MELANIN,
    NOSE,
    SKIN,
    UNDER_EYE,
    absorbance,
)
from model.data.stamps import coarse_noise

# Blood with little oxygen, seen through thin skin: it takes more red than fresh blood does.
VENOUS = (0.72, 1.0, 0.88)
QUARTER = 4
REDNESS_FLOOR = 0.04
MOLE_RED, MOLE_GREEN = 0.11, 0.27

# What, how often, absorbance of green (low, high), pigment, regions.
# All are strong enough to be told from the face's own colour: what nobody can see cannot be learnt, and
# taking it away would change the tone.
REDNESS = ("redness", 0.09, (0.09, 0.24), HAEMOGLOBIN, CHEEKS | NOSE | JAW)
BLOTCHES = ("blotches", 0.14, (0.09, 0.22), HAEMOGLOBIN, FOREHEAD | CHEEKS | JAW | NOSE | LIP)
PIGMENT = ("pigment", 0.03, (0.08, 0.14), MELANIN, FOREHEAD | CHEEKS | LIP)
RASH = ("rash", 0.04, (0.09, 0.20), HAEMOGLOBIN, JAW)
SHADOW = ("shadow", 0.15, (0.10, 0.22), VENOUS, UNDER_EYE)
SHINE_CHANCE = 0.06
DRY_CHANCE = 0.05


def paint_diffuse(layers: Layers, base: Tensor, bits: Tensor, often: Tensor, gen: torch.Generator) -> None:
    """Add all of them to the layers.

    base [B, 3, h, w] in [0, 1] RGB; bits uint8 [B, h, w]; often float32 [B]: a factor on every chance, 0 for
    none.
    """
    for what in (REDNESS, BLOTCHES, PIGMENT, RASH, SHADOW):
        name, chance, span, pigment, regions = what
        much = _much(chance, span, often, gen)
        if bool((much > 0).any()):
            field = _region(bits, regions) * _pattern(name, bits, gen)
            _add(layers, field, much, pigment)
    _shine(layers, base, bits, _much(SHINE_CHANCE, (0.18, 0.36), often, gen), gen)
    _dry(layers, bits, _much(DRY_CHANCE, (0.05, 0.12), often, gen), gen)


def own_redness(picture: Tensor, paintable: Tensor) -> Tensor:
    """A portrait's own red spots as absorbance [B, 3, h, w]: what blood there is beyond its neighbourhood's.

    picture [B, 3, h, w] in [0, 1] RGB; paintable [B, 1, h, w]. Redness is absorbance of green over that of
    red, which shading does not change; wide redness, wider than about 15 px, is the face's own and stays. So
    does what is dark in red too: that is a mole.
    """
    room = F.avg_pool2d(paintable, 2, ceil_mode=True)
    a = absorbance(F.avg_pool2d(picture, 2, ceil_mode=True))  # half size: the camera's colour is no sharper
    fields = torch.cat([(a[:, 1:2] - a[:, :1]), a[:, :2]], 1)  # redness, red, green
    excess = fields - _around(fields, room)
    redder, darker_red, darker_green = (excess[:, k : k + 1] for k in range(3))
    mole = torch.maximum(darker_red - MOLE_RED, darker_green - MOLE_GREEN).mul(10.0).clamp(0.0, 1.0)
    # Soft threshold: the camera's colour noise is no blood.
    blood = (1.3 * (redder - REDNESS_FLOOR)).clamp(0.0, 0.4) * room * (1.0 - mole)
    blood = blood * _compact(blood) / (HAEMOGLOBIN[1] - HAEMOGLOBIN[0])
    # A swelling is red and yet as bright as the skin round it; without its blood it must not outshine it.
    outshines = (blood - darker_green.clamp(min=0.0)).clamp(min=0.0)
    taken = blood * picture.new_tensor(HAEMOGLOBIN).view(1, 3, 1, 1) - 0.75 * outshines
    return F.interpolate(taken, size=picture.shape[-2:], mode="bilinear", align_corners=False) * paintable


def _around(fields: Tensor, room: Tensor) -> Tensor:
    """Mean of fields [B, C, h, w] over the paintable neighbourhood, some 30 px wide in the picture."""
    wide = F.avg_pool2d(torch.cat([fields * room, room], 1), 2, ceil_mode=True)
    for _ in range(2):
        wide = F.avg_pool2d(wide, 9, 1, 4, count_include_pad=False)
    mean = wide[:, :-1] / (wide[:, -1:] + 1e-3)
    return F.interpolate(mean, size=fields.shape[-2:], mode="bilinear", align_corners=False)


def _compact(field: Tensor) -> Tensor:
    """1 where a field [B, 1, h, w] has the shape of spots, 0 where it is drawn out: creases, rims, contours.

    Means along four directions are alike on a spot and unlike on a line.
    """
    side = 15
    flat = torch.zeros(4, 1, side, side)
    index = torch.arange(side)
    flat[0, 0, side // 2], flat[1, 0, :, side // 2] = 1.0, 1.0
    flat[2, 0, index, index], flat[3, 0, index, side - 1 - index] = 1.0, 1.0
    along = F.conv2d(field, flat / side, padding=side // 2)
    # A spot's rim sees unlike means too: numerator and denominator are its neighbourhood's, so its middle
    # decides.
    least, most = (F.avg_pool2d(v(along, 1, keepdim=True), 5, 1, 2) for v in (torch.amin, torch.amax))
    return ((least / (most + 1e-4) - 0.24) / 0.12).clamp(0.0, 1.0)


def _much(chance: float, span: tuple[float, float], often: Tensor, gen: torch.Generator) -> Tensor:
    """Strength for each clip, float32 [B]; 0 where it does not occur."""
    on = torch.rand(len(often), generator=gen) < chance * often
    return on * (span[0] + (span[1] - span[0]) * torch.rand(len(often), generator=gen).square())


def _region(bits: Tensor, regions: int, smooth: int = 7) -> Tensor:
    """Soft mask of regions at quarter size: float32 [B, 1, h / 4, w / 4]."""
    here = ((bits[:, ::QUARTER, ::QUARTER] & regions) != 0).float().unsqueeze(1)
    for _ in range(2):
        here = F.avg_pool2d(here, smooth, 1, smooth // 2, count_include_pad=False)
    return here


def _pattern(name: str, bits: Tensor, gen: torch.Generator) -> Tensor:
    """How a thing is spread, float32 [B, 1, h / 4, w / 4], about 1 at its strongest."""
    b, h, w = bits[:, ::QUARTER, ::QUARTER].shape
    shape = (b, h, w)
    wide = coarse_noise(shape, 16.0, gen)
    fine = coarse_noise(shape, 3.5, gen)
    if name == "shadow":
        return (0.85 + 0.12 * wide).clamp(0.3, 1.2)
    if name == "redness":
        return (0.55 + 0.45 * wide + 0.30 * fine).clamp(0.0, 1.5)
    middle = coarse_noise(shape, 7.0, gen)
    ragged = wide + 0.7 * middle + 0.3 * fine
    # Islands: what rises above a level, with a soft shore.
    return torch.sigmoid(4.0 * (ragged - 0.7)) * (1.0 + 0.2 * fine).clamp(min=0.3)


def _add(layers: Layers, field: Tensor, much: Tensor, pigment: tuple[float, ...]) -> None:
    h, w = layers.absorb.shape[-2:]
    full = F.interpolate(field, scale_factor=QUARTER, mode="bilinear", align_corners=False)[..., :h, :w]
    layers.absorb += full * (much.view(-1, 1, 1, 1) * full.new_tensor(pigment).view(1, 3, 1, 1))


def _shine(layers: Layers, base: Tensor, bits: Tensor, much: Tensor, gen: torch.Generator) -> None:
    """More of the highlights that the portrait's own light already makes, broken up by pores."""
    if not bool((much > 0).any()):
        return
    h, w = base.shape[-2:]
    skin = (bits[:, ::QUARTER, ::QUARTER] & SKIN).float().unsqueeze(1)
    luma = F.avg_pool2d(base.mean(1, keepdim=True), QUARTER, ceil_mode=True)[
        ..., : skin.shape[2], : skin.shape[3]
    ]
    mean = (luma * skin).sum((2, 3), keepdim=True) / (skin.sum((2, 3), keepdim=True) + 1e-3)
    near = F.avg_pool2d(luma, 5, 1, 2, count_include_pad=False)
    bright = ((near / (mean + 1e-3) - 1.06) / 0.30).clamp(0.0, 1.0)
    uneven = (0.9 + 0.35 * coarse_noise((len(bits), *skin.shape[2:]), 4.0, gen)).clamp(0.0, 1.6)
    field = bright * _region(bits, FOREHEAD | NOSE | CHEEKS) * uneven
    full = F.interpolate(field, scale_factor=QUARTER, mode="bilinear", align_corners=False)[..., :h, :w]
    grain = coarse_noise((len(bits), h, w), 2.6, gen)
    layers.gloss += much.view(-1, 1, 1, 1) * full * (1.0 + 0.12 * grain).clamp(0.4, 1.6)


def _dry(layers: Layers, bits: Tensor, much: Tensor, gen: torch.Generator) -> None:
    """Patches of pale flakes on slightly red skin."""
    if not bool((much > 0).any()):
        return
    h, w = bits.shape[1:]
    patch = _region(bits, FOREHEAD | NOSE | CHEEKS | JAW) * _pattern("dry", bits, gen)
    _add(layers, patch, much, HAEMOGLOBIN)
    full = F.interpolate(patch, scale_factor=QUARTER, mode="bilinear", align_corners=False)[..., :h, :w]
    flakes = (coarse_noise((len(bits), h, w), 3.2, gen) - 0.9).clamp(0.0, 1.2)
    layers.gloss += 2.2 * much.view(-1, 1, 1, 1) * full * flakes
    layers.height += 0.5 * (much > 0).float().view(-1, 1, 1, 1) * full * flakes
