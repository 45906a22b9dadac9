"""A contact sheet: raw | target | map of several faces, light to dark, to be looked at."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from model.data.camera import CameraConfig
from model.data.clips import Clip, ClipConfig, ClipSampler

STILL = CameraConfig(light=0.0, blur=0.0, low_resolution=0.0, noise=0.0, compression=0.0)
COLUMNS = 2


def contact_sheet(
    faces_dir: str | Path, out: str | Path, split: str, seed: int, count: int = 8, zoom: int = 1
) -> None:
    """Write a PNG of `count` faces from light to dark; zoom > 1 shows a 512 / zoom px part of each,
    enlarged."""
    config = ClipConfig(size=512 // zoom, frames=1, clean_share=0.0, real_share=0.7, camera=STILL)
    sampler = ClipSampler(faces_dir, config, split, seed)
    # More are drawn than shown, so that the shown ones can span the tones evenly.
    drawn = [sampler.sample(1) for _ in range(3 * count)]
    order = sorted(range(len(drawn)), key=lambda k: -sampler.faces.rows[drawn[k].face_index[0]].ita)
    shown = [drawn[order[k * len(order) // count + 1]] for k in range(count)]
    strips = [_strip(clip, zoom) for clip in shown]
    rows = [torch.cat(strips[k : k + COLUMNS], 2) for k in range(0, count, COLUMNS)]
    width = max(row.shape[2] for row in rows)
    sheet = torch.cat([F.pad(row, (0, width - row.shape[2])) for row in rows], 1)
    Image.fromarray(_u8(sheet)).save(out)


def camera_sheet(faces_dir: str | Path, out: str | Path, split: str, seed: int) -> None:
    """Write a PNG of what training sees: 256 px clips, frames side by side, raw over target, camera and
    all."""
    sampler = ClipSampler(faces_dir, replace(ClipConfig(), frames=5), split, seed)
    clip = sampler.sample(4)
    pairs = torch.cat([clip.raw, clip.target], 3)  # [B, T, 3, 2 H, W]
    sheet = torch.cat([torch.cat(list(frames), 2) for frames in pairs], 1)
    Image.fromarray(_u8(sheet)).save(out)


def _strip(clip: Clip, zoom: int) -> Tensor:
    parts = torch.cat([clip.raw[0, 0], clip.target[0, 0], clip.map[0, 0].expand(3, -1, -1)], 2)
    if zoom == 1:
        return parts
    large = F.interpolate(parts[None], scale_factor=zoom, mode="bicubic", align_corners=False)
    return large[0].clamp(0.0, 1.0)


def _u8(picture: Tensor) -> NDArray[np.uint8]:
    return (picture * 255.0).round().byte().permute(1, 2, 0).numpy()
