"""A whole run with scripted devices and the real filter: what is sent, when, and what is said of it."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from stream.camera import live
from stream.camera.controls import Controls
from stream.camera.errors import CameraError
from stream.camera.live import CameraRun
from stream.camera.status import Status
from stream.live.settings import Settings
from stream.retoucher import Retoucher
from tests.stream.camera.scripted import KeptSink, ScriptedSource, flat, in_thread, unplugged, wait_until
from tests.stream.fakes import FakeEngine, FakeFinder, face_at, noise_frame

SIZE = (320, 240)


def retoucher() -> Retoucher:
    return Retoucher("live", FakeEngine(), finder=FakeFinder(face_at(160.0, 120.0, 0.4)))


class Run:
    """A run in a thread, with all that it sent and said. typed: keys to be pressed."""

    def __init__(
        self,
        source: ScriptedSource,
        reopen: Callable[[], Any] | None = None,
        settings: Settings | None = None,
        sink: KeptSink | None = None,
        **options: Any,
    ) -> None:
        self.out = io.StringIO()
        self.sink = sink or KeptSink(SIZE)
        self.typed: list[str] = []
        self.error: BaseException | None = None
        self.controls = Controls(settings or Settings(), mirror=options.pop("mirror", False))
        self.run = CameraRun(
            source,
            reopen or self.nothing,
            options.pop("make_retoucher", retoucher),
            self.sink,
            self.controls,
            Status(self.out),
            keys=self.keys,
            **{"fps": 60.0, **options},
        )
        self.stop = False
        self.thread = in_thread(self.guarded)

    @staticmethod
    def nothing() -> Any:
        raise unplugged()

    def keys(self) -> list[str]:
        typed, self.typed = self.typed, []
        return typed

    def guarded(self) -> None:
        try:
            self.run.run(lambda: self.stop)
        except BaseException as error:
            self.error = error

    def shows(self, wanted: Callable[[np.ndarray], bool]) -> None:
        """Wait until a picture like this is sent."""
        wait_until(lambda: bool(self.sink.pictures) and bool(wanted(self.sink.pictures[-1])))

    def end(self) -> None:
        self.stop = True
        self.thread.join(20.0)
        assert not self.thread.is_alive()


def test_pictures_are_retouched_as_a_retoucher_does_it_and_the_camera_is_given_back() -> None:
    raw = noise_frame(240, 320)
    source = ScriptedSource(raw)
    with retoucher() as alone:
        for step in range(8):
            wanted = alone.process(raw, step * 0.02)
    run = Run(source)
    run.shows(lambda picture: np.array_equal(picture, wanted))
    run.end()
    assert run.error is None and source.closed
    assert not {"camera", "live-filter"} & {thread.name for thread in threading.enumerate()}
    assert run.run.sent == len(run.sink.pictures)
    assert not np.array_equal(raw, wanted)


def test_keys_act_on_what_is_sent() -> None:
    raw = noise_frame(240, 320)
    run = Run(ScriptedSource(raw))
    run.shows(lambda picture: not np.array_equal(picture, raw) and picture.any())
    run.typed = ["space"]
    run.shows(lambda picture: np.array_equal(picture, raw))
    run.typed = ["x"]
    run.shows(lambda picture: np.array_equal(picture, raw[:, ::-1]))
    run.typed = ["x", "space", "s"]
    run.shows(lambda picture: (picture[20, 159:161] == 255).all())
    run.typed = ["q"]
    run.thread.join(20.0)
    assert not run.thread.is_alive() and run.error is None
    assert run.out.getvalue().splitlines() == [
        "effect off",
        "mirror on",
        "mirror off",
        "effect on",
        "view: split",
    ]


def test_freeze_holds_the_picture_while_the_camera_goes_on() -> None:
    source = ScriptedSource(*(flat(level, SIZE) for level in range(1, 201)))
    run = Run(source, make_retoucher=lambda: Retoucher("live", FakeEngine(), finder=FakeFinder()))
    run.shows(lambda picture: picture[0, 0, 0] > 5)
    run.typed = ["f"]
    wait_until(lambda: "freeze on" in run.out.getvalue())
    before = source.reads
    wait_until(lambda: source.reads > before + 40)
    run.end()
    held = [int(picture[0, 0, 0]) for picture in run.sink.pictures[-5:]]
    assert len(set(held)) == 1 and held[0] < source.reads - 30


def test_another_size_of_the_source_is_fitted_into_the_same_picture() -> None:
    wide, tall = flat(200, (640, 240)), flat(100, (120, 240))
    script = [wide] * 20 + [tall]
    run = Run(
        ScriptedSource(*script), make_retoucher=lambda: Retoucher("live", FakeEngine(), finder=FakeFinder())
    )
    run.shows(lambda picture: picture[120, 160, 0] == 200 and not picture[:59].any() and picture[61].all())
    run.shows(
        lambda picture: picture[120, 160, 0] == 100 and not picture[:, :99].any() and picture[:, 101].all()
    )
    run.end()
    assert run.error is None


def test_unplugged_the_last_picture_is_held_at_the_rate_until_the_camera_is_back() -> None:
    first = ScriptedSource(*[flat(90, SIZE)] * 20, unplugged())
    away = [True]

    def reopen() -> ScriptedSource:
        if away:
            raise CameraError("Webcam is not there; plug it in again")
        return ScriptedSource(flat(180, SIZE))

    run = Run(first, reopen)
    run.shows(lambda picture: picture[0, 0, 0] == 90)
    wait_until(lambda: "held" in run.out.getvalue())
    held_from = len(run.sink.pictures)
    wait_until(lambda: len(run.sink.pictures) > held_from + 30)
    assert all(picture[0, 0, 0] == 90 for picture in run.sink.pictures[held_from:][:30])
    away.clear()
    run.shows(lambda picture: picture[0, 0, 0] == 180)
    wait_until(lambda: "back" in run.out.getvalue())
    run.end()
    said = run.out.getvalue().splitlines()
    assert len(said) == 2
    assert said[0].endswith("plug it in again (the last picture is held)") and said[1] == "the camera is back"


def test_a_camera_that_falls_silent_is_told_of_once_as_is_its_return(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "STALL_S", 0.2)
    source = ScriptedSource(flat(90, SIZE))
    run = Run(source)
    run.shows(lambda picture: picture[0, 0, 0] == 90)
    source.pause_s = 1.0
    wait_until(lambda: "back" in run.out.getvalue())
    run.end()
    assert run.out.getvalue().splitlines()[:2] == [
        "the camera has sent nothing for 0.2 s (the last picture is held)",
        "the camera is back",
    ]


def test_nobody_reads_so_the_camera_is_off_and_black_is_sent_until_someone_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live, "IDLE_PICTURE_S", 0.2)
    first, second = ScriptedSource(flat(90, SIZE)), ScriptedSource(flat(180, SIZE))
    run = Run(first, lambda: second, sink=KeptSink(SIZE, count=1), idle_after_s=0.2)
    run.shows(lambda picture: picture[0, 0, 0] == 90)
    run.sink.count = 0
    wait_until(lambda: first.closed)
    run.shows(lambda picture: not picture.any())
    sent = len(run.sink.pictures)
    time.sleep(0.6)
    assert 1 <= len(run.sink.pictures) - sent <= 6
    assert not any(picture.any() for picture in run.sink.pictures[sent:])
    assert second.reads == 0
    run.sink.count = 1
    run.shows(lambda picture: picture[0, 0, 0] == 180)
    # Not one picture of before: whoever opens the virtual camera sees black, then what is there now.
    assert not any(picture[0, 0, 0] == 90 for picture in run.sink.pictures[sent:])
    run.end()
    assert second.closed
    assert run.out.getvalue().splitlines() == [
        "no program reads kept sink: the camera is off until one does",
        "kept sink is being read: the camera is on again",
    ]


@pytest.mark.parametrize("told", [True, False])
def test_the_camera_stays_on_where_nobody_tells_or_idling_is_unwanted(told: bool) -> None:
    source = ScriptedSource(flat(90, SIZE))
    sink = KeptSink(SIZE, count=0 if told else None)
    run = Run(source, sink=sink, idle_after_s=None if told else 0.05)
    run.shows(lambda picture: picture[0, 0, 0] == 90)
    time.sleep(0.4)
    reads = source.reads
    wait_until(lambda: source.reads > reads + 5)
    run.end()
    assert "off" not in run.out.getvalue()


class Window:
    """A preview that keeps its pictures."""

    closed = False

    def __init__(self) -> None:
        self.pictures: list[np.ndarray] = []

    def show(self, picture_rgb_u8: np.ndarray) -> None:
        self.pictures.append(picture_rgb_u8)


def test_a_preview_shows_what_is_sent_and_keeps_the_camera_on_while_it_is_open() -> None:
    source, window = ScriptedSource(flat(90, SIZE)), Window()
    run = Run(source, window=window, sink=KeptSink(SIZE, count=0), idle_after_s=0.1)
    wait_until(lambda: bool(window.pictures) and window.pictures[-1][0, 0, 0] == 90)
    time.sleep(0.4)
    assert not source.closed
    window.closed = True
    wait_until(lambda: source.closed)
    run.end()


@pytest.mark.parametrize("place", ["filter", "camera"])
def test_what_ends_a_thread_ends_the_run(place: str) -> None:
    def broken() -> Retoucher:
        raise CameraError("it broke; mend it")

    if place == "filter":
        run = Run(ScriptedSource(flat(90, SIZE)), make_retoucher=broken)
    else:
        run = Run(ScriptedSource(flat(90, SIZE), RuntimeError("it broke; mend it")))
    run.thread.join(20.0)
    assert not run.thread.is_alive()
    assert str(run.error) == "it broke; mend it"


def test_a_filter_that_cannot_keep_up_drops_frames_and_the_delay_stays_bounded() -> None:
    class Slow(FakeEngine):
        def step(self, face_rgb_u8: Any, state: Any) -> Any:
            time.sleep(0.06)
            return super().step(face_rgb_u8, state)

    source = ScriptedSource(noise_frame(240, 320), pause_s=0.005)
    run = Run(
        source,
        make_retoucher=lambda: Retoucher("live", Slow(), finder=FakeFinder(face_at(160.0, 120.0, 0.4))),
    )
    wait_until(lambda: source.reads > 300)
    stats = run.run._filter.stats()
    run.end()
    assert stats.dropped > 0
    assert stats.frames_in - stats.dropped - stats.frames_out <= 2
    # A queue would be hundreds of frames of 60 ms behind by now.
    assert stats.delay_p95_ms < 1000.0
