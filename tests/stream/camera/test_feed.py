"""The camera's thread: hands frames on, comes back to a camera that was away, gives it back when asked."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from stream.camera import feed as feed_module
from stream.camera.errors import CameraError
from stream.camera.feed import Feed, Mirrored
from stream.camera.reader import Source
from stream.live.filter import LiveFrame
from tests.stream.camera.scripted import ScriptedSource, Still, flat, unplugged, wait_until


class Opener:
    """Opens each of `sources` in turn; an error among them is raised."""

    def __init__(self, *sources: object) -> None:
        self.sources = list(sources)
        self.times_s: list[float] = []

    @property
    def calls(self) -> int:
        return len(self.times_s)

    def __call__(self) -> Source:
        self.times_s.append(time.monotonic())
        item = self.sources.pop(0) if len(self.sources) > 1 else self.sources[0]
        if isinstance(item, BaseException):
            raise item
        assert isinstance(item, ScriptedSource)
        return item


def level_of(frame: LiveFrame) -> int:
    return int(frame.rgb_u8[0, 0, 0])


def test_frames_come_in_order_and_closing_gives_the_camera_back() -> None:
    source, seen = ScriptedSource(*(flat(n) for n in range(10))), []
    feed = Feed(source, Opener(unplugged()), lambda frame: seen.append(level_of(frame)))
    wait_until(lambda: len(seen) >= 10)
    feed.close()
    assert seen[:10] == list(range(10))
    assert source.closed and feed.error is None


def test_an_unplugged_camera_is_opened_again_and_the_trouble_told_meanwhile() -> None:
    first, second = ScriptedSource(flat(1), unplugged()), ScriptedSource(flat(2))
    opener, seen = Opener(unplugged(), unplugged(), second), []
    troubles = []
    feed = Feed(first, opener, lambda frame: seen.append(level_of(frame)), wait_s=0.05)
    wait_until(lambda: bool(troubles.append(feed.trouble) or 2 in seen))
    feed.close()
    assert "the camera was unplugged; plug it in again" in troubles
    assert feed.trouble == ""
    assert first.closed and second.closed and opener.calls == 3
    assert seen[0] == 1 and set(seen) == {1, 2}


def test_a_camera_that_opens_but_gives_nothing_is_not_hammered() -> None:
    opener = Opener(ScriptedSource(unplugged(), pause_s=0.0))
    opener.sources = [ScriptedSource(unplugged(), pause_s=0.0) for _ in range(1000)]
    feed = Feed(ScriptedSource(unplugged(), pause_s=0.0), opener, lambda _: None, wait_s=0.1)
    wait_until(lambda: opener.calls >= 2)
    feed.close()
    # 0.1 s and 0.2 s were waited before the second call: there is no room for many more.
    assert opener.calls <= 4


def test_the_wait_before_trying_again_grows_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "LONGEST_WAIT_S", 0.1)
    opener = Opener(unplugged())
    feed = Feed(ScriptedSource(unplugged(), pause_s=0.0), opener, lambda _: None, wait_s=0.025)
    # Doubled each time without a bound, the last of these would come after 102 seconds.
    wait_until(lambda: len(opener.times_s) >= 12)
    feed.close()
    waits_s = np.diff(opener.times_s)
    assert (waits_s[:2] > [0.049, 0.099]).all()
    assert (waits_s[2:] > 0.099).all()
    assert feed.trouble and feed.error is None


def test_after_a_frame_the_wait_is_short_again() -> None:
    again = ScriptedSource(flat(2), unplugged(), pause_s=0.0)
    opener = Opener(*[unplugged()] * 8, again, ScriptedSource(flat(3)))
    seen: list[tuple[int, float]] = []
    feed = Feed(
        ScriptedSource(unplugged(), pause_s=0.0),
        opener,
        lambda frame: seen.append((level_of(frame), time.monotonic())),
        wait_s=0.01,
    )
    wait_until(lambda: bool(seen) and seen[-1][0] == 3)
    feed.close()
    # Without a reset it would have been 5.12 seconds.
    assert seen[1][1] - seen[0][1] < 4.0


def test_closing_does_not_wait_for_the_next_attempt() -> None:
    feed = Feed(ScriptedSource(unplugged()), Opener(unplugged()), lambda _: None, wait_s=3600.0)
    wait_until(lambda: bool(feed.trouble))
    feed.close()
    assert not feed._thread.is_alive()


def test_a_pause_gives_the_camera_back_and_resume_opens_it_again() -> None:
    first, second, seen = ScriptedSource(flat(1)), ScriptedSource(flat(2)), []
    opener = Opener(second)
    feed = Feed(first, opener, lambda frame: seen.append(level_of(frame)))
    wait_until(lambda: 1 in seen)
    feed.pause()
    wait_until(lambda: first.closed)
    assert feed.paused and feed.silent_s == 0.0 and opener.calls == 0
    feed.resume()
    wait_until(lambda: 2 in seen)
    feed.close()
    assert opener.calls == 1 and second.closed


def test_a_pause_ends_the_attempts_to_reopen() -> None:
    opener = Opener(unplugged())
    feed = Feed(ScriptedSource(unplugged()), opener, lambda _: None, wait_s=0.01)
    wait_until(lambda: opener.calls >= 1)
    feed.pause()
    wait_until(lambda: feed.trouble == "")
    calls = opener.calls
    time.sleep(0.2)
    assert opener.calls == calls and feed.silent_s == 0.0
    feed.close()


class HangingSource:
    """A camera whose first read returns only when `let_go` is set."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.closed = False

    def read(self) -> LiveFrame:
        assert self.let_go.wait(30.0)
        return Still(flat(9), 0)

    def close(self) -> None:
        self.closed = True


def test_a_camera_that_hangs_is_left_behind_and_opened_again() -> None:
    hanging, seen, troubles = HangingSource(), [], []
    opener = Opener(CameraError("it is in use by another program"), ScriptedSource(flat(2)))
    feed = Feed(hanging, opener, lambda frame: seen.append(level_of(frame)), wait_s=0.05, stalled_s=0.2)
    wait_until(lambda: bool(troubles.append(feed.trouble) or 2 in seen))
    # Nobody else holds it: that it cannot be opened while the read hangs is no news.
    assert set(troubles) <= {"", "the camera has sent no picture for 0.2 s; plug it in again"}
    assert not hanging.closed
    hanging.let_go.set()
    wait_until(lambda: hanging.closed)
    feed.close()
    assert set(seen) == {2} and feed.error is None


def test_a_camera_that_cannot_be_closed_is_an_error_and_holds_nobody_up() -> None:
    class Stuck(ScriptedSource):
        def close(self) -> None:
            super().close()
            raise RuntimeError("will not close")

    feed = Feed(Stuck(flat(1)), Opener(unplugged()), lambda _: None)
    feed.pause()
    wait_until(lambda: feed.error is not None)
    assert str(feed.error) == "will not close"
    feed.close()


def test_closing_does_not_wait_for_a_camera_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "CLOSE_WAIT_S", 0.1)
    hanging = HangingSource()
    feed = Feed(hanging, Opener(unplugged()), lambda _: None)
    began = time.monotonic()
    feed.close()
    assert time.monotonic() - began < 10.0
    hanging.let_go.set()
    wait_until(lambda: hanging.closed)


def test_silence_is_measured() -> None:
    source = ScriptedSource(flat(1), pause_s=0.3)
    feed = Feed(source, Opener(unplugged()), lambda _: None)
    wait_until(lambda: feed.silent_s > 0.2)
    wait_until(lambda: feed.silent_s < 0.1)
    feed.close()


def test_another_error_ends_the_thread_and_is_kept() -> None:
    source = ScriptedSource(flat(1), RuntimeError("broken"))
    feed = Feed(source, Opener(unplugged()), lambda _: None)
    wait_until(lambda: feed.error is not None)
    assert isinstance(feed.error, RuntimeError)
    assert source.closed
    feed.close()


def test_mirror_can_change_while_it_runs() -> None:
    picture = flat(0)
    picture[:, :10] = 200
    seen: list[LiveFrame] = []
    feed = Feed(ScriptedSource(picture), Opener(unplugged()), seen.append, mirror=True)
    wait_until(lambda: len(seen) >= 2)
    assert np.array_equal(seen[0].rgb_u8, picture[:, ::-1])
    feed.mirror = False
    wait_until(lambda: isinstance(seen[-1], Still))
    feed.close()
    assert np.array_equal(seen[-1].rgb_u8, picture)


def test_a_mirrored_frame_keeps_its_times_and_its_original() -> None:
    frame = Still(flat(3), 7, arrival_ns=11)
    mirrored = Mirrored(frame)
    assert (mirrored.pts, mirrored.time_base, mirrored.arrival_ns) == (7, frame.time_base, 11)
    assert mirrored.rgb_u8.flags.c_contiguous
