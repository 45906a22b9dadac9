"""Stand-ins for what is slow or random: a median face, scripted face models, an engine with known
residuals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from stream.crop import FACE_PX
from stream.face import Detection, Roi, box_around, roi_around

PATCH = (slice(260, 300), slice(150, 190))
"""Rows and columns of the fake engine's imperfection, in face pixels: on the right cheek, well inside the
guard."""


def template_landmarks() -> npt.NDArray[np.float32]:
    """float32 [468, 2]: the median face of many portraits in canonical pose, in face pixels."""
    return np.load(Path(__file__).with_name("mean_face.npy"))


def face_at(x_px: float, y_px: float, scale: float = 0.5, turn: float = 0.0) -> npt.NDArray[np.float32]:
    """The template with its middle at (x_px, y_px) of a frame, `scale` frame pixels per face pixel."""
    cos, sin = scale * math.cos(turn), scale * math.sin(turn)
    centred = template_landmarks() - np.float32(FACE_PX / 2)
    turned = centred @ np.array([[cos, sin], [-sin, cos]], np.float32)
    return (turned + np.array([x_px, y_px], np.float32)).astype(np.float32)


class FakeFinder:
    """Face models that see exactly the faces put into `faces`, whatever the frame shows."""

    def __init__(self, *faces: npt.NDArray[np.float32]) -> None:
        self.faces = list(faces)
        self.detections = 0
        self.closed = False

    def detect(self, frame_rgb_u8: npt.NDArray[np.uint8]) -> list[Detection]:
        self.detections += 1
        return [Detection(box_around(face), 0.9, roi_around(face)) for face in self.faces]

    def landmarks_px(self, frame_rgb_u8: npt.NDArray[np.uint8], roi: Roi) -> npt.NDArray[np.float32] | None:
        best, reach = None, roi.side_px / 2
        for face in self.faces:
            seen = roi_around(face)
            distance = math.hypot(seen.cx_px - roi.cx_px, seen.cy_px - roi.cy_px)
            if distance < reach:
                best, reach = face, distance
        return best

    def close(self) -> None:
        self.closed = True


@dataclass
class FakeState:
    """How many faces this stream has seen."""

    steps: int = 0


class FakeEngine:
    """+levels on PATCH, growing by one for each step of the stream up to three, so that memory shows."""

    name = "fake"
    preset = "live"

    def __init__(self, levels: float = 10.0) -> None:
        self.levels = levels
        self.states_made = 0

    def new_state(self) -> FakeState:
        self.states_made += 1
        return FakeState()

    def step(
        self, face_rgb_u8: npt.NDArray[np.uint8], state: FakeState
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        assert face_rgb_u8.shape == (FACE_PX, FACE_PX, 3)
        assert face_rgb_u8.dtype == np.uint8
        residual = np.zeros((FACE_PX, FACE_PX, 3), np.float32)
        residual[PATCH] = self.levels + min(state.steps, 3)
        imperfections = np.zeros((FACE_PX, FACE_PX), np.float32)
        imperfections[PATCH] = 1.0
        state.steps += 1
        return residual, imperfections


def noise_frame(height: int, width: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """uint8 [height, width, 3] of noise between 40 and 200, so that small residuals never saturate."""
    return np.random.default_rng(seed).integers(40, 200, (height, width, 3), dtype=np.uint8)
