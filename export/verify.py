"""An exported file against the network it came from, over chained frames."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from export.contract import FACE, KEPT_OUT, LEVELS, MAP, RESIDUAL, StateSpec, state_specs
from model.vretoucher import VRetouchEr

Array = NDArray[np.float32]


class ParityError(ValueError):
    """The exported file does not compute what the network computes."""


@dataclass(frozen=True)
class Parity:
    """Largest absolute differences over all frames.

    Attributes:
        frames: how many were chained.
        residual_levels: of the residual, in 8-bit levels.
        map: of the map, in [0, 1].
        kept: of where moles and freckles are, in [0, 1].
        largest_levels: the largest residual itself: nought would prove nothing.
    """

    frames: int
    residual_levels: float
    map: float
    kept: float
    largest_levels: float


def moving_faces(frames: int, face_px: int, seed: int = 0) -> Tensor:
    """Skin with reddish spots, drifting by two pixels a frame, so that every part of the network has work.

    Returns:
        [frames, 1, 3, H, W] RGB in [0, 1].
    """
    generator = torch.Generator().manual_seed(seed)
    side = face_px + 2 * frames
    shade = F.interpolate(torch.rand(1, 1, 8, 8, generator=generator), size=(side, side), mode="bicubic")
    spots = torch.rand(1, 1, side // 8, side // 8, generator=generator)
    spots = F.interpolate((spots > 0.96).float(), size=(side, side), mode="bicubic").clamp(0, 1)
    skin = torch.tensor([0.78, 0.58, 0.48]).reshape(1, 3, 1, 1) * (0.8 + 0.3 * shade)
    redness = torch.tensor([0.1, 0.35, 0.35]).reshape(1, 3, 1, 1)
    wide = (skin * torch.exp(-redness * spots)).clamp(0, 1)
    return torch.stack([wide[..., t : t + face_px, 2 * t : 2 * t + face_px] for t in range(frames)])


class Stream:
    """Streams an exported file by its contract, as any runtime would."""

    def __init__(self, path: Path, specs: tuple[StateSpec, ...]) -> None:
        self.session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        self.specs = specs
        self.states: dict[str, Array] = {spec.name: np.zeros(spec.shape, np.float32) for spec in specs}
        self.count = 0

    def step(self, face: Array) -> tuple[Array, Array, Array]:
        """`face` [1, 3, H, W] to M_full * r, in units of the face, M_full, and what is kept."""
        feed = {FACE: face, **{f"{name}_in": value for name, value in self.states.items()}}
        names = [RESIDUAL, MAP, KEPT_OUT, *(f"{spec.name}_out" for spec in self.specs)]
        residual, mask, kept, *after = self.session.run(names, feed)
        for spec, value in zip(self.specs, after, strict=True):
            if spec.slot_axis is None:
                self.states[spec.name] = value
            else:
                slots = np.moveaxis(self.states[spec.name], spec.slot_axis, 0)
                slots[self.count % len(slots)] = np.moveaxis(value, spec.slot_axis, 0)[0]
        self.count += 1
        return in_place(residual) * in_place(mask) / LEVELS, in_place(mask), kept


def in_place(cells: Array) -> Array:
    """Cells [1, 4 C, h, w] as a picture [1, C, 2 h, 2 w]."""
    _, parts, height, width = cells.shape
    placed = cells.reshape(1, parts // 4, 2, 2, height, width).transpose(0, 1, 4, 2, 5, 3)
    return placed.reshape(1, parts // 4, 2 * height, 2 * width)


@torch.no_grad()
def measure_parity(network: VRetouchEr, path: Path, face_px: int) -> Parity:
    """Differences between `network` and the file at `path` over 2 delta + 1 chained frames."""
    frames = 2 * network.config.delta + 1
    stream = Stream(path, state_specs(network.config, face_px))
    faces = moving_faces(frames, face_px)
    state = network.fresh_state(faces[0])
    residual_worst = map_worst = kept_worst = largest = 0.0
    for face in faces[:frames]:
        step = network.step(face, state)
        state = step.state
        residual, mask, kept = stream.step(face.numpy())
        residual_worst = max(residual_worst, float(np.abs(residual - step.residual.numpy()).max()))
        map_worst = max(map_worst, float(np.abs(mask - step.map.numpy()).max()))
        kept_worst = max(kept_worst, float(np.abs(kept - step.kept.numpy()).max()))
        largest = max(largest, float(step.residual.abs().max()))
    return Parity(frames, residual_worst * LEVELS, map_worst, kept_worst, largest * LEVELS)


def verify(network: VRetouchEr, path: Path, face_px: int, levels: float = 0.05, kept: float = 1e-3) -> Parity:
    """`measure_parity`, refused where it is more than `levels`, or `kept` of what stays.

    Raises:
        ParityError: the file differs from the network.
    """
    parity = measure_parity(network, path, face_px)
    if parity.largest_levels == 0.0:
        raise ParityError(f"{path} changes nothing on spotted skin: it is untrained; train it first.")
    if not parity.residual_levels <= levels:
        raise ParityError(
            f"{path} differs from the network by {parity.residual_levels:.3g} levels over {parity.frames} "
            f"frames (at most {levels} are allowed); do not ship it."
        )
    if not parity.kept <= kept:
        raise ParityError(
            f"{path} differs from the network by {parity.kept:.3g} in what is to be kept over "
            f"{parity.frames} frames (at most {kept} is allowed); do not ship it."
        )
    return parity
