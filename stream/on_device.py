"""Whether frames stay on the GPU: where the engine steps there, and they come back as the host makes them."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from stream import broad, keep
from stream.crop import CANONICAL_PX, FACE_PX, STABLE_LANDMARKS, transform
from stream.device import DeviceRetoucher, board_of, kernels_do
from stream.engine import GPU_ENGINES, DeviceEngine, Engine
from stream.errors import EngineError, VretouchError, first_line
from stream.face import LANDMARKS, Detection, Roi, box_around, roi_around
from stream.kernels.board import Board
from stream.kernels.launch import MAX_SIDE_PX
from stream.nv12 import as_it_was, laid_out, nv12_of, retouched_nv12, rgb_of_nv12, surface_at
from stream.parity import LEAST_LEVELS, spotted_faces
from stream.regions import FACE_OVAL
from stream.results import Located
from stream.retoucher import NOMINAL_FRAME_S, Retoucher

# torch-cuda computes the first steps as they come, records one, and replays it from then on.
FRAMES = 6
LEVELS = 1
# Of the samples that the host changes. A residual near half a level is rounded either way.
SHARE = 0.02
# A face cropped from Y, U and V is a level off here and there before the network sees it.
SHARE_IN_PLACE = 0.2
# An odd width, so that rows on the GPU are longer than those of the frame.
_SIZE = (641, 480)
_SCALE, _TURN, _MIDDLE_PX = 0.75, 0.1, (310.0, 240.0)
_STEP_PX = (3.0, 1.0)
_OVAL_MIDDLE_PX, _OVAL_RADII_PX = (256.0, 268.0), (152.0, 185.0)

_LOG = logging.getLogger("vretouch.engine")

Frame = npt.NDArray[np.uint8]
Landmarks = npt.NDArray[np.float32]
Shot = tuple[Frame, Landmarks]


@dataclass(frozen=True)
class Agreement:
    """The GPU's frames beside the host's. levels: the largest difference. share: how many of the samples that
    the host changed are so many as differ, and `allowed` so many as may. changed_levels: the host's largest
    change."""

    levels: int
    share: float
    changed_levels: int
    allowed: float = SHARE

    @property
    def objection(self) -> str:
        """Why frames must not stay on the GPU, or nothing."""
        if self.changed_levels < LEAST_LEVELS:
            return f"the weights change spotted skin by {self.changed_levels} levels only"
        if self.levels > LEVELS:
            return f"they come back {self.levels} levels apart from the CPU's"
        if self.share > self.allowed:
            return f"{self.share:.0%} of what is retouched is a level apart from the CPU's"
        return ""

    def checked(self) -> Agreement:
        """Itself. Raises EngineError where there is an objection."""
        if self.objection:
            raise EngineError(self.objection)
        return self


def device_retoucher(
    engine: Engine,
    strength: float = 1.0,
    max_faces: int = 1,
    *,
    also: Collection[str] = broad.ALL,
    keep: Collection[str] = keep.DEFAULT,
    decoded_there: bool = False,
) -> DeviceRetoucher | None:
    """A Retoucher whose frames stay on the engine's GPU, or None where the host's is to be used.

    decoded_there: frames may lie on the GPU beforehand, as NV12; whether they stay there then is checked too,
    and `fits` says it. None without a word where the engine is not of a GPU. Else a line is logged: that
    frames stay there; that what is asked for needs the CPU; or, as a warning, why they go through the CPU,
    where the first frames failed or came back as something else.
    """
    if engine.name not in GPU_ENGINES or not isinstance(engine, DeviceEngine):
        return None
    if not kernels_do(also, keep):
        _LOG.info(
            f"engine {engine.name}: frames go through the CPU, which alone does --also and --keep "
            "lines,texture"
        )
        return None
    try:
        board = board_of(engine)
        found = agreement(engine, board, keep).checked()
    except Exception as error:
        _warn(engine, "frames go through the CPU", error)
        return None
    _LOG.info(
        f"engine {engine.name}: frames of up to {MAX_SIDE_PX} pixels a side stay on the GPU; over {FRAMES} "
        f"frames {found.share:.1%} of what is retouched came back a level from the CPU's, nothing more"
    )
    in_place = decoded_there and _agrees_in_place(engine, board, keep)
    return DeviceRetoucher(engine, board, strength, max_faces, also=also, keep=keep, in_place=in_place)


def _agrees_in_place(engine: DeviceEngine, board: Board, keep: Collection[str]) -> bool:
    try:
        agreement_in_place(engine, board, keep).checked()
    except Exception as error:
        _warn(engine, "frames decoded on the GPU go through the host's memory", error)
        return False
    return True


def _warn(engine: Engine, instead: str, error: Exception) -> None:
    """Say what is done instead, and why."""
    ours = isinstance(error, VretouchError)
    why = str(error) if ours else f"the first ones on the GPU failed ({first_line(error)})"
    _LOG.warning(f"engine {engine.name}: {instead}: {why}")


def agreement(engine: DeviceEngine, board: Board, keep: Collection[str] = keep.DEFAULT) -> Agreement:
    """The same frames through the GPU, all under way at once, and through the host, with one engine."""
    clip, finder = _clip(), _Finder()
    with DeviceRetoucher(engine, board, keep=keep, finder=finder) as on_device:
        got = _retouched(on_device, clip, finder)
    return _compared([frame for frame, _ in clip], got, _on_host(engine, keep, clip, finder))


def agreement_in_place(engine: DeviceEngine, board: Board, keep: Collection[str] = keep.DEFAULT) -> Agreement:
    """The same where the frames lie on the GPU beforehand, as NV12, and are retouched there."""
    clip, finder = _clip(), _Finder()
    frames = [nv12_of(np.ascontiguousarray(frame[:, :-1])) for frame, _ in clip]
    shots = [(rgb_of_nv12(frame), face) for frame, (_, face) in zip(frames, clip, strict=True)]
    laid = [laid_out(frame) for frame in frames]
    held = [board.upload(one, one.shape[1]) for one in laid]
    there = (surface_at(one.address, frame.shape) for one, frame in zip(held, frames, strict=True))
    with DeviceRetoucher(engine, board, keep=keep, finder=finder, in_place=True) as on_device:
        _retouched(
            on_device, shots, finder, lambda rgb, at_s: on_device.locate(rgb, at_s, surface=next(there))
        )
    got = [as_it_was(board.download(one)(), frame.shape) for one, frame in zip(held, frames, strict=True)]
    wanted = [
        retouched_nv12(frame, rgb, after)
        for frame, (rgb, _), after in zip(frames, shots, _on_host(engine, keep, shots, finder), strict=True)
    ]
    return replace(_compared(frames, got, wanted), allowed=SHARE_IN_PLACE)


def _compared(frames: list[Frame], got: list[Frame], wanted: list[Frame]) -> Agreement:
    levels = differing = changed = most = 0
    for frame, one, other in zip(frames, got, wanted, strict=True):
        apart, change = cv2.absdiff(one, other), cv2.absdiff(frame, other)
        levels, most = max(levels, int(apart.max())), max(most, int(change.max()))
        differing += cv2.countNonZero(apart.reshape(-1))
        changed += cv2.countNonZero(change.reshape(-1))
    return Agreement(levels, differing / max(1, changed), most)


def _on_host(engine: Engine, keep: Collection[str], clip: list[Shot], finder: _Finder) -> list[Frame]:
    with Retoucher(engine.preset, engine, keep=keep, finder=finder) as on_host:
        return _retouched(on_host, clip, finder)


def _retouched(
    retoucher: Retoucher,
    clip: list[Shot],
    finder: _Finder,
    locate: Callable[[Frame, float], Located] | None = None,
) -> list[Frame]:
    locate = locate or retoucher.locate
    located = []
    for number, (frame, finder.face) in enumerate(clip):
        located.append(locate(frame, number * NOMINAL_FRAME_S))
    stepped = [retoucher.step(each) for each in located]
    return [retoucher.composite(frame, each).copy() for (frame, _), each in zip(clip, stepped, strict=True)]


class _Finder:
    """Face models that find the face they are told."""

    face: Landmarks

    def detect(self, frame_rgb_u8: Frame) -> list[Detection]:
        """The face."""
        del frame_rgb_u8
        return [Detection(box_around(self.face), 1.0, roi_around(self.face))]

    def landmarks_px(self, frame_rgb_u8: Frame, roi: Roi) -> Landmarks:
        """Its landmarks."""
        del frame_rgb_u8, roi
        return self.face

    def close(self) -> None:
        """Nothing to close."""


def _clip() -> list[Shot]:
    """Frames of spotted skin with the landmarks of a face that moves over them; no picture of anyone."""
    clip = []
    for number, skin in enumerate(spotted_faces(FRAMES)):
        cos, sin = _SCALE * math.cos(_TURN), _SCALE * math.sin(_TURN)
        turn = np.array([[cos, -sin], [sin, cos]])
        middle = np.add(_MIDDLE_PX, np.multiply(number, _STEP_PX))
        to_frame = np.column_stack([turn, middle - turn @ np.full(2, FACE_PX / 2.0)])
        frame = cv2.warpAffine(skin, to_frame, _SIZE, borderMode=cv2.BORDER_REFLECT_101)
        face = transform(_face(), to_frame).astype(np.float32)
        clip.append((np.asarray(frame, np.uint8), face))
    return clip


def _face() -> Landmarks:
    """Landmarks in face pixels: the stable ones in their places, an oval, and all others in the middle."""
    marks = np.tile(CANONICAL_PX.mean(axis=0), (LANDMARKS, 1))
    # The oval runs clockwise from the top of the forehead.
    angles = np.linspace(0.0, 2.0 * math.pi, len(FACE_OVAL), endpoint=False)
    marks[list(FACE_OVAL)] = _OVAL_MIDDLE_PX + np.multiply(
        _OVAL_RADII_PX, np.stack([np.sin(angles), -np.cos(angles)], 1)
    )
    marks[STABLE_LANDMARKS] = CANONICAL_PX
    return marks.astype(np.float32)
