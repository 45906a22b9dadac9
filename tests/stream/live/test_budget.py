"""The governor: down within half a second of overload, up again slowly, never to and fro."""

from __future__ import annotations

from itertools import pairwise

import pytest

from stream.live.budget import CLIMB_AFTER_S, LADDER, Cost, Effort, Governor

INTERVAL_S = 1 / 30
LAST = len(LADDER) - 1


class Stream:
    """Frames 1/30 s apart whose parts cost find, step and rest ms; what the level spares is not paid."""

    def __init__(self) -> None:
        self.governor = Governor()
        self.now_s = 0.0
        self.turn = 0
        self.levels: list[tuple[float, int]] = []
        self.done_s: float | None = None

    def run(self, seconds: float, find: float, step: float, rest: float = 3.0) -> list[int]:
        end_s = self.now_s + seconds
        seen = []
        while self.now_s < end_s:
            effort = self.governor.effort
            finds = effort.retouch and self.turn % effort.find_every == 0
            stepped = self._stepped(effort, step)
            waits = step if effort.retouch and effort.step_every == 1 else 0.0
            busy = (find if finds else 0.0) + waits + (rest if effort.retouch else 0.2)
            cost = Cost(busy, find if finds else None, step if stepped else None, rest)
            self.governor.observe(cost, INTERVAL_S)
            self.now_s += max(INTERVAL_S, busy / 1e3)
            self.turn += 1
            seen.append(self.governor.level)
            self.levels.append((self.now_s, self.governor.level))
        return seen

    def _stepped(self, effort: Effort, step: float) -> bool:
        """Whether a step has ended: of this frame, or one beside the frames, begun as often as allowed."""
        if not effort.retouch or effort.step_every == 1:
            self.done_s = None
            return effort.retouch
        ended = self.done_s is not None and self.done_s <= self.now_s
        if (ended or self.done_s is None) and self.turn % effort.step_every == 0:
            self.done_s = self.now_s + step / 1e3
        elif ended:
            self.done_s = None
        return ended


def test_a_stream_that_fits_stays_at_full_effort() -> None:
    assert set(Stream().run(20.0, find=4.0, step=16.0)) == {0}


def test_a_slow_start_is_no_overload() -> None:
    stream = Stream()
    stream.run(0.5, find=60.0, step=150.0)
    assert len(stream.levels) == 3
    assert set(stream.run(5.0, find=4.0, step=16.0)) == {0}


@pytest.mark.parametrize("phase", range(8))
@pytest.mark.parametrize(
    ("find", "step", "level"),
    [
        (12.0, 17.0, 1),
        (4.0, 40.0, 2),
        (4.0, 75.0, 3),
        (4.0, 240.0, 4),
        (4.0, 400.0, LAST),
        (4.0, 900.0, LAST),
    ],
)
def test_overload_is_answered_within_half_a_second_by_the_step_that_fits(
    find: float, step: float, level: int, phase: int
) -> None:
    stream = Stream()
    # Every so many frames is decided; the overload may begin between any two of them.
    stream.run(2.0 + phase * INTERVAL_S, find=4.0, step=16.0)
    began_s = stream.now_s
    stream.run(4.0, find=find, step=step)
    first_s = next(when for when, at in stream.levels if at > 0)
    # One frame of the overload is over before anyone can know of it.
    assert first_s - began_s <= 0.5 + (find + step + 3.0) / 1e3
    assert level in {at for _, at in stream.levels}
    assert max(at for _, at in stream.levels) == level


def test_what_frames_wait_for_themselves_counts_beside_the_network() -> None:
    stream = Stream()
    stream.run(2.0, find=4.0, step=16.0)
    stream.run(4.0, find=4.0, step=40.0, rest=40.0)
    assert max(at for _, at in stream.levels) == LAST - 1
    stream.run(4.0, find=4.0, step=40.0, rest=60.0)
    assert stream.governor.level == LAST


def test_it_climbs_again_slowly_when_the_load_is_gone() -> None:
    stream = Stream()
    stream.run(2.0, find=4.0, step=16.0)
    stream.run(3.0, find=4.0, step=75.0)
    assert stream.governor.level == 3
    gone_s = stream.now_s
    stream.run(30.0, find=4.0, step=16.0)
    assert stream.governor.level == 0
    climbs = [when - gone_s for when, at in stream.levels if when > gone_s and at == 2][:1]
    assert climbs[0] >= CLIMB_AFTER_S - 0.3


def test_passing_frames_is_left_for_a_look_and_taken_up_again_ever_more_rarely() -> None:
    stream = Stream()
    stream.run(120.0, find=4.0, step=400.0)
    tries = [
        when for (when, at), (_, before) in zip(stream.levels[1:], stream.levels, strict=False) if at < before
    ]
    assert 2 <= len(tries) <= 8
    gaps = [later - sooner for sooner, later in pairwise(tries)]
    assert gaps[-1] > 1.5 * gaps[0]


def test_after_a_long_load_a_climb_that_lasts_makes_the_next_ones_quick() -> None:
    stream = Stream()
    stream.run(120.0, find=4.0, step=400.0)
    gone_s = stream.now_s
    stream.run(140.0, find=4.0, step=16.0)
    assert stream.governor.level == 0
    first = {level: next(w for w, at in stream.levels if w > gone_s and at == level) for level in range(LAST)}
    assert first[LAST - 2] - first[LAST - 1] > 5 * CLIMB_AFTER_S
    assert first[0] - first[LAST - 2] <= (LAST - 2) * (CLIMB_AFTER_S + 0.3)


@pytest.mark.parametrize("find", [14.0, 20.0])
def test_a_frame_that_would_be_late_is_not_made_good_by_the_next_one(find: float) -> None:
    stream = Stream()
    # On the mean of two frames the first step would do.
    stream.run(4.0, find=find, step=17.0)
    assert stream.governor.level == 2


def test_a_load_between_two_steps_does_not_go_to_and_fro() -> None:
    stream = Stream()
    stream.run(60.0, find=4.0, step=27.0)
    changes = sum(a != b for (_, a), (_, b) in zip(stream.levels[1:], stream.levels, strict=False))
    assert changes <= 3
