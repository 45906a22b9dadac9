"""FFmpeg as a publisher: numbered frames by its WHIP muxer, in a process of its own, as it holds Python's
lock while it connects. Arguments: address, certificate, key, how many frames."""

from __future__ import annotations

import sys
import time

import av

from tests.stream.relay.fakes import frame_rgb

FPS = 30


def publish(url: str, certificate: str, key: str, frames: int) -> None:
    """Send so many frames at FPS."""
    options = {"cert_file": certificate, "key_file": key}
    with av.open(url, "w", format="whip", options=options) as out:
        encoder = {"profile": "baseline", "tune": "zerolatency", "preset": "ultrafast", "g": "30", "bf": "0"}
        stream = out.add_stream("libx264", rate=FPS, options=encoder)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        began_s = time.monotonic()
        for number in range(frames):
            time.sleep(max(0.0, began_s + number / FPS - time.monotonic()))
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame_rgb(number), "rgb24")))


if __name__ == "__main__":
    publish(*sys.argv[1:4], int(sys.argv[4]))
