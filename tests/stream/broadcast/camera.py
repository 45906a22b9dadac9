"""A network camera in a process of its own, `python -m tests.stream.broadcast.camera URL CLIP ROLE`: it sends
the clip in real time, over and over with its times going on, until it is killed; and clips that it sends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import av
import numpy as np

from stream.broadcast.urls import muxer_for, sending_options
from tests.stream.broadcast.rtsp import Channel, RtspServer

FPS = 30
FLASH_S = 0.1
WAIT_S = 90.0
PATHS = {"rtmp": "/live/key", "rtsp": "/live"}
LISTEN = {"tcp": "?listen=1", "srt": "?mode=listener", "udp": ""}


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def until(true: Callable[[], bool], what: str) -> None:
    end_s = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < end_s, what
        time.sleep(0.02)


@contextmanager
def pressed(when: Callable[[], bool]) -> Iterator[None]:
    """Ctrl-C within, once it is listened to, and then."""
    before = signal.getsignal(signal.SIGINT)

    def press() -> None:
        until(lambda: signal.getsignal(signal.SIGINT) is not before and when(), "it does not come so far")
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    yield
    thread.join()


def write_clip(
    path: Path, size: tuple[int, int] = (320, 240), rate: int | None = 44_100, pictures: bool = True
) -> Path:
    """Four seconds of grey, white for a tenth at the start of each, with a beep in the same tenth. rate: of
    the sound; None for none."""
    with av.open(str(path), "w") as container:
        options = {"preset": "ultrafast", "tune": "zerolatency", "g": "15"}
        video: Any = container.add_stream("libx264", rate=FPS, options=options) if pictures else None
        if video is not None:
            video.width, video.height, video.pix_fmt = *size, "yuv420p"
        audio: Any = container.add_stream("aac", rate=rate) if rate else None
        for index in range(4 * FPS if pictures else 0):
            level = 255 if index % FPS < FPS * FLASH_S else 90
            frame = av.VideoFrame.from_ndarray(
                np.full((size[1], size[0], 3), level, np.uint8), format="rgb24"
            )
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            container.mux(video.encode(frame))
        if rate:
            at_s = np.arange(4 * rate) / rate
            wave = np.where(at_s % 1.0 < FLASH_S, 0.5 * np.sin(2 * np.pi * 1000 * at_s), 0.0).astype(
                np.float32
            )
            for start in range(0, len(wave), 1024):
                piece = np.tile(wave[start : start + 1024], (2, 1))
                heard = av.AudioFrame.from_ndarray(piece, format="fltp", layout="stereo")
                heard.sample_rate, heard.pts, heard.time_base = rate, start, Fraction(1, rate)
                container.mux(audio.encode(heard))
            container.mux(audio.encode(None))
        if video is not None:
            container.mux(video.encode(None))
    return path


class Camera:
    """A camera on a port of this machine that speaks `kind`. role: `serve` waits for one who watches, `call`
    connects to one. secret: NAME:PASSWORD that it asks for; datagrams: it serves RTSP over UDP only."""

    def __init__(
        self, kind: str = "tcp", role: str = "serve", secret: str = "", datagrams: bool = False
    ) -> None:
        self.port = free_port()
        known = f"{secret}@" if secret else ""
        self.url = f"{kind}://{known}127.0.0.1:{self.port}" + PATHS.get(kind, "")
        self._listens = role == "serve" and kind in ("tcp", "rtmp", "rtsp")
        self._role = "serve-datagrams" if datagrams else role
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, clip: Path) -> None:
        """Begin to send, or wait for one who watches."""
        module = "tests.stream.broadcast.camera"
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, self.url, str(clip), self._role], stderr=subprocess.DEVNULL
        )
        if self._listens:
            until(lambda: taken(self.port), "the camera does not listen")

    def kill(self) -> None:
        """As a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def taken(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as trial:
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def due(clip: str) -> Iterator[tuple[int, Any]]:
    """Packets as they are, each when it is due, with the index of its stream."""
    shift = began_s = 0.0
    sent: dict[int, int] = {}
    while True:
        end_s = 0.0
        with av.open(clip) as source:
            for packet in source.demux():
                if packet.dts is None or packet.pts is None or packet.time_base is None:
                    continue
                began_s = began_s or time.monotonic()
                at_s = float(packet.dts * packet.time_base) + shift
                end_s = max(end_s, at_s + float((packet.duration or 0) * packet.time_base))
                moved = round(shift / packet.time_base)
                packet.pts, packet.dts = packet.pts + moved, packet.dts + moved
                # The encoder's lead at the clip's start falls into what was before.
                index = packet.stream.index
                if packet.dts <= sent.get(index, packet.dts - 1):
                    continue
                sent[index] = packet.dts
                time.sleep(max(0.0, began_s + at_s - time.monotonic()))
                yield index, packet
        # Whole seconds, so that what happens once a second goes on so.
        shift = float(round(end_s))


def send(url: str, clip: str, role: str) -> None:
    """Connect to the address, or wait there for one who watches, and send."""
    name, form, scheme = url, muxer_for(url), urlsplit(url).scheme
    if role == "serve":
        # Outputs take no options of their protocol but so.
        name, form = (f"[f=flv:listen=1]{url}", "tee") if form == "flv" else (f"{url}{LISTEN[scheme]}", form)
    options = sending_options(url) | {"flush_packets": "1"}
    with av.open(clip) as source, av.open(name, "w", format=form, options=options) as out:
        streams = [out.add_stream_from_template(stream) for stream in source.streams]
        for index, packet in due(clip):
            packet.stream = streams[index]
            out.mux(packet)


def play(clip: str, channels: list[Channel]) -> None:
    """Send as RTP."""
    with ExitStack() as stack:
        source = stack.enter_context(av.open(clip))
        outs = [stack.enter_context(channel.packetiser()) for channel in channels]
        streams = [out.add_stream_from_template(source.streams[k]) for k, out in enumerate(outs)]
        for index, packet in due(clip):
            packet.stream = streams[index]
            outs[index].mux(packet)


def run(url: str, clip: str, role: str) -> None:
    """Be a camera."""
    parts = urlsplit(url)
    if parts.scheme == "rtsp" and role != "call":
        assert parts.port is not None
        secret = f"{parts.username}:{parts.password}" if parts.username else ""
        RtspServer(parts.port, partial(play, clip), secret, role == "serve-datagrams").serve()
    while True:
        try:
            send(url, clip, role)
        except ConnectionRefusedError:
            time.sleep(0.1)


if __name__ == "__main__":
    run(*sys.argv[1:])
