"""One live stream in, retouched, and out by URL or into a file: `vretouch file` where IN or OUT is live."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from stream.broadcast.receiver import Arrived, Receiver
from stream.broadcast.recorder import Recorder, Recording, recording_lines
from stream.broadcast.sender import Outgoing, Sender, Shown, even_size
from stream.broadcast.urls import is_live, without_secrets
from stream.errors import SourceError
from stream.file import Interrupts
from stream.live.filter import Filtered, LiveFilter
from stream.live.settings import Settings
from stream.live.slot import Newest
from stream.live.stats import Stats
from stream.retoucher import Retoucher

POLL_S = 0.1
STATS_S = 1.0
TAIL_S = 1.0


@dataclass(frozen=True)
class BroadcastJob:
    """source: a file or a live URL. out: a live URL; of a live source also a file's path, or - for standard
    output. settings: how it is shown. fps: at most so many frames a second. size: of the pictures sent, by
    default the first one's. duration_s: when to stop, counted from the first picture. give_up_s: a live
    source that has been gone for so long has ended; None waits for it. wait_s: for so long it tries to reach
    a live source or output that is not there yet. format, lossless, force: see Recording."""

    source: str
    out: str
    settings: Settings
    fps: float = 30.0
    size: tuple[int, int] | None = None
    duration_s: float | None = None
    quiet: bool = False
    give_up_s: float | None = None
    wait_s: float = 0.0
    format: str | None = None
    lossless: bool = False
    force: bool = False

    @property
    def recording(self) -> Recording | None:
        """What is recorded, where OUT is no live address."""
        if is_live(self.out):
            return None
        return Recording(self.out, self.format, self.size, self.fps, self.lossless, self.force)


@dataclass(frozen=True)
class BroadcastReport:
    """What went through: see stream.live.stats.Stats; sent, held: pictures sent, and of these repeated ones;
    recorded: what was, in sentences, where OUT is a file; reconnections: of source and output together;
    interrupted: ended by Ctrl-C."""

    stats: Stats
    sent: int
    held: int
    reconnections: int
    recorded: tuple[str, ...] = ()
    interrupted: bool = False


class Output(Protocol):
    """Where pictures and sound go: a Sender or a Recorder."""

    pictures: Newest[Shown]

    @property
    def error(self) -> Exception | None: ...
    def sound(self, frame: Any, at_s: float) -> None: ...
    def finish(self) -> None: ...
    def remove(self) -> None: ...


class Broadcast:
    """One run. Threads: receiver, filter, sender or recorder; the caller's own waits and reports.

    Raises OutputError at once for a file that may not or cannot be written.
    """

    def __init__(self, job: BroadcastJob, make_retoucher: Callable[[], Retoucher]) -> None:
        self.job = job
        self.stopped = threading.Event()
        self.sender: Sender | None = None
        recording = job.recording
        self.recorder: Recorder | None = None
        if recording is not None:
            self.recorder = Recorder(recording, lambda: self.receiver.audio, self._say)
        self._began_s: float | None = None
        self._enough = threading.Event()
        self._filter: LiveFilter[Arrived] = LiveFilter(
            make_retoucher, self._show, fps=job.fps, settings=job.settings
        )
        self._filter.wait_ready()
        self.receiver = Receiver(
            job.source,
            self._filter.submit,
            self._sound,
            self.stopped,
            self._say,
            job.give_up_s,
            paced=self.recorder is not None,
            wait_s=job.wait_s,
        )

    def run(self) -> BroadcastReport:
        """Run until the source ends, the duration is over, or Ctrl-C or `stopped` says so; a recording is
        whole then. Where there was nothing to record, raises KeyboardInterrupt if it was stopped by that,
        SourceError otherwise."""
        said_s = time.monotonic()
        with Interrupts() as interrupts:
            interrupts.remove = self._remove
            try:
                while not self._over() and not interrupts.asked:
                    self.receiver.ended.wait(POLL_S)
                    if not self.job.quiet and time.monotonic() - said_s >= STATS_S:
                        said_s = time.monotonic()
                        self._line()
                if self.receiver.ended.is_set():
                    self._let_out()
            finally:
                report = replace(self._close(), interrupted=interrupts.asked)
        if interrupts.asked and not report.sent and not (self.recorder and self.recorder.frames):
            raise KeyboardInterrupt
        self._raise_error()
        if self.recorder is not None and not self.recorder.frames:
            raise SourceError(
                f"nothing came from {without_secrets(self.job.source)} that could be recorded; "
                "check that it sends pictures"
            )
        return report

    @property
    def output(self) -> Output | None:
        """What takes the pictures; of a live output None before the first one."""
        return self.recorder if self.recorder is not None else self.sender

    def _remove(self) -> None:
        if self.output is not None:
            self.output.remove()

    def _over(self) -> bool:
        broken = self.output is not None and self.output.error is not None
        full = self.recorder is not None and self.recorder.full
        if self._began_s is not None and self._past(time.monotonic()):
            self._enough.set()
        ended = self.receiver.ended.is_set() or self.stopped.is_set() or self._enough.is_set()
        return broken or full or ended or self._filter.error is not None

    def _past(self, at_s: float) -> bool:
        """Whether a time of the monotonic clock lies behind what was asked for."""
        wanted, began_s = self.job.duration_s, self._began_s
        return wanted is not None and began_s is not None and at_s - began_s >= wanted

    def _let_out(self) -> None:
        """Wait until the filter has given out the last frame it took."""
        end_s = time.monotonic() + TAIL_S
        while time.monotonic() < end_s and self._filter.error is None:
            stats = self._filter.stats()
            if stats.frames_out + stats.dropped >= stats.frames_in:
                return
            time.sleep(POLL_S / 10)

    def _close(self) -> BroadcastReport:
        self._filter.close()
        if self.output is not None:
            self.output.finish()
        self.stopped.set()
        self.receiver.join(TAIL_S)
        again, sent, held = self.receiver.reconnections, 0, 0
        recorded: tuple[str, ...] = ()
        if self.sender is not None:
            again += self.sender.reconnections
            sent, held = self.sender.sent, self.sender.held
        if self.recorder is not None:
            recorded = tuple(recording_lines(self.recorder, self.job.out))
        return BroadcastReport(self._filter.stats(), sent, held, again, recorded)

    def _raise_error(self) -> None:
        output = None if self.output is None else self.output.error
        for error in (output, self.receiver.error, self._filter.error):
            if error is not None:
                if self.recorder is not None and self.recorder.kept is not None:
                    self._say(
                        f"{self.recorder.kept} holds the {self.recorder.frames} pictures that came before"
                    )
                raise error

    def _show(self, filtered: Filtered[Arrived]) -> None:
        at_s = filtered.frame.pts_s
        if self._began_s is None:
            self._began_s = at_s
        if self._past(at_s):
            self._enough.set()
            return
        if self.output is None:
            self.sender = self._make_sender(filtered.shown_u8.shape)
        assert self.output is not None
        self.output.pictures.put(Shown(filtered.shown_u8, at_s))

    def _make_sender(self, shape: tuple[int, ...]) -> Sender:
        size = even_size(self.job.size or (shape[1], shape[0]))
        kbps = Outgoing.bitrate_for(size, self.job.fps)
        outgoing = Outgoing(self.job.out, size, self.job.fps, self.receiver.audio, kbps)
        return Sender(outgoing, self.stopped, self._say, self.job.wait_s, is_live(self.job.source))

    def _sound(self, frame: Any, at_s: float) -> None:
        if self.output is not None and not self._past(at_s):
            self.output.sound(frame, at_s)

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
    lines = list(report.recorded)
    if lines:
        lines.append(f"{stats.frames_in} came, {stats.dropped} were dropped before retouching")
    else:
        lines.append(f"{report.sent} pictures sent, {stats.dropped} dropped, {report.held} repeated")
    if report.reconnections:
        times = "once" if report.reconnections == 1 else f"{report.reconnections} times"
        lines.append(f"the connection was lost {times}")
    return lines
