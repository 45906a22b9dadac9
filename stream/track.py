"""One face being followed: where it was seen last, how it moves, what it looks like, how much of it shows."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from stream.boxes import Box
from stream.crop import STABLE_LANDMARKS, transform
from stream.face import box_around
from stream.glide import Glide
from stream.identity import ALIKE, UNLIKE, Look, look_at, unlikeness
from stream.smooth import SmoothAlignment

FADE_IN_S = 0.25
FADE_OUT_S = 0.20
JUMP_FACE_PX = 90.0
SPEED_OVER_S = 0.15
SPEED_LASTS_S = 1.0
LOOK_LEARNT_EVERY_S = 0.2
# How much a face becomes unlike itself from one frame to the next, 30 a second: more in 2 of 60 portraits
# that turned by 40 degrees in 0.3 s, and in each of ten cases where another head came before it.
SUDDEN = 0.2
SUDDEN_WITHIN_S = 0.1
SETTLED_S = 0.2


@dataclass
class Track:
    """One face being followed.

    landmarks_px float32 [468, 2] and box_px float32 [4] (x0, y0, x1, y1) are in frame pixels, as last seen;
    alignment float64 [2, 3] takes frame pixels to face pixels; face_landmarks_px float32 [468, 2] are in face
    pixels. fade in [0, 1]. epoch grows whenever what came before says nothing about what comes now. hidden:
    behind another face. unseen_s: for how long it has not been seen. speed_px float32 [2]: frame pixels per
    second. look: None where that is not known.
    """

    id: int
    landmarks_px: npt.NDArray[np.float32]
    fade: float
    epoch: int = 0
    seen: bool = True
    hidden: bool = False
    unseen_s: float = 0.0
    speed_px: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros(2, np.float32))
    look: Look | None = None
    box_px: Box = field(init=False)
    alignment: npt.NDArray[np.float64] = field(init=False)
    face_landmarks_px: npt.NDArray[np.float32] = field(init=False)
    _smooth: SmoothAlignment = field(init=False)
    _unaligned_s: float | None = field(init=False)
    _glide: Glide = field(init=False, default_factory=Glide)
    _middle_px: npt.NDArray[np.float32] | None = field(init=False, default=None)
    _look_age_s: float = field(init=False, default=0.0)
    _last_look: Look | None = field(init=False, default=None)
    _stranger: Look | None = field(init=False, default=None)
    _stranger_s: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self.box_px = box_around(self.landmarks_px)
        self._smooth = SmoothAlignment()
        self._unaligned_s = 1.0

    def align(self) -> None:
        """Bring alignment and face_landmarks_px up to where the face was last seen."""
        if self._unaligned_s is not None:
            self.alignment, self.face_landmarks_px = self._smooth(self.landmarks_px, self._unaligned_s)
            self._unaligned_s = None

    def follow(self, landmarks_px: npt.NDArray[np.float32], dt_s: float) -> None:
        """Move on to where the face is now; a leap no head makes between two frames starts the face anew."""
        if self.leaps(landmarks_px):
            self.start_anew()
            self._middle_px, self.speed_px = None, np.zeros(2, np.float32)
        self._appear(landmarks_px, dt_s)

    def come_back(self, landmarks_px: npt.NDArray[np.float32], dt_s: float) -> None:
        """Be seen again after having been hidden, wherever that is."""
        self._smooth = SmoothAlignment()
        self._appear(landmarks_px, dt_s)

    def start_anew(self) -> None:
        """What came before says nothing about what comes now."""
        self.epoch += 1
        self._smooth = SmoothAlignment()

    def _appear(self, landmarks_px: npt.NDArray[np.float32], dt_s: float) -> None:
        self.seen, self.hidden, self.unseen_s = True, False, 0.0
        self.fade = min(1.0, self.fade + dt_s / FADE_IN_S)
        self.landmarks_px, self.box_px, self._unaligned_s = landmarks_px, box_around(landmarks_px), dt_s

    def glide(self, frame_rgb_u8: npt.NDArray[np.uint8], dt_s: float) -> None:
        """Move on with the picture around the face, or stay where that says nothing."""
        moved = self._glide(frame_rgb_u8, self.landmarks_px[STABLE_LANDMARKS])
        self.follow(self.landmarks_px if moved is None else transform(self.landmarks_px, moved), dt_s)

    def remember(self, frame_rgb_u8: npt.NDArray[np.uint8]) -> None:
        """Keep the picture around the face, for `glide` in the next frame."""
        self._glide.remember(frame_rgb_u8, self.box_px)

    def forget(self) -> None:
        """Drop that picture: a later frame than the next does not follow from it."""
        self._glide.forget()

    def leaps(self, landmarks_px: npt.NDArray[np.float32]) -> bool:
        """Whether the way since the last frame, the stable landmarks' median, is one that no head makes."""
        before = transform(self.landmarks_px[STABLE_LANDMARKS], self.alignment)
        now = transform(landmarks_px[STABLE_LANDMARKS], self.alignment)
        return float(np.median(np.linalg.norm(now - before, axis=1))) > JUMP_FACE_PX

    def miss(self, dt_s: float) -> None:
        """The face was not found: hold its place and fade out."""
        self.seen, self._middle_px = False, None
        self.unseen_s += dt_s
        self.fade = max(0.0, self.fade - dt_s / FADE_OUT_S)

    def hide(self, dt_s: float) -> None:
        """Another face is before it: show nothing, for what lies in its place is another's skin."""
        self.miss(dt_s)
        self.hidden, self.fade = True, 0.0

    def expected_px(self, ahead_s: float) -> npt.NDArray[np.float32]:
        """Landmarks [468, 2] at constant speed, so long after the last frame."""
        return self.landmarks_px + self.speed_px * np.float32(self.unseen_s + ahead_s)

    def learn(self, frame_rgb_u8: npt.NDArray[np.uint8], dt_s: float, *, apart: bool) -> None:
        """Take note of how the face moves and looks; where it is not apart from others, what is measured is
        not its own."""
        before, self._middle_px = self._middle_px, self.landmarks_px.mean(axis=0)
        self._look_age_s += dt_s
        if not apart:
            self._last_look = None
            self.speed_px *= np.float32(max(0.0, 1.0 - dt_s / SPEED_LASTS_S))
            return
        if before is not None:
            speed = (self._middle_px - before) / np.float32(dt_s)
            self.speed_px = self.speed_px + np.float32(dt_s / (dt_s + SPEED_OVER_S)) * (speed - self.speed_px)
        self._learn_look(look_at(frame_rgb_u8, self.landmarks_px), dt_s)

    def _learn_look(self, now: Look, dt_s: float) -> None:
        sudden = dt_s <= SUDDEN_WITHIN_S and unlikeness(self._last_look, now) > SUDDEN
        self._last_look = now
        if self.look is None:
            self.look, self._look_age_s = now, 0.0
        elif self._is_stranger(now, dt_s, sudden=sudden):
            self.start_anew()
            self.look, self._look_age_s, self._stranger = now, 0.0, None
        elif self._stranger is None and self._look_age_s >= LOOK_LEARNT_EVERY_S:
            self.look, self._look_age_s = self.look.blended(now), 0.0

    def _is_stranger(self, now: Look, dt_s: float, *, sudden: bool) -> bool:
        """Whether another has come in the face's place: it became unlike itself all at once, and settled so.
        A head that turns is not sudden; a hand that moves before it, or a glare, does not settle."""
        if not unlikeness(self.look, now) > UNLIKE:
            self._stranger = None
            return False
        if self._stranger is None:
            self._stranger, self._stranger_s = (now if sudden else None), 0.0
            return False
        self._stranger_s += dt_s
        if self._stranger_s < SETTLED_S - 1e-6:
            return False
        before, self._stranger, self._stranger_s = self._stranger, now, 0.0
        return unlikeness(before, now) <= ALIKE
