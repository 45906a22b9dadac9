"""From frame to frame: frames with faces that were found beforehand, and what carries them through."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from bench.clock import Spread, spread
from bench.device import Device, Stopwatch
from bench.footage import FPS, moving_face
from bench.metrics import Pixels
from bench.project import Place, Stage, Work
from bench.report import BenchError
from stream.composite import Box
from stream.crop import FACE_PX, crop_face, invert, transform
from stream.results import Located
from stream.retoucher import Retoucher

RESOLUTIONS = {"360p": (640, 360), "720p": (1280, 720), "1080p": (1920, 1080), "2160p": (3840, 2160)}
# A face fades in over a quarter of a second; before that less than all of it is added.
UNTIMED_FRAMES = 12
SHOTS = 8
# What a GPU does for the first time is done by then, and a step is recorded.
UNTIMED_TURNS = 6
FRAMES_PER_TURN = 4


def size_of(resolution: str) -> tuple[int, int]:
    """Width and height of one of RESOLUTIONS."""
    if resolution not in RESOLUTIONS:
        raise BenchError(f"there is no resolution {resolution!r}; choose from {', '.join(RESOLUTIONS)}")
    return RESOLUTIONS[resolution]


class Case(NamedTuple):
    """Frames of one of RESOLUTIONS with so many faces."""

    resolution: str
    faces: int

    @property
    def key(self) -> str:
        """For figures."""
        return f"{self.resolution}_{self.faces}"

    def __str__(self) -> str:
        return f"{self.resolution}, {self.faces} face{'s' * (self.faces > 1)}"


@dataclass(frozen=True)
class Shot:
    """A frame uint8 [H, W, 3] RGB, its faces, and what finding them took."""

    frame_u8: Pixels
    located: Located

    @property
    def locate_ms(self) -> float:
        """Of the face models and of the alignment."""
        return self.located.stage_ms["locate"] + self.located.stage_ms["align"]


@dataclass(frozen=True)
class Timed:
    """Spreads of a pipeline's frames and stages, in ms. stages, device: by the device's clock; wall: by the
    host's, waiting for the device included."""

    stages: Mapping[str, Spread]
    device: Spread
    wall: Spread


class Pipeline(Protocol):
    """Carries frames through. name: for people; key: in figures. places: its stages in order, and where each
    takes its time."""

    name: str
    key: str
    places: dict[str, Place]

    def frame(self, shot: Shot, mark: Callable[[str], None]) -> object:
        """One frame; `mark` is called where a stage ends."""
        ...

    def works(self, shot: Shot) -> Mapping[str, tuple[Work, ...]]:
        """What there is to do for the frame in the stages that the device does."""
        ...


class HostPipeline:
    """The retoucher as it is: crop and composite on the host, the step by the engine, faces found before.

    step: the operations of a face's.
    """

    def __init__(self, retoucher: Retoucher, step: Sequence[Work], key: str = "frame") -> None:
        self.key = key
        self.name = f"vretouch, {retoucher.engine.name}"
        on_host: Place = "device" if retoucher.engine.name.endswith("-cpu") else "host"
        self.places: dict[str, Place] = {"crop": on_host, "step": "device", "paste": on_host}
        self._retoucher, self._step = retoucher, tuple(step)

    def frame(self, shot: Shot, mark: Callable[[str], None]) -> Pixels:
        """uint8 [H, W, 3] RGB."""
        faces = shot.located.faces
        cropped = tuple(replace(face, face_u8=crop_face(shot.frame_u8, face.alignment)) for face in faces)
        mark("crop")
        stepped = self._retoucher.step(replace(shot.located, faces=cropped))
        mark("step")
        out = self._retoucher.composite(shot.frame_u8, stepped)
        mark("paste")
        return out

    def works(self, shot: Shot) -> Mapping[str, tuple[Work, ...]]:
        """Of all three stages."""
        step = self._step * len(shot.located.faces)
        return {"crop": crop_work(shot), "step": step, "paste": paste_work(shot, 4)}


def moving_faces(picture: Pixels, frames: int, size: tuple[int, int], faces: int) -> Iterator[Pixels]:
    """Frames uint8 [H, W, 3] RGB, each with the moving picture so many times beside and below each other."""
    columns = math.ceil(math.sqrt(faces))
    rows = math.ceil(faces / columns)
    width, height = size[0] // columns, size[1] // rows
    for tile in moving_face(picture, frames, (width, height)):
        frame = np.full((size[1], size[0], 3), tile.mean(axis=(0, 1)), np.uint8)
        for number in range(faces):
            top, left = number // columns * height, number % columns * width
            frame[top : top + height, left : left + width] = tile
        yield frame


def shots_of(
    picture: Pixels, size: tuple[int, int], faces: int, retoucher: Retoucher, count: int = SHOTS
) -> list[Shot]:
    """So many frames in a row, with their faces as the retoucher finds them."""
    retoucher.reset()
    shots = []
    for number, frame in enumerate(moving_faces(picture, UNTIMED_FRAMES + count, size, faces)):
        shots.append(Shot(frame, retoucher.locate(frame, number / FPS)))
    shots = shots[UNTIMED_FRAMES:]
    fewest = min(len(shot.located.faces) for shot in shots)
    if fewest < faces:
        raise BenchError(
            f"only {fewest} of {faces} faces were found at {size[0]}x{size[1]}; give a picture of one face "
            "with --input, fewer --faces or a larger --resolution"
        )
    return shots


def back_and_forth(shots: Sequence[Shot]) -> Iterator[Shot]:
    """The shots without end, forwards and backwards, so that nothing jumps."""
    while True:
        yield from shots
        yield from shots[-2:0:-1]


def time_frames(
    pipelines: Sequence[Pipeline], device: Device, shots: Sequence[Shot], frames: int
) -> dict[str, Timed]:
    """`frames` frames or a few more through each of the pipelines, in turns, after some untimed ones."""
    watches = {pipeline.name: Stopwatch(device) for pipeline in pipelines}
    rows = {pipeline.name: back_and_forth(shots) for pipeline in pipelines}
    for number in range(0, frames, FRAMES_PER_TURN):
        for pipeline in pipelines:
            row, watch, untimed = rows[pipeline.name], watches[pipeline.name], Stopwatch(device)
            # The first one after a change finds cold caches, which is the change's fault.
            for _ in range(1 if number else UNTIMED_TURNS):
                with untimed.frame():
                    pipeline.frame(next(row), untimed.mark)
            for _ in range(FRAMES_PER_TURN):
                with watch.frame():
                    pipeline.frame(next(row), watch.mark)
    return {name: Timed(watch.stages(), watch.device(), watch.wall()) for name, watch in watches.items()}


def located_ms(shots: Sequence[Shot]) -> Spread:
    """What finding the faces of the shots took, on the host."""
    return spread([shot.locate_ms for shot in shots])


def crop_work(shot: Shot) -> tuple[Work, ...]:
    """For each face: its pixels of the frame are read, the face is written, both in bytes."""
    boxes = (face_box(face.alignment, shot.frame_u8.shape) for face in shot.located.faces)
    return tuple(Work(0.0, 3.0 * (_area(box) + FACE_PX**2)) for box in boxes)


def paste_work(shot: Shot, residual_bytes: int) -> tuple[Work, ...]:
    """For each face: the residual, of so many bytes a number, and the guard are read, the face's pixels of
    the frame read and written."""
    boxes = (face_box(face.alignment, shot.frame_u8.shape) for face in shot.located.faces)
    face_bytes = FACE_PX**2 * (3.0 * residual_bytes + 1.0)
    return tuple(Work(0.0, face_bytes + 6.0 * _area(box)) for box in boxes)


def face_box(to_face: npt.NDArray[np.float64], shape: tuple[int, ...]) -> Box:
    """x0, y0, x1, y1 (exclusive) of the frame's pixels under the aligned face."""
    corners = np.array([[0.0, 0.0], [FACE_PX, 0.0], [0.0, FACE_PX], [FACE_PX, FACE_PX]])
    inside = transform(corners, invert(to_face))
    low, high = np.floor(inside.min(axis=0)), np.ceil(inside.max(axis=0))
    x0, y0 = (int(v) for v in np.clip(low, 0, [shape[1], shape[0]]))
    x1, y1 = (int(v) for v in np.clip(high, 0, [shape[1], shape[0]]))
    return x0, y0, x1, y1


def stages_of(pipeline: Pipeline, timed: Timed, shot: Shot) -> list[Stage]:
    """The medians of the pipeline's stages with the work that is in each."""
    works = pipeline.works(shot)
    return [
        Stage(name, timed.stages[name].p50, place, works.get(name, ()))
        for name, place in pipeline.places.items()
    ]


def _area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])
