"""Drawn people who walk through the picture and before one another, and face models that see no more of them
than the picture shows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from stream.crop import alignment, invert
from stream.face import Detection, Roi, box_around, roi_around
from stream.track import Track
from tests.stream.fakes import face_at, noise_frame

WIDTH, HEIGHT = 640, 360
# The share of a face's box that a nearer one may cover before the face models lose it.
SEEN_WHILE_COVERED = 0.55

Place = tuple[float, float]
Path = Callable[[float], Place | None]


def walk(start: Place, speed: Place, begin_s: float = -math.inf, end_s: float = math.inf) -> Path:
    """A straight way in frame pixels and pixels per second, from begin_s to end_s."""

    def place(t_s: float) -> Place | None:
        there = begin_s <= t_s < end_s
        return (start[0] + speed[0] * t_s, start[1] + speed[1] * t_s) if there else None

    return place


@dataclass
class Person:
    """look: a seed of the colours; the same seed is the same look. scale: frame pixels per face pixel. Of two
    people the one with the larger scale is nearer."""

    look: int
    scale: float
    place: Path
    texture: npt.NDArray[np.uint8] = field(init=False)

    def __post_init__(self) -> None:
        cells = np.random.default_rng(self.look).integers(30, 220, (7, 7, 3), dtype=np.uint8)
        self.texture = np.asarray(cv2.resize(cells, (512, 512), interpolation=cv2.INTER_CUBIC), np.uint8)

    def face(self, t_s: float) -> npt.NDArray[np.float32] | None:
        """Landmarks float32 [468, 2] in frame pixels; None where the person is away."""
        place = self.place(t_s)
        return None if place is None else face_at(*place, self.scale)


class Crowd:
    """A FaceFinder for the frame last drawn."""

    def __init__(self, *people: Person) -> None:
        self.people = list(people)
        self.detections = self.meshes = 0
        self._background = noise_frame(HEIGHT, WIDTH, seed=7)
        self._faces: list[npt.NDArray[np.float32] | None] = [None] * len(people)

    def draw(self, t_s: float) -> npt.NDArray[np.uint8]:
        """The frame at t_s, uint8 [360, 640, 3]; what is asked next is asked of it."""
        frame = self._background.copy()
        self._faces = [person.face(t_s) for person in self.people]
        for person, face in sorted(zip(self.people, self._faces, strict=True), key=lambda p: p[0].scale):
            if face is None:
                continue
            warped = cv2.warpAffine(person.texture, invert(alignment(face)), (WIDTH, HEIGHT))
            outline = np.zeros((HEIGHT, WIDTH), np.uint8)
            cv2.fillConvexPoly(outline, cv2.convexHull(np.rint(face).astype(np.int32)), 1)
            cv2.copyTo(warped, outline, frame)
        return frame

    def owner(self, track: Track) -> int:
        """Which of the people the track is on: the one whose landmarks are nearest."""
        away = [math.inf if f is None else float(np.abs(f - track.landmarks_px).mean()) for f in self._faces]
        return int(np.argmin(away))

    def detect(self, frame_rgb_u8: npt.NDArray[np.uint8]) -> list[Detection]:
        self.detections += 1
        return [Detection(box_around(face), 0.9, roi_around(face)) for face in self._visible()]

    def landmarks_px(self, frame_rgb_u8: npt.NDArray[np.uint8], roi: Roi) -> npt.NDArray[np.float32] | None:
        """The face nearest to the region's middle; small ones are not seen in a wide region, nor large ones
        in a narrow one."""
        self.meshes += 1
        best, reach = None, 0.45 * roi.side_px
        for face in self._visible():
            seen = roi_around(face)
            distance = math.hypot(seen.cx_px - roi.cx_px, seen.cy_px - roi.cy_px)
            if distance < reach and 0.4 < seen.side_px / roi.side_px < 2.5:
                best, reach = face, distance
        return best

    def close(self) -> None:
        """Nothing is held."""

    def _visible(self) -> list[npt.NDArray[np.float32]]:
        there = [(p.scale, f) for p, f in zip(self.people, self._faces, strict=True) if f is not None]
        return [f for s, f in there if sum(_share(f, g) for t, g in there if t > s) < SEEN_WHILE_COVERED]


def _share(face: npt.NDArray[np.float32], over: npt.NDArray[np.float32]) -> float:
    """How much of the face's box the other's covers."""
    box, other = box_around(face), box_around(over)
    shared = np.clip(np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2]), 0.0, None)
    return float(np.prod(shared) / np.prod(box[2:] - box[:2]))
