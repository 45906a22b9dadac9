"""Faces from frame to frame: who is who, which are lost, when a face's memory must start anew.

A known face is followed by the mesh alone, from where it was; the detector runs only for faces not yet known.
Where even the mesh is too much, optical flow carries a face on for a frame or two. Faces that meet are told
apart by stream.crossing; one that another hides is kept in mind for a while.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt

from stream.boxes import Box, area, covers, grown, overlap, shared
from stream.crossing import NEAR_MARGIN, SAME_FACE_IOU, groups_of, heads_before, may_be, tell_apart
from stream.face import Detection, FaceFinder, Roi, box_around, roi_around
from stream.identity import ALIKE, TOO_DEAR, UNLIKE, cost, look_at, unlikeness
from stream.track import FADE_IN_S, FADE_OUT_S, Track

LOOK_EAGERLY_S = 1.0
LOOK_EVERY_S = 0.1
LOOK_FOR_MORE_S = 0.5
LOOK_FOR_LARGER_S = 1.0
LARGER = 1.5
# Frames after a glide for which another one is prepared: to keep the picture costs a third of the mesh.
GLIDES_KEPT = 10
# A second behind another face, and the way in and out: half covered, a face is not yet or no more found.
HIDDEN_S = 1.5


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
        self._behind: list[Track] = []
        self.looked = False
        self._glides_due = 0
        self._opening = True
        self._since_look_s = 0.0
        self._since_face_s = 0.0

    @property
    def hidden(self) -> frozenset[int]:
        """Ids of faces that are kept in mind though another is before them; not in `tracks`."""
        return frozenset(t.id for t in self._behind)

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
            for track in self._behind:
                track.miss(dt_s)
        self._behind = [t for t in self._behind if t.unseen_s <= HIDDEN_S + 1e-6]
        if self._max_faces > 1:
            self._learn(frame_rgb_u8, dt_s)
        self._glides_due = GLIDES_KEPT if not find else max(0, self._glides_due - 1)
        for track in self.tracks:
            if self._glides_due and track.seen:
                track.remember(frame_rgb_u8)
            else:
                track.forget()
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
        faces = sorted([*self.tracks, *self._behind], key=lambda t: t.id)
        for group in groups_of(faces, dt_s):
            if len(group) == 1 and not group[0].hidden:
                self._follow_one(frame_rgb_u8, group[0], kept, dt_s)
            else:
                elsewhere = [t.box_px for t in kept if t.seen]
                tell_apart(frame_rgb_u8, group, partial(self._mesh, frame_rgb_u8), elsewhere, dt_s)
                kept += group
        kept.sort(key=lambda t: t.id)
        self.tracks = [t for t in kept if not t.hidden]
        self._behind = [t for t in kept if t.hidden]

    def _follow_one(
        self, frame_rgb_u8: npt.NDArray[np.uint8], track: Track, kept: list[Track], dt_s: float
    ) -> None:
        """A face with no other near goes on where the mesh finds it."""
        landmarks = self._mesh(frame_rgb_u8, track.landmarks_px)
        if landmarks is None or self._is_another(frame_rgb_u8, track, landmarks):
            track.miss(dt_s)
        elif kept and self._is_taken(box_around(landmarks), kept):
            return
        else:
            track.follow(landmarks, dt_s)
        kept.append(track)

    @staticmethod
    def _is_taken(box: Box, tracks: list[Track]) -> bool:
        """Whether a face seen is the one in the box."""
        return any(t.seen and overlap(t.box_px, box) > SAME_FACE_IOU for t in tracks)

    def _is_another(
        self, frame_rgb_u8: npt.NDArray[np.uint8], track: Track, landmarks_px: npt.NDArray[np.float32]
    ) -> bool:
        """Whether the mesh leapt, or came back after a while, to a face that looks quite different."""
        if track.look is None or (track.seen and not track.leaps(landmarks_px)):
            return False
        return unlikeness(track.look, look_at(frame_rgb_u8, landmarks_px)) > UNLIKE

    def _learn(self, frame_rgb_u8: npt.NDArray[np.uint8], dt_s: float) -> None:
        boxes = [box_around(t.expected_px(0.0)) for t in (*self.tracks, *self._behind)]
        for k, track in enumerate(self.tracks):
            if track.seen:
                apart = not any(shared(track.box_px, box) > 0.0 for i, box in enumerate(boxes) if i != k)
                track.learn(frame_rgb_u8, dt_s, apart=apart)

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
        if self._behind:
            return self._since_look_s >= LOOK_EVERY_S - 1e-6
        every = LOOK_FOR_MORE_S if seen < self._max_faces else LOOK_FOR_LARGER_S
        return self._since_look_s >= every - 1e-6

    def _look(self, frame_rgb_u8: npt.NDArray[np.uint8], dt_s: float) -> None:
        self._since_look_s = 0.0
        found = sorted(self._finder.detect(frame_rgb_u8), key=lambda d: area(d.box_px), reverse=True)
        for detection in found[: 2 * self._max_faces]:
            if not self._wanted(detection):
                continue
            first = self._finder.landmarks_px(frame_rgb_u8, detection.roi)
            landmarks = None if first is None else self._mesh(frame_rgb_u8, first)
            if landmarks is not None:
                self._meet(frame_rgb_u8, landmarks, dt_s)

    def _wanted(self, detection: Detection) -> bool:
        """Not a face already followed, and there is room, or it is much larger than one followed."""
        if any(t.seen and covers(t.box_px, detection.box_px) for t in self.tracks):
            return False
        if sum(t.seen for t in self.tracks) < self._max_faces:
            return True
        smallest = min(area(t.box_px) for t in self.tracks)
        return area(detection.box_px) > LARGER * LARGER * smallest

    def _meet(
        self, frame_rgb_u8: npt.NDArray[np.uint8], landmarks_px: npt.NDArray[np.float32], dt_s: float
    ) -> None:
        """A face the detector found: the lost or hidden one nearest to it, or a new one."""
        box = box_around(landmarks_px)
        if self._is_taken(box, self.tracks):
            return
        if self._meet_again(frame_rgb_u8, landmarks_px, dt_s) or not self._admits(box):
            return
        self._make_room()
        fade = 1.0 if self._opening else min(1.0, dt_s / FADE_IN_S)
        self.tracks.append(Track(self._next_id, landmarks_px, fade))
        self._next_id += 1

    def _meet_again(
        self, frame_rgb_u8: npt.NDArray[np.uint8], landmarks_px: npt.NDArray[np.float32], dt_s: float
    ) -> bool:
        """Whether it was one of the faces not seen, which is then followed."""
        box = box_around(landmarks_px)
        lost = [t for t in self.tracks if not t.seen and overlap(t.box_px, box) > SAME_FACE_IOU]
        if not lost and not self._behind:
            return False
        heads = heads_before(box, [t.box_px for t in self.tracks if t.seen])
        look = look_at(frame_rgb_u8, landmarks_px, heads) if self._max_faces > 1 else None
        fits: list[tuple[float, float, Track]] = []
        for track in (*lost, *self._behind):
            unlike = unlikeness(track.look, look)
            price = cost(box_around(track.expected_px(0.0)), track.unseen_s, box, unlike)
            if may_be(track, unlike, heads) and (price < TOO_DEAR or not track.hidden):
                fits.append((price, unlike, track))
        if not fits:
            return False
        _, unlike, track = min(fits, key=lambda fit: fit[0])
        if track.hidden:
            self._behind.remove(track)
            track.come_back(landmarks_px, dt_s)
            if not unlike <= ALIKE:
                track.start_anew()
            self.tracks = sorted([*self.tracks, track], key=lambda t: t.id)
        else:
            # The miss of this very frame is taken back along with the frame's own step.
            track.fade = min(1.0, track.fade + dt_s / FADE_OUT_S)
            track.follow(landmarks_px, dt_s)
        return True

    def _admits(self, box: Box) -> bool:
        """Whether a face may be new: a hidden one's place is kept for it, and what comes up beside the face
        before it may be that one."""
        if not self._behind:
            return True
        if any(t.seen and shared(grown(t.box_px, NEAR_MARGIN), box) > 0.0 for t in self.tracks):
            return False
        faces = [t for t in self.tracks if t.seen] + self._behind
        smallest = min(area(t.box_px) for t in faces)
        return len(faces) < self._max_faces or area(box) > LARGER * LARGER * smallest

    def _make_room(self) -> None:
        """Let the smallest go, lost ones first, so that at most max_faces are kept."""
        while len(faces := [*self.tracks, *self._behind]) >= self._max_faces:
            leaves = min(faces, key=lambda t: (t.seen, t.hidden, area(t.box_px)))
            (self._behind if leaves.hidden else self.tracks).remove(leaves)
