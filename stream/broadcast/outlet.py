"""The process that holds the connection: `python -m stream.broadcast.outlet`.

FFmpeg's network outputs connect while they hold Python's lock, which would stop every thread of this process
for as long as a server does not answer. So encoded packets go as NUT through a pipe to a process of their
own, which copies them. The first line is the address: on a command line everybody would see its key.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from io import FileIO
from typing import IO, Any

import av
import av.error

from stream.broadcast.urls import muxer_for, options_for

OPEN_S = 10.0
GRACE_S = 3.0
OPENED = "open"
CLOSED = "it was closed"
FAILED = 1
AT_ONCE = {"flush_packets": "1"}
PROBE = {"fpsprobesize": "0", "analyzeduration": "500000"}


def start_outlet() -> subprocess.Popen[bytes]:
    """The process, which waits for the address and packets in its `stdin`, and says in `stderr` that
    it is connected, and why it ends."""
    return subprocess.Popen(
        [sys.executable, "-m", "stream.broadcast.outlet"], stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )


def end_of(outlet: subprocess.Popen[bytes]) -> tuple[bool, str]:
    """Whether an outlet ever had its connection, and why it ended; its input is closed, and it is ended if it
    does not by itself."""
    assert outlet.stdin is not None
    assert outlet.stderr is not None
    with contextlib.suppress(OSError):
        outlet.stdin.close()
    try:
        outlet.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        outlet.kill()
        outlet.wait()
    with outlet.stderr:
        lines = outlet.stderr.read().decode("utf-8", "replace").strip().splitlines()
    return OPENED in lines, lines[-1] if lines and lines[-1] != OPENED else CLOSED


def send(packets: IO[bytes] | FileIO) -> None:
    """Copy a NUT stream, after a line with the address, to that address, until it ends."""
    url = packets.readline().decode("utf-8").rstrip("\n")
    with av.open(packets, "r", format="nut", options=PROBE) as came:
        options = options_for(url) | AT_ONCE
        timeout: Any = (OPEN_S, OPEN_S)
        with av.open(url, "w", format=muxer_for(url), options=options, timeout=timeout) as out:
            out_streams = {s.index: out.add_stream_from_template(s) for s in came.streams}
            told = False
            for packet in came.demux():
                if packet.dts is not None:
                    packet.stream = out_streams[packet.stream.index]
                    out.mux(packet)
                    if not told:
                        print(OPENED, file=sys.stderr, flush=True)
                        told = True


def main() -> int:
    """Run as a process; says in one line why it ends."""
    # Whoever started it decides when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        # Unbuffered: a read gives what is there, and does not wait for as much as was asked for.
        with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as packets:
            send(packets)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or str(error) or type(error).__name__
        print("no answer in time" if isinstance(error, av.error.ExitError) else said, file=sys.stderr)
        return FAILED
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
