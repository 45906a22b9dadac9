"""The process that holds the connection: `python -m stream.broadcast.outlet`.

FFmpeg's network outputs connect while they hold Python's lock, which would stop every thread of this process
for as long as a server does not answer. So encoded packets go as NUT through a pipe to a process of their
own, which copies them. The first line is the address: on a command line everybody would see its key.
"""

from __future__ import annotations

import contextlib
import ctypes
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from io import FileIO
from typing import IO

import av
import av.error

from stream.broadcast.reasons import LISTENING, SILENT, USUAL_ADVICE, advice_on, is_final, reason_of
from stream.broadcast.urls import listens, muxer_for, sending_options

SILENT_S = 10
GRACE_S = 3.0
OPENED = "open"
CLOSED = "it was closed"
FAILED, FINAL = 1, 2
# Pictures wait no longer for sound that does not come, as while the source is away.
AT_ONCE = {"flush_packets": "1", "max_interleave_delta": "100000"}
# In the pipe no longer than for the next picture; what goes out is put in order anyway.
PIPE_WAIT_S = 0.01
PIPED = AT_ONCE | {"max_interleave_delta": f"{1e6 * PIPE_WAIT_S:.0f}"}
# What comes is known by the header and the first packet.
PROBE = {"fpsprobesize": "0", "probesize": "32"}
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class End:
    """How an outlet ended. opened: whether it ever had its connection. reason, advice, final: see
    reasons.py."""

    opened: bool
    reason: str = CLOSED
    advice: str = USUAL_ADVICE.format(LISTENING)
    final: bool = False


def start_outlet() -> subprocess.Popen[bytes]:
    """The process, which waits for the address and packets in its `stdin`, and says in `stderr` that
    it is connected, and why it ends."""
    return subprocess.Popen(
        [sys.executable, "-m", "stream.broadcast.outlet"], stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )


class Outlet:
    """The process as who started it sees it. packets: where the address and then the packets go. opened: set
    once it has its connection. over: set once it says no more."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        self.packets: IO[bytes] = process.stdin
        self.opened, self.over = threading.Event(), threading.Event()
        self._process, self._lines = process, list[str]()
        self._thread = threading.Thread(target=self._listen, name="outlet", daemon=True)
        self._thread.start()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def end(self) -> End:
        """How it ended; its input is closed, and it is ended if it does not by itself."""
        with contextlib.suppress(OSError):
            self.packets.close()
        try:
            self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._thread.join()
        opened = self.opened.is_set()
        if sys.platform != "win32" and self._process.returncode == -signal.SIGALRM:
            return End(opened, SILENT)
        if not self._lines or self._lines[-1] == OPENED:
            return End(opened)
        reason, _, advice = self._lines[-1].partition("; ")
        return End(opened, reason, advice or End.advice, final=self._process.returncode == FINAL)

    def _listen(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as said:
            for line in said:
                self._lines.append(line.decode("utf-8", "replace").strip())
                if self._lines[-1] == OPENED:
                    self.opened.set()
        self.over.set()


def send(packets: IO[bytes] | FileIO, url: str) -> None:
    """Copy a NUT stream to an address until it ends. A server that does not answer or take anything for
    SILENT_S ends the process: while FFmpeg waits for one, nothing else could."""
    with av.open(packets, "r", format="nut", options=PROBE) as came:
        options = sending_options(url) | AT_ONCE
        with av.open(url, "w", format=muxer_for(url), options=options) as out:
            streams = {s.index: out.add_stream_from_template(s) for s in came.streams}
            # Whoever is to connect here may take as long as they like.
            _end_after(0 if listens(url) else SILENT_S)
            out.start_encoding()
            print(OPENED, file=sys.stderr, flush=True)
            for packet in came.demux():
                if packet.pts is not None:
                    # No picture waits for a later one, which FFmpeg does not know of the first ones.
                    packet.dts = packet.pts
                    packet.stream = streams[packet.stream.index]
                    _end_after(SILENT_S)
                    out.mux(packet)
                _end_after(0)


def _end_after(seconds: int) -> None:
    """Have the system end this process then, 0: not; where it can, for no thread of Python's might."""
    if sys.platform != "win32":
        signal.alarm(seconds)


def _end_with_parent() -> None:
    """Leave no process behind that holds a port, where whoever started this one is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> int:
    """Run as a process; says in one line why it ends."""
    # Whoever started it decides when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with_parent()
    # Unbuffered: a read gives what is there, and does not wait for as much as was asked for.
    with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as packets:
        url = packets.readline().decode("utf-8").rstrip("\n")
        try:
            send(packets, url)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            print(f"{reason_of(url, error)}; {advice_on(url, error, LISTENING)}", file=sys.stderr)
            return FINAL if is_final(url, error) else FAILED
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
