"""A camera: changing light, blur, low resolution, noise, compression, 8 bits."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

# Annex K of ITU-T T.81 (JPEG): the luminance and chrominance quantisation tables.
# fmt: off
LUMA_TABLE = (
    (16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55), (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62), (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMA_TABLE = (
    (17, 18, 24, 47, 99, 99, 99, 99), (18, 21, 26, 66, 99, 99, 99, 99), (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99), *(((99,) * 8),) * 4,
)
# fmt: on
# ITU-R BT.601 full range, RGB to Y Cb Cr (chroma about 0).
TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
NOISE_FRAMES = 12


@dataclass(frozen=True)
class CameraConfig:
    """How often (chance of a clip) and how much the camera does; levels are of 255."""

    light: float = 0.7
    blur: float = 0.35
    low_resolution: float = 0.3
    noise: float = 0.75
    compression: float = 0.5
    blur_px: float = 1.1
    least_scale: float = 0.35
    noise_levels: float = 5.0
    quality: tuple[int, int] = (45, 95)


class Camera:
    """Draws a camera for each clip and applies it; the noise is drawn once and reused at random offsets."""

    def __init__(self, config: CameraConfig, size: int, gen: torch.Generator, device: torch.device) -> None:
        self.config = config
        self.size = size
        fine = torch.randn(NOISE_FRAMES, 3, size + 64, size + 64, generator=gen).to(device)
        # White as of a sensor, or blotched as a denoiser leaves it; both of standard deviation 1.
        self.noise = torch.stack([fine, 0.5 * fine + 1.7 * F.avg_pool2d(fine, 3, 1, 1)])

    def light(self, frames: Tensor, gen: torch.Generator) -> None:
        """Slow change of gain, white balance and direction; frames [B, T, 3 n, H, W] RGB, in place."""
        b, t, c, h, w = frames.shape
        on = (torch.rand(b, 1, 1, generator=gen) < self.config.light).float()
        much = on * 0.03 * torch.exp(0.7 * torch.randn(b, 1, 1, generator=gen))
        curve = _slow((b, 1), t, gen) + 0.3 * _slow((b, 3), t, gen)
        gain = torch.exp((much * curve).clamp(-0.25, 0.25)).repeat(1, 1, c // 3)
        tilt = (2.0 * much * _slow((b, 2), t, gen)).clamp(-0.2, 0.2).to(frames.device)
        x = torch.linspace(-0.5, 0.5, w, device=frames.device).view(1, 1, 1, 1, w)
        y = torch.linspace(-0.5, 0.5, h, device=frames.device).view(1, 1, 1, h, 1)
        plane = 1.0 + tilt[..., 0].view(b, t, 1, 1, 1) * x + tilt[..., 1].view(b, t, 1, 1, 1) * y
        frames.mul_(gain.view(b, t, c, 1, 1).to(frames.device)).mul_(plane).clamp_(0.0, 1.0)

    def defocus(self, picture: Tensor, gen: torch.Generator) -> None:
        """Blur each picture [B, C, h, w] by its own Gaussian, some not at all, in place."""
        b = picture.shape[0]
        on = torch.rand(b, generator=gen) < self.config.blur
        sigma = 0.35 + (self.config.blur_px - 0.35) * torch.rand(b, generator=gen)
        for clip in torch.nonzero(on).flatten().tolist():
            picture[clip] = _gaussian(picture[clip], float(sigma[clip]))

    def resolve(self, frames: Tensor, gen: torch.Generator) -> None:
        """As seen by a smaller face's crop: some clips [T, C, H, W] of frames down and up again, in place."""
        least = self.config.least_scale
        scale = least + (0.9 - least) * torch.rand(len(frames), generator=gen)
        on = torch.rand(len(frames), generator=gen) < self.config.low_resolution
        for clip in torch.nonzero(on).flatten().tolist():
            side = max(8, round(self.size * float(scale[clip])))
            small = F.interpolate(frames[clip], size=(side, side), mode="bilinear", antialias=True)
            frames[clip] = F.interpolate(small, size=frames.shape[-2:], mode="bilinear", align_corners=False)

    def sense(self, frames: Tensor, gen: torch.Generator) -> None:
        """Shot and read noise, in place; frames [B, T, 3, H, W] RGB."""
        b, t = frames.shape[:2]
        for clip in range(b):
            on, much, mix, grain, keep, lift = torch.rand(6, generator=gen).tolist()
            if on >= self.config.noise:
                continue
            peak = self.config.noise_levels / 255.0 * (0.08 + 0.92 * much * much)
            offset = torch.randint(0, 65, (t, 2), generator=gen).tolist()
            first = int(torch.randint(0, NOISE_FRAMES, (1,), generator=gen))
            before: Tensor | None = None
            for k in range(t):
                fresh = self._grain((first + k) % NOISE_FRAMES, offset[k], grain)
                # A denoiser in the camera or the codec lets noise live on from frame to frame.
                now = fresh if before is None or keep < 0.5 else _carry(before, fresh, 0.7 * keep)
                before = now
                level = frames[clip, k].mean(0, keepdim=True)
                noise = now * (peak * torch.sqrt(mix * level + (1.0 - mix) * 0.3 + 0.1 * lift))
                frames[clip, k].add_(noise)
        frames.clamp_(0.0, 1.0)

    def _grain(self, frame: int, offset: list[int], grain: float) -> Tensor:
        y, x = offset
        return self.noise[int(grain > 0.5), frame, :, y : y + self.size, x : x + self.size]

    def compress(self, raw: Tensor, target: Tensor, gen: torch.Generator) -> None:
        """8x8 DCT quantisation of some clips, chroma at half resolution, in place: raw [B, T, 3, H, W] RGB,
        and target, alike, as raw's codec would show it without what was painted (see dct_compress)."""
        low, high = self.config.quality
        quality = low + (high - low) * torch.rand(len(raw), generator=gen)
        on = torch.rand(len(raw), generator=gen) < self.config.compression
        for clip in torch.nonzero(on).flatten().tolist():
            raw[clip], target[clip] = dct_compress(raw[clip], target[clip], float(quality[clip]))


def quantise(frames: Tensor) -> Tensor:
    """Round to 8 bits, in place; values in [0, 1] stay in [0, 1]."""
    return frames.mul_(255.0).round_().div_(255.0)


def _slow(shape: tuple[int, int], frames: int, gen: torch.Generator) -> Tensor:
    """Slow curves of standard deviation about 1: float32 [B, frames, n]."""
    b, n = shape
    rate = 0.2 + 1.5 * torch.rand(b, 1, n, generator=gen)
    phase = math.tau * torch.rand(b, 1, n, generator=gen)
    t = torch.arange(frames).view(1, -1, 1) / 30.0
    return math.sqrt(2.0) * torch.sin(math.tau * rate * t + phase)


def _carry(before: Tensor, fresh: Tensor, keep: float) -> Tensor:
    return keep * before + math.sqrt(1.0 - keep * keep) * fresh


def _gaussian(picture: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of picture [C, h, w], borders replicated; shifted pictures are summed, which is
    faster than convolving single planes."""
    radius = 4
    taps = [math.exp(-0.5 * (k / sigma) ** 2) for k in range(radius + 1)]
    whole = taps[0] + 2.0 * sum(taps[1:])
    for axis in (1, 2):
        side = picture.shape[axis]
        pads = (radius, radius, 0, 0) if axis == 2 else (0, 0, radius, radius)
        wide = F.pad(picture.unsqueeze(0), pads, mode="replicate")[0]
        blurred = picture * (taps[0] / whole)
        for k, tap in enumerate(taps[1:], 1):
            pair = wide.narrow(axis, radius - k, side) + wide.narrow(axis, radius + k, side)
            blurred.add_(pair, alpha=tap / whole)
        picture = blurred
    return picture


def dct_matrix(device: torch.device | None = None) -> Tensor:
    """The orthonormal 8-point DCT-II, float32 [8, 8]; rows are frequencies."""
    k = torch.arange(8, device=device).float()
    matrix = torch.cos((2.0 * k.view(1, -1) + 1.0) * k.view(-1, 1) * math.pi / 16.0) * 0.5
    matrix[0] /= math.sqrt(2.0)
    return matrix


def table(values: tuple[tuple[int, ...], ...], quality: float) -> Tensor:
    """A quantisation table scaled as libjpeg does (quality 1 to 100): float32 [8, 8], in levels of 255."""
    scale = 5000.0 / quality if quality < 50.0 else 200.0 - 2.0 * quality
    return ((torch.tensor(values).float() * scale + 50.0) / 100.0).floor().clamp(1.0, 255.0)


def _quantise_blocks(raw: Tensor, target: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
    """Quantise the 8x8 DCT of planes [N, h, w] in levels; h and w multiples of 8. Both, decoded."""
    n, h, w = raw.shape
    matrix = dct_matrix(raw.device)
    both = torch.kron(matrix, matrix)  # [64 frequencies, 64 pixels]: one product a block is faster than two
    steps = steps.view(1, 64)

    def frequencies(plane: Tensor) -> Tensor:
        return plane.reshape(n, h // 8, 8, w // 8, 8).transpose(2, 3).reshape(-1, 64) @ both.T

    def pixels(found: Tensor) -> Tensor:
        return (found @ both).view(n, h // 8, w // 8, 8, 8).transpose(2, 3).reshape(n, h, w)

    before, clean = frequencies(raw), frequencies(target)
    shown = (before / steps).round_().mul_(steps)
    painted = before - clean
    # What is shown at all is the mark's doing, unless next to nothing was painted there.
    left = shown * (painted * shown.sign() / (0.3 * steps)).clamp_(0.0, 1.0)
    lost = clean.abs() < 0.5 * steps
    lost[:, 0] = False
    return pixels(shown), pixels(shown - torch.where(lost, left, painted))


def dct_compress(raw: Tensor, target: Tensor, quality: float) -> tuple[Tensor, Tensor]:
    """JPEG's loss without its coding, 4:2:0, quality 1 to 100: raw [N, 3, H, W] in [0, 1], and the target,
    alike.

    The target is raw as shown less what was painted, so that both carry the same noise; but a codec leaves
    little of the colour of a small mark, and raw less all of it would be green where the red is lost already.
    So at frequencies where clean skin shows nothing, what is shown is taken away instead.
    """
    h, w = raw.shape[-2:]
    matrix = raw.new_tensor(TO_YCC)
    padding = (0, -w % 16, 0, -h % 16)
    full = [F.pad(x, padding, mode="replicate") if any(padding) else x for x in (raw, target)]
    ycc = [((255.0 * matrix) @ x.flatten(2)).view_as(x) for x in full]
    tables = [table(values, quality).to(raw.device) for values in (LUMA_TABLE, CHROMA_TABLE)]
    lumas = [x[:, 0] - 128.0 for x in ycc]
    chromas = [F.avg_pool2d(x[:, 1:], 2).flatten(0, 1) for x in ycc]
    luma = _quantise_blocks(lumas[0], lumas[1], tables[0])
    chroma = _quantise_blocks(chromas[0], chromas[1], tables[1])
    raw, target = (
        _decoded(y + 128.0, c.view(-1, 2, *c.shape[1:]), matrix)[..., :h, :w]
        for y, c in zip(luma, chroma, strict=True)
    )
    return raw, target


def _decoded(luma: Tensor, chroma: Tensor, matrix: Tensor) -> Tensor:
    """Luma [N, h, w] and chroma [N, 2, h / 2, w / 2] in levels to RGB [N, 3, h, w] in [0, 1]."""
    ycc = torch.cat([luma.unsqueeze(1), _enlarged(chroma)], 1)
    rgb: Tensor = ((torch.linalg.inv(matrix) / 255.0) @ ycc.flatten(2)).view_as(ycc)
    return rgb.clamp_(0.0, 1.0)


def _enlarged(chroma: Tensor) -> Tensor:
    return F.interpolate(chroma, scale_factor=2.0, mode="bilinear", align_corners=False)
