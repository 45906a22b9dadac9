"""Retouching with the frame on a GPU: it goes there once, and comes back once, retouched; or it lies there
already, and stays.

What is done there is set going on one CUDA stream and waited for only at the end, so a frame's faces are
found on the CPU while the GPU is at the frame before.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from stream import broad, keep
from stream.composite import Box, Guard, Placed, placed, skin_guard
from stream.crop import FACE_PX
from stream.engine import Buffers, DeviceEngine, Engine, EngineState, Seen
from stream.errors import EngineError, FrameError, OptionError
from stream.face import FaceFinder
from stream.kernels import launch
from stream.kernels.board import Board, DeviceArray
from stream.kernels.launch import MAX_SIDE_PX, Kept, Residual, Surface
from stream.results import FaceResult, FrameResult, Located, LocatedFace, Stepped, SteppedFace
from stream.retoucher import KEPT_NEW, Memory, Retoucher, Stopwatch, checked_frame
from stream.traits import SPOTS

PITCH_BYTES = 16
# What the network makes of a face stays on the GPU.
_UNSEEN = Seen(
    np.broadcast_to(np.float32(np.nan), (FACE_PX, FACE_PX, 3)),
    np.broadcast_to(np.float32(np.nan), (FACE_PX, FACE_PX)),
)
_UNCROPPED = np.zeros((0, 0, 3), np.uint8)


@dataclass
class Held:
    """A frame on the GPU. pixels: its memory, or None where it is someone else's and stays there; alive: what
    else must live until it is done; finish: waits for it, and gives the pixels that come back."""

    surface: Surface
    pixels: DeviceArray | None = None
    alive: list[object] = field(default_factory=list)
    finish: Callable[[], npt.NDArray[Any] | None] | None = None


@dataclass(frozen=True, kw_only=True)
class GuardedFace(LocatedFace):
    """A face with its guard, and where that falls in the frame; see stream.composite."""

    skin: Guard
    place: Placed | None


@dataclass(frozen=True, kw_only=True)
class LocatedOnDevice(Located):
    """The faces, GuardedFace, of a frame that is on the GPU or on its way there."""

    held: Held


@dataclass(frozen=True, kw_only=True)
class SteppedOnDevice(Stepped):
    """A frame that is being retouched on the GPU. boxes: what each face may change."""

    held: Held
    boxes: tuple[Box | None, ...]


@dataclass
class _Known:
    """A followed face's buffers. kept: what is kept of it, averaged, and room for the next; weight: how much
    of the newest is still to go into that; lowered: the guard, lowered where something is kept."""

    state: EngineState
    buffers: Buffers
    kept: list[DeviceArray]
    lowered: DeviceArray
    weight: float = 1.0


class DeviceRetoucher(Retoucher):
    """A Retoucher whose frames are cropped, retouched and composited on a GPU.

    Options as there. engine: a stream.engine.DeviceEngine. board: the GPU, by default the engine's own, or a
    new one. in_place: frames that lie on the GPU already may stay there (see `locate`). `last` has no maps
    and residuals, which stay on the GPU: they are nan there; and no traits. Frames for which `also`, or
    `keep` with lines or texture, ask for more than the kernels do, and those larger than they take, go
    through the host instead (what is kept of a face is then averaged anew). Frames that `composite` gives
    lie in pinned memory: copy those that are to be kept for long.
    """

    def __init__(
        self,
        engine: Engine,
        board: Board | None = None,
        strength: float = 1.0,
        max_faces: int = 1,
        *,
        also: Collection[str] = broad.ALL,
        keep: Collection[str] = keep.DEFAULT,
        finder: FaceFinder | None = None,
        in_place: bool = False,
    ) -> None:
        if not isinstance(engine, DeviceEngine):
            name = getattr(engine, "name", type(engine).__name__)
            raise EngineError(
                f"the engine {name} does not step on a GPU; choose one that does, as torch-cuda"
            )
        self._board = board_of(engine) if board is None else board
        self._device_engine = engine
        self._known: dict[int, _Known] = {}
        self._in_place = in_place
        self._cropping = True
        self._held: Held | None = None
        super().__init__(engine.preset, engine, strength, max_faces, also=also, keep=keep, finder=finder)

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether frames of this shape (height, width, ...) that lie on the GPU may stay there."""
        return self._in_place and self._kernels_do(shape)

    def locate(
        self,
        frame_rgb_u8: npt.NDArray[np.uint8],
        pts_s: float | None = None,
        *,
        find: bool = True,
        surface: Surface | None = None,
    ) -> Located:
        """See Retoucher.locate; the frame is on its way to the GPU meanwhile.

        surface: the same frame where it lies on the GPU already, in memory that is complete and that nobody
        else uses meanwhile; only of frames that `fits` allows. It is retouched there: `composite` waits for
        that, and gives back frame_rgb_u8 as it is.
        """
        self._check_open()
        frame = checked_frame(frame_rgb_u8)
        # Once a frame: `also` and `keep` may change meanwhile.
        self._cropping = not self._kernels_do(frame.shape)
        if surface is not None:
            self._check_surface(surface, frame)
        held = None if self._cropping else self._upload(frame) if surface is None else Held(surface)
        located = super().locate(frame, pts_s, find=find)
        if held is None:
            return located
        return LocatedOnDevice(**vars(guarded(located, frame.shape)), held=held)

    def sent(self, frame_rgb_u8: npt.NDArray[np.uint8], located: Located) -> Located:
        """What `locate` gives, of a frame whose faces were found before: only its way to the GPU is left, and
        the guards of faces that have none (see `guarded`)."""
        frame = checked_frame(frame_rgb_u8)
        if not self._kernels_do(frame.shape):
            return located
        held, located = self._upload(frame), guarded(located, frame.shape)
        faces = tuple(replace(face, face_u8=_UNCROPPED) for face in located.faces)
        return LocatedOnDevice(**vars(located) | {"faces": faces, "held": held})

    def step(self, located: Located, *, at_most: int | None = None, wait: bool = True) -> Stepped:
        """See Retoucher.step; set going, and never waited for."""
        if not isinstance(located, LocatedOnDevice):
            self._forget_unseen()
            return super().step(located, at_most=at_most, wait=wait)
        return self.pasted(located, self.seen(located, at_most=at_most))

    def seen(self, located: LocatedOnDevice, *, at_most: int | None = None) -> Stepped:
        """The first half of `step`: the crops and the network's steps."""
        self._held = located.held
        stepped = super().step(located, at_most=at_most)
        self._held = None
        return stepped

    def pasted(self, located: LocatedOnDevice, stepped: Stepped) -> SteppedOnDevice:
        """The other half of `step`: the pastes, and the frame's way back, if it does not stay."""
        with (stages := Stopwatch(stepped.stage_ms)).running("composite"):
            boxes = tuple(self._paste(located.held, face.located) for face in stepped.faces)
            pixels = located.held.pixels
            located.held.finish = self._board.reached() if pixels is None else self._board.download(pixels)
        self._known = {number: known for number, known in self._known.items() if number in self._memories}
        return SteppedOnDevice(**vars(stepped) | {"stage_ms": stages.ms()}, held=located.held, boxes=boxes)

    def composite(self, frame_rgb_u8: npt.NDArray[np.uint8], stepped: Stepped) -> npt.NDArray[np.uint8]:
        """See Retoucher.composite; waits until the frame is back, or retouched where it stays."""
        if not isinstance(stepped, SteppedOnDevice):
            return super().composite(frame_rgb_u8, stepped)
        self._check_open()
        assert stepped.held.finish is not None
        stages = Stopwatch(stepped.stage_ms)
        with stages.running("composite"):
            rows, retouched = stepped.held.finish(), checked_frame(frame_rgb_u8)
            if rows is not None:
                shape = retouched.shape
                retouched = np.ascontiguousarray(rows[:, : 3 * shape[1]].reshape(shape))
        faces = [_result(face, box) for face, box in zip(stepped.faces, stepped.boxes, strict=True)]
        self.last = FrameResult(
            faces, stages.ms(), stepped.restarted, stepped.found, stepped.stepped, stepped.step_ms
        )
        return retouched

    def _forget_unseen(self) -> None:
        """What stayed on the GPU cannot be carried on by the host: such a face waits for its next step."""
        for memory in self._memories.values():
            if memory.seen is _UNSEEN:
                memory.seen = None

    def _kernels_do(self, shape: tuple[int, ...]) -> bool:
        """Whether they do all that is asked for, and of such a frame."""
        return kernels_do(self._also, self._keep) and max(shape) <= MAX_SIDE_PX

    def _check_surface(self, surface: Surface, frame: npt.NDArray[np.uint8]) -> None:
        if not self.fits(frame.shape):
            raise OptionError(
                "a frame on the GPU cannot be retouched there as `also` and `keep` ask; leave out its surface"
            )
        if (surface.height, surface.width) != frame.shape[:2]:
            raise FrameError(
                f"a frame of {frame.shape[1]}x{frame.shape[0]} cannot lie on the GPU as one of "
                f"{surface.width}x{surface.height}; give the surface of the same frame"
            )

    def _upload(self, frame: npt.NDArray[np.uint8]) -> Held:
        height, width = frame.shape[:2]
        pitch = -(-3 * width // PITCH_BYTES) * PITCH_BYTES
        pixels = self._board.upload(frame.reshape(height, 3 * width), pitch)
        return Held(Surface("rgb24", width, height, (pixels.address,), (pitch,)), pixels)

    def _face_of(
        self, frame: npt.NDArray[np.uint8], to_face: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.uint8]:
        return super()._face_of(frame, to_face) if self._cropping else _UNCROPPED

    def _see(self, face: LocatedFace, memory: Memory) -> Seen:
        if face.face_u8.size:
            return super()._see(face, memory)
        assert self._held is not None
        known = self._known_of(face, memory)
        to, planes = known.buffers.face, known.buffers.face_planes
        dtype = np.float32 if planes else np.uint8
        self._board.run(launch.crop(self._held.surface, face.alignment, to, dtype, pixels=not planes))
        self._device_engine.begin(memory.state, self._board.stream)
        known.weight = max(known.weight, KEPT_NEW)
        return _UNSEEN

    def _known_of(self, face: LocatedFace, memory: Memory) -> _Known:
        known = self._known.get(face.id)
        if known is None or known.state is not memory.state:
            shape = (2, FACE_PX // 4, FACE_PX // 4)
            kept = [self._board.zeros(shape, np.float32) for _ in range(2)]
            lowered = self._board.zeros((FACE_PX, FACE_PX), np.uint8)
            known = _Known(memory.state, self._device_engine.buffers(memory.state), kept, lowered)
            self._known[face.id] = known
        return known

    def _paste(self, held: Held, face: LocatedFace) -> Box | None:
        """One face's residual into the frame, in place."""
        assert isinstance(face, GuardedFace)
        known = self._known_of(face, self._memories[face.id])
        guard = self._board.upload(face.skin, FACE_PX)
        held.alive += [guard, known]
        if self._keep:
            guard = self._lowered(guard, known)
        place, amount = face.place, self._strength * face.fade
        if place is None or amount <= 0.0:
            return None
        buffers = known.buffers
        residual = Residual(buffers.residual, buffers.dtype, map_cells=buffers.map_cells)
        self._board.run(launch.paste(held.surface, residual, guard.address, place, amount))
        return place.box

    def _lowered(self, skin: DeviceArray, known: _Known) -> DeviceArray:
        """The guard, lowered where something is kept."""
        before, after = known.kept
        kept = Kept(known.buffers.kept, before.address, after.address, known.weight, known.buffers.dtype)
        self._board.run(launch.guard(skin.address, kept, self._keep, known.lowered.address))
        known.kept, known.weight = [after, before], 0.0
        return known.lowered


def guarded(located: Located, shape: tuple[int, ...]) -> Located:
    """The same, with guards for the faces that have none, in a frame of this shape. They depend on where a
    face is alone: made beforehand, no paste waits for them."""
    stages = Stopwatch(located.stage_ms)
    with stages.running("align"):
        faces = tuple(_guarded(face, shape) for face in located.faces)
    return replace(located, faces=faces, stage_ms=stages.ms())


def _guarded(face: LocatedFace, shape: tuple[int, ...]) -> GuardedFace:
    if isinstance(face, GuardedFace):
        return face
    skin = skin_guard(face.face_landmarks_px)
    return GuardedFace(**vars(face), skin=skin, place=placed(skin, face.alignment, shape))


def kernels_do(also: Collection[str], keep: Collection[str]) -> bool:
    """Whether the kernels do what is asked for; else a frame goes through the host."""
    return set(also) == broad.ALL and set(SPOTS).issuperset(keep)


def board_of(engine: DeviceEngine) -> Board:
    """The GPU and stream that the engine is bound to, or new ones where it is bound to none."""
    own: Board | None = getattr(engine, "board", None)
    if own is not None:
        return own
    try:
        from stream.kernels.cupy_ import CupyBoard
    except ImportError as error:
        raise EngineError(f"frames on a GPU need CuPy ({error}); `pip install vretouch[gpu]`") from error
    return CupyBoard()


def _result(stepped: SteppedFace, box: Box | None) -> FaceResult:
    face, seen = stepped.located, stepped.seen
    return FaceResult(
        id=face.id,
        box_px=face.box_px,
        landmarks_px=face.landmarks_px,
        alignment=face.alignment,
        map=seen.map,
        residual=seen.residual,
        face_landmarks_px=face.face_landmarks_px,
        fade=face.fade,
        changed_px=box,
    )
