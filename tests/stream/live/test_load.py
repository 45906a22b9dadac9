"""The real filter under injected load, on a simulated clock: down the ladder at once and up again slowly,
every step told, frames never queued nor late, and at each step the picture that it stands for."""

from __future__ import annotations

from itertools import groupby, pairwise

import numpy as np
import numpy.typing as npt
import pytest

from stream.live.budget import CLIMB_AFTER_S, LADDER
from stream.live.filter import FADE_S
from tests.stream.fakes import face_at, noise_frame
from tests.stream.live.simulated import INTERVAL_MS, RATE, Done, Load, Simulated

LAST = len(LADDER) - 1
FRAME = noise_frame(240, 320)
FACE = face_at(160.0, 120.0, 0.4)
FITS = {
    1: Load(12.0, 17.0),
    2: Load(4.0, 40.0),
    3: Load(4.0, 75.0),
    4: Load(4.0, 240.0),
    LAST: Load(4.0, 400.0),
}
"""For each step of the ladder a load that it bears, and the one above it does not."""


def one_face(patch: pytest.MonkeyPatch) -> Simulated:
    return Simulated(patch, lambda _: FRAME, FACE)


def levels(done: list[Done]) -> list[int]:
    """The levels gone through, in order."""
    return [level for level, _ in groupby(one.out.level for one in done)]


def change(one: Done) -> int:
    """The most that a frame was changed by, in 8-bit levels."""
    return int(np.abs(one.out.rgb_u8.astype(int) - one.out.frame.picture).max())


def late_ms(done: list[Done]) -> float:
    """The delay that 95 of 100 frames keep within."""
    return float(np.percentile([one.delay_ms for one in done], 95))


def test_a_growing_load_is_answered_step_by_step_and_each_step_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with one_face(monkeypatch) as stream:
        assert set(levels(stream.run(1.5))) == {0}
        for level, load in FITS.items():
            stream.load = load
            # At the end a step takes 400 ms, and two of them must have been seen.
            stream.run(2.5)
            stats = stream.filter.stats()
            assert (stats.level, stats.level_name) == (level, LADDER[level].name)
            assert late_ms(stream.run(1.0)) <= INTERVAL_MS
        assert levels(stream.seen) == list(range(LAST + 1))
        assert stream.most_waiting == 1
        stats = stream.filter.stats()
        assert stats.frames_in == stats.frames_out + stats.dropped == stream.submitted
        assert 0 < stats.dropped < 20


@pytest.mark.parametrize("load", [*FITS.values(), Load(4.0, 2000.0), Load(4.0, 16.0, 100.0)], ids=str)
def test_overload_is_answered_within_half_a_second_and_no_frame_waits_for_long(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    with one_face(monkeypatch) as stream:
        stream.run(1.0)
        began_s, stream.load = stream.now_s, load
        under_load = stream.run(2.0)
        down = next(one for one in under_load if one.out.level > 0)
        # The first frame of the load is over before anyone can know of it.
        assert down.at_s - began_s <= 0.5 + (load.find + 2.0 * load.step + 2.0 * load.rest) / 1e3
        longest_ms = load.find + load.step + load.rest
        # A frame is begun as soon as the one before it is done.
        assert max(one.delay_ms for one in under_load) <= 2.0 * longest_ms
        assert stream.most_waiting == 1


def test_a_load_that_frames_themselves_are_made_of_ends_in_passing_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with one_face(monkeypatch) as stream:
        stream.run(1.0)
        began_s, stream.load = stream.now_s, Load(4.0, 16.0, 100.0)
        passing = next(one for one in stream.run(2.0) if one.out.level == LAST)
        # Half a second, and the frames that were under way at its beginning and its end.
        assert passing.at_s - began_s <= 0.5 + 2 * 0.12


def test_when_the_load_is_gone_it_climbs_one_step_at_a_time_and_slowly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with one_face(monkeypatch) as stream:
        stream.run(1.0)
        stream.load = FITS[LAST]
        assert stream.run(3.0)[-1].out.level == LAST
        stream.load = Load()
        climb = stream.run(25.0)
        assert levels(climb) == list(range(LAST, -1, -1))
        begins_s = [
            next(one.at_s for one in climb if one.out.level == level) for level in range(LAST, -1, -1)
        ]
        assert all(later - sooner >= CLIMB_AFTER_S for sooner, later in pairwise(begins_s[1:]))
        assert begins_s[-1] - begins_s[0] <= (CLIMB_AFTER_S + 0.3) * LAST
        assert change(climb[-1]) > 0
        assert late_ms(climb) <= INTERVAL_MS


@pytest.mark.parametrize("before", [0, LAST - 1], ids=["waited for", "beside"])
def test_however_slow_it_was_one_look_is_enough_to_know_that_the_load_is_gone(
    before: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with one_face(monkeypatch) as stream:
        stream.load = FITS.get(before, Load())
        assert stream.run(2.0)[-1].out.level == before
        stream.load = Load(4.0, 2000.0)
        while stream.run(0.1)[-1].out.level < LAST:
            assert stream.now_s < 20.0
        # A step that is under way now ends while frames pass, and nobody is there to hear of it.
        stream.load = Load()
        climb = stream.run(8.0)
        assert levels(climb) == list(range(LAST, climb[-1].out.level - 1, -1))
        assert climb[-1].out.level < LAST - 1


@pytest.mark.parametrize("level", range(LAST))
def test_each_step_looks_and_steps_as_often_as_it_says(level: int, monkeypatch: pytest.MonkeyPatch) -> None:
    effort = LADDER[level]
    with one_face(monkeypatch) as stream:
        stream.run(1.0)
        stream.load = FITS.get(level, Load())
        stream.run(1.5)
        settled = stream.run(2.4)
        assert {one.out.level for one in settled} == {level}
        frames = len(settled) - 1
        assert settled[-1].looks - settled[0].looks == pytest.approx(frames / effort.find_every, abs=1.0)
        steps = settled[-1].steps - settled[0].steps
        # A step that takes longer than its frames is followed by the next as soon as it ends.
        longest = max(effort.step_every, stream.load.step / INTERVAL_MS + 1.0)
        assert frames / longest - 1.0 <= steps <= frames / effort.step_every + 1.0
        # Whether the network saw this frame or one before it, the residual lies where the face is.
        assert {change(one) for one in settled} == {13}
        marks = {one.out.rgb_u8.tobytes() for one in settled}
        assert len(marks) == 1


def test_frames_pass_bit_for_bit_once_the_effect_has_faded(monkeypatch: pytest.MonkeyPatch) -> None:
    with one_face(monkeypatch) as stream:
        stream.run(1.0)
        stream.load = FITS[LAST]
        passing = [one for one in stream.run(4.0) if one.out.level == LAST]
        changes = [change(one) for one in passing]
        fade = round(FADE_S * RATE)
        assert changes[0] > changes[fade // 2] > 0
        assert changes == sorted(changes, reverse=True)
        assert all(one.out.rgb_u8 is one.out.frame.picture for one in passing[fade + 1 :])
        # Not even the first one waits for a step that is under way.
        assert max(one.delay_ms for one in passing) <= INTERVAL_MS
        stream.load = Load()
        back = stream.run(6.0)
        changes = [change(one) for one in back if one.out.level == LAST - 1]
        assert changes[: fade // 2] == sorted(changes[: fade // 2])
        assert changes[0] < changes[-1] == 13


class Crowd:
    """Three people who sway together, each of a brightness and with a look of its own, before a camera.

    The picture's first pixel says by how many pixels they are to the right of their places.
    """

    BRIGHT = (90, 130, 170)
    """Of each face, the largest first."""
    PLACES = ((300.0, 0.5), (90.0, 0.32), (500.0, 0.24))
    SWAY_PX = 12

    def __init__(self) -> None:
        self.faces = [face_at(x, 130.0, scale) for x, scale in self.PLACES]
        self._still = noise_frame(260, 620) // 16
        y, x = np.mgrid[:260, :620]
        for one, columns in enumerate((slice(180, 430), slice(180), slice(430, None))):
            middle, scale = self.PLACES[one]
            waves = np.cos((x - middle) / (50.0 * scale) + one) * np.cos((y - 130.0) / (70.0 * scale) - one)
            self._still[:, columns] += (self.BRIGHT[one] + 15.0 * waves[:, columns, None]).astype(np.uint8)

    def film(self, at_s: float) -> npt.NDArray[np.uint8]:
        """uint8 [260, 620, 3]."""
        shift = round(self.SWAY_PX * (1.0 + np.sin(2.5 * at_s)))
        picture = np.roll(self._still, shift, axis=1)
        picture[0, 0] = shift
        return picture

    def seen_in(self, picture: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float32]]:
        """The faces where they are in this picture."""
        return [face + np.float32([picture[0, 0, 0], 0.0]) for face in self.faces]

    def whose(self, face_u8: npt.NDArray[np.uint8]) -> int:
        """Which of the faces this picture, uint8 [512, 512, 3], is of."""
        middle = float(np.median(face_u8[200:320, 200:320]))
        return min(range(3), key=lambda one: abs(self.BRIGHT[one] + 8 - middle))


@pytest.mark.parametrize(
    ("load", "level"), [(Load(2.0, 20.0), 2), (Load(2.0, 45.0), 4)], ids=["lighter", "heavier"]
)
def test_of_several_faces_the_largest_comes_first_and_none_is_left_out(
    load: Load, level: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd = Crowd()
    with Simulated(monkeypatch, crowd.film, *crowd.faces, max_faces=3, finds=crowd.seen_in) as stream:
        stream.load = Load(2.0, 5.0)
        all_fit = stream.run(1.0)
        assert all_fit[-1].steps == 3 * len(all_fit)
        stream.load = load
        last_of_all = [one for one in stream.run(2.0) if one.out.level < 2][-1]
        done = stream.run(3.0)
        assert {(one.out.level, one.out.faces) for one in done} == {(level, 3)}
        ids = [face.id for face in sorted(stream.retoucher.last.faces, key=lambda face: face.box_px[0])]
        assert ids == [1, 0, 2]
        # Not all of them in a frame, and no more than were paid for.
        assert max(later.steps - sooner.steps for sooner, later in pairwise(done)) < 3
        assert late_ms(done) <= INTERVAL_MS
        assert stream.most_waiting == 1
        turns = [crowd.whose(face) for _, face in stream.engine.looked_at]
        assert turns[last_of_all.steps] == 0
        turns = turns[done[0].steps :]
        counts = [turns.count(face) for face in range(3)]
        assert counts[0] >= counts[1] >= counts[2] >= 3 and counts[0] > counts[2]
        for face, (_, scale) in enumerate(crowd.PLACES):
            gaps = [later - sooner for sooner, later in pairwise(np.flatnonzero(np.array(turns) == face))]
            # Whoever waits becomes as urgent as the larger ones, at the latest after the ratio of areas.
            assert max(gaps) <= 3 * (crowd.PLACES[0][1] / scale) ** 2
        states = {id(state): set() for state, _ in stream.engine.looked_at}
        for state, face in stream.engine.looked_at:
            states[id(state)].add(crowd.whose(face))
        # Each face has one memory, all along, and it has seen nobody else.
        assert sorted(map(tuple, states.values())) == [(0,), (1,), (2,)]


def test_no_more_faces_than_allowed_cost_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    crowd = Crowd()
    with Simulated(monkeypatch, crowd.film, *crowd.faces, max_faces=2, finds=crowd.seen_in) as stream:
        stream.load = Load(2.0, 30.0)
        done = stream.run(4.0)
        assert {one.out.faces for one in done} == {2}
        assert {crowd.whose(face) for _, face in stream.engine.looked_at} == {0, 1}
        assert len({id(state) for state, _ in stream.engine.looked_at}) == 2
