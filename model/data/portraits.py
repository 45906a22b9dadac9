"""The prepared portraits: what is read from disk, how often each face is drawn, and how it is re-toned and
re-lit.

Everything is in the aligned canvas, uint8 RGB [640, 640, 3] with the 512 pixel face crop in its centre.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

CANVAS_PX = 640
FACE_PX = 512
MARGIN_PX = (CANVAS_PX - FACE_PX) // 2
SPLITS = ("train", "heldout")

SKIN, FOREHEAD, NOSE, CHEEKS, JAW, UNDER_EYE, LIP, OVAL = (1 << k for k in range(8))

# Absorbance of skin's two pigments as -log of sRGB values, R : G : B, green = 1. Between them lie the
# measured reddish marks (0.52 : 1 : 1.23) and the rest (0.69 : 1 : 1.20).
HAEMOGLOBIN = (0.34, 1.0, 1.08)
MELANIN = (0.72, 1.0, 1.26)
FLOOR = 1.5 / 255.0

# Individual typology angle in degrees, from dark skin to very light (Chardon et al. 1991), split once more at
# the dark end.
TONE_BOUNDS = (-55.0, -30.0, 10.0, 28.0, 41.0, 55.0)


class FacesError(ValueError):
    """A folder of prepared portraits cannot be used."""


@dataclass(frozen=True)
class Portrait:
    """One row of `index.json`, as far as the sampler needs it."""

    file: str
    subject: str
    split: str
    synthetic: bool
    ita: float


def absorbance(rgb: Tensor) -> Tensor:
    """-log of sRGB values in [0, 1], floored at 1.5 levels; the same shape."""
    return -torch.log(rgb.clamp(min=FLOOR))


class Portraits:
    """The faces of one split (or of all, `split=None`), memory-mapped."""

    def __init__(self, faces_dir: str | Path, split: str | None = None) -> None:
        self.folder = Path(faces_dir)
        if split is not None and split not in SPLITS:
            raise FacesError(f"split is {split!r}; use one of {', '.join(SPLITS)}")
        self.rows = _read_index(self.folder)
        self.pixels = _open_array(self.folder / "faces.npy", (len(self.rows), CANVAS_PX, CANVAS_PX, 3))
        self.bits = _open_array(self.folder / "regions.npy", (len(self.rows), CANVAS_PX, CANVAS_PX))
        self.landmarks = np.load(self.folder / "landmarks.npy")
        self.ids = [i for i, row in enumerate(self.rows) if split is None or row.split == split]
        if not self.ids:
            raise FacesError(
                f"{self.folder} holds no face of split {split!r}; prepare portraits that have one"
            )
        self._light: dict[int, tuple[float, float]] = {}

    def __len__(self) -> int:
        return len(self.ids)

    def crop(self, face: int, box: tuple[int, int, int, int]) -> tuple[Tensor, Tensor]:
        """Pixels float32 [3, h, w] in [0, 1] RGB and regions uint8 [h, w] of canvas box (top, left, h, w)."""
        top, left, h, w = box
        part = np.array(self.pixels[face, top : top + h, left : left + w])
        bits = np.array(self.bits[face, top : top + h, left : left + w])
        return torch.from_numpy(part).permute(2, 0, 1).float().div_(255.0), torch.from_numpy(bits)

    def skin_points(self, face: int) -> NDArray[np.int64]:
        """(y, x) of every eighth skin pixel of the face crop, int64 [n, 2], canvas pixels."""
        inner = slice(MARGIN_PX, MARGIN_PX + FACE_PX, 8)
        ys, xs = np.nonzero(self.bits[face, inner, inner] & SKIN)
        return np.stack([ys, xs], 1) * 8 + MARGIN_PX

    def light(self, face: int) -> tuple[float, float]:
        """Where the light comes from, (x, y) in the image plane; y is negative for light from above.

        Lambert's law on a face taken for an ellipsoid: log luminance regressed on its normals.
        """
        if face not in self._light:
            self._light[face] = _light_of(self.pixels[face, ::8, ::8], self.bits[face, ::8, ::8])
        return self._light[face]

    def weights(self, density: NDArray[np.float32], real_share: float) -> Tensor:
        """Chance of each face of the split, float32 [len(self)], sum 1.

        Clean faces more than blemished ones, skin tones evenly, real faces `real_share` of the whole.
        """
        own = density[self.ids]
        clean = np.exp(-own / max(float(np.median(density)), 1e-6)) + 0.05
        return torch.from_numpy(_even(self, clean, real_share)).float()


def _even(faces: Portraits, clean: NDArray[Any], real_share: float) -> NDArray[Any]:
    tone = np.digitize([faces.rows[i].ita for i in faces.ids], TONE_BOUNDS)
    synthetic = np.array([faces.rows[i].synthetic for i in faces.ids])
    weight = clean.astype(np.float64)
    for value in np.unique(tone):
        members = tone == value
        # A rare tone is not repeated without end: the power tempers it.
        weight[members] *= members.sum() ** 0.2 / weight[members].sum()
    if synthetic.any() and not synthetic.all():
        weight[synthetic] *= (1.0 - real_share) / weight[synthetic].sum()
        weight[~synthetic] *= real_share / weight[~synthetic].sum()
    total: NDArray[Any] = weight / weight.sum()
    return total


def _read_index(folder: Path) -> list[Portrait]:
    path = folder / "index.json"
    try:
        rows = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise FacesError(
            f"cannot read {path}: {error}; make it with 'python -m stream.portraits DATA {folder}'"
        ) from None
    return [
        Portrait(str(r["file"]), str(r["subject"]), str(r["split"]), bool(r["synthetic"]), float(r["ita"]))
        for r in rows
    ]


def _open_array(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    try:
        array: NDArray[np.uint8] = np.load(path, mmap_mode="r")
    except (OSError, ValueError) as error:
        raise FacesError(f"cannot read {path}: {error}; prepare the portraits again") from None
    if array.shape != shape or array.dtype != np.uint8:
        raise FacesError(
            f"{path} is {array.dtype} {list(array.shape)}, not uint8 {list(shape)}; prepare it again"
        )
    return array


def _light_of(rgb_u8: NDArray[np.uint8], bits: NDArray[np.uint8]) -> tuple[float, float]:
    ys, xs = np.nonzero(bits & SKIN)
    if len(ys) < 32:
        return 0.0, -0.3
    luma = np.log(rgb_u8[ys, xs].astype(np.float64) @ [0.299, 0.587, 0.114] + 4.0)
    nx, ny = ((v - v.mean()) / (2.0 * v.std() + 1e-6) for v in (xs.astype(np.float64), ys.astype(np.float64)))
    design = np.stack([np.ones_like(nx), nx, ny], 1)
    slope = np.linalg.lstsq(design, luma, rcond=None)[0]
    # Light from above is the rule, and beards and shadowed chins already pull the fit that way.
    return float(np.clip(slope[1], -0.8, 0.8)), float(np.clip(slope[2] - 0.15, -0.8, 0.8))


def soft_skin(bits: Tensor) -> Tensor:
    """Where marks may be painted, float32 [B, 1, h, w] in [0, 1]: skin less a soft border of a few px;
    exactly 0 off skin."""
    hard = (bits & SKIN).float().unsqueeze(1)  # [B, 1, h, w]
    size = hard.shape[-2:]
    small = -F.max_pool2d(-hard, 2, 2, ceil_mode=True)
    small = F.avg_pool2d(small, 3, 1, 1, count_include_pad=False)
    wide = F.interpolate(small, scale_factor=2, mode="bilinear", align_corners=False)
    return wide[..., : size[0], : size[1]] * hard


def skin_like(rgb: Tensor, skin: Tensor) -> Tensor:
    """How much each pixel has this face's skin colour, float32 [B, 1, h, w] in [0, 1], neck and ears
    included.

    rgb [B, 3, h, w] in [0, 1]; skin [B, 1, h, w]. A Gaussian about the skin's mean in the two chroma axes of
    absorbance, where light cancels, and the skin mask itself.
    """
    small = F.interpolate(rgb, scale_factor=0.25, mode="area")
    where = F.interpolate(skin, scale_factor=0.25, mode="area")
    a = absorbance(small)
    chroma = torch.stack([a[:, 1] - a[:, 0], a[:, 2] - a[:, 1]], 1)  # [B, 2, h, w]
    total = where.sum((2, 3), keepdim=True) + 1e-3
    mean = (chroma * where).sum((2, 3), keepdim=True) / total
    spread = ((chroma - mean).square() * where).sum((2, 3), keepdim=True) / total + 0.06**2
    like = torch.exp(-0.5 * ((chroma - mean).square() / (2.0 * spread)).sum(1, keepdim=True))
    like = F.avg_pool2d(torch.maximum(like, where), 5, 1, 2)
    return F.interpolate(like, size=rgb.shape[-2:], mode="bilinear", align_corners=False)


def retone(rgb: Tensor, like: Tensor, melanin: Tensor, haemoglobin: Tensor) -> Tensor:
    """Add pigment to skin: rgb [B, 3, h, w] in [0, 1]; like [B, 1, h, w]; absorbance in green, float32
    [B]."""
    shift = melanin.view(-1, 1, 1, 1) * rgb.new_tensor(MELANIN).view(1, 3, 1, 1)
    shift = shift + haemoglobin.view(-1, 1, 1, 1) * rgb.new_tensor(HAEMOGLOBIN).view(1, 3, 1, 1)
    return (rgb * torch.exp(-shift * like)).clamp_(0.0, 1.0)


def relight(rgb: Tensor, gain_rgb: Tensor, gamma: Tensor, slope_xy: Tensor) -> Tensor:
    """Gain [B, 3], gamma [B] and a plane of light of slope [B, 2] (log units across the box) on rgb [B, 3, h,
    w]."""
    b, _, h, w = rgb.shape
    x = torch.linspace(-0.5, 0.5, w, device=rgb.device).view(1, 1, 1, w)
    y = torch.linspace(-0.5, 0.5, h, device=rgb.device).view(1, 1, h, 1)
    plane = torch.exp(slope_xy[:, 0].view(b, 1, 1, 1) * x + slope_xy[:, 1].view(b, 1, 1, 1) * y)
    shaped = rgb.clamp(min=1e-4).pow(gamma.view(b, 1, 1, 1))
    return (shaped * gain_rgb.view(b, 3, 1, 1) * plane).clamp_(0.0, 1.0)
