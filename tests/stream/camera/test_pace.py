"""Pace: no faster than asked, no slower either, and nothing waits that need not."""

from __future__ import annotations

import pytest

from stream.camera.pace import GRACE, Pace
from stream.live.slot import Newest


class ScriptedSlot(Newest[int]):
    """A slot into which items fall at set times of a scripted clock."""

    def __init__(self, times_s: list[float]) -> None:
        super().__init__()
        self.now_s = 0.0
        self._times_s = times_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def take(self, timeout_s: float | None = None) -> int | None:
        assert timeout_s is not None
        arrived = [at for at in self._times_s if at <= self.now_s]
        if not arrived:
            coming = [at for at in self._times_s if at <= self.now_s + timeout_s]
            if not coming:
                self.now_s += timeout_s
                return None
            arrived = coming[:1]
            self.now_s = arrived[0]
        self._times_s = [at for at in self._times_s if at > self.now_s]
        return round(1000 * arrived[-1])


def shown(camera_fps: float, fps: float, seconds: float = 10.0) -> list[tuple[float, int | None]]:
    """(time, arrival in ms or None for the last one again) of all that is shown."""
    slot = ScriptedSlot([n / camera_fps for n in range(int((seconds + 1.0) * camera_fps))])
    pace = Pace(fps, lambda: slot.now_s, slot.sleep)
    found = []
    while slot.now_s < seconds:
        item = pace.next(slot)
        found.append((slot.now_s, item))
    return found


@pytest.mark.parametrize("camera_fps", [29.5, 29.97, 30.0])
def test_a_camera_no_faster_than_asked_sets_the_pace_and_its_frames_never_wait(camera_fps: float) -> None:
    found = shown(camera_fps, 30.0)
    fresh = [(at, item) for at, item in found if item is not None]
    assert len(fresh) == pytest.approx(10 * camera_fps, abs=2)
    assert max(at - item / 1000 for at, item in fresh) < 1e-3
    assert len(fresh) == len(found)


def test_a_frame_that_is_late_does_not_make_the_next_ones_wait() -> None:
    times_s = [n / 30 + (0.002 if n % 10 == 5 else 0.0) for n in range(300)]
    slot = ScriptedSlot(times_s)
    pace = Pace(30.0, lambda: slot.now_s, slot.sleep)
    for at in times_s:
        assert pace.next(slot) == round(1000 * at)
        assert slot.now_s - at < 1e-3


def test_a_faster_camera_is_thinned_to_the_rate_asked_for() -> None:
    found = shown(60.0, 30.0)
    assert len(found) == pytest.approx(300, abs=2)
    assert all(item is not None and at - item / 1000 <= 1 / 60 + 1e-3 for at, item in found)


def test_a_slower_camera_is_filled_up_with_its_last_picture() -> None:
    found = shown(15.0, 30.0)
    assert len(found) == pytest.approx(300, abs=10)
    fresh = [(at, item) for at, item in found if item is not None]
    assert len(fresh) == pytest.approx(150, abs=2)
    assert max(at - item / 1000 for at, item in fresh) < GRACE / 30.0


def test_without_a_camera_the_last_picture_comes_at_the_rate() -> None:
    slot = ScriptedSlot([])
    pace = Pace(25.0, lambda: slot.now_s, slot.sleep)
    for _ in range(50):
        assert pace.next(slot) is None
    assert slot.now_s == pytest.approx(50 / 25.0, abs=0.05)


def test_after_a_halt_the_missed_pictures_are_not_made_up_for() -> None:
    slot = ScriptedSlot([])
    pace = Pace(30.0, lambda: slot.now_s, slot.sleep)
    slot.now_s = 100.0
    began_s = slot.now_s
    for _ in range(30):
        pace.next(slot)
    assert slot.now_s - began_s > 0.9
