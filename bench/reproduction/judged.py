"""Held-out people in motion, and what every method makes of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bench.clips import SPLIT, pixels_of
from bench.metrics import Floats, Pixels
from bench.scores import METRICS, ScoredClip, Seers, curve, scores
from model.config import FACE_PX
from model.data.clips import Clip, ClipConfig, ClipSampler
from model.paper.judge import retouched
from model.paper.network import PaperVRetouchEr
from model.validate import Causal, figures, mean_figures

FRAME_CURVES = ("psnr_db", "soft_iou")
FIGURES = (*METRICS, "removal", "drift", "flicker")
SEED = 20240617
# A clip's frames uint8 [T, H, W, 3] to the retouched ones in order, each with its map if there is one.
Retouch = Callable[[Pixels], Iterable[tuple[Pixels, Floats | None]]]


@dataclass(frozen=True)
class HeldOut:
    """One clip of an aligned face, kept small: raw_u8, target_u8 uint8 [T, H, W, 3]; map, flow and skin
    float16 [T, C, H, W] as `model.data.clips.Clip` has them."""

    raw_u8: Pixels
    target_u8: Pixels
    map: npt.NDArray[np.float16]
    flow: npt.NDArray[np.float16]
    skin: npt.NDArray[np.float16]

    def clip(self) -> Clip:
        """As `model.validate` takes it, [1, T, ...]."""
        raw, target = (_tensor(side) for side in (self.raw_u8, self.target_u8))
        truth, flow, skin = (
            torch.from_numpy(part.astype(np.float32))[None] for part in (self.map, self.flow, self.skin)
        )
        return Clip(raw, target, truth, flow, skin, torch.zeros_like(flow), None, [0])


def held_out(faces: Path, clips: int, frames: int) -> list[HeldOut]:
    """The same clips every time."""
    config = ClipConfig(size=FACE_PX, frames=frames, clean_share=0.0)
    sampler = ClipSampler(faces, config, split=SPLIT, seed=SEED)
    return [kept_small(sampler.sample(1)) for _ in range(clips)]


def kept_small(clip: Clip) -> HeldOut:
    """The first of a batch of clips."""
    raw, target = pixels_of(clip.raw[0]), pixels_of(clip.target[0])
    return HeldOut(raw, target, *(part[0].half().numpy() for part in (clip.map, clip.flow, clip.skin)))


def _tensor(frames: Pixels) -> Tensor:
    """Frames uint8 [T, H, W, 3] as [1, T, 3, H, W] in [0, 1]."""
    return torch.from_numpy(frames).permute(0, 3, 1, 2)[None].float() / 255


@dataclass
class Judged:
    """One network, or one method that needs no training, on all clips.

    figures: FIGURES by name, None where there is none, with the reason in `reasons`. curves: FRAME_CURVES of
    the first clip, frame by frame.
    """

    figures: dict[str, float | None]
    reasons: dict[str, str]
    curves: dict[str, list[float]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def frames_of(network: Causal) -> Callable[[Pixels], Iterable[tuple[Pixels, Floats]]]:
    """What retouches a clip's frames in order with `network`."""

    def retouch(raw_u8: Pixels) -> Iterable[tuple[Pixels, Floats]]:
        state: Any = None
        for frame in _tensor(raw_u8)[0]:
            face = frame[None]
            state = network.fresh_state(face) if state is None else state
            step = network.step(face, state)
            state = step.state
            yield pixels_of((face + step.residual).clamp(0, 1))[0], step.map[0, 0].numpy()

    return retouch


def whole_clips_of(
    network: PaperVRetouchEr, references: str
) -> Callable[[Pixels], Iterable[tuple[Pixels, Floats]]]:
    """What retouches a clip's frames at once with `network`, each with its references, "past" or "around"."""

    def retouch(raw_u8: Pixels) -> Iterable[tuple[Pixels, Floats]]:
        image, maps = retouched(network, _tensor(raw_u8), references)
        return zip(pixels_of(image[0]), maps[0, :, 0].numpy(), strict=True)

    return retouch


def without_map(change: Callable[[Pixels], Pixels]) -> Retouch:
    """What retouches a clip with a function of one frame that knows no map."""
    return lambda raw_u8: ((change(frame), None) for frame in raw_u8)


def with_empty_map(raw_u8: Pixels) -> Iterable[tuple[Pixels, Floats]]:
    """Nothing changed and nothing found: most of a face is clean, so that maps are near it by SSIM."""
    return ((frame, np.zeros(frame.shape[:2], np.float32)) for frame in raw_u8)


@torch.no_grad()
def judge(retouch: Retouch, clips: Sequence[HeldOut], seers: Seers, no_flicker: str = "") -> Judged:
    """All figures of what `retouch` makes of a clip's frames. no_flicker: why the clips' flow cannot tell
    flicker from motion, where it cannot."""
    scored, on_faces = [], []
    for held in clips:
        pictures, maps = zip(*retouch(held.raw_u8), strict=True)
        out, seen = np.stack(pictures), None if maps[0] is None else np.stack(maps)
        scored.append(ScoredClip(held.raw_u8, out, held.target_u8, seen, held.map[:, 0].astype(np.float32)))
        shown = torch.zeros(1) if seen is None else torch.from_numpy(seen)[None, :, None]
        on_faces.append(figures(held.clip(), _tensor(out), shown))
    found = scores(scored, seers)
    more = mean_figures(on_faces)
    values = {name: found[name].value for name in METRICS}
    values |= {name: getattr(more, name) for name in ("removal", "drift", "flicker")}
    reasons = {name: score.reason for name, score in found.items() if score.value is None}
    if all(math.isnan(found.drift) for found in on_faces):
        values["drift"], reasons["drift"] = None, "no pixel is equal in raw and target"
    if no_flicker:
        values["flicker"], reasons["flicker"] = None, no_flicker
    drawn = [name for name in FRAME_CURVES if values[name] is not None]
    return Judged(values, reasons, {name: curve(scored[0], name) for name in drawn})
