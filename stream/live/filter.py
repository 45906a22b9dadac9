"""The filter of one live stream: newest frame in, retouched frame out, in one thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Generic, Protocol, TypeVar

from stream.compare import compose
from stream.frame import RgbImage
from stream.live.budget import LADDER, Cost, Effort, Governor
from stream.live.settings import Settings
from stream.live.slot import Newest
from stream.live.stats import Stats, Window
from stream.retoucher import Retoucher

FADE_S = 0.25
STILL_S = 1.0


class LiveFrame(Protocol):
    """A frame that has arrived.

    rgb_u8: uint8 [H, W, 3] RGB; read in the filter's thread, so that it may be converted there. pts counts
    time_base. arrival_ns: time.monotonic_ns() when it arrived.
    """

    @property
    def rgb_u8(self) -> RgbImage: ...
    @property
    def pts(self) -> int: ...
    @property
    def time_base(self) -> Fraction: ...
    @property
    def arrival_ns(self) -> int: ...


F = TypeVar("F", bound=LiveFrame)


@dataclass(frozen=True)
class Filtered(Generic[F]):
    """A frame that is done.

    frame: what came in. rgb_u8: uint8 [H, W, 3], retouched; frame.rgb_u8 itself where nothing was to be done.
    shown_u8: the view that the settings ask for; rgb_u8 itself where that is plain. retouch_ms: time of the
    filter's work on it. stage_ms: see stream.retoucher.STAGES. level: of the ladder. faces: how many.
    """

    frame: F
    rgb_u8: RgbImage
    shown_u8: RgbImage
    retouch_ms: float
    stage_ms: dict[str, float]
    level: int
    faces: int


class LiveFilter(Generic[F]):
    """One stream's filter. Frames are dropped before work, never after; on_frame must not wait.

    make_retoucher: called in the filter's thread, whose Retoucher it is; its strength, also and keep are
    those of the settings. on_frame: called there with each frame that is done. fps: the rate that is
    promised; a stream that comes slower has more time a frame. error: what ended the thread, if something
    did; frames submitted after that are dropped.
    """

    def __init__(
        self,
        make_retoucher: Callable[[], Retoucher],
        on_frame: Callable[[Filtered[F]], None],
        *,
        fps: float = 30.0,
        settings: Settings | None = None,
    ) -> None:
        self.settings = settings or Settings()
        self.error: BaseException | None = None
        self._make_retoucher, self._on_frame = make_retoucher, on_frame
        self._interval = _Interval(1.0 / fps)
        self._arrived: Newest[F] = Newest()
        self._window = Window()
        self._stats = Stats()
        self._frames_in = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="live-filter", daemon=True)
        self._thread.start()

    def submit(self, frame: F) -> None:
        """Hand over a frame. Never waits; one not yet begun is replaced and counted as dropped."""
        self._frames_in += 1
        self.passed_by(frame.pts, frame.time_base)
        self._arrived.put(frame)

    def passed_by(self, pts: int, time_base: Fraction) -> None:
        """A frame of this time has come and is not handed over, since what comes after the filter could not
        take it. Without being told of it the filter would hold the stream for slower than it is."""
        self._interval.arrived(float(pts * time_base))

    def wait_ready(self, timeout_s: float | None = None) -> bool:
        """Wait until the filter has started, or failed to (see `error`); False after timeout_s seconds."""
        return self._ready.wait(timeout_s)

    def stats(self) -> Stats:
        """What has been done so far, and the figures of the last seconds."""
        counted = replace(self._stats, frames_in=self._frames_in, dropped=self._arrived.dropped)
        return self._window.figures(counted)

    def close(self) -> None:
        """End the thread, and wait for it."""
        self._arrived.close()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        try:
            with self._make_retoucher() as retoucher:
                retoucher.warm_up()
                self._ready.set()
                work = _Work(retoucher)
                while (frame := self._arrived.take()) is not None:
                    self._done(work(frame, self.settings, self._interval.seconds))
        except BaseException as error:
            self.error = error
            self._arrived.close()
            self._ready.set()

    def _done(self, filtered: Filtered[F]) -> None:
        delay_ms = (time.monotonic_ns() - filtered.frame.arrival_ns) / 1e6
        self._window.add(filtered.retouch_ms, delay_ms)
        self._stats = Stats(
            frames_out=self._stats.frames_out + 1,
            level=filtered.level,
            level_name=LADDER[filtered.level].name,
            faces=filtered.faces,
            stage_ms=filtered.stage_ms,
        )
        self._on_frame(filtered)


class _Interval:
    """How far apart frames come, from their own times; never less than what was promised."""

    def __init__(self, least_s: float) -> None:
        self._least_s = self.seconds = least_s
        self._last_s: float | None = None

    def arrived(self, pts_s: float) -> None:
        """A frame of this time has come."""
        if self._last_s is not None and 0.0 < pts_s - self._last_s < STILL_S:
            self.seconds += 0.1 * (max(self._least_s, pts_s - self._last_s) - self.seconds)
        self._last_s = pts_s


class _Work:
    """What is done to one frame after the other, as the budget allows, the effect faded in and out."""

    def __init__(self, retoucher: Retoucher) -> None:
        self._retoucher = retoucher
        self._governor = Governor()
        self._turn = 0
        self._credit = 0.0
        self._amount: float | None = None
        self._last_s: float | None = None
        self._held: tuple[RgbImage, RgbImage] | None = None

    def __call__(self, frame: F, settings: Settings, interval_s: float) -> Filtered[F]:
        began_ns = time.perf_counter_ns()
        level, effort = self._governor.level, self._governor.effort
        if settings.frozen and self._held is not None:
            rgb, shown = self._held
            return Filtered(frame, rgb, shown, _ms_since(began_ns), {}, level, 0)
        raw, pts_s = frame.rgb_u8, float(frame.pts * frame.time_base)
        wanted = settings.strength if settings.effect and effort.retouch else 0.0
        self._fade_to(wanted, pts_s)
        looks = settings.view == "map" and effort.retouch
        retouching = bool(self._amount or wanted) or looks
        if retouching:
            self._retoucher.also, self._retoucher.keep = settings.also, settings.keep
        rgb = self._retouched(raw, pts_s, effort) if retouching else raw
        faces = self._retoucher.last.faces if retouching else []
        stage_ms = dict(self._retoucher.last.stage_ms) if retouching else {}
        shown = rgb
        if settings.view != "plain":
            changed = any(face.changed_px is not None for face in faces)
            shown = compose(settings.view, raw, rgb, faces, changed=changed, split_at=settings.split_at)
        self._held = (rgb, shown)
        retouch_ms = _ms_since(began_ns)
        self._governor.observe(self._cost(stage_ms, retouch_ms), interval_s)
        return Filtered(frame, rgb, shown, retouch_ms, stage_ms, level, len(faces))

    def _fade_to(self, wanted: float, pts_s: float) -> None:
        """Move the strength by what FADE_S allows, so that nothing pops when it is changed or given up."""
        if self._amount is None:
            self._amount = wanted
        elif self._last_s is not None:
            most = max(0.0, min(pts_s - self._last_s, FADE_S)) / FADE_S
            self._amount += max(-most, min(most, wanted - self._amount))
        self._last_s = pts_s

    def _retouched(self, raw: RgbImage, pts_s: float, effort: Effort) -> RgbImage:
        retoucher, turn = self._retoucher, self._turn
        self._turn += 1
        assert self._amount is not None
        retoucher.strength = min(1.0, max(0.0, self._amount))
        # While it fades out on the last level, what was found before is carried on at little cost.
        finds = effort.retouch and turn % effort.find_every == 0
        located = retoucher.locate(raw, pts_s, find=finds)
        at_most = self._steps(len(located.faces), effort)
        # The last level is for when the network is too slow to be waited for.
        waits = effort.retouch and effort.step_every == 1
        stepped = retoucher.step(located, at_most=at_most, wait=waits)
        return retoucher.composite(raw, stepped)

    def _steps(self, faces: int, effort: Effort) -> int:
        """How many of the faces the network may see in this frame: faces / step_every on average."""
        if not effort.retouch:
            return 0
        if effort.step_every == 1:
            return faces
        self._credit = min(self._credit, 1.0) + faces / effort.step_every
        whole = 0 if self._retoucher.stepping else int(self._credit + 1e-6)
        self._credit -= whole
        return whole

    def _cost(self, stage_ms: dict[str, float], busy_ms: float) -> Cost:
        """Parts that were spared tell nothing of what they would have cost."""
        if not stage_ms:
            return Cost(busy_ms, None, None, busy_ms)
        last = self._retoucher.last
        find_ms = stage_ms["locate"] if last.found else None
        step_ms = last.step_ms * len(last.faces) if last.stepped else None
        return Cost(busy_ms, find_ms, step_ms, max(0.0, busy_ms - (find_ms or 0.0) - stage_ms["step"]))


def _ms_since(began_ns: int) -> float:
    return (time.perf_counter_ns() - began_ns) / 1e6
