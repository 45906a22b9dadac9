"""Retoucher: frames in, retouched frames out, one face or several, with all memory inside the object."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from types import TracebackType
from typing import NamedTuple, Self

import cv2
import numpy as np
import numpy.typing as npt

from stream import broad, kinds, several, traits
from stream.aside import Aside
from stream.composite import add_residual, skin_guard
from stream.crop import FACE_PX, crop_face
from stream.engine import Engine, EngineState, Seen, check_preset, load_engine
from stream.errors import EngineError, FrameError, OptionError, VretouchError
from stream.face import FaceFinder, FaceModels
from stream.keep import DEFAULT as KEPT_BY_DEFAULT
from stream.keep import TEXTURE
from stream.keep import checked as checked_traits
from stream.results import STAGES, FaceResult, FrameResult, Located, LocatedFace, Stepped, SteppedFace
from stream.scene import Scene
from stream.track import Track
from stream.tracker import Tracker

NOMINAL_FRAME_S = 1.0 / 30.0
MAX_GAP_S = 0.5
MIN_STEP_S = 1e-3
KEPT_NEW = 0.25

_NUMBERS = (int, float, np.integer, np.floating, Fraction)


@dataclass
class Memory:
    """A followed face's engine state, the epoch of the track it belongs to, what the network last made of it,
    and for how many frames that has been carried on."""

    epoch: int
    state: EngineState
    seen: Seen | None = None
    waited: int = 0


_Known = tuple[LocatedFace, Memory]


class _Looked(NamedTuple):
    """So many faces the network saw, at so many ms each."""

    faces: int
    face_ms: float


class Retoucher:
    """Retouches a stream of frames; a context manager. One object a stream; one thread at a time, or one
    each for `locate`, `step` and `composite`, which share nothing.

    engine: a name (see stream.engine.ENGINES) or an Engine already loaded, which several Retouchers may
    share. strength: 0 (frames pass through bit for bit) to 1; may be changed at any time. also: which of
    stream.broad.BROAD_KINDS are taken away beside marks; keep: which of stream.keep.TRAITS are guarded beyond
    what the network leaves by itself; both may be changed alike. finder: face models to use
    instead of mediapipe's; closed with the Retoucher only if it made them itself.
    """

    def __init__(
        self,
        preset: str = "live",
        engine: str | Engine = "auto",
        strength: float = 1.0,
        max_faces: int = 1,
        *,
        also: Collection[str] = broad.ALL,
        keep: Collection[str] = KEPT_BY_DEFAULT,
        finder: FaceFinder | None = None,
    ) -> None:
        self.strength = strength
        self.also = also
        self.keep = keep
        most = several.checked(max_faces)
        check_preset(preset)
        self.engine: Engine = (
            load_engine(engine, preset) if isinstance(engine, str) else _checked_engine(engine)
        )
        self._own_finder = FaceModels() if finder is None else None
        used = finder if finder is not None else self._own_finder
        assert used is not None
        self._tracker = Tracker(used, most)
        self._aside: Aside[_Looked] = Aside("vretouch-aside")
        self._closed = False
        self.reset()

    @property
    def strength(self) -> float:
        """How much of the effect is applied, 0 to 1."""
        return self._strength

    @strength.setter
    def strength(self, value: float) -> None:
        if isinstance(value, bool) or not isinstance(value, _NUMBERS) or not 0.0 <= value <= 1.0:
            raise OptionError(f"strength must be a number from 0 to 1, not {value!r}")
        self._strength = float(value)

    @property
    def also(self) -> Collection[str]:
        """Which broad kinds of imperfection are taken away beside marks."""
        return self._also

    @also.setter
    def also(self, value: Collection[str]) -> None:
        self._also = broad.checked(value)

    @property
    def keep(self) -> Collection[str]:
        """What of a person is guarded beyond what the network leaves by itself."""
        return self._keep

    @keep.setter
    def keep(self, value: Collection[str]) -> None:
        self._keep = checked_traits(value)

    def warm_up(self) -> None:
        """Run every part once on a black picture, and start the thread for steps that no frame waits for: the
        first run of each takes many times as long as later ones. Call it before the first frame; nothing is
        remembered of it."""
        black = np.zeros((FACE_PX, FACE_PX, 3), np.uint8)
        self._tracker.warm_up(black)
        self.engine.step(black, self.engine.new_state())
        self._aside.begin(partial(self._look, []))
        self._aside.collect(wait=True)

    def reset(self) -> None:
        """Forget everything: the next frame is the first of a new stream. Not while other threads are at
        work."""
        self._aside.collect(wait=True)
        self._tracker.restart()
        self._memories: dict[int, Memory] = {}
        self._pts_s: float | None = None
        self._scene = Scene()
        self._fresh = True
        self.last = FrameResult()

    def process(
        self, frame_rgb_u8: npt.NDArray[np.uint8], pts_s: float | None = None
    ) -> npt.NDArray[np.uint8]:
        """The retouched frame, a new array; frames must come in order.

        frame_rgb_u8: uint8 [H, W, 3] RGB, any size, any strides; not changed. pts_s: the frame's time in
        seconds; without it frames are taken to be 1/30 s apart. More than 0.5 s ahead or any time back starts
        anew.
        """
        return self.composite(frame_rgb_u8, self.step(self.locate(frame_rgb_u8, pts_s)))

    def locate(
        self, frame_rgb_u8: npt.NDArray[np.uint8], pts_s: float | None = None, *, find: bool = True
    ) -> Located:
        """The first part of `process`: where the faces are.

        One thread may locate the faces of frames to come while another steps and a third composites; each
        must be given the frames in order. find: False spares the face models and carries the faces on by
        optical flow, which holds for a few frames.
        """
        self._check_open()
        stages = Stopwatch()
        frame = np.ascontiguousarray(checked_frame(frame_rgb_u8))
        dt_s = self._advance(frame, pts_s)
        restarted, self._fresh = self._fresh, False
        with stages.running("locate"):
            tracks = self._tracker.update(frame, dt_s, find=find)
        with stages.running("align"):
            for track in tracks:
                track.align()
        with stages.running("crop"):
            faces = tuple(_located(track, self._face_of(frame, track.alignment)) for track in tracks)
        return Located(faces, stages.ms(), restarted, self._tracker.looked, self._tracker.hidden)

    @property
    def stepping(self) -> bool:
        """Whether a step that is not waited for is under way."""
        return self._aside.busy

    def step(self, located: Located, *, at_most: int | None = None, wait: bool = True) -> Stepped:
        """The second part of `process`: the network's step on every face.

        at_most: step so many faces only, large ones and those that have waited first; for the others what
        the network made of them last is carried on with the face, and one it never saw is left out. wait:
        False lets the network see them in a thread of its own, for frames to come, while this one carries
        on what it made last; none are begun while it is at earlier ones. An error of that thread is raised
        by the next call.
        """
        self._check_open()
        stages = Stopwatch(located.stage_ms)
        hidden = {known: self._memories[known] for known in located.hidden & self._memories.keys()}
        self._memories = {face.id: self._memory_of(face) for face in located.faces} | hidden
        with stages.running("step"):
            looked = self._aside.collect(wait=wait)
            chosen = self._chosen(located.faces, at_most) if wait or self._aside.free else []
            for memory in self._memories.values():
                memory.waited += 1
            for _, memory in chosen:
                memory.waited = 0
            if wait:
                looked = self._look(chosen)
            elif chosen:
                self._aside.begin(partial(self._look, chosen))
        faces = ((face, self._memories[face.id].seen) for face in located.faces)
        shown = tuple(SteppedFace(face, seen) for face, seen in faces if seen is not None)
        count, face_ms = looked or _Looked(0, math.nan)
        return Stepped(shown, stages.ms(), located.restarted, located.found, count, face_ms)

    def _chosen(self, faces: tuple[LocatedFace, ...], at_most: int | None) -> list[_Known]:
        """The faces to be stepped: as many as allowed, by their area times the frames they waited."""
        chosen = [(face, self._memories[face.id]) for face in faces]
        if at_most is None or at_most >= len(faces):
            return chosen

        def urgency(one: _Known) -> float:
            face, memory = one
            width, height = face.box_px[2:] - face.box_px[:2]
            return float(width * height) * (1 + memory.waited)

        return sorted(chosen, key=urgency, reverse=True)[: max(0, at_most)]

    def _look(self, chosen: list[_Known]) -> _Looked:
        """Let the network see these faces, and remember what it made of them."""
        began_ns = time.perf_counter_ns()
        for face, memory in chosen:
            memory.seen = self._see(face, memory)
        passed_ms = (time.perf_counter_ns() - began_ns) / 1e6
        return _Looked(len(chosen), passed_ms / len(chosen) if chosen else math.nan)

    def _see(self, face: LocatedFace, memory: Memory) -> Seen:
        """One step of the network on one face."""
        seen = Seen(*self.engine.step(face.face_u8, memory.state))
        return seen._replace(kept=_steadied(memory.seen, seen.kept))

    def composite(self, frame_rgb_u8: npt.NDArray[np.uint8], stepped: Stepped) -> npt.NDArray[np.uint8]:
        """The last part of `process`: the retouched frame, a new array, for the frame's own `stepped`. Sets
        `last`."""
        self._check_open()
        stages = Stopwatch(stepped.stage_ms)
        with stages.running("composite"):
            retouched = np.array(checked_frame(frame_rgb_u8), order="C")
            faces = [self._composite(retouched, face) for face in stepped.faces]
        self.last = FrameResult(
            faces, stages.ms(), stepped.restarted, stepped.found, stepped.stepped, stepped.step_ms
        )
        return retouched

    def _composite(self, retouched: npt.NDArray[np.uint8], stepped: SteppedFace) -> FaceResult:
        """One face's residual into the frame, in place."""
        face, seen = stepped.located, stepped.seen
        residual, kept = seen.residual, None
        guard = skin_guard(face.face_landmarks_px)
        on_skin = cv2.multiply(seen.map, guard, scale=1.0 / 255.0, dtype=cv2.CV_32F)
        if self._also != broad.ALL:
            shares = kinds.shares_of(residual, face.face_landmarks_px)
            guard = kinds.without(guard, shares, self._also)
        if not self._keep.isdisjoint(traits.SHOWN):
            kept = traits.shares_of(seen.kept, face.face_u8, self._keep, guard)
            guard = traits.spared(guard, kept)
        if TEXTURE in self._keep:
            residual = traits.coarse(residual)
        amount = self._strength * face.fade
        return FaceResult(
            id=face.id,
            box_px=face.box_px,
            landmarks_px=face.landmarks_px,
            alignment=face.alignment,
            map=np.asarray(on_skin, np.float32),
            residual=seen.residual,
            face_landmarks_px=face.face_landmarks_px,
            fade=face.fade,
            changed_px=add_residual(retouched, residual, guard, face.alignment, amount),
            traits=kept,
        )

    def _face_of(
        self, frame: npt.NDArray[np.uint8], to_face: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.uint8]:
        """The aligned face, for LocatedFace."""
        return crop_face(frame, to_face)

    def _memory_of(self, face: LocatedFace) -> Memory:
        memory = self._memories.get(face.id)
        if memory is None or memory.epoch != face.epoch:
            return Memory(face.epoch, self.engine.new_state())
        return memory

    def _advance(self, frame: npt.NDArray[np.uint8], pts_s: float | None) -> float:
        """Seconds since the previous frame; starts anew at a gap, a step back, a cut or a new size."""
        elapsed = self._elapsed(pts_s)
        if self._scene.changed(frame) or not 0.0 <= elapsed <= MAX_GAP_S:
            self._tracker.restart()  # new ids, so that no memory outlives it
            self._fresh = True
            elapsed = NOMINAL_FRAME_S
        return max(elapsed, MIN_STEP_S)

    def _elapsed(self, pts_s: float | None) -> float:
        if pts_s is not None and not (isinstance(pts_s, _NUMBERS) and math.isfinite(pts_s)):
            raise FrameError(
                f"pts_s must be a time in seconds, not {pts_s!r}; leave it out if it is not known"
            )
        before, self._pts_s = self._pts_s, pts_s
        return NOMINAL_FRAME_S if pts_s is None or before is None else pts_s - before

    def _check_open(self) -> None:
        if self._closed:
            raise VretouchError("this Retoucher was closed; make a new one")

    def close(self) -> None:
        """Stop the face models this object started, once a step under way has ended. The engine may be
        shared and stays."""
        self._aside.close()
        if not self._closed and self._own_finder is not None:
            self._own_finder.close()
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _located(track: Track, face_u8: npt.NDArray[np.uint8]) -> LocatedFace:
    """The track as it is now, for it moves on with the next frame."""
    return LocatedFace(
        id=track.id,
        epoch=track.epoch,
        fade=track.fade,
        box_px=track.box_px,
        landmarks_px=track.landmarks_px,
        alignment=track.alignment,
        face_landmarks_px=track.face_landmarks_px,
        face_u8=face_u8,
    )


def _steadied(before: Seen | None, kept: npt.NDArray[np.float32] | None) -> npt.NDArray[np.float32] | None:
    """What is kept, averaged with what it was: it has no memory of its own, and what blinks is seen."""
    if before is None or before.kept is None or kept is None:
        return kept
    return np.asarray(before.kept + np.float32(KEPT_NEW) * (kept - before.kept), np.float32)


class Stopwatch:
    """Adds up the time of each of STAGES over the faces of one frame, and all that passes: `total`."""

    def __init__(self, before_ms: dict[str, float] | None = None) -> None:
        self._ms = dict.fromkeys(STAGES, 0.0) if before_ms is None else dict(before_ms)
        self._began_ns = time.perf_counter_ns()

    @contextmanager
    def running(self, stage: str) -> Iterator[None]:
        began = time.perf_counter_ns()
        try:
            yield
        finally:
            self._ms[stage] += (time.perf_counter_ns() - began) / 1e6

    def ms(self) -> dict[str, float]:
        """Milliseconds by stage so far."""
        passed = (time.perf_counter_ns() - self._began_ns) / 1e6
        return self._ms | {"total": self._ms["total"] + passed}


def _checked_engine(engine: Engine) -> Engine:
    """The engine, after a look at whether it is one."""
    if not all(callable(getattr(engine, name, None)) for name in ("new_state", "step")):
        raise EngineError(
            f"engine must be a name or a loaded engine, not {type(engine).__name__}; leave it out for 'auto'"
        )
    return engine


def checked_frame(frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The frame, after checking its type and shape."""
    wanted = "give uint8 [height, width, 3] in RGB order"
    if not isinstance(frame, np.ndarray):
        raise FrameError(f"a frame must be a NumPy array, not {type(frame).__name__}; {wanted}")
    if frame.dtype != np.uint8:
        raise FrameError(f"a frame's dtype must be uint8, not {frame.dtype}; {wanted}")
    if frame.ndim != 3 or frame.shape[2] != 3:
        raise FrameError(f"a frame's shape must be [height, width, 3], not {list(frame.shape)}; {wanted}")
    if frame.size == 0:
        raise FrameError(f"a frame of shape {list(frame.shape)} holds no pixels; {wanted}")
    return frame
