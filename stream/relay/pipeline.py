"""From a publisher's decoded frames to packets: through the filter, to one encoder for all viewers, and to a
second one while the publisher's own picture shows a split or a map."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from av.video.frame import VideoFrame

from stream.live.filter import Filtered, LiveFilter
from stream.live.settings import Settings
from stream.live.stats import Stats
from stream.relay.colour import DecodedFrame, ToRgb
from stream.relay.encoder import Picture
from stream.relay.errors import Stuck
from stream.relay.fanout import Fanout, PacketTrack
from stream.relay.metrics import StageTimes
from stream.relay.options import MediaOptions
from stream.relay.pace import Pace
from stream.relay.rate import RateControl

OnFiltered = Callable[[Filtered[DecodedFrame]], None]
MakeFilter = Callable[[OnFiltered], LiveFilter[DecodedFrame]]

# Longer than the first frame takes, for which face models are loaded, on any machine that can keep up.
STUCK_S = 30.0
_DROPS = ("too_large", "too_fast", "behind", "overtaken", "not_encoded")


class Pipeline:
    """Lives in the event loop but for the filter's thread, which calls `_filtered`.

    returns: the track on which the publisher gets its own picture back, or None. plain: what viewers get, and
    the publisher too unless its view asks for more. counts: frames by what became of them before the filter,
    see stream.relay.snapshot.StreamSnapshot.frames. width, height: of the newest frame. times: counts what
    each frame takes.
    """

    def __init__(
        self,
        codec: str,
        options: MediaOptions,
        make_filter: MakeFilter,
        returns: PacketTrack | None,
        times: StageTimes,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.width = self.height = 0
        self._codec, self._options, self._make_filter = codec, options, make_filter
        self._returns, self._times = returns, times
        self._settings = Settings(strength=float(options.strength), also=options.also, keep=options.keep)
        self._filter: LiveFilter[DecodedFrame] | None = None
        self._pace = Pace(options.fps)
        self._to_rgb = ToRgb(options.scale)
        self._closing: dict[asyncio.Task[None], Fanout] = {}
        self._closed: Counter[str] = Counter()  # frames of encoders that are no more
        self._stuck: Stuck | None = None
        self._finished, self._finished_s = -1, 0.0
        self._plain_watched = False
        self._shown: Fanout | None = None
        self.plain = self._new_fanout()
        if returns is not None:
            self.plain.add(returns)

    @property
    def settings(self) -> Settings:
        """How the stream is shown."""
        return self._settings

    @property
    def returning(self) -> Fanout:
        """Where the publisher's own picture comes from."""
        return self._shown or self.plain

    @property
    def error(self) -> BaseException | None:
        """What ended a thread of it or hangs, if something does."""
        errors = [self._stuck, *(fanout.encoder.error for fanout in self._fanouts())]
        if self._filter is not None:
            errors.append(self._filter.error)
        return next((error for error in errors if error is not None), None)

    def change(self, settings: Settings) -> None:
        """Show the stream in another way from the next frame on."""
        self._settings = settings
        if self._filter is not None:
            self._filter.settings = settings
        apart = settings.view != "plain" and self._returns is not None
        if apart != (self._shown is not None):
            self._show_apart(apart)

    def take(self, native: VideoFrame, arrival_ns: int) -> None:
        """A frame was decoded; it is dropped here, before any work, if it shall not or cannot go on."""
        self.counts["decoded"] += 1
        self.width, self.height = native.width, native.height
        pts, time_base = native.pts, native.time_base
        if pts is None or time_base is None:
            return
        if reason := self._dropped_as(native, float(pts * time_base), arrival_ns / 1e9):
            self.counts[reason] += 1
            if reason == "behind" and self._filter is not None:
                self._filter.passed_by(pts, time_base)
            return
        if self._filter is None:
            self._filter = self._make_filter(self._filtered)
            self._filter.settings = self._settings
        self._filter.submit(DecodedFrame(native, pts, time_base, arrival_ns, self._to_rgb))

    def step(self, now_s: float) -> None:
        """Let bitrates follow the viewers' estimates, and notice what hangs. Called twice a second."""
        for fanout in self._fanouts():
            fanout.step(now_s)
        unmoved_s = [self._unfinished_s(now_s), *(one.encoder.age_ms() / 1e3 for one in self._fanouts())]
        if max(unmoved_s) > STUCK_S:
            self._stuck = Stuck(f"no picture was finished for {STUCK_S:g} s; the engine or an encoder hangs")

    def stats(self) -> Stats:
        """The filter's, but with the delay from a frame's arrival to its packet's leaving, and all drops."""
        stats = Stats() if self._filter is None else self._filter.stats()
        sent = (self.plain if self.plain.watched else self.returning).sent.figures(Stats())
        frames = self.frames()
        return replace(
            stats,
            frames_in=frames["decoded"],
            dropped=sum(frames[kind] for kind in _DROPS),
            delay_p50_ms=sent.delay_p50_ms,
            delay_p95_ms=sent.delay_p95_ms,
        )

    def frames(self) -> Counter[str]:
        """See stream.relay.snapshot.StreamSnapshot.frames."""
        stats = Stats() if self._filter is None else self._filter.stats()
        kinds = Counter(self.counts)
        kinds["overtaken"], kinds["retouched"] = stats.dropped, stats.frames_out
        for fanout in (*self._fanouts(), *self._closing.values()):
            kinds.update(_counts(fanout))
        kinds.update(self._closed)
        return kinds

    async def close(self) -> None:
        """End all threads, and wait for them unless one hangs."""
        closings = [fanout.encoder.close for fanout in self._fanouts()]
        if self._filter is not None:
            closings.insert(0, self._filter.close)
        for close in closings:
            if self._stuck is None:
                await asyncio.to_thread(close)
            else:
                threading.Thread(target=close, daemon=True).start()
        if self._closing:
            await asyncio.wait(self._closing)

    def _unfinished_s(self, now_s: float) -> float:
        """For how long the filter has had frames and finished none."""
        if self._filter is None:
            return 0.0
        stats = self._filter.stats()
        idle = stats.frames_in <= stats.frames_out + stats.dropped
        if idle or stats.frames_out != self._finished:
            self._finished, self._finished_s = stats.frames_out, now_s
        return now_s - self._finished_s

    def _fanouts(self) -> list[Fanout]:
        return [self.plain] if self._shown is None else [self.plain, self._shown]

    def _new_fanout(self) -> Fanout:
        rate = RateControl(self._options.bitrate_kbps, self._options.max_bitrate_kbps)
        return Fanout(self._codec, self._options.fps, rate, self._times)

    def _dropped_as(self, native: VideoFrame, pts_s: float, arrival_s: float) -> str | None:
        """Why a frame does not go on, or None."""
        if not self._options.admits(native.width, native.height):
            return "too_large"
        if not self._pace.admits(pts_s, arrival_s):
            return "too_fast"
        self._plain_watched = self.plain.watched
        if not any(fanout.watched for fanout in self._fanouts()):
            return "unwatched"
        encoders = [fanout.encoder for fanout in self._fanouts() if fanout.watched]
        return "behind" if any(encoder.waiting or encoder.full for encoder in encoders) else None

    def _filtered(self, filtered: Filtered[DecodedFrame]) -> None:
        """In the filter's thread; never waits."""
        frame, shown = filtered.frame, self._shown
        self._times.add(filtered.stage_ms | {"filter": filtered.retouch_ms})
        if self._plain_watched:
            self.plain.submit(Picture(filtered.rgb_u8, frame.pts, frame.time_base, frame.arrival_ns))
        if shown is not None:
            shown.submit(Picture(filtered.shown_u8, frame.pts, frame.time_base, frame.arrival_ns))

    def _show_apart(self, apart: bool) -> None:
        """Give the publisher an encoder of its own, or take it away again."""
        assert self._returns is not None
        self.returning.remove(self._returns)
        if apart:
            self._shown = self._new_fanout()
        elif self._shown is not None:
            task = asyncio.create_task(asyncio.to_thread(self._shown.encoder.close))
            self._closing[task] = self._shown
            task.add_done_callback(self._forget)
            self._shown = None
        self.returning.add(self._returns)

    def _forget(self, closing: asyncio.Task[None]) -> None:
        self._closed.update(_counts(self._closing.pop(closing)))


def _counts(fanout: Fanout) -> dict[str, int]:
    return {"encoded": fanout.encoder.encoded, "not_encoded": fanout.encoder.not_encoded}
