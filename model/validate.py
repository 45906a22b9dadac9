"""Figures and pictures of a network on held-out clips, straight on aligned faces (the bench judges the
frame path)."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from model.data.clips import Clip
from model.warp import warp
from model.whole import part_of

LEVELS = 255.0


@dataclass(frozen=True)
class Figures:
    """Means over clips.

    Attributes: gain_db: PSNR(out, target) - PSNR(raw, target) over the skin. removal: 1 - sum |out -
    target| / sum |raw - target| inside the imperfections. drift: mean |out - raw| on skin away from
    imperfections, 8-bit levels; NaN of a clip without such skin, as lossy videos may be. flicker: mean
    change of (out - target) from frame to frame along the known flow, 8-bit levels, over the skin. soft_iou:
    sum min / sum max of M_full and the true map.
    """

    gain_db: float
    removal: float
    drift: float
    flicker: float
    soft_iou: float

    def to_dict(self) -> dict[str, float]:
        """As plain values."""
        return asdict(self)


class Causal(Protocol):
    """A network that retouches frame after frame: `step`'s result has residual, map and state."""

    def fresh_state(self, face: Tensor) -> Any:
        """The state before the first frame."""

    def step(self, face: Tensor, state: Any) -> Any:
        """One frame."""


def retouch_clip(network: Causal, raw: Tensor) -> tuple[Tensor, Tensor]:
    """Faces [B, T, 3, H, W] in order to retouched faces (rounded to 8 bits, as in use) and maps [B, T, 1,
    H, W]."""
    state = network.fresh_state(raw[:, 0])
    retouched, maps = [], []
    for face in raw.unbind(1):
        step = network.step(face, state)
        state = step.state
        retouched.append(((face + step.residual).clamp(0, 1) * LEVELS).round() / LEVELS)
        maps.append(step.map)
    return torch.stack(retouched, 1), torch.stack(maps, 1)


def flicker_levels(error: Tensor, flow: Tensor, skin: Tensor) -> float:
    """Mean |error_t - warped error_{t-1}| over the skin, in levels; all [B, T, ., H, W]."""
    changes = [
        ((error[:, t] - warp(error[:, t - 1], flow[:, t])).abs() * skin[:, t]).sum()
        for t in range(1, error.shape[1])
    ]
    return float(LEVELS * torch.stack(changes).sum() / (3 * skin[:, 1:].sum()))


def figures(clip: Clip, retouched: Tensor, maps: Tensor) -> Figures:
    """Figures of one batch of clips."""
    error, raw_error = retouched - clip.target, clip.raw - clip.target
    skin = (clip.skin > 0.5).float()
    imperfect = (clip.map > 0.1).float()
    away = skin * (clip.map < 0.01)
    mse, raw_mse = ((e.square() * skin).sum((1, 2, 3, 4)) for e in (error, raw_error))
    painted = raw_mse > 0
    gain = 10 * torch.log10(raw_mse[painted] / mse[painted].clamp_min(1e-9))
    return Figures(
        gain_db=float(gain.mean()) if painted.any() else 0.0,
        removal=float(
            1 - (error.abs() * imperfect).sum() / (raw_error.abs() * imperfect).sum().clamp_min(1e-9)
        ),
        drift=float(LEVELS * ((retouched - clip.raw).abs() * away).sum() / (3 * away.sum())),
        flicker=flicker_levels(error, clip.flow, skin),
        soft_iou=float(
            torch.minimum(maps, clip.map).sum() / torch.maximum(maps, clip.map).sum().clamp_min(1e-9)
        ),
    )


def mean_figures(many: list[Figures]) -> Figures:
    """Mean of each figure; drift's is over those that have one, 0 if none has."""
    names = Figures.__dataclass_fields__
    means = {name: sum(getattr(f, name) for f in many) / len(many) for name in names}
    drifts = [f.drift for f in many if not math.isnan(f.drift)]
    return Figures(**means | {"drift": sum(drifts) / max(1, len(drifts))})


def sheet(clip: Clip, retouched: Tensor, maps: Tensor) -> Tensor:
    """Picture [3, H, W]: a row per clip, its last frame as raw | retouched | target | map | true map."""
    rows = []
    for b in range(clip.raw.shape[0]):
        three = (maps[b, -1].expand(3, -1, -1), clip.map[b, -1].expand(3, -1, -1))
        rows.append(torch.cat([clip.raw[b, -1], retouched[b, -1], clip.target[b, -1], *three], dim=2))
    return torch.cat(rows, dim=1)


def save_png(picture: Tensor, path: Path) -> None:
    """Write a picture [3, H, W] in [0, 1] as PNG."""
    from PIL import Image

    pixels = (picture.clamp(0, 1) * LEVELS).round().byte().permute(1, 2, 0).cpu().numpy()
    with part_of(path) as part:
        Image.fromarray(pixels).save(part)


@torch.no_grad()
def validate(network: Causal, clips: list[Clip], picture: Path | None = None) -> Figures:
    """Figures over `clips`; the first batch also as a picture at `picture`."""
    results = []
    for index, clip in enumerate(clips):
        retouched, maps = retouch_clip(network, clip.raw)
        results.append(figures(clip, retouched, maps))
        if index == 0 and picture is not None:
            save_png(sheet(clip, retouched, maps), picture)
    return mean_figures(results)
