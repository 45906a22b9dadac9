"""Faces from frame to frame: who is who, which are lost, when a face's memory must start anew.

A known face is followed by the mesh alone, from where it was; the detector runs only for faces not yet known.
Where even the mesh is too much, optical flow carries a face on for a frame or two.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from stream.crop import STABLE_LANDMARKS, transform
from stream.face import Detection, FaceFinder, Roi, box_around, roi_around
from stream.glide import Glide
from stream.smooth import SmoothAlignment

FADE_IN_S = 0.25
FADE_OUT_S = 0.20
LOOK_EAGERLY_S = 1.0
LOOK_EVERY_S = 0.1
LOOK_FOR_MORE_S = 0.5
LOOK_FOR_LARGER_S = 1.0
LARGER = 1.5
SAME_FACE_IOU = 0.3
JUMP_FACE_PX = 90.0
# Frames after a glide for which another one is prepared: to keep the picture costs a third of the mesh.
GLIDES_KEPT = 10

Box = npt.NDArray[np.float32]


@dataclass
class Track:
    """One face being followed.

    landmarks_px float32 [468, 2] and box_px float32 [4] (x0, y0, x1, y1) are in frame pixels, as last seen;
    alignment float64 [2, 3] takes frame pixels to face pixels; face_landmarks_px float32 [468, 2] are in face
    pixels. fade in [0, 1]. epoch grows whenever what came before says nothing about what comes now.
    """

    id: int
    landmarks_px: npt.NDArray[np.float32]
    fade: float
    epoch: int = 0
    seen: bool = True
    box_px: Box = field(init=False)
    alignment: npt.NDArray[np.float64] = field(init=False)
    face_landmarks_px: npt.NDArray[np.float32] = field(init=False)
    _smooth: SmoothAlignment = field(init=False)
    _unaligned_s: float | None = field(init=False)
    _glide: Glide = field(init=False, default_factory=Glide)

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
        if self._leap(landmarks_px) > JUMP_FACE_PX:
            self.epoch += 1
            self._smooth = SmoothAlignment()
        self.seen = True
        self.fade = min(1.0, self.fade + dt_s / FADE_IN_S)
        self.landmarks_px, self.box_px, self._unaligned_s = landmarks_px, box_around(landmarks_px), dt_s

    def glide(self, frame_rgb_u8: npt.NDArray[np.uint8], dt_s: float) -> None:
        """Move on with the picture around the face, or stay where that says nothing."""
        moved = self._glide(frame_rgb_u8, self.landmarks_px[STABLE_LANDMARKS])
        self.follow(self.landmarks_px if moved is None else transform(self.landmarks_px, moved), dt_s)

    def remember(self, frame_rgb_u8: npt.NDArray[np.uint8]) -> None:
        """Keep the picture around the face, for `glide` in the next frame."""
        self._glide.remember(frame_rgb_u8, self.box_px)

    def _leap(self, landmarks_px: npt.NDArray[np.float32]) -> float:
        """Median way of the stable landmarks since the last frame, in face pixels."""
        before = transform(self.landmarks_px[STABLE_LANDMARKS], self.alignment)
        now = transform(landmarks_px[STABLE_LANDMARKS], self.alignment)
        return float(np.median(np.linalg.norm(now - before, axis=1)))

    def miss(self, dt_s: float) -> None:
        """The face was not found: hold its place and fade out."""
        self.seen = False
        self.fade = max(0.0, self.fade - dt_s / FADE_OUT_S)


def overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes (x0, y0, x1, y1)."""
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    shared = float(np.prod(np.clip(high - low, 0.0, None)))
    total = float(np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2])) - shared
    return shared / total if total > 0.0 else 0.0


def _area(box: Box) -> float:
    return float(np.prod(box[2:] - box[:2]))


class Tracker:
    """Up to max_faces faces with stable ids. Time is the stream's own: nothing here reads a clock."""

    def __init__(self, finder: FaceFinder, max_faces: int) -> None:
        self._finder = finder
        self._max_faces = max_faces
        self._next_id = 0
        self.restart()

    def restart(self) -> None:
        """Forget every face (a cut, a gap in time). Ids go on counting."""
        self.tracks: list[Track] = []
        self.looked = False
        self._glides_due = 0
        self._opening = True
        self._since_look_s = 0.0
        self._since_face_s = 0.0

    def warm_up(self, frame_rgb_u8: npt.NDArray[np.uint8]) -> None:
        """Run the face models once, for the first run of each is slow."""
        height, width = frame_rgb_u8.shape[:2]
        self._finder.detect(frame_rgb_u8)
        whole = Roi(width / 2.0, height / 2.0, float(min(height, width)), 0.0)
        self._finder.landmarks_px(frame_rgb_u8, whole)

    def update(self, frame_rgb_u8: npt.NDArray[np.uint8], dt_s: float, *, find: bool = True) -> list[Track]:
        """The faces of this frame, oldest id first. dt_s > 0: seconds since the previous frame. find: False
        carries them on by optical flow (the first time it can only hold them), and the face models look only
        where there are none to carry on."""
        self.looked = find or not self.tracks or any(not t.seen for t in self.tracks)
        if self.looked:
            self._find(frame_rgb_u8, dt_s)
        else:
            self._since_look_s += dt_s
            for track in self.tracks:
                track.glide(frame_rgb_u8, dt_s)
        self._glides_due = GLIDES_KEPT if not find else max(0, self._glides_due - 1)
        if self._glides_due:
            for track in self.tracks:
                if track.seen:
                    track.remember(frame_rgb_u8)
        return self.tracks

    def _find(self, frame_rgb_u8: npt.NDArray[np.uint8], dt_s: float) -> None:
        self._follow_all(frame_rgb_u8, dt_s)
        self._since_look_s += dt_s
        if self._should_look():
            self._look(frame_rgb_u8, dt_s)
        self._since_face_s = 0.0 if any(t.seen for t in self.tracks) else self._since_face_s + dt_s
        self._opening = False
        self.tracks = [t for t in self.tracks if t.seen or t.fade > 0.0]

    def _follow_all(self, frame_rgb_u8: npt.NDArray[np.uint8], dt_s: float) -> None:
        kept: list[Track] = []
        for track in self.tracks:
            landmarks = self._mesh(frame_rgb_u8, track.landmarks_px)
            if landmarks is None:
                track.miss(dt_s)
            elif any(t.seen and overlap(t.box_px, box_around(landmarks)) > SAME_FACE_IOU for t in kept):
                continue
            else:
                track.follow(landmarks, dt_s)
            kept.append(track)
        self.tracks = kept

    def _mesh(
        self, frame_rgb_u8: npt.NDArray[np.uint8], around_px: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32] | None:
        """Landmarks near where they were, if they are finite and their middle is inside the frame."""
        found = self._finder.landmarks_px(frame_rgb_u8, roi_around(around_px))
        if found is None or not np.isfinite(found).all():
            return None
        middle = found.mean(axis=0)
        height, width = frame_rgb_u8.shape[:2]
        return found if 0.0 <= middle[0] <= width - 1 and 0.0 <= middle[1] <= height - 1 else None

    def _should_look(self) -> bool:
        """Detecting costs more than following: at once when a face was lost, seldom otherwise."""
        if self._opening:
            return True
        seen = sum(t.seen for t in self.tracks)
        if seen < len(self.tracks) or not self.tracks:
            eager = self._since_face_s < LOOK_EAGERLY_S
            return eager or self._since_look_s >= LOOK_EVERY_S - 1e-6
        every = LOOK_FOR_MORE_S if seen < self._max_faces else LOOK_FOR_LARGER_S
        return self._since_look_s >= every - 1e-6

    def _look(self, frame_rgb_u8: npt.NDArray[np.uint8], dt_s: float) -> None:
        self._since_look_s = 0.0
        found = sorted(self._finder.detect(frame_rgb_u8), key=lambda d: _area(d.box_px), reverse=True)
        for detection in found[: 2 * self._max_faces]:
            if not self._wanted(detection):
                continue
            first = self._finder.landmarks_px(frame_rgb_u8, detection.roi)
            landmarks = None if first is None else self._mesh(frame_rgb_u8, first)
            if landmarks is not None:
                self._meet(landmarks, dt_s)

    def _wanted(self, detection: Detection) -> bool:
        """Not a face already followed, and there is room, or it is much larger than one followed."""
        if any(t.seen and _covers(t.box_px, detection.box_px) for t in self.tracks):
            return False
        if sum(t.seen for t in self.tracks) < self._max_faces:
            return True
        smallest = min(_area(t.box_px) for t in self.tracks)
        return _area(detection.box_px) > LARGER * LARGER * smallest

    def _meet(self, landmarks_px: npt.NDArray[np.float32], dt_s: float) -> None:
        """A face the detector found: the lost one nearest to it, or a new one."""
        box = box_around(landmarks_px)
        if any(t.seen and overlap(t.box_px, box) > SAME_FACE_IOU for t in self.tracks):
            return
        lost = [t for t in self.tracks if not t.seen]
        if lost:
            nearest = max(lost, key=lambda t: overlap(t.box_px, box))
            if overlap(nearest.box_px, box) > SAME_FACE_IOU:
                # The miss of this very frame is taken back along with the frame's own step.
                nearest.fade = min(1.0, nearest.fade + dt_s / FADE_OUT_S)
                nearest.follow(landmarks_px, dt_s)
                return
        self._make_room()
        fade = 1.0 if self._opening else min(1.0, dt_s / FADE_IN_S)
        self.tracks.append(Track(self._next_id, landmarks_px, fade))
        self._next_id += 1

    def _make_room(self) -> None:
        """Let the smallest go, lost ones first, so that at most max_faces are kept."""
        while len(self.tracks) >= self._max_faces:
            self.tracks.remove(min(self.tracks, key=lambda t: (t.seen, _area(t.box_px))))


def _covers(box: Box, other: Box) -> bool:
    """The boxes share most of the smaller one: a detector's box and a mesh's differ in size."""
    low, high = np.maximum(box[:2], other[:2]), np.minimum(box[2:], other[2:])
    shared = float(np.prod(np.clip(high - low, 0.0, None)))
    return shared > 0.5 * min(_area(box), _area(other))
