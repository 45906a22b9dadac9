"""stream.tracker: who is who, from frame to frame."""

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from stream.boxes import overlap
from stream.track import FADE_IN_S, FADE_OUT_S, Track
from stream.tracker import GLIDES_KEPT, LOOK_FOR_LARGER_S, LOOK_FOR_MORE_S, Tracker
from tests.stream.fakes import FakeFinder, face_at, noise_frame

DT_S = 1 / 30
FRAME = noise_frame(360, 640)


def run(tracker: Tracker, frames: int) -> list:
    tracks: list = []
    for _ in range(frames):
        tracks = tracker.update(FRAME, DT_S)
        for track in tracks:
            track.align()
    return tracks


def test_overlap_of_boxes() -> None:
    one = np.array([0, 0, 10, 10], np.float32)
    assert overlap(one, one) == 1.0
    assert overlap(one, one + np.float32(5)) == pytest.approx(25 / 175)
    assert overlap(one, one + np.float32(20)) == 0.0
    assert overlap(one * np.float32(0), one * np.float32(0)) == 0.0


def test_a_face_there_from_the_start_is_shown_at_once_and_never_detected_again_soon() -> None:
    finder = FakeFinder(face_at(300, 180))
    tracker = Tracker(finder, 1)
    assert run(tracker, 1)[0].fade == 1.0
    run(tracker, 20)
    assert finder.detections == 1


def test_a_face_that_appears_later_fades_in() -> None:
    finder = FakeFinder()
    tracker = Tracker(finder, 1)
    assert run(tracker, 10) == []
    finder.faces = [face_at(300, 180)]
    fades = [run(tracker, 1)[0].fade for _ in range(12)]
    assert 0 < fades[0] < 0.3
    assert fades == sorted(fades)
    assert fades[round(FADE_IN_S / DT_S)] == 1.0


def test_a_lost_face_is_held_then_let_go() -> None:
    finder = FakeFinder(face_at(300, 180))
    tracker = Tracker(finder, 1)
    held = run(tracker, 5)[0].alignment
    finder.faces = []
    fades = []
    for _ in range(round(FADE_OUT_S / DT_S) - 1):
        (track,) = run(tracker, 1)
        fades.append(track.fade)
        np.testing.assert_array_equal(track.alignment, held)
    assert fades == sorted(fades, reverse=True)
    assert run(tracker, 2) == []


def test_a_face_back_in_time_keeps_its_id_and_memory() -> None:
    finder = FakeFinder(face_at(300, 180))
    tracker = Tracker(finder, 1)
    run(tracker, 5)
    finder.faces = []
    run(tracker, 2)
    finder.faces = [face_at(310, 182)]
    (track,) = run(tracker, 1)
    assert (track.id, track.epoch, track.seen) == (0, 0, True)
    assert 0.5 < track.fade < 1.0
    assert run(tracker, 10)[0].fade == 1.0


def test_a_face_back_too_late_is_a_new_one() -> None:
    finder = FakeFinder(face_at(300, 180))
    tracker = Tracker(finder, 1)
    run(tracker, 5)
    finder.faces = []
    run(tracker, 20)
    finder.faces = [face_at(300, 180)]
    assert run(tracker, 1)[0].id == 1


def test_a_leap_starts_the_face_anew() -> None:
    finder = FakeFinder(face_at(300, 180, 0.5))
    tracker = Tracker(finder, 1)
    run(tracker, 3)
    finder.faces = [face_at(365, 180, 0.5)]
    (track,) = run(tracker, 1)
    assert (track.id, track.epoch) == (0, 1)
    assert run(tracker, 1)[0].epoch == 1


def test_ids_stay_with_their_faces_while_these_move() -> None:
    finder = FakeFinder(face_at(120, 180, 0.3), face_at(500, 180, 0.3))
    tracker = Tracker(finder, 2)
    first = {t.id: t.box_px[0] for t in run(tracker, 1)}
    assert sorted(first) == [0, 1]
    for step in range(40):
        finder.faces = [face_at(500 - step, 180, 0.3), face_at(120 + step, 180, 0.3)]
        tracks = run(tracker, 1)
    assert [t.id for t in tracks] == [0, 1]
    for track in tracks:
        assert abs(track.box_px[0] - first[track.id]) < 45


def test_only_the_largest_faces_are_taken() -> None:
    finder = FakeFinder(face_at(100, 180, 0.2), face_at(400, 180, 0.5), face_at(250, 60, 0.15))
    tracks = run(Tracker(finder, 2), 1)
    assert len(tracks) == 2
    assert tracks[0].box_px[2] - tracks[0].box_px[0] > tracks[1].box_px[2] - tracks[1].box_px[0]
    assert min(t.box_px[2] - t.box_px[0] for t in tracks) > 55


def test_a_second_face_is_found_while_the_first_is_followed() -> None:
    finder = FakeFinder(face_at(120, 180, 0.3))
    tracker = Tracker(finder, 2)
    run(tracker, 3)
    finder.faces.append(face_at(500, 180, 0.3))
    tracks = run(tracker, round(LOOK_FOR_MORE_S / DT_S) + 1)
    assert [t.id for t in tracks] == [0, 1]
    assert tracks[0].fade == 1.0


def test_a_much_larger_face_takes_the_only_place() -> None:
    finder = FakeFinder(face_at(120, 180, 0.15))
    tracker = Tracker(finder, 1)
    run(tracker, 3)
    finder.faces.append(face_at(450, 180, 0.5))
    (track,) = run(tracker, round(LOOK_FOR_LARGER_S / DT_S) + 1)
    assert track.id == 1


def test_a_slightly_larger_face_does_not() -> None:
    finder = FakeFinder(face_at(120, 180, 0.3))
    tracker = Tracker(finder, 1)
    run(tracker, 3)
    finder.faces.append(face_at(450, 180, 0.36))
    (track,) = run(tracker, 60)
    assert track.id == 0


def test_two_tracks_never_share_one_face() -> None:
    finder = FakeFinder(face_at(200, 180, 0.3), face_at(330, 180, 0.3))
    tracker = Tracker(finder, 2)
    run(tracker, 2)
    finder.faces = [face_at(265, 180, 0.3)]
    tracks = [t for t in run(tracker, 1) if t.seen]
    assert len(tracks) == 1


def test_one_of_a_group_does_not_take_a_face_that_comes_near_it_from_elsewhere() -> None:
    stands = face_at(400, 180, 0.2)
    finder = FakeFinder(face_at(215, 180, 0.2), face_at(320, 180, 0.2), stands)
    tracker, plain = Tracker(finder, 3), np.full((360, 640, 3), 90, np.uint8)
    for track in tracker.update(plain, DT_S):
        track.align()
    finder.faces = [face_at(267, 180, 0.2), stands]
    assert [(t.id, t.seen) for t in tracker.update(plain, DT_S)] == [(0, True), (1, False), (2, True)]


def test_a_face_alone_needs_no_look_and_no_speed() -> None:
    finder = FakeFinder(face_at(300, 180))
    tracker = Tracker(finder, 1)
    for x in range(300, 330, 3):
        finder.faces = [face_at(x, 180)]
        (track,) = run(tracker, 1)
    assert track.look is None
    assert track.speed_px.tolist() == [0.0, 0.0]


def test_without_faces_the_detector_rests() -> None:
    finder = FakeFinder()
    tracker = Tracker(finder, 1)
    run(tracker, 30)
    eager = finder.detections
    run(tracker, 60)
    assert finder.detections - eager <= 22


def test_restart_forgets_faces_but_not_the_count_of_ids() -> None:
    tracker = Tracker(FakeFinder(face_at(300, 180)), 1)
    run(tracker, 3)
    tracker.restart()
    assert tracker.tracks == []
    (track,) = run(tracker, 1)
    assert (track.id, track.fade) == (1, 1.0)


def test_a_mesh_gone_mad_counts_as_lost() -> None:
    finder = FakeFinder(face_at(300, 180))
    tracker = Tracker(finder, 1)
    run(tracker, 3)
    finder.faces = [np.full((468, 2), np.nan, np.float32)]
    assert not any(t.seen for t in run(tracker, 1))


def test_a_face_that_left_the_picture_is_let_go() -> None:
    finder = FakeFinder(face_at(300, 180))
    tracker = Tracker(finder, 1)
    for x in range(300, -200, -15):
        finder.faces = [face_at(x, 180)]
        tracks = run(tracker, 1)
    assert tracks == []


def test_a_glide_is_prepared_only_for_those_who_glide() -> None:
    finder = FakeFinder(face_at(320.0, 240.0, 0.5))
    tracker = Tracker(finder, 1)
    before, now = shifted_frames(6, 0)

    def update(frame: npt.NDArray[np.uint8], find: bool) -> Track:
        (track,) = tracker.update(frame, DT_S, find=find)
        track.align()
        return track

    update(before, True)
    track = update(now, True)
    assert track._glide(now, track.landmarks_px[:50]) is None
    held = track.landmarks_px.copy()
    update(before, False)
    assert not tracker.looked
    assert (track.landmarks_px == held).all()
    update(now, False)
    assert np.abs(track.landmarks_px - held - [6.0, 0.0]).max() < 0.5


def test_a_glide_does_not_measure_from_a_picture_of_long_ago() -> None:
    tracker = Tracker(FakeFinder(face_at(320.0, 240.0, 0.5)), 1)
    before, now = shifted_frames(6, 0)
    for frame, find, times in ((before, True, 1), (before, False, 1), (now, True, GLIDES_KEPT + 1)):
        for _ in range(times):
            (track,) = tracker.update(frame, DT_S, find=find)
            track.align()
    held = track.landmarks_px.copy()
    tracker.update(now, DT_S, find=False)
    np.testing.assert_array_equal(track.landmarks_px, held)


def shifted_frames(dx: int, dy: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Two frames of the same soft blotches, the second shifted by whole pixels."""
    noise = np.random.default_rng(3).normal(0.0, 1.0, (480, 640)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 5.0)
    gray = np.clip(128.0 + 500.0 * soft, 0, 255).astype(np.uint8)
    frame = np.repeat(gray[:, :, None], 3, axis=2)
    return frame, np.roll(frame, (dy, dx), (0, 1))
