"""One live stream in, retouched, and out again by URL: `vretouch file` where IN or OUT is a live address."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stream.broadcast.receiver import Arrived, Receiver
from stream.broadcast.sender import Outgoing, Sender, Shown
from stream.errors import OptionError
from stream.live.filter import Filtered, LiveFilter
from stream.live.fit import fitted
from stream.live.settings import Settings
from stream.live.stats import Stats
from stream.retoucher import Retoucher

POLL_S = 0.1
STATS_S = 1.0
TAIL_S = 1.0


@dataclass(frozen=True)
class BroadcastJob:
    """source: a file or a live URL. out: a live URL. settings: how it is shown. fps: at most so many frames a
    second. size: of the pictures sent, by default the first one's. duration_s: when to stop."""

    source: str
    out: str
    settings: Settings
    fps: float = 30.0
    size: tuple[int, int] | None = None
    duration_s: float | None = None
    quiet: bool = False


@dataclass(frozen=True)
class BroadcastReport:
    """What went through: see stream.live.stats.Stats; sent, held: pictures sent, and of these repeated ones;
    reconnections: of source and output together."""

    stats: Stats
    sent: int
    held: int
    reconnections: int


class Broadcast:
    """One run. Threads: receiver, filter, sender; the caller's own waits and reports."""

    def __init__(self, job: BroadcastJob, make_retoucher: Callable[[], Retoucher]) -> None:
        self.job = job
        self.stopped = threading.Event()
        self.sender: Sender | None = None
        self._filter: LiveFilter[Arrived] = LiveFilter(
            make_retoucher, self._show, fps=job.fps, settings=job.settings
        )
        self._filter.wait_ready()
        self.receiver = Receiver(job.source, self._filter.submit, self._sound, self.stopped, self._say)

    def run(self) -> BroadcastReport:
        """Run until the source ends, the duration is over or `stopped` is set, which Ctrl-C does."""
        began_s = said_s = time.monotonic()
        try:
            while not self._over(began_s):
                self.receiver.ended.wait(POLL_S)
                if not self.job.quiet and time.monotonic() - said_s >= STATS_S:
                    said_s = time.monotonic()
                    self._line()
            if self.receiver.ended.is_set() and self.receiver.error is None:
                self._let_out()
        finally:
            report = self._close()
        if self.receiver.error is not None:
            raise self.receiver.error
        if self._filter.error is not None:
            raise self._filter.error
        if self.sender is not None and self.sender.error is not None:
            raise self.sender.error
        return report

    def _over(self, began_s: float) -> bool:
        late = self.job.duration_s is not None and time.monotonic() - began_s >= self.job.duration_s
        refused = self.sender is not None and self.sender.error is not None
        broken = refused or self._filter.error is not None
        return late or broken or self.receiver.ended.is_set() or self.stopped.is_set()

    def _let_out(self) -> None:
        """Wait until the filter has given out the last frame it took."""
        end_s = time.monotonic() + TAIL_S
        while time.monotonic() < end_s:
            stats = self._filter.stats()
            if stats.frames_out + stats.dropped >= stats.frames_in:
                return
            time.sleep(POLL_S / 10)

    def _close(self) -> BroadcastReport:
        self._filter.close()
        sender = self.sender
        if sender is not None:
            sender.finish()
        self.stopped.set()
        self.receiver.join(TAIL_S)
        again = self.receiver.reconnections + (sender.reconnections if sender is not None else 0)
        sent, held = (sender.sent, sender.held) if sender is not None else (0, 0)
        return BroadcastReport(self._filter.stats(), sent, held, again)

    def _show(self, filtered: Filtered[Arrived]) -> None:
        if self.sender is None:
            self.sender = self._make_sender(filtered.shown_u8.shape)
        picture = fitted(filtered.shown_u8, self._size)
        self.sender.pictures.put(Shown(picture, filtered.frame.pts_s))

    def _make_sender(self, shape: tuple[int, ...]) -> Sender:
        width, height = self.job.size or (shape[1], shape[0])
        self._size = (max(2, width - width % 2), max(2, height - height % 2))
        kbps = Outgoing.bitrate_for(self._size, self.job.fps)
        outgoing = Outgoing(self.job.out, self._size, self.job.fps, self.receiver.audio, kbps)
        return Sender(outgoing, self.stopped, self._say)

    def _sound(self, frame: Any, at_s: float) -> None:
        if self.sender is not None:
            self.sender.sound(frame, at_s)

    def _say(self, sentence: str) -> None:
        print(f"\nvretouch: {sentence}" if sys.stderr.isatty() else f"vretouch: {sentence}", file=sys.stderr)

    def _line(self) -> None:
        stats = self._filter.stats()
        end = "\r" if sys.stderr.isatty() else "\n"
        print(
            f"{stats.fps:5.1f} fps, {stats.delay_p50_ms:3.0f} ms, {stats.level_name}, {stats.faces} face(s), "
            f"{stats.dropped} dropped   ",
            end=end,
            file=sys.stderr,
            flush=True,
        )


def report_lines(report: BroadcastReport) -> list[str]:
    """The run in a sentence or two, for people."""
    stats = report.stats
    lines = [f"{report.sent} pictures sent, {stats.dropped} dropped, {report.held} repeated"]
    if report.reconnections:
        lines.append(f"the connection was lost {report.reconnections} times")
    return lines


def check_broadcast(job: BroadcastJob) -> None:
    """Raise OptionError for what cannot be broadcast."""
    if job.source == "-" or job.out == "-":
        raise OptionError("a pipe and a live address do not go together; use a file or two addresses")
