"""A network camera in a process of its own, `python -m tests.stream.broadcast.camera URL CLIP`: it sends the
clip in real time, over and over with its times going on, until it is killed; and the clips that it sends."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from stream.broadcast.urls import muxer_for

FPS = 30
FLASH_S = 0.1
WAIT_S = 30.0


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def until(true: Callable[[], bool], what: str) -> None:
    end_s = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < end_s, what
        time.sleep(0.02)


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
    """A camera on a port of this machine, `tcp` for one that is connected to, `udp` for one that sends."""

    def __init__(self, kind: str = "tcp") -> None:
        self.url = f"{kind}://127.0.0.1:{free_port()}"
        self._kind = kind
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, clip: Path) -> None:
        """Begin to send, or wait for one who watches."""
        url = self.url + ("?listen=1" if self._kind == "tcp" else "")
        module = "tests.stream.broadcast.camera"
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, url, str(clip)], stderr=subprocess.DEVNULL
        )
        if self._kind == "tcp":
            until(lambda: taken(int(self.url.rpartition(":")[2])), "the camera does not listen")

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


def send(url: str, clip: str) -> None:
    """Packets as they are, each when it is due."""
    shift = began_s = 0.0
    with av.open(url, "w", format=muxer_for(url), options={"flush_packets": "1"}) as out:
        streams: dict[int, Any] = {}
        sent: dict[int, int] = {}
        while True:
            end_s = 0.0
            with av.open(clip) as source:
                if not streams:
                    streams = {s.index: out.add_stream_from_template(s) for s in source.streams}
                for packet in source.demux():
                    if packet.dts is None or packet.pts is None or packet.time_base is None:
                        continue
                    began_s = began_s or time.monotonic()
                    at_s = float(packet.dts * packet.time_base) + shift
                    end_s = max(end_s, at_s + float((packet.duration or 0) * packet.time_base))
                    moved = round(shift / packet.time_base)
                    packet.pts, packet.dts = packet.pts + moved, packet.dts + moved
                    # The encoder's lead at the clip's start falls into what was before.
                    if packet.dts <= sent.get(packet.stream.index, packet.dts - 1):
                        continue
                    sent[packet.stream.index] = packet.dts
                    packet.stream = streams[packet.stream.index]
                    time.sleep(max(0.0, began_s + at_s - time.monotonic()))
                    out.mux(packet)
            # Whole seconds, so that flashes stay a second apart.
            shift = float(round(end_s))


if __name__ == "__main__":
    send(*sys.argv[1:])
