"""The live filter: newest frames only, settings at any time, less effort under load, errors kept."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from stream.compare import compose
from stream.engine import Seen
from stream.live.budget import LADDER, Governor
from stream.live.filter import FADE_S, Filtered, LiveFilter
from stream.live.settings import Settings
from stream.retoucher import Retoucher
from tests.stream.fakes import FakeEngine, FakeFinder, FakeState, face_at, noise_frame

RATE = 30


@dataclass(frozen=True)
class Arrived:
    """A frame of a scripted stream."""

    rgb_u8: npt.NDArray[np.uint8]
    pts: int
    arrival_ns: int = 0
    time_base: Fraction = Fraction(1, RATE)


class SlowEngine(FakeEngine):
    """Takes as long as it is told."""

    slow_s = 0.0

    def step(
        self, face_rgb_u8: npt.NDArray[np.uint8], state: FakeState
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        time.sleep(self.slow_s)
        return super().step(face_rgb_u8, state)


class Run:
    """A filter and all that came out of it."""

    def __init__(self, engine: FakeEngine | None = None, **options: object) -> None:
        self.seen: list[Filtered[Arrived]] = []
        self.changed = threading.Condition()
        self.finder = FakeFinder(face_at(160.0, 120.0, 0.4))
        used = engine or FakeEngine()
        self.filter: LiveFilter[Arrived] = LiveFilter(
            lambda: Retoucher("live", used, finder=self.finder), self._on_frame, **options
        )
        self.pts = 0

    def _on_frame(self, filtered: Filtered[Arrived]) -> None:
        with self.changed:
            self.seen.append(filtered)
            self.changed.notify_all()

    def one(self, frame: npt.NDArray[np.uint8]) -> Filtered[Arrived]:
        """Submit a frame and wait for it."""
        pts = self.pts
        self.pts += 1
        self.filter.submit(Arrived(frame, pts, time.monotonic_ns()))
        with self.changed:
            assert self.changed.wait_for(lambda: bool(self.seen) and self.seen[-1].frame.pts == pts, 10.0)
            return self.seen[-1]

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.filter.close()


FRAME = noise_frame(240, 320)


def differs(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> bool:
    return bool((one != other).any())


def test_frames_come_back_retouched_with_their_own_time() -> None:
    with Run() as run:
        out = run.one(FRAME)
        assert out.frame.rgb_u8 is FRAME
        assert differs(out.rgb_u8, FRAME)
        assert out.shown_u8 is out.rgb_u8
        assert out.faces == 1
        assert out.level == 0
        assert out.retouch_ms > 0.0
        assert set(out.stage_ms) >= {"locate", "step", "composite"}


def test_the_effect_fades_off_until_frames_pass_bit_for_bit_and_on_again() -> None:
    with Run() as run:
        full = run.one(FRAME).rgb_u8
        run.filter.settings = run.filter.settings.changed(effect=False)
        fading = [run.one(FRAME).rgb_u8 for _ in range(int(FADE_S * RATE) + 2)]
        assert differs(fading[0], FRAME)
        assert fading[-1] is FRAME
        run.filter.settings = run.filter.settings.changed(effect=True)
        back = [run.one(FRAME).rgb_u8 for _ in range(int(FADE_S * RATE) + 2)]
        change = [int(np.abs(out.astype(int) - FRAME).max()) for out in back]
        assert change[0] < change[-1]
        assert change == sorted(change)
        assert change[-1] >= int(np.abs(full.astype(int) - FRAME).max())


def test_what_is_taken_and_what_is_kept_changes_with_the_next_frame() -> None:
    class Knowing(FakeEngine):
        """Its mark is a mole, it says."""

        def step(self, face_rgb_u8: npt.NDArray[np.uint8], state: FakeState) -> Seen:  # type: ignore[override]
            residual, seen = super().step(face_rgb_u8, state)
            near = cv2.dilate(seen, np.ones((17, 17), np.uint8))[::4, ::4]
            kept = np.stack([near, np.zeros((128, 128), np.float32)])
            return Seen(residual, seen, kept)

    with Run(Knowing(40.0), settings=Settings(keep=())) as run:
        assert differs(run.one(FRAME).rgb_u8, FRAME)
        run.filter.settings = run.filter.settings.changed(keep=["moles"])
        assert int((run.one(FRAME).rgb_u8 != FRAME).any(-1).sum()) < 20  # its border
        run.filter.settings = run.filter.settings.changed(keep=["freckles"])
        assert int((run.one(FRAME).rgb_u8 != FRAME).any(-1).sum()) > 100


def test_strength_nought_from_the_start_changes_no_bit() -> None:
    with Run(settings=Settings(strength=0.0)) as run:
        assert run.one(FRAME).rgb_u8 is FRAME


def test_split_shows_raw_on_the_left_and_viewers_get_the_plain_picture() -> None:
    with Run(settings=Settings(view="split", split_at=1.0)) as run:
        out = run.one(FRAME)
        assert differs(out.rgb_u8, FRAME)
        # All but the line at the right edge and the caption are raw.
        assert (out.shown_u8[:200, :300] == FRAME[:200, :300]).all()
        run.filter.settings = run.filter.settings.changed(split_at=0.0)
        out = run.one(FRAME)
        assert (out.shown_u8[:200, 10:] == out.rgb_u8[:200, 10:]).all()


class Overloaded(Governor):
    """On the last step of the ladder, where frames pass."""

    def __init__(self) -> None:
        super().__init__()
        self.level = len(LADDER) - 1


@pytest.mark.parametrize(
    ("settings", "overloaded", "changed"),
    [
        (Settings(view="split"), False, True),
        (Settings(view="split"), True, False),
        (Settings(view="split", effect=False), False, False),
        (Settings(view="split", strength=0.0), False, False),
    ],
)
def test_the_split_says_whether_the_frame_was_retouched(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, overloaded: bool, changed: bool
) -> None:
    if overloaded:
        monkeypatch.setattr("stream.live.filter.Governor", Overloaded)
    with Run(settings=settings) as run:
        out = run.one(FRAME)
        told = {what: compose("split", FRAME, out.rgb_u8, (), changed=what) for what in (True, False)}
        assert differs(told[True], told[False])
        assert np.array_equal(out.shown_u8, told[changed])
        assert differs(out.rgb_u8, FRAME) is changed


def test_without_a_face_the_split_says_that_the_frame_was_passed_through() -> None:
    with Run(settings=Settings(view="split")) as run:
        run.finder.faces.clear()
        assert np.array_equal(run.one(FRAME).shown_u8, compose("split", FRAME, FRAME, (), changed=False))


def test_the_map_is_shown_even_while_the_effect_is_off() -> None:
    with Run(settings=Settings(view="map", effect=False)) as run:
        out = run.one(FRAME)
        assert not differs(out.rgb_u8, FRAME)
        glow = out.shown_u8.astype(int)
        assert (glow[..., 0] - glow[..., 2]).max() > 50 or glow.max() == 255


def test_frozen_holds_the_picture_while_time_goes_on() -> None:
    with Run() as run:
        before = run.one(FRAME)
        run.filter.settings = run.filter.settings.changed(frozen=True)
        held = run.one(noise_frame(240, 320, seed=5))
        assert held.rgb_u8 is before.rgb_u8
        assert held.frame.pts == before.frame.pts + 1
        run.filter.settings = run.filter.settings.changed(frozen=False)
        assert differs(run.one(noise_frame(240, 320, seed=5)).rgb_u8, before.rgb_u8)


def test_frames_that_come_too_fast_are_dropped_before_work_and_counted() -> None:
    engine = SlowEngine()
    with Run(engine) as run:
        run.one(FRAME)
        engine.slow_s = 0.3
        for pts in range(1, 11):
            run.filter.submit(Arrived(FRAME, pts, time.monotonic_ns()))
            time.sleep(0.005)
        run.pts = 11
        engine.slow_s = 0.0
        run.one(FRAME)
        stats = run.filter.stats()
        assert stats.frames_in == 12
        assert stats.frames_out == len(run.seen)
        assert stats.dropped == 12 - len(run.seen)
        assert stats.dropped >= 8
        assert [out.frame.pts for out in run.seen] == sorted(out.frame.pts for out in run.seen)


def test_under_injected_load_the_effort_goes_down_and_the_delay_stays_bounded() -> None:
    engine = SlowEngine()
    with Run(engine) as run:
        engine.slow_s = 0.055
        began = time.monotonic()
        pts = 0
        while time.monotonic() - began < 2.5:
            run.filter.submit(Arrived(FRAME, pts, time.monotonic_ns()))
            pts += 1
            time.sleep(1 / RATE)
        levels = [out.level for out in run.seen]
        assert levels[0] == 0
        assert max(levels) >= 2
        stats = run.filter.stats()
        assert stats.level_name == LADDER[stats.level].name
        # A frame waits for at most the one before it: two steps and what surrounds them.
        assert stats.delay_p95_ms < 3 * 55.0 + 100.0
        assert stats.frames_in == pts


def test_on_alternate_frames_the_last_residual_goes_with_the_face() -> None:
    with Run() as run:
        retoucher = Retoucher("live", FakeEngine(), finder=run.finder)
        with retoucher:
            fresh = retoucher.composite(FRAME, retoucher.step(retoucher.locate(FRAME, 0.0)))
            located = retoucher.locate(FRAME, 1 / RATE, find=False)
            assert not located.found
            carried = retoucher.composite(FRAME, retoucher.step(located, at_most=0))
            assert retoucher.last.stepped == 0
            assert retoucher.last.faces[0].changed_px is not None
            assert np.abs(fresh.astype(int) - carried).max() <= 1


def test_an_error_ends_the_filter_and_is_kept() -> None:
    class Broken(FakeEngine):
        def step(
            self, face_rgb_u8: npt.NDArray[np.uint8], state: FakeState
        ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
            raise RuntimeError("out of order")

    run = Run(Broken())
    run.filter.submit(Arrived(FRAME, 0, time.monotonic_ns()))
    run.filter._thread.join(10.0)
    run.filter.close()
    assert isinstance(run.filter.error, RuntimeError)
    assert run.seen == []
    run.filter.submit(Arrived(FRAME, 1, time.monotonic_ns()))
    assert run.filter.stats().frames_in == 2


def test_closing_twice_and_from_a_callback_is_no_harm() -> None:
    run = Run()
    run.one(FRAME)
    run.filter.close()
    run.filter.close()
    again = Run()
    seen = threading.Event()
    inner: Callable[[Filtered[Arrived]], None] = lambda _: (again.filter.close(), seen.set())  # type: ignore[func-returns-value]  # noqa: E731
    again.filter._on_frame = inner
    again.filter.submit(Arrived(FRAME, 0, time.monotonic_ns()))
    assert seen.wait(10.0)
    again.filter.close()


def test_several_faces_share_the_steps_the_largest_first() -> None:
    faces = (face_at(90.0, 120.0, 0.3), face_at(230.0, 120.0, 0.2))
    with Retoucher("live", FakeEngine(), max_faces=2, finder=FakeFinder(*faces)) as retoucher:
        for frame in range(12):
            located = retoucher.locate(FRAME, frame / RATE)
            stepped = retoucher.step(located, at_most=1)
            retoucher.composite(FRAME, stepped)
            assert retoucher.last.stepped == 1
        steps = {memory_id: memory.state.steps for memory_id, memory in retoucher._memories.items()}
        assert sum(steps.values()) == 12
        assert 0 < min(steps.values()) < max(steps.values())
        assert len(retoucher.last.faces) == 2


@pytest.mark.parametrize("rate", [10, 30, 60])
def test_a_slow_stream_has_more_time_a_frame_but_never_less_than_promised(rate: int) -> None:
    run = Run(fps=30.0)
    for pts in range(60):
        run.filter.submit(replace(Arrived(FRAME, pts, 0), time_base=Fraction(1, rate)))
    run.filter.close()
    assert run.filter._interval.seconds == pytest.approx(1 / min(rate, 30), rel=0.02)


def test_frames_that_are_not_handed_over_still_count_for_the_streams_rate() -> None:
    run = Run(fps=30.0)
    for pts in range(90):
        if pts % 3:
            run.filter.passed_by(pts, Fraction(1, 30))
        else:
            run.filter.submit(Arrived(FRAME, pts, 0))
    run.filter.close()
    assert run.filter._interval.seconds == pytest.approx(1 / 30, rel=0.02)
