"""Clips of raw and target from pairs on disk: FFHQR-Seq from still pairs, and stretches of paired videos.

FFHQR-Seq (paper, Section 4.1) puts each still pair through random cropping, flipping and translation. Two
readings of it: "independent" draws them for each frame anew, as published; "smooth" draws crop and flip once
a clip and moves the head as before a camera, so that the motion is one a face can have. Either way the motion
is known, and with it the exact imperfection flow. Of videos it is not: their flow is zeros, to be filled in
by a teacher.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from model.data.clips import Clip, imperfections
from model.data.motion import Motion, frame_motion, grids
from model.data.pairs import Pair, PairsError, find_pairs, read_square
from model.data.portraits import CANVAS_PX, FACE_PX

MOTIONS = ("independent", "smooth")
WIDEST_CROP = CANVAS_PX / FACE_PX


@dataclass(frozen=True)
class SequenceConfig:
    """What the clips are like.

    Attributes:
        size: side of the frames in pixels, at most 512, which is the whole face; less cuts a window out.
        frames: T.
        motion: of still pairs, "independent" or "smooth".
    """

    size: int = FACE_PX
    frames: int = 6
    motion: str = "smooth"

    def __post_init__(self) -> None:
        if self.motion not in MOTIONS:
            raise PairsError(f"The motion is {self.motion!r}; use one of {', '.join(MOTIONS)}.")
        if not 32 <= self.size <= FACE_PX or self.size % 4 or self.frames < 1:
            raise PairsError(
                f"The clips' size is {self.size} and their frames {self.frames}; give a size of 32 to "
                f"{FACE_PX} that 4 divides, and a frame at least."
            )


class PairClips:
    """Clips of one split, each drawn from a number: the same number gives the same clip."""

    def __init__(self, folder: Path, split: str, config: SequenceConfig, seed: int = 0) -> None:
        self.config, self.seed = config, seed
        self.pairs = find_pairs(folder, split)
        self.flow_known = all(len(pair.source) == 1 for pair in self.pairs)
        if not self.flow_known:
            self._check_lengths(folder / split)

    def _check_lengths(self, folder: Path) -> None:
        short = min(self.pairs, key=lambda pair: len(pair.source))
        if len(short.source) < self.config.frames:
            raise PairsError(
                f"Video {short.name} in {folder} has {len(short.source)} frames and a clip "
                f"{self.config.frames}; remove it, or ask for fewer frames."
            )

    def __len__(self) -> int:
        return len(self.pairs)

    def batch(self, numbers: Sequence[int]) -> Clip:
        """A clip for each number, of pairs drawn at random."""
        return joined([self.clip(number) for number in numbers])

    def clip(self, number: int, index: int | None = None) -> Clip:
        """One clip [1, T, ...], of the pair at `index` or of one drawn."""
        key = hashlib.sha256(f"{self.seed}/{number}".encode()).digest()
        gen = torch.Generator().manual_seed(int.from_bytes(key[:7], "little"))
        drawn = int(torch.randint(len(self.pairs), (), generator=gen))
        index = drawn if index is None else index
        make = still_clip if self.flow_known else video_clip
        return replace(make(self.pairs[index], self.config, gen), face_index=[index])


def joined(clips: list[Clip]) -> Clip:
    """Clips of one shape as one batch."""
    names = ("raw", "target", "map", "flow", "skin", "keep")
    parts = {name: torch.cat([getattr(clip, name) for clip in clips]) for name in names}
    return Clip(**parts, to_canvas=None, face_index=[i for clip in clips for i in clip.face_index])


def made(raw: Tensor, target: Tensor, flow: Tensor) -> Clip:
    """A clip of what is known of a pair; all of it counts as skin, and nothing is marked as to be kept."""
    whole = torch.ones_like(raw[:, :, :1])
    keep = torch.zeros_like(raw[:, :, :2])
    return Clip(raw, target, imperfections(raw, target), flow, whole, keep, None, [0] * len(raw))


def still_clip(pair: Pair, config: SequenceConfig, gen: torch.Generator) -> Clip:
    """One clip of FFHQR-Seq [1, T, ...]."""
    canvas, flow = grids(still_motion(config, gen), config.size)
    grid = ((2 * canvas[0] + 1) / CANVAS_PX - 1).permute(0, 2, 3, 1)  # [T, H, W, 2]
    files = (pair.source[0], pair.target[0])
    pictures = torch.cat([as_tensor([path], CANVAS_PX) for path in files], dim=1)  # [1, 6, canvas, canvas]
    filmed = F.grid_sample(
        pictures.expand(config.frames, -1, -1, -1), grid, padding_mode="border", align_corners=False
    )
    return made(filmed[None, :, :3], filmed[None, :, 3:], flow)


def video_clip(pair: Pair, config: SequenceConfig, gen: torch.Generator) -> Clip:
    """A stretch of a paired video [1, T, ...]: one window and one flip for all its frames."""
    spare = len(pair.source) - config.frames
    first = int(torch.randint(spare + 1, (), generator=gen))
    left, top = (int(v) for v in window(config, gen))
    flip = bool(torch.rand((), generator=gen) < 0.5)
    sides = []
    for files in (pair.source, pair.target):
        frames = as_tensor(files[first : first + config.frames], FACE_PX)
        frames = frames[..., top : top + config.size, left : left + config.size]
        sides.append((frames.flip(-1) if flip else frames)[None])
    raw, target = sides
    return made(raw, target, torch.zeros_like(raw[:, :, :2]))


def as_tensor(paths: Sequence[Path], side: int) -> Tensor:
    """Pictures as float32 [N, 3, side, side] in [0, 1] RGB."""
    pixels = torch.stack([torch.from_numpy(read_square(path, side).copy()) for path in paths])
    return pixels.permute(0, 3, 1, 2).float() / 255


def window(config: SequenceConfig, gen: torch.Generator) -> Tensor:
    """Left and top of a clip's window in the face, drawn: float64 [2], whole pixels."""
    drawn = torch.rand(2, generator=gen, dtype=torch.float64) * (FACE_PX - config.size + 1)
    return drawn.floor()


def still_motion(config: SequenceConfig, gen: torch.Generator) -> Motion:
    """Where the frames' pixels are on the canvas, the picture at 640 pixels."""
    corner = window(config, gen)[None]
    if config.motion == "smooth":
        motion = frame_motion(1, config.frames, config.size, corner, gen)
        return replace(motion, homography=crops(1, gen) @ motion.homography)
    shift = torch.eye(3, dtype=torch.float64)
    shift[:2, 2] = corner[0]
    none = torch.zeros(1, config.frames, 1, 2, dtype=torch.float64)
    return Motion(crops(config.frames, gen) @ shift, none[:, 0], torch.ones_like(none[:, 0, :, 0]), none)


def crops(count: int, gen: torch.Generator) -> Tensor:
    """Random crops, flips and translations [1, count, 3, 3], face pixels to canvas pixels: from four fifths
    of the picture's side to all of it, anywhere inside, mirrored half the time."""
    drawn = torch.rand(4, count, generator=gen, dtype=torch.float64)
    scale = 1 + (WIDEST_CROP - 1) * drawn[0]
    sign = torch.where(drawn[1] < 0.5, -1.0, 1.0).double()
    across, down = (drawn[2:] * (CANVAS_PX - 1 - scale * (FACE_PX - 1))).unbind()
    placed = torch.zeros(count, 3, 3, dtype=torch.float64)
    placed[:, 0, 0], placed[:, 1, 1], placed[:, 2, 2] = sign * scale, scale, 1.0
    placed[:, 0, 2] = torch.where(sign > 0, across, across + scale * (FACE_PX - 1))
    placed[:, 1, 2] = down
    return placed[None]
