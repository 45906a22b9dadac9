"""Figures of the published network on clips of a test split."""

import torch
from torch import Tensor

from model.data.clips import Clip
from model.paper.network import PaperVRetouchEr
from model.validate import LEVELS, figures, mean_figures, retouch_clip


def retouched(network: PaperVRetouchEr, raw: Tensor, references: str = "past") -> tuple[Tensor, Tensor]:
    """Faces [B, T, 3, H, W] to retouched ones, rounded to 8 bits, and their maps [B, T, 1, H, W]."""
    if references == "past":
        return retouch_clip(network, raw)
    made = network.clip(raw, references)
    shown = torch.nn.functional.interpolate(
        made.map.flatten(0, 1), size=raw.shape[-2:], mode="bilinear", align_corners=False
    )
    image = (made.image.clamp(0, 1) * LEVELS).round() / LEVELS
    return image, shown.clamp(0, 1).reshape(*raw.shape[:2], 1, *raw.shape[-2:])


def psnr_db(image: Tensor, target: Tensor) -> float:
    """PSNR of frames [B, T, 3, H, W] in [0, 1], the mean over frames, as the paper reports it."""
    error = (image - target).square().mean((2, 3, 4)).clamp_min(1e-10)
    return float((-10 * torch.log10(error)).mean())


@torch.no_grad()
def judge(network: PaperVRetouchEr, clips: list[Clip], references: str = "past") -> dict[str, float]:
    """Means over `clips`: PSNR of raw and retouched frames, and the figures of `model.validate`, with the
    whole picture as skin. Flicker is along the clips' flow, so of videos it says little."""
    per_clip, psnr = [], []
    for clip in clips:
        image, maps = retouched(network, clip.raw, references)
        per_clip.append(figures(clip, image, maps))
        psnr.append((psnr_db(clip.raw, clip.target), psnr_db(image, clip.target)))
    raw, made = (sum(values) / len(psnr) for values in zip(*psnr, strict=True))
    return {"psnr_raw_db": raw, "psnr_db": made, **mean_figures(per_clip).to_dict()}
