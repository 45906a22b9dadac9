"""stream.crossing, and stream.tracker where faces meet: each keeps its id, and none is given another's."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from stream import Retoucher
from stream.crossing import groups_of, tell_apart
from stream.face import FaceModels
from stream.track import Track
from stream.tracker import Tracker
from tests.conftest import require
from tests.stream.crowd import Crowd, Person, walk
from tests.stream.fakes import FakeEngine, FakeState, face_at, noise_frame

Seen = dict[int, set[int]]


def follow(
    crowd: Crowd,
    frames: int,
    fps: float = 30.0,
    max_faces: int = 4,
    each: Callable[[float, list[Track]], None] | None = None,
) -> tuple[Tracker, Seen]:
    """The tracker after so many frames, and which people each id was on."""
    tracker, seen = Tracker(crowd, max_faces), {}
    for k in range(frames):
        tracks = tracker.update(crowd.draw(k / fps), 1.0 / fps)
        assert [t.id for t in tracks] == sorted(t.id for t in tracks)
        assert len(tracks) <= max_faces
        for track in tracks:
            track.align()
            if track.seen:
                seen.setdefault(track.id, set()).add(crowd.owner(track))
        if each:
            each(k / fps, tracks)
    return tracker, seen


def epochs(tracker: Tracker) -> dict[int, int]:
    return {track.id: track.epoch for track in tracker.tracks}


@pytest.mark.parametrize("speed", [60.0, 100.0, 200.0, 400.0])
@pytest.mark.parametrize("first_is_near", [True, False])
def test_two_faces_that_cross_keep_their_ids(speed: float, first_is_near: bool) -> None:
    scales = (0.32, 0.22) if first_is_near else (0.22, 0.32)
    way = 230.0
    crowd = Crowd(
        Person(1, scales[0], walk((320 - way / 2, 180), (speed, 0.0))),
        Person(2, scales[1], walk((320 + way / 2, 175), (-speed, 0.0))),
    )
    tracker, seen = follow(crowd, round(30 * way / speed))
    assert [t.seen for t in tracker.tracks] == [True, True]
    assert sorted(seen) == [0, 1]
    assert {len(people) for people in seen.values()} == {1}
    assert epochs(tracker) == {0: 0, 1: 0}


@pytest.mark.parametrize("fps", [5.0, 8.0, 12.0])
def test_two_faces_that_cross_at_a_low_rate_keep_their_ids(fps: float) -> None:
    crowd = Crowd(
        Person(1, 0.32, walk((120, 180), (220.0, 0.0))), Person(2, 0.24, walk((520, 180), (-220.0, 0.0)))
    )
    tracker, seen = follow(crowd, round(fps * 1.9), fps)
    assert sorted(seen) == [0, 1]
    assert {len(people) for people in seen.values()} == {1}
    assert [t.seen for t in tracker.tracks] == [True, True]


def test_a_face_that_turns_back_behind_another_is_known_again() -> None:
    def there_and_back(t_s: float) -> tuple[float, float]:
        return (200.0 + 150.0 * (t_s if t_s < 0.9 else 1.8 - t_s), 180.0)

    crowd = Crowd(Person(1, 0.36, walk((330, 180), (0.0, 0.0))), Person(2, 0.24, there_and_back))
    tracker, seen = follow(crowd, 54)
    assert seen == {0: {0}, 1: {1}}
    assert epochs(tracker) == {0: 0, 1: 0}


def test_of_faces_that_look_alike_the_place_decides() -> None:
    crowd = Crowd(
        Person(1, 0.28, walk((200, 180), (150.0, 0.0))), Person(1, 0.27, walk((440, 180), (-150.0, 0.0)))
    )
    tracker, seen = follow(crowd, 48)
    assert sorted(seen) == [0, 1]
    assert {len(people) for people in seen.values()} == {1}
    assert [t.seen for t in tracker.tracks] == [True, True]


def test_three_faces_of_which_one_passes_before_the_others() -> None:
    crowd = Crowd(
        Person(1, 0.22, walk((250, 180), (0.0, 0.0))),
        Person(2, 0.24, walk((400, 180), (0.0, 0.0))),
        Person(3, 0.36, walk((60, 190), (220.0, 0.0))),
    )
    tracker, seen = follow(crowd, 72)
    assert len(seen) == 3
    assert {len(people) for people in seen.values()} == {1}
    assert epochs(tracker) == {0: 0, 1: 0, 2: 0}


def test_four_faces_that_walk_through_one_another() -> None:
    crowd = Crowd(
        Person(1, 0.20, walk((40, 180), (220.0, 0.0))),
        Person(2, 0.24, walk((270, 175), (60.0, 0.0))),
        Person(3, 0.28, walk((400, 180), (-60.0, 0.0))),
        Person(4, 0.33, walk((560, 185), (-170.0, 0.0))),
    )
    tracker, seen = follow(crowd, 72)
    assert len(seen) == 4
    assert {len(people) for people in seen.values()} == {1}
    assert len(tracker.tracks) == 4


@pytest.mark.parametrize(("hidden_s", "last"), [(0.2, 1), (0.5, 1), (1.0, 1), (1.6, 2)])
def test_a_face_behind_another_is_remembered_for_a_second(hidden_s: float, last: int) -> None:
    def comes_stays_and_goes(t_s: float) -> tuple[float, float]:
        way = np.interp(t_s, [0.6, 1.0, 1.0 + hidden_s, 1.4 + hidden_s], [0.0, 1.0, 1.0, 0.0])
        return (120.0 + 210.0 * float(way), 180.0)

    crowd = Crowd(Person(1, 0.36, comes_stays_and_goes), Person(2, 0.22, walk((330, 180), (0.0, 0.0))))
    tracker, seen = follow(crowd, round(30 * (1.4 + hidden_s + 0.6)))
    assert [t.id for t in tracker.tracks] == [0, last]
    assert seen[last] == {1}
    assert {len(people) for people in seen.values()} == {1}
    assert epochs(tracker)[last] == 0


def test_a_hidden_face_is_not_shown() -> None:
    shown: dict[float, list[int]] = {}
    crowd = Crowd(
        Person(1, 0.36, walk((100, 180), (250.0, 0.0))), Person(2, 0.22, walk((330, 180), (0.0, 0.0)))
    )
    tracker, _ = follow(crowd, 45, each=lambda t_s, tracks: shown.update({t_s: [t.id for t in tracks]}))
    behind = [ids for t_s, ids in shown.items() if abs(100 + 250 * t_s - 330) < 20]
    assert len(behind) > 3
    assert all(ids == [0] for ids in behind)
    assert [t.id for t in tracker.tracks] == [0, 1]


def test_who_enters_where_another_left_gets_a_new_id() -> None:
    crowd = Crowd(
        Person(1, 0.3, walk((150, 180), (0.0, 0.0))),
        Person(2, 0.24, walk((450, 180), (0.0, 0.0), end_s=1.0)),
        Person(3, 0.24, walk((450, 180), (0.0, 0.0), begin_s=1.1)),
    )
    _, seen = follow(crowd, 60)
    assert seen == {0: {0}, 1: {1}, 2: {2}}


def test_who_comes_out_in_the_place_of_a_hidden_face_gets_a_new_id() -> None:
    crowd = Crowd(
        Person(1, 0.36, walk((100, 180), (250.0, 0.0))),
        Person(2, 0.22, walk((330, 180), (0.0, 0.0), end_s=0.9)),
        Person(3, 0.22, walk((330, 180), (0.0, 0.0), begin_s=0.9)),
    )
    _, seen = follow(crowd, 66)
    assert seen == {0: {0}, 1: {1}, 2: {2}}


def test_a_hidden_face_keeps_its_place_among_max_faces() -> None:
    crowd = Crowd(
        Person(1, 0.36, walk((100, 180), (250.0, 0.0))),
        Person(2, 0.24, walk((330, 180), (0.0, 0.0))),
        Person(3, 0.22, walk((560, 300), (0.0, 0.0))),
    )
    tracker, seen = follow(crowd, 50, max_faces=2)
    assert seen == {0: {0}, 1: {1}}
    assert [t.id for t in tracker.tracks] == [0, 1]


def test_a_much_larger_face_takes_the_place_of_a_hidden_one() -> None:
    crowd = Crowd(
        Person(1, 0.24, lambda t_s: (min(50.0 + 250.0 * t_s, 200.0), 180.0)),
        Person(2, 0.16, walk((200, 180), (0.0, 0.0))),
        Person(3, 0.45, walk((500, 180), (0.0, 0.0), begin_s=0.6)),
    )
    assert follow(crowd, 17, max_faces=2)[0].hidden == {1}
    tracker, seen = follow(crowd, 30, max_faces=2)
    assert (seen, tracker.hidden) == ({0: {0}, 1: {1}, 2: {2}}, set())


def test_faces_are_told_apart_though_every_second_frame_glides() -> None:
    crowd = Crowd(
        Person(1, 0.32, walk((200, 180), (150.0, 0.0))), Person(2, 0.22, walk((430, 180), (-150.0, 0.0)))
    )
    tracker, seen = Tracker(crowd, 2), {}
    for k in range(48):
        for track in tracker.update(crowd.draw(k / 30), 1 / 30, find=k % 2 == 0):
            track.align()
            if track.seen and k % 2 == 0:
                seen.setdefault(track.id, set()).add(crowd.owner(track))
    assert seen == {0: {0}, 1: {1}}
    assert [t.seen for t in tracker.tracks] == [True, True]


def test_a_hidden_face_is_forgotten_in_time_though_all_glide() -> None:
    crowd = Crowd(
        Person(1, 0.36, walk((100, 180), (250.0, 0.0))), Person(2, 0.22, walk((330, 180), (0.0, 0.0)))
    )
    tracker, _ = follow(crowd, 28)
    frame = crowd.draw(27 / 30)
    for k in range(50):
        assert tracker.hidden == {1} or k > 30
        tracker.update(frame, 1 / 30, find=False)
        assert not tracker.looked
        for track in tracker.tracks:
            track.align()
    assert tracker.hidden == set()


def test_faces_apart_cost_what_they_did() -> None:
    crowd = Crowd(Person(1, 0.3, walk((120, 180), (0.0, 0.0))), Person(2, 0.3, walk((500, 180), (0.0, 0.0))))
    tracker = Tracker(crowd, 2)
    for track in tracker.update(crowd.draw(0.0), 1 / 30):
        track.align()
    crowd.meshes = crowd.detections = 0
    for k in range(1, 25):
        for track in tracker.update(crowd.draw(k / 30), 1 / 30):
            track.align()
    assert (crowd.meshes, crowd.detections) == (48, 0)


def test_a_cut_forgets_hidden_faces_too() -> None:
    crowd = Crowd(
        Person(1, 0.36, walk((100, 180), (250.0, 0.0))), Person(2, 0.22, walk((330, 180), (0.0, 0.0)))
    )
    tracker, _ = follow(crowd, 28)
    assert tracker.hidden == {1}
    tracker.restart()
    assert tracker.hidden == set()
    np.testing.assert_array_equal([t.id for t in tracker.update(crowd.draw(1.6), 1 / 30)], [2, 3])


def known(face_id: int, landmarks_px: np.ndarray, speed_px: tuple[float, float] = (0.0, 0.0)) -> Track:
    track = Track(face_id, landmarks_px, 1.0)
    track.align()
    track.speed_px = np.array(speed_px, np.float32)
    return track


FRAME = noise_frame(360, 640)


def test_faces_are_one_group_where_their_ways_meet() -> None:
    one, other = known(0, face_at(150, 180, 0.2)), known(1, face_at(250, 180, 0.2))
    third = known(2, face_at(450, 180, 0.2))
    assert groups_of([], 0.1) == []
    assert groups_of([one, other, third], 0.1) == [[one], [other], [third]]
    one.speed_px[0] = 400.0
    assert sorted(len(group) for group in groups_of([one, other, third], 0.1)) == [1, 2]
    one.speed_px[0] = 3000.0
    assert [len(group) for group in groups_of([one, other, third], 0.1)] == [3]


def test_of_two_meshes_on_one_face_the_nearer_one_is_taken() -> None:
    face = face_at(300, 180, 0.3)

    def mesh(around_px: np.ndarray) -> np.ndarray:
        return face + np.float32(0.1) * (around_px.mean(axis=0) - face.mean(axis=0))

    behind, before = known(0, face_at(345, 180, 0.28)), known(1, face.copy())
    tell_apart(FRAME, [behind, before], mesh, [], 1 / 30)
    np.testing.assert_allclose(before.landmarks_px, face, atol=1e-3)
    assert (behind.hidden, behind.seen, behind.fade) == (True, False, 0.0)


def test_a_small_face_seen_inside_a_larger_one_is_none() -> None:
    large, small = face_at(300, 180, 0.4), face_at(320, 200, 0.15)
    near, far = known(0, large), known(1, small)
    tell_apart(FRAME, [near, far], lambda around_px: around_px.copy(), [], 1 / 30)
    assert near.seen
    assert far.hidden


def test_a_face_that_stops_is_looked_for_where_it_was_too() -> None:
    faces = [face_at(200, 180, 0.2), face_at(290, 180, 0.2)]

    def mesh(around_px: np.ndarray) -> np.ndarray | None:
        near = [face for face in faces if np.abs(face - around_px).mean() < 20.0]
        return near[0] if near else None

    stops, stands = known(0, faces[0].copy(), (0.0, 600.0)), known(1, faces[1].copy())
    tell_apart(FRAME, [stops, stands], mesh, [], 0.1)
    assert stops.seen
    assert stands.seen


def test_nothing_is_learnt_of_a_face_that_touches_another() -> None:
    crowd = Crowd(
        Person(1, 0.36, walk((180, 180), (100.0, 0.0))), Person(2, 0.24, walk((330, 180), (0.0, 0.0)))
    )
    tracker, _ = follow(crowd, 18)
    look, speed = tracker.tracks[1].look, float(np.abs(tracker.tracks[1].speed_px).max())
    assert look is not None
    for k in range(18, 25):
        for track in tracker.update(crowd.draw(k / 30), 1 / 30):
            track.align()
    touching = tracker.tracks[1]
    assert touching.box_px[0] < tracker.tracks[0].box_px[2]
    assert touching.look is look
    assert float(np.abs(touching.speed_px).max()) <= speed


class Witness(FakeEngine):
    """An engine whose states know whom they have seen, by the colours in the middle of the face."""

    def __init__(self, people: list[Person]) -> None:
        super().__init__()
        self.middles = np.stack([person.texture[150:350, 180:330] for person in people]).astype(np.float32)
        self.states: list[set[int]] = []
        self.whose: dict[int, set[int]] = {}

    def new_state(self) -> FakeState:
        state = super().new_state()
        self.whose[id(state)] = set()
        self.states.append(self.whose[id(state)])
        return state

    def step(self, face_rgb_u8, state):  # type: ignore[no-untyped-def]
        away = np.abs(self.middles - face_rgb_u8[150:350, 180:330]).mean(axis=(1, 2, 3))
        self.whose[id(state)].add(int(np.argmin(away)))
        return super().step(face_rgb_u8, state)


@pytest.mark.parametrize("speed", [100.0, 300.0])
def test_a_faces_memory_goes_with_it_and_to_nobody_else(speed: float) -> None:
    crowd = Crowd(
        Person(1, 0.32, walk((200, 180), (speed, 0.0))), Person(2, 0.24, walk((430, 180), (-speed, 0.0)))
    )
    engine = Witness(crowd.people)
    with Retoucher("live", engine, max_faces=2, finder=crowd) as retoucher:
        for k in range(round(30 * 230 / speed)):
            retoucher.process(crowd.draw(k / 30), k / 30)
        assert [face.id for face in retoucher.last.faces] == [0, 1]
    assert engine.states == [{0}, {1}]


def test_the_memory_of_a_face_hidden_for_too_long_is_gone() -> None:
    crowd = Crowd(
        Person(1, 0.36, walk((200, 180), (150.0, 0.0), end_s=4.0)),
        Person(2, 0.22, walk((400, 180), (0.0, 0.0))),
    )
    crowd.people[0].place = lambda t_s: (min(200.0 + 150.0 * t_s, 400.0), 180.0)
    with Retoucher("live", FakeEngine(), max_faces=2, finder=crowd) as retoucher:
        kept = []
        for k in range(90):
            retoucher.process(crowd.draw(k / 30), k / 30)
            kept.append(len(retoucher._memories))
    assert kept[0] == kept[45] == 2
    assert kept[-1] == 1


def cut_out_head(
    scale: float, tone: tuple[float, float, float], *, mirrored: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The head of a public-domain portrait, made to look like somebody else: uint8 [h, w, 3], its mask, and
    the middle of its face."""
    from skimage.data import astronaut

    head = np.clip(astronaut()[20:230, 120:330] * np.array(tone), 0, 255).astype(np.uint8)
    middle = np.array([102.0, 95.0])
    if mirrored:
        head, middle[0] = head[:, ::-1], 209.0 - middle[0]
    head = cv2.resize(head, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    middle *= scale
    mask = np.zeros(head.shape[:2], np.uint8)
    size = (round(72 * scale), round(92 * scale))
    cv2.ellipse(mask, (round(middle[0]), round(middle[1])), size, 0, 0, 360, 1, -1)
    return head, mask, middle


def test_real_face_models_on_two_who_cross() -> None:
    require("skimage")
    near = cut_out_head(1.3, (1.0, 1.0, 1.0), mirrored=False)
    far = cut_out_head(0.9, (0.75, 0.6, 0.5), mirrored=True)
    fps, hidden = 15.0, 0
    with FaceModels() as models:
        tracker = Tracker(models, 2)
        for k in range(30):
            frame = np.full((360, 640, 3), 110, np.uint8)
            places = (175.0 + 150.0 * k / fps, 465.0 - 150.0 * k / fps)
            for (head, mask, middle), x_px in ((far, places[1]), (near, places[0])):
                shift = np.array([[1.0, 0.0, x_px - middle[0]], [0.0, 1.0, 180.0 - middle[1]]])
                there = cv2.warpAffine(mask, shift, (640, 360))
                cv2.copyTo(cv2.warpAffine(head, shift, (640, 360)), there, frame)
            for track in tracker.update(frame, 1.0 / fps):
                track.align()
                assert track.epoch == 0
                if track.seen:
                    assert abs(track.landmarks_px[:, 0].mean() - places[track.id]) < 12.0
            assert {t.id for t in tracker.tracks} | tracker.hidden == {0, 1}
            hidden += tracker.hidden == {1}
    assert 3 < hidden < 15
    assert [t.seen for t in tracker.tracks] == [True, True]
