"""Real marks taken from the portraits: found, judged, and kept as log-ratios to the skin under them.

A mark is a compact blob of darkness or redness in absorbance. Found by a scale-space Laplacian of Gaussian,
lines rejected by their anisotropy, and what is not skin (glints, glasses, hair) by its colour and
surroundings. The skin under it is the plane through the ring round it. The same patches serve twice: pasted
elsewhere as imperfections or moles, and taken off their own place for a cleaner target.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from model.data.portraits import CANVAS_PX, MARGIN_PX, SKIN, Portraits, absorbance

VERSION = 6
BANK_NAME = f"marks-{VERSION}.npz"
PATCH = 33
SIGMAS = tuple(0.6 * 1.35**k for k in range(10))
REDDISH, BROWN, MOLE, UNSURE = range(4)
LEAST_DEPTH = 0.045
MARKS_PER_FACE = 150


@dataclass(frozen=True)
class MarkBank:
    """M marks of N faces. patches float16 [M, 3, 33, 33]: added absorbance over a square of half-width radius
    px; depth float32 [M, 3] in the middle, RGB; face int32 [M] (row of index.json); x, y float32 [M] canvas
    px; kind uint8 [M]; density float32 [N]: a face's own marks, absorbance times px, per thousand px of
    skin."""

    patches: NDArray[np.float16]
    radius: NDArray[np.float32]
    depth: NDArray[np.float32]
    face: NDArray[np.int32]
    x: NDArray[np.float32]
    y: NDArray[np.float32]
    kind: NDArray[np.uint8]
    density: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.radius)


def _silent(_text: str) -> None:
    """Tell nobody."""


def harvest(faces: Portraits, tell: Callable[[str], None] = _silent) -> MarkBank:
    """Find the marks of every face of the folder."""
    found: list[dict[str, NDArray[np.float32]]] = []
    density = np.zeros(len(faces.rows), np.float32)
    began = time.monotonic()
    for k in range(len(faces.rows)):
        one = face_marks(*faces.crop(k, (0, 0, CANVAS_PX, CANVAS_PX)))
        one["face"] = np.full(len(one["radius"]), k, np.float32)
        found.append(one)
        skin = float((faces.bits[k] & SKIN).sum()) / 1000.0 + 1.0
        # A third of the half-width is about a mark's own radius.
        density[k] = float((one["depth"][:, 1] * (one["radius"] / 3.0) ** 2 * np.pi).sum()) / skin
        if (k + 1) % 50 == 0 or k + 1 == len(faces.rows):
            total = sum(len(f["radius"]) for f in found)
            tell(f"{k + 1}/{len(faces.rows)} faces, {total} marks, {time.monotonic() - began:.0f} s")
    both = {name: np.concatenate([f[name] for f in found]) for name in found[0]}
    kind = classify(both["depth"], both["sharp"], both["radius"])
    return MarkBank(
        both["patches"].astype(np.float16), both["radius"], both["depth"], both["face"].astype(np.int32),
        both["x"], both["y"], kind, density,
    )  # fmt: skip


def classify(
    depth: NDArray[np.float32], sharp: NDArray[np.float32], radius: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """The kind of each mark, uint8 [M], from depth [M, 3], sharpness [M] and half-width [M] px.

    MOLE is dark, sharp-edged and brown; UNSURE as dark and small, but reddish, as cameras with a pink cast
    make moles too: such a mark is left where it is and used for nothing.
    """
    green = depth[:, 1]
    # Blood hardly darkens red, whatever a camera makes of its hue; what does is melanin.
    red = (depth[:, 0] < 0.60 * green) & (depth[:, 0] < 0.20)
    mole = ~red & (green > 0.26) & (sharp > 0.5)
    unsure = red & (green > 0.32) & (radius < 8.0)
    return np.select([unsure, red, mole], [UNSURE, REDDISH, MOLE], BROWN).astype(np.uint8)


@torch.inference_mode()
def face_marks(rgb: Tensor, bits: Tensor) -> dict[str, NDArray[np.float32]]:
    """The marks of one face, one row each: rgb float32 [3, S, S] in [0, 1], regions uint8 [S, S]."""
    top, left, bottom, right = _skin_box(bits)
    a = absorbance(rgb[:, top:bottom, left:right]).unsqueeze(0)
    skin = _closed((bits[top:bottom, left:right] & SKIN).float()[None, None])
    seen = _filled(a, skin)
    dark, red = seen.mean(1, keepdim=True), seen[:, 1:2] - seen[:, :1]
    y, x, sigma = _peaks(torch.cat([dark, 1.3 * red], 1), skin)
    radius = 3.2 * sigma + 1.2
    patches, noise, whole = _patches(a, skin, x, y, radius)
    rest = _texture(seen)[0, 0, y.long(), x.long()]
    good = _plausible(patches, noise, rest) & (whole > 0.985)
    good &= _strongest(x, y, radius, good)
    patches, radius, x, y = patches[good], radius[good], x[good], y[good]
    depth, sharp = _depth(patches), _sharpness(patches)
    names = ("patches", "radius", "depth", "sharp", "x", "y")
    values = (patches * _window(), radius, depth, sharp, x + left, y + top)
    return {name: value.numpy().astype(np.float32) for name, value in zip(names, values, strict=True)}


def _skin_box(bits: Tensor) -> tuple[int, int, int, int]:
    """What to look at: the face crop's skin with a border, sides multiples of 8; top, left, bottom, right."""
    inner = slice(MARGIN_PX, bits.shape[-1] - MARGIN_PX)
    ys, xs = torch.nonzero(bits[inner, inner] & SKIN, as_tuple=True)
    if not len(ys):
        return MARGIN_PX, MARGIN_PX, MARGIN_PX + 64, MARGIN_PX + 64
    top, left = (max(int(v.min()) + MARGIN_PX - 24, 0) for v in (ys, xs))
    tall, wide = (-(-(int(v.max()) - int(v.min()) + 48) // 8) * 8 for v in (ys, xs))
    return top, left, min(top + tall, bits.shape[0]), min(left + wide, bits.shape[1])


def _closed(skin: Tensor) -> Tensor:
    """Fill holes that marks themselves tear into the skin mask: [1, 1, h, w]."""
    wide = F.max_pool2d(skin, 9, 1, 4)
    return -F.max_pool2d(-wide, 9, 1, 4)


def _blur(picture: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of [N, C, h, w], borders replicated."""
    radius = max(2, int(3.0 * sigma + 0.5))
    step = torch.arange(-radius, radius + 1).float()
    kernel = torch.exp(-0.5 * (step / sigma).square())
    kernel = kernel / kernel.sum()
    n, c, h, w = picture.shape
    flat = F.pad(picture.reshape(n * c, 1, h, w), (radius,) * 4, mode="replicate")
    flat = F.conv2d(F.conv2d(flat, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))
    return flat.view(n, c, h, w)


def _filled(a: Tensor, skin: Tensor) -> Tensor:
    """Absorbance with what is not skin replaced by its skin neighbourhood, so that the skin's border is no
    blob."""
    small = F.avg_pool2d(torch.cat([a * skin, skin], 1), 4)
    out = torch.zeros_like(small[:, :3])
    for sigma in (24.0, 8.0, 2.0):
        wide = _blur(small, sigma)
        weight = wide[:, 3:]
        trust = (weight * 4.0).clamp(max=1.0)
        out = out * (1.0 - trust) + trust * wide[:, :3] / (weight + 1e-4)
    full = F.interpolate(out, size=a.shape[-2:], mode="bilinear", align_corners=False)
    return a * skin + full * (1.0 - skin)


def _levels(features: Tensor) -> list[Tensor]:
    """Gaussian scale space of features [1, 2, h, w], one level a sigma and one beyond; wide ones at half
    size."""
    half = F.avg_pool2d(features, 2)
    levels = []
    for sigma in (*SIGMAS, SIGMAS[-1] * 1.35):
        if sigma < 3.0:
            levels.append(_blur(features, sigma))
        else:
            small = _blur(half, 0.5 * sigma)
            levels.append(
                F.interpolate(small, size=features.shape[-2:], mode="bilinear", align_corners=False)
            )
    return levels


def _peaks(features: Tensor, skin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Compact blobs in features [1, 2, h, w]: y, x px and sigma px, strongest first."""
    levels = _levels(features)
    # Differences of Gaussians approximate the scale-normalised Laplacian; a blob is a positive one.
    response = torch.stack([(a - b).amax(1)[0] for a, b in pairwise(levels)])  # [S, h, w]
    near = F.pad(F.max_pool2d(response, 3, 1, 1), (0, 0, 0, 0, 1, 1))
    top = torch.maximum(torch.maximum(near[:-2], near[2:]), near[1:-1])
    room = -F.max_pool2d(-skin, 7, 1, 3)[0, 0] > 0.5
    peak = (response == top) & (response > 0.25 * LEAST_DEPTH) & room
    peak[0] &= False
    scale, y, x = torch.nonzero(peak, as_tuple=True)
    keep = _round_enough(levels, scale, y, x)
    scale, y, x = scale[keep], y[keep], x[keep]
    order = torch.argsort(response[scale, y, x], descending=True)[: 3 * MARKS_PER_FACE]
    sigma = torch.tensor(SIGMAS)[scale[order]] * 1.16
    return y[order].float(), x[order].float(), sigma


def _round_enough(levels: list[Tensor], scale: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Reject lines: the ratio of the Hessian's eigenvalues at each peak, bool [n]."""
    keep = torch.zeros(len(scale), dtype=torch.bool)
    for s in range(len(SIGMAS)):
        here = torch.nonzero(scale == s).flatten()
        if not here.numel():
            continue
        step = max(1, round(SIGMAS[s]))
        field = F.pad(levels[s].sum(1, keepdim=True), (step,) * 4, mode="replicate")[0, 0]
        cy, cx = y[here] + step, x[here] + step
        at = {(i, j): field[cy + i * step, cx + j * step] for i in (-1, 0, 1) for j in (-1, 0, 1)}
        xx = at[0, 1] + at[0, -1] - 2.0 * at[0, 0]
        yy = at[1, 0] + at[-1, 0] - 2.0 * at[0, 0]
        xy = 0.25 * (at[1, 1] + at[-1, -1] - at[1, -1] - at[-1, 1])
        mean, spread = 0.5 * (xx + yy), torch.sqrt(0.25 * (xx - yy).square() + xy.square())
        keep[here] = (mean + spread < 0.0) & (mean + spread < 0.38 * (mean - spread))
    return keep


def _grid() -> tuple[Tensor, Tensor, Tensor]:
    axis = torch.linspace(-1.0, 1.0, PATCH)
    v, u = torch.meshgrid(axis, axis, indexing="ij")
    return u, v, torch.hypot(u, v)


def _window() -> Tensor:
    """1 in a mark's middle, 0 from its rim on: [33, 33]."""
    far = _grid()[2]
    return 0.5 + 0.5 * torch.cos(np.pi * ((far - 0.6) / 0.38).clamp(0.0, 1.0))


def _patches(a: Tensor, skin: Tensor, x: Tensor, y: Tensor, radius: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Absorbance over the plane through the ring [n, 3, 33, 33], the ring's unrest [n], and its share of skin
    [n]."""
    u, v, far = _grid()
    h, w = a.shape[-2:]
    gx = (x.view(-1, 1, 1) + radius.view(-1, 1, 1) * u) * (2.0 / (w - 1)) - 1.0
    gy = (y.view(-1, 1, 1) + radius.view(-1, 1, 1) * v) * (2.0 / (h - 1)) - 1.0
    grid = torch.stack([gx, gy], -1).view(1, -1, PATCH, 2)
    both = F.grid_sample(torch.cat([a, skin], 1), grid, padding_mode="border", align_corners=True)
    both = both.view(4, -1, PATCH, PATCH).transpose(0, 1)
    ring = (far > 0.75).flatten()
    design = torch.stack([torch.ones_like(u), u, v], -1).view(-1, 3)
    values = both[:, :3].flatten(2)  # [n, 3, 33 * 33]
    plane = torch.linalg.pinv(design[ring]) @ values[..., ring].transpose(
        1, 2
    )  # [n, 3 coefficients, 3 channels]
    excess = values - (design @ plane).transpose(1, 2)
    around = excess[..., ring].mean(1)
    unrest = (around - around.mean(1, keepdim=True)).square().mean(1).sqrt()
    return excess.view(-1, 3, PATCH, PATCH), unrest, both[:, 3].mean((1, 2))


def _depth(patches: Tensor) -> Tensor:
    """Mean absorbance of the middle [n, 3]."""
    return patches[..., _grid()[2] < 0.22].mean(-1)


def _sharpness(patches: Tensor) -> Tensor:
    """How steep a mark's edge is, 0 soft to 1 sharp: what of its depth is left at a third of its radius, less
    at half."""
    far = _grid()[2]
    mean = patches.mean(1)
    middle = mean[:, far < 0.2].mean(1).clamp(min=1e-3)
    near = mean[:, (far > 0.2) & (far < 0.34)].mean(1) / middle
    outer = mean[:, (far > 0.48) & (far < 0.62)].mean(1) / middle
    return near - outer


def _texture(seen: Tensor) -> Tensor:
    """How rough the neighbourhood is, [1, 1, h, w]: stubble and beards are, and no mark can be told there."""
    fine = seen.mean(1, keepdim=True)
    half = F.avg_pool2d((fine - _blur(fine, 3.0)).square(), 4)
    return F.interpolate(_blur(half, 4.0).sqrt(), scale_factor=4, mode="bilinear", align_corners=False)


def _strongest(x: Tensor, y: Tensor, radius: Tensor, good: Tensor) -> Tensor:
    """Of good marks that lie upon each other only the strongest, bool [n]; they come strongest first."""
    apart = torch.hypot(x[:, None] - x, y[:, None] - y)
    upon = (apart < 0.6 * torch.maximum(radius[:, None], radius)) & good
    return ~torch.tril(upon, -1).any(1)


def _plausible(patches: Tensor, unrest: Tensor, texture: Tensor) -> Tensor:
    """Colour and surroundings of a mark on skin, not of a glint, a hair or a frame: bool [n]."""
    depth = _depth(patches)
    red, green, blue = depth.unbind(1)
    colour = (red > 0.05 * green) & (red < 0.98 * green) & (blue > 0.55 * green) & (blue < 2.0 * green)
    enough = (green > LEAST_DEPTH) & (green < 1.0)
    calm = (unrest < 0.42 * depth.mean(1)) & (texture < 0.42 * depth.mean(1)) & (texture < 0.075)
    mean, far = patches.mean(1), _grid()[2]
    no_glint = mean[:, far < 0.7].amin(1) > -0.8 * depth.mean(1)
    inside = mean[:, far < 0.4].clamp(min=0.0).mean(1)
    alone = mean[:, (far > 0.7) & (far < 1.1)].clamp(min=0.0).mean(1) < 0.26 * inside
    centred = _off_centre(mean) < 0.24
    return colour & enough & calm & no_glint & alone & centred


def _off_centre(mean: Tensor) -> Tensor:
    u, v, far = _grid()
    weight = mean.clamp(min=0.0) * (far < 0.8)
    total = weight.sum((1, 2)) + 1e-6
    return torch.hypot((weight * u).sum((1, 2)) / total, (weight * v).sum((1, 2)) / total)


def fingerprint(faces: Portraits) -> str:
    """Changes when the prepared portraits or the way of harvesting do."""
    names = "\n".join(f"{row.file} {row.split}" for row in faces.rows)
    return hashlib.sha256(f"{VERSION}\n{names}".encode()).hexdigest()


def open_bank(faces: Portraits, tell: Callable[[str], None] = _silent, fresh: bool = False) -> MarkBank:
    """The bank beside the portraits, harvested now if it is missing or belongs to other portraits."""
    path, mark = faces.folder / BANK_NAME, fingerprint(faces)
    if not fresh:
        try:
            with np.load(path) as stored:
                if str(stored["fingerprint"]) == mark:
                    return MarkBank(**{name: stored[name] for name in MarkBank.__dataclass_fields__})
        except (OSError, ValueError, KeyError):
            pass
    bank = harvest(faces, tell)
    try:
        _store(path, bank, mark)
    except OSError as error:
        print(
            f"the marks could not be kept in {path} ({error}); they will be harvested again", file=sys.stderr
        )
    return bank


def _store(path: Path, bank: MarkBank, mark: str) -> None:
    # Written aside and renamed: two samplers may start at once.
    part = path.with_name(f".{path.name}.{os.getpid()}.npz")
    np.savez(part, fingerprint=np.array(mark), **{n: getattr(bank, n) for n in MarkBank.__dataclass_fields__})
    part.replace(path)
