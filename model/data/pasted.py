"""Harvested marks put to use: pasted turned, scaled and strengthened, or taken off their own face."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from model.data.harvest import BROWN, MOLE, REDDISH, MarkBank
from model.data.portraits import HAEMOGLOBIN, MELANIN, Portraits
from model.data.stamps import Places, Stamp, splat, stamps

# A patch's half-width over its mark's radius at half depth: 3.2 sigma against 1.18 sigma.
PATCH_OVER_RADIUS = 2.7
OWN_DEPTH = 0.07
GOOD_DEPTH = 0.07


@dataclass(frozen=True)
class Pasting:
    """n patches to paste: rows of the bank, half-width px, turn rad, mirrored (+-1), and gain by channel [n,
    3]."""

    row: Tensor
    half_px: Tensor
    turn: Tensor
    mirror: Tensor
    gain: Tensor


class RealMarks:
    """The marks of one split: patches from its photographs, and every face's own marks."""

    def __init__(self, bank: MarkBank, faces: Portraits) -> None:
        split = {i for i in faces.ids if not faces.rows[i].synthetic}
        usable = np.isin(bank.face, list(split)) & (bank.depth[:, 1] > GOOD_DEPTH)
        self.bank = bank
        self.patches = torch.from_numpy(bank.patches)
        self.radius = torch.from_numpy(bank.radius)
        self.depth = torch.from_numpy(bank.depth)
        kinds = (REDDISH, BROWN, MOLE)
        self.rows = {k: torch.from_numpy(np.flatnonzero(usable & (bank.kind == k))) for k in kinds}
        order = np.argsort(bank.face, kind="stable")
        ends = np.searchsorted(bank.face[order], np.arange(len(faces.rows) + 1))
        self.own = [order[a:b] for a, b in pairwise(ends)]

    def has(self, kind: int) -> bool:
        """Is there any usable patch of the kind?"""
        return bool(self.rows[kind].numel())

    def draw(self, kind: int, radius: Tensor, gen: torch.Generator) -> Tensor:
        """Rows of the bank for marks of radius px [n], near in size, deep ones sooner: int64 [n]."""
        rows = self.rows[kind]
        weight = self.depth[rows, 1].sqrt().repeat(len(radius), 1)
        size = torch.log(self.radius[rows] / PATCH_OVER_RADIUS) - torch.log(radius).view(-1, 1)
        weight = weight * torch.exp(-0.5 * (size / 0.45).square()) + 1e-6
        return rows[torch.multinomial(weight, 1, generator=gen).flatten()]

    def as_marks(
        self, kind: int, radius: Tensor, depth: Tensor, melanin: Tensor | None, gen: torch.Generator
    ) -> Pasting:
        """Patches for marks of radius px [n] and green absorbance [n]; melanin [n] recolours them in part."""
        row = self.draw(kind, radius, gen)
        n = len(row)
        own = self.radius[row] / PATCH_OVER_RADIUS
        half = PATCH_OVER_RADIUS * own * (radius / own).clamp(0.7, 2.0)
        mean = self.depth[row]
        gain = (depth / mean[:, 1]).clamp(0.5, 3.5).view(-1, 1).repeat(1, 3)
        if melanin is not None:
            share = melanin.view(-1, 1)
            colour = (1.0 - share) * torch.tensor(HAEMOGLOBIN) + share * torch.tensor(MELANIN)
            wanted = colour * mean[:, 1:2] / mean.clamp(min=0.02)
            gain = gain * wanted.clamp(0.4, 2.0).pow(torch.rand(n, 1, generator=gen))
        turn = math.tau * torch.rand(n, generator=gen)
        mirror = torch.where(torch.rand(n, generator=gen) < 0.5, -1.0, 1.0)
        return Pasting(row, half, turn, mirror, gain)

    def paste(self, absorb: Tensor, places: Places, pasting: Pasting) -> None:
        """Add the patches to absorb [B, 3, h, w] in place."""
        for stamp in stamps(places, pasting.half_px):
            splat(absorb, places.clip[stamp.chosen], stamp, self._patch(stamp, pasting))

    def _patch(self, stamp: Stamp, pasting: Pasting) -> Tensor:
        pick = stamp.chosen
        c, s = (f(pasting.turn[pick]).view(-1, 1, 1) for f in (torch.cos, torch.sin))
        half = pasting.half_px[pick].view(-1, 1, 1)
        u = (c * stamp.dx + s * stamp.dy) * pasting.mirror[pick].view(-1, 1, 1) / half
        v = (c * stamp.dy - s * stamp.dx) / half
        patches = self.patches[pasting.row[pick]].float()
        out = F.grid_sample(patches, torch.stack([u, v], -1), padding_mode="zeros", align_corners=True)
        return out * pasting.gain[pick].view(-1, 3, 1, 1)

    def own_places(self, faces: list[int], corner: Tensor, kind: int, least: float) -> tuple[Places, Tensor]:
        """Where the faces' own marks of a kind, at least so deep, lie in boxes with corner [B, 2]; their
        rows."""
        rows, clip = [], []
        for k, face in enumerate(faces):
            mine = self.own[face]
            mine = mine[(self.bank.kind[mine] == kind) & (self.bank.depth[mine, 1] > least)]
            rows.append(torch.from_numpy(mine))
            clip.append(torch.full((len(mine),), k))
        row, which = torch.cat(rows), torch.cat(clip)
        x = torch.from_numpy(self.bank.x)[row] - corner[which, 0]
        y = torch.from_numpy(self.bank.y)[row] - corner[which, 1]
        return Places(which, x, y), row

    def own_layer(self, absorb: Tensor, faces: list[int], corner: Tensor, kind: int, least: float) -> None:
        """Add the faces' own marks of a kind, at least so deep, to absorb [B, 3, h, w], as they lie there."""
        places, row = self.own_places(faces, corner, kind, least)
        flat = torch.zeros(len(row))
        self.paste(absorb, places, Pasting(row, self.radius[row], flat, flat + 1.0, torch.ones(len(row), 3)))
