"""What is known of a frame and its faces after each part of the retouching."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from stream.composite import Box
from stream.engine import Seen
from stream.kinds import shares_of

STAGES = ("locate", "align", "crop", "step", "composite", "total")


@dataclass(frozen=True)
class FaceResult:
    """One retouched face of the last frame.

    id: stable while the face is followed. box_px: float32 [4], x0, y0, x1, y1 in frame pixels.
    landmarks_px: float32 [468, 2] in frame pixels. alignment: float64 [2, 3], frame to face pixels. map:
    float32 [512, 512] in [0, 1], the imperfection map in face pixels, 0 off the skin: what was found, of
    whatever kind. residual: float32 [512, 512, 3] RGB in 8-bit levels, what the network would add.
    face_landmarks_px: as landmarks_px, in face pixels. fade: [0, 1], how much of the effect is applied.
    changed_px: x0, y0, x1, y1 (the last two exclusive), the part of the frame outside which this face changed
    nothing; None where it changed nothing at all. traits: float32 [3, 256, 256] in [0, 1], where moles,
    freckles and lines were kept, 0 off the skin; None where none of them were asked for (see
    stream.traits.shares_of).
    """

    id: int
    box_px: npt.NDArray[np.float32]
    landmarks_px: npt.NDArray[np.float32]
    alignment: npt.NDArray[np.float64]
    map: npt.NDArray[np.float32]
    residual: npt.NDArray[np.float32]
    face_landmarks_px: npt.NDArray[np.float32]
    fade: float
    changed_px: Box | None
    traits: npt.NDArray[np.float32] | None = None

    def kinds(self) -> npt.NDArray[np.float32]:
        """Shares of the broad kinds of imperfection, float32 [3, 256, 256]: see stream.kinds.shares_of."""
        return shares_of(self.residual, self.face_landmarks_px)


@dataclass(frozen=True)
class FrameResult:
    """What was found in the last frame.

    faces: oldest first. stage_ms: time of each of STAGES in ms. restarted: the stream began anew with this
    frame (the first one, a cut, a gap). found: the face models looked at it. stepped: how many faces the
    network saw for it, or, where it is not waited for, for earlier frames since the one before. step_ms: what
    one of them took it; nan where it saw none.
    """

    faces: list[FaceResult] = field(default_factory=list)
    stage_ms: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    restarted: bool = False
    found: bool = True
    stepped: int = 0
    step_ms: float = math.nan


@dataclass(frozen=True)
class LocatedFace:
    """A face of a frame before it is retouched; see FaceResult and stream.track.Track.

    face_u8: uint8 [512, 512, 3], the aligned face.
    """

    id: int
    epoch: int
    fade: float
    box_px: npt.NDArray[np.float32]
    landmarks_px: npt.NDArray[np.float32]
    alignment: npt.NDArray[np.float64]
    face_landmarks_px: npt.NDArray[np.float32]
    face_u8: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Located:
    """The faces of one frame, oldest first, as `Retoucher.locate` found them; for `Retoucher.step`.

    stage_ms: time so far of each of STAGES in ms. restarted, found: see FrameResult. hidden: ids of faces
    behind others, whose memory is to be kept.
    """

    faces: tuple[LocatedFace, ...]
    stage_ms: dict[str, float]
    restarted: bool
    found: bool = True
    hidden: frozenset[int] = frozenset()


@dataclass(frozen=True)
class SteppedFace:
    """A face with what the network made of it."""

    located: LocatedFace
    seen: Seen


@dataclass(frozen=True)
class Stepped:
    """The faces of one frame as `Retoucher.step` gives them; for `Retoucher.composite`. See FrameResult."""

    faces: tuple[SteppedFace, ...]
    stage_ms: dict[str, float]
    restarted: bool
    found: bool
    stepped: int
    step_ms: float
