"""Clips to train on and to judge by: raw and target in motion, with the true map and flow.

A clip is painted once on the aligned canvas, then seen through the same motion, light and camera as its
target.
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from model.data import camera as cam
from model.data import imperfections as imp
from model.data import motion as mo
from model.data.diffuse import own_redness, paint_diffuse
from model.data.harvest import MOLE, REDDISH, open_bank
from model.data.kinds import CONDITIONS, KINDS, PASTABLE_SHARE, WHOLE_SKIN_PX
from model.data.negatives import kept, paint_negatives, put_on_glasses
from model.data.pasted import OWN_DEPTH, RealMarks
from model.data.portraits import (
    CANVAS_PX,
    FACE_PX,
    MARGIN_PX,
    SKIN,
    FacesError,
    Portraits,
    relight,
    retone,
    skin_like,
    soft_skin,
)
from model.data.stamps import NoiseBank

MAP_FULL = 0.08
GLASSES_CHANCE = 0.05
MOST_RED, LEAST_BLUE, VIVID = 0.9, 0.7, 0.8
MOTIONS = ("aligned", "frame")


@dataclass(frozen=True)
class ClipConfig:
    """What clips are like. Shares and chances are in [0, 1].

    size: side of the frames in face px (512 the whole face, 640 the whole canvas). frames: T. motion:
    "aligned", what smoothed alignment leaves, or "frame", a head before a camera. clean_share: clips with
    nothing painted. harvested_share: of the marks, how many are real ones; 1 for these alone. own_removed:
    clips whose target has lost the portrait's own reddish marks. negatives, diffuse: factors on how often
    each negative, and each imperfection without a border, is drawn. retone, relight: chance of a shift of
    tone, of light.
    real_share: of the faces, how many are photographs. density, depth: factors on the number of marks and on
    their strength. with_grid: give `to_canvas`.
    """

    size: int = 256
    frames: int = 6
    motion: str = "aligned"
    clean_share: float = 0.08
    harvested_share: float = 0.5
    own_removed: float = 1.0
    negatives: float = 1.0
    diffuse: float = 1.0
    retone: float = 0.5
    relight: float = 0.7
    real_share: float = 0.6
    density: float = 1.0
    depth: float = 1.0
    with_grid: bool = False
    camera: cam.CameraConfig = field(default_factory=cam.CameraConfig)

    def __post_init__(self) -> None:
        if self.motion not in MOTIONS:
            raise FacesError(f"motion is {self.motion!r}; use one of {', '.join(MOTIONS)}")
        if not 32 <= self.size <= CANVAS_PX or self.frames < 1:
            raise FacesError(
                f"size {self.size}, frames {self.frames}; use size 32 to {CANVAS_PX}, frames >= 1"
            )


@dataclass(frozen=True)
class Clip:
    """B clips of T frames, float32 on one device.

    raw, target [B, T, 3, H, W] in [0, 1], sRGB-encoded RGB; target is what the same camera, with the same
    noise, codec and rounding, shows of the face with nothing painted. map [B, T, 1, H, W] in [0,
    1]: min(1, mean over RGB of abs(raw - target) / 0.08). flow [B, T, 2, H, W] px (x, y): what is at x was at
    x + flow one frame before; zeros in frame 0. skin [B, T, 1, H, W] and keep [B, T, 2, H, W]
    in [0, 1]: skin, and the moles and the freckles that must survive. If asked for, to_canvas [B, T, 2, H, W]
    canvas px (x, y). face_index: rows of index.json.
    """

    raw: Tensor
    target: Tensor
    map: Tensor
    flow: Tensor
    skin: Tensor
    keep: Tensor
    to_canvas: Tensor | None
    face_index: list[int]


def imperfections(raw: Tensor, target: Tensor) -> Tensor:
    """M_gt, the difference of raw and retouched frames [..., 3, H, W] as a map [..., 1, H, W] in [0, 1].

    Decided, as its scale is not printed: the mean over RGB, full at 0.08, as all maps here.
    """
    return ((raw - target).abs().mean(-3, keepdim=True) / MAP_FULL).clamp(max=1.0)


@dataclass(frozen=True)
class Scene:
    """One batch on its canvas boxes: raw and target [B, 3, h, w], skin [B, 1, h, w], keep [B, 2, h, w]."""

    raw: Tensor
    target: Tensor
    skin: Tensor
    keep: Tensor


class ClipSampler:
    """Draws clips from the prepared portraits; the n-th call of a sampler gives the same for the same
    seed."""

    def __init__(
        self,
        faces_dir: str | Path,
        config: ClipConfig,
        split: str = "train",
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        self.config = config
        self.seed = seed
        self.device = torch.device(device)
        self.faces = Portraits(faces_dir, split)
        self.calls = 0
        fixed = torch.Generator().manual_seed(20240617)
        self.noise = NoiseBank(fixed)
        self.camera = cam.Camera(config.camera, config.size, fixed, self.device)
        bank = open_bank(self.faces, lambda text: print(f"harvesting marks: {text}", file=sys.stderr))
        self.real = RealMarks(bank, self.faces)
        self.chance = self.faces.weights(bank.density, config.real_share)

    def sample(self, batch: int) -> Clip:
        """The next `batch` clips."""
        return self.takes(batch, 1)[0]

    def takes(self, batch: int, count: int) -> list[Clip]:
        """The next `batch` clips, each filmed `count` times (at least once) with other motion, light and
        camera."""
        key = hashlib.sha256(f"{self.seed}/{self.calls}".encode()).digest()
        gen = torch.Generator().manual_seed(int.from_bytes(key[:7], "little"))
        self.calls += 1
        faces = [
            self.faces.ids[k] for k in torch.multinomial(self.chance, batch, True, generator=gen).tolist()
        ]
        origin = torch.tensor([self._origin(face, gen) for face in faces])
        move = mo.aligned_motion if self.config.motion == "aligned" else mo.frame_motion
        size = self.config.size
        motions = [move(batch, self.config.frames, size, origin, gen) for _ in range(count)]
        corner, side = _box(origin, size, max(mo.reach(motion, size, origin) for motion in motions))
        scene = self._scene(faces, corner, side, gen)
        return [self._film(scene, motion, corner, faces, gen) for motion in motions]

    def _origin(self, face: int, gen: torch.Generator) -> tuple[int, int]:
        """Top left (x, y) of the crop on the canvas: about a random point of skin, inside the face crop."""
        spare = FACE_PX - self.config.size
        if spare <= 0:
            return ((CANVAS_PX - self.config.size) // 2,) * 2
        points = self.faces.skin_points(face)
        best, most = (MARGIN_PX + spare // 2,) * 2, -1.0
        for pick, dy, dx in torch.rand(3, 3, generator=gen).tolist():
            y, x = points[int(pick * len(points))] if len(points) else (CANVAS_PX // 2, CANVAS_PX // 2)
            corner = [int(v - self.config.size * (0.5 + 0.4 * (d - 0.5))) for v, d in ((x, dx), (y, dy))]
            left, top = (min(max(c, MARGIN_PX), MARGIN_PX + spare) for c in corner)
            inside = (points >= (top, left)) & (points < (top + self.config.size, left + self.config.size))
            share = float(inside.all(1).sum())
            if share > most:
                best, most = (left, top), share
        return best

    def _scene(self, faces: list[int], corner: Tensor, side: int, gen: torch.Generator) -> Scene:
        boxes = [(int(y), int(x), side, side) for x, y in corner.tolist()]
        parts = [self.faces.crop(face, box) for face, box in zip(faces, boxes, strict=True)]
        base = torch.stack([p[0] for p in parts])
        bits = torch.stack([p[1] for p in parts])
        base = self._augment(base, (bits & SKIN).float().unsqueeze(1), gen)
        self._glasses(base, bits, faces, corner, gen)
        light = self._light(faces, gen)
        paintable = soft_skin(bits)
        clean = torch.rand(len(faces), generator=gen) < self.config.clean_share
        left = paint_negatives(bits, paintable, light, self.real, self.noise, self.config.negatives, gen)
        layers = self._imperfections(bits, paintable, light, clean, gen)
        paint_diffuse(layers, base, bits, self.config.diffuse * ~clean, gen)
        rendering = Rendering.draw(len(faces), gen)
        for painted in (layers, left.layers):  # what stays is seen by the same camera
            painted.absorb = rendering.of(painted.absorb)
        cleaned = torch.rand(len(faces), generator=gen) < self.config.own_removed
        target = self._without_own(base, paintable, faces, corner, cleaned)
        # A clean clip has nothing to be taken away: the portrait's own marks are gone from raw as well.
        base = torch.where(clean.view(-1, 1, 1, 1), target, base)
        raw, target = imp.render([base, target], left.layers, paintable, light)
        (raw,) = imp.render([raw], layers, paintable, light)
        own = self._own_moles(paintable, faces, corner)
        left.keep[:, :1] = torch.maximum(left.keep[:, :1], own)
        return Scene(raw, target, (bits & SKIN).float().unsqueeze(1), left.keep)

    def _glasses(
        self, base: Tensor, bits: Tensor, faces: list[int], corner: Tensor, gen: torch.Generator
    ) -> None:
        on = torch.rand(len(faces), generator=gen) < GLASSES_CHANCE * self.config.negatives
        for k in torch.nonzero(on).flatten().tolist():
            put_on_glasses(base[k], bits[k], torch.from_numpy(self.faces.landmarks[faces[k]]), corner[k], gen)

    def _own_moles(self, paintable: Tensor, faces: list[int], corner: Tensor) -> Tensor:
        """Moles the portrait has by nature, [B, 1, h, w] in [0, 1]."""
        absorb = paintable.new_zeros(len(faces), 3, *paintable.shape[2:])
        self.real.own_layer(absorb, faces, corner, MOLE, 0.0)
        return kept(absorb)

    def _without_own(
        self, base: Tensor, paintable: Tensor, faces: list[int], corner: Tensor, chosen: Tensor
    ) -> Tensor:
        """The target: the portrait, of the chosen (bool [B]) less its own reddish marks."""
        own = torch.zeros_like(base)
        self.real.own_layer(own, faces, corner, REDDISH, OWN_DEPTH)
        target = (base * torch.exp(own.clamp(min=-0.1) * chosen.view(-1, 1, 1, 1))).clamp(0.0, 1.0)
        # Generated skin has colours of its own along every crease: only photographs can be trusted here.
        photo = chosen & torch.tensor([not self.faces.rows[face].synthetic for face in faces])
        if bool(photo.any()):
            target[photo] *= torch.exp(own_redness(target[photo], paintable[photo]))
        return target.clamp_(0.0, 1.0)

    def _light(self, faces: list[int], gen: torch.Generator) -> Tensor:
        """Direction of light [B, 2]: as the portrait's, made strong enough to model relief."""
        light = torch.tensor([self.faces.light(face) for face in faces]) * 1.3
        light = light + 0.15 * torch.randn(len(faces), 2, generator=gen)
        size = light.norm(dim=1, keepdim=True).clamp(min=1e-3)
        made: Tensor = light / size * size.clamp(0.35, 1.0)
        return made

    def _augment(self, base: Tensor, skin: Tensor, gen: torch.Generator) -> Tensor:
        b = base.shape[0]
        on = (torch.rand(b, generator=gen) < self.config.retone).float()
        melanin = on * (0.5 * torch.rand(b, generator=gen) - 0.2)
        blood = on * 0.03 * torch.randn(b, generator=gen)
        base = retone(base, skin_like(base, skin), melanin, blood)
        on = (torch.rand(b, generator=gen) < self.config.relight).float()
        stops = 0.16 * torch.randn(b, 1, generator=gen) + 0.03 * torch.randn(b, 3, generator=gen)
        gain = torch.exp(on.view(-1, 1) * stops)
        gamma = torch.exp(on * 0.12 * torch.randn(b, generator=gen))
        slope = on.view(-1, 1) * 0.25 * torch.randn(b, 2, generator=gen)
        # Skin is neither burnt out nor lost in the dark: there is nothing to learn from white or black.
        mean = (base * skin).sum((2, 3)).amax(1, keepdim=True) / (skin.sum((2, 3)) + 1.0)
        gain = torch.minimum(gain.clamp(0.6, 1.5), (0.85 / mean.clamp(min=0.1)).clamp(min=1.0))
        gain = torch.maximum(
            gain, (0.18 / mean.clamp(min=0.05)).clamp(max=2.5) * gain / gain.amax(1, keepdim=True)
        )
        return relight(base, gain, gamma, slope)

    def _imperfections(
        self, bits: Tensor, paintable: Tensor, light: Tensor, clean: Tensor, gen: torch.Generator
    ) -> imp.Layers:
        b, _, h, w = paintable.shape
        layers = imp.Layers.empty(b, h, w)
        marks = self._marks(bits, paintable, clean, gen)
        pastable = torch.tensor([kind.real is not None for kind in KINDS])[marks.kind]
        if self.config.harvested_share == 1.0:
            if not self.real.has(REDDISH):
                raise FacesError("these portraits have no reddish marks to harvest; give more of them")
            marks, pastable = marks.pick(pastable), pastable[pastable]
        real = (
            torch.rand(len(marks), generator=gen) < self.config.harvested_share / PASTABLE_SHARE
        ) & pastable
        real &= self.real.has(REDDISH)
        imp.paint_marks(layers, marks.pick(~real), light, self.noise, gen)
        some = marks.pick(real)
        if len(some):
            pasting = self.real.as_marks(REDDISH, some.radius, some.depth, some.properties["melanin"], gen)
            self.real.paste(layers.absorb, some.places, pasting)
        return layers

    def _marks(self, bits: Tensor, paintable: Tensor, clean: Tensor, gen: torch.Generator) -> imp.Marks:
        b = len(bits)
        density = imp.zone_density(bits, paintable, gen)
        odds = torch.tensor([row[1] for row in CONDITIONS])
        condition = torch.multinomial(odds, b, True, generator=gen)
        span = torch.tensor([row[2:4] for row in CONDITIONS]).log()[condition]
        whole = torch.exp(span[:, 0] + (span[:, 1] - span[:, 0]) * torch.rand(b, generator=gen))
        share = ((paintable > 0).sum((1, 2, 3)) / WHOLE_SKIN_PX).clamp(max=1.2)
        counts = torch.poisson(whole * share * self.config.density, generator=gen).clamp(min=3).long()
        shares = torch.tensor([row[4] for row in CONDITIONS])[condition]
        marks = imp.draw_marks(density, torch.where(clean, 0, counts), shares, gen)
        strength = self.config.depth * torch.exp(0.35 * torch.randn(b, generator=gen))
        marks = marks.pick(imp.on_skin(marks.places, paintable) & imp.apart(marks))
        return replace(marks, depth=marks.depth * strength[marks.places.clip])

    def _film(
        self, scene: Scene, motion: mo.Motion, corner: Tensor, faces: list[int], gen: torch.Generator
    ) -> Clip:
        stack = torch.cat([scene.raw, scene.target, scene.skin, scene.keep], 1)  # [B, 9, h, w]
        self.camera.defocus(stack[:, :6], gen)
        stack = stack.to(self.device)
        canvas, flow = (g.to(self.device) for g in mo.grids(motion, self.config.size))
        seen = warp(stack, canvas - corner.to(self.device).float().view(-1, 1, 2, 1, 1))
        frames = seen[:, :, :6]
        self.camera.light(frames, gen)
        self.camera.resolve(frames, gen)
        raw, target = self._seen(frames[:, :, :3], frames[:, :, 3:], gen)
        skin, keep = seen[:, :, 6:7].contiguous(), seen[:, :, 7:].contiguous()
        return Clip(
            raw,
            target,
            imperfections(raw, target),
            flow,
            skin,
            keep,
            to_canvas=canvas if self.config.with_grid else None,
            face_index=faces,
        )

    def _seen(self, raw: Tensor, target: Tensor, gen: torch.Generator) -> tuple[Tensor, Tensor]:
        """Raw and target [B, T, 3, H, W] as the same sensor, with the same noise, and codec leave them."""
        painted = target - raw
        seen = raw.contiguous()
        self.camera.sense(seen, gen)
        clean = painted.add_(seen).clamp_(0.0, 1.0)
        self.camera.compress(seen, clean, gen)
        painted = clean.sub_(seen)  # so that rounding is the same in both as well
        raw = cam.quantise(seen)
        return raw, painted.add_(raw).clamp_(0.0, 1.0)


def warp(picture: Tensor, grid: Tensor) -> Tensor:
    """Bilinear samples of picture [B, C, h, w] at grid [B, T, 2, H, W] px (x, y): [B, T, C, H, W].

    Borders are replicated.
    """
    b, t, _, size_h, size_w = grid.shape
    h, w = picture.shape[-2:]
    scale = torch.tensor([2.0 / (w - 1), 2.0 / (h - 1)], device=grid.device).view(1, 1, 2, 1, 1)
    points = (grid * scale - 1.0).movedim(2, -1).reshape(b, t * size_h, size_w, 2)
    out = F.grid_sample(picture, points, padding_mode="border", align_corners=True)
    return out.view(b, -1, t, size_h, size_w).transpose(1, 2)


@dataclass(frozen=True)
class Rendering:
    """How the cameras of B clips show pigment: factors on absorbance [B, 3, 1, 1], and how much redder than
    it is dark they show blood [B, 1, 1, 1]."""

    factors: Tensor
    vivid: Tensor

    @staticmethod
    def draw(batch: int, gen: torch.Generator) -> Rendering:
        """Cameras differ most in how much red blood takes."""
        spread = torch.tensor([0.16, 0.04, 0.10])
        factors = torch.exp(spread * torch.randn(batch, 3, generator=gen)).view(-1, 3, 1, 1)
        return Rendering(factors, VIVID * torch.rand(batch, generator=gen).pow(1.5).view(-1, 1, 1, 1))

    def of(self, absorb: Tensor) -> Tensor:
        """Absorbance [B, 3, h, w] as these cameras show it.

        No pigment of skin takes nearly as much red as green: beyond that a mark would look grey or green.
        """
        red, green, blue = (self.factors * absorb).chunk(3, dim=1)
        red = torch.where(green > 0.0, torch.minimum(red, MOST_RED * green), red)
        blue = torch.where(green > 0.0, torch.maximum(blue, LEAST_BLUE * green), blue)
        colour = torch.minimum(green, green - red).clamp(min=0.0)
        return torch.cat([red - self.vivid * colour, green, blue], 1)


def _box(origin: Tensor, size: int, margin: int) -> tuple[Tensor, int]:
    """The canvas box that holds every crop and its margin: corner int64 [B, 2] (x, y) and side."""
    side = min(CANVAS_PX, size + 2 * margin)
    return (origin - margin).clamp(0, CANVAS_PX - side), side
