"""Our own video encoders (PyAV): VP8 by libvpx in real-time mode, H.264 baseline by libx264 without delay."""

from __future__ import annotations

import time
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

import av
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange

CLOCK = Fraction(1, 90_000)
# Key frames come when they are asked for; this is how far apart they may be at most, in frames.
FAR_APART = 1 << 20
# How much of a second's bits may come at once.
BUFFER_S = 0.5
# Frames that come slower than promised get more bits each, up to so many times as many.
MOST_SHARE, NEW_SHARE = 3.0, 0.1
_BT709 = 1

# VP8 takes a new bitrate only by beginning anew, with a key frame: seldom, and less eagerly upwards.
RENEW_DOWN, RENEW_DOWN_S = 0.85, 2.0
RENEW_UP, RENEW_UP_S = 1.25, 10.0
RENEW_FREE = 0.05


@dataclass(frozen=True)
class Aim:
    """What an encoder shall do from the next frame on. interval_s: how far apart frames come. keyframe_due:
    the next one is to be a key frame. now_s: monotonic time."""

    kbps: int
    interval_s: float
    keyframe_due: bool
    now_s: float


class VideoCodec(Protocol):
    """An open encoder for pictures of one size. kbps: what it aims at."""

    kbps: int

    def aim(self, wanted: Aim, /) -> bool:
        """Aim at another bitrate. False: that needs a new encoder, and is worth it at this time."""

    def encode(self, frame: VideoFrame) -> list[Packet[Any]]:
        """One picture in, its packet out, at once."""


class H264:
    """libx264 whose bitrate follows at once, without a key frame.

    That works below the rate it was opened with, and only if that was the highest in its buffer too; so it is
    opened with more than will ever be wanted.
    """

    def __init__(self, width: int, height: int, fps: float, kbps: int, most_kbps: int) -> None:
        self.kbps, self._fps, self._share = kbps, fps, 1.0
        ceiling_kbps = int(most_kbps * MOST_SHARE)
        self._context = _context("libx264", width, height, fps, ceiling_kbps)
        self._context.profile = "Baseline"
        self._context.colorspace = self._context.color_primaries = self._context.color_trc = _BT709
        self._context.color_range = ColorRange.MPEG
        self._context.options = {
            "preset": "superfast",
            "tune": "zerolatency",
            "forced-idr": "1",
            "sc_threshold": "0",
            "maxrate": str(ceiling_kbps * 1000),
            "bufsize": str(int(kbps * 1000 * BUFFER_S)),
        }
        self._context.open()
        self._context.bit_rate = kbps * 1000

    def aim(self, wanted: Aim, /) -> bool:
        """Always done in place.

        x264 shares bits out as if frames came at the rate it was opened for; to go by their times it would
        hold each back until the next has come.
        """
        share = min(max(wanted.interval_s * self._fps, 1.0), MOST_SHARE)
        if wanted.kbps != self.kbps or abs(share - self._share) > NEW_SHARE * self._share:
            self.kbps, self._share = wanted.kbps, share
            self._context.bit_rate = int(self.kbps * 1000 * share)
        return True

    def encode(self, frame: VideoFrame) -> list[Packet[Any]]:
        """See VideoCodec."""
        return self._context.encode(frame)


class Vp8:
    """libvpx at constant bitrate, which FFmpeg cannot change while it is open."""

    def __init__(self, width: int, height: int, fps: float, kbps: int) -> None:
        self.kbps = kbps
        self._opened_s = time.monotonic()
        self._context = _context("libvpx", width, height, fps, kbps)
        self._context.qmin, self._context.qmax = 4, 56
        self._context.options = {
            "deadline": "realtime",
            "cpu-used": "-12",
            "lag-in-frames": "0",
            "minrate": str(kbps * 1000),
            "maxrate": str(kbps * 1000),
            "bufsize": str(kbps * 1000),
            "undershoot-pct": "100",
            "overshoot-pct": "15",
            "static-thresh": "1",
        }
        self._context.open()

    def aim(self, wanted: Aim, /) -> bool:
        """False where the change is large and the last one is long past, or a key frame is due anyway."""
        if wanted.keyframe_due:
            return abs(wanted.kbps - self.kbps) <= RENEW_FREE * self.kbps
        age_s = wanted.now_s - self._opened_s
        down = wanted.kbps < RENEW_DOWN * self.kbps and age_s >= RENEW_DOWN_S
        up = wanted.kbps > RENEW_UP * self.kbps and age_s >= RENEW_UP_S
        return not (down or up)

    def encode(self, frame: VideoFrame) -> list[Packet[Any]]:
        """See VideoCodec."""
        return self._context.encode(frame)


def open_codec(codec: str, width: int, height: int, fps: float, kbps: int, most_kbps: int) -> VideoCodec:
    """A new encoder, which begins with a key frame. codec: `vp8` or `h264`. width, height: even. kbps: to
    begin with; most_kbps: it will never be told to aim at more."""
    if codec == "h264":
        return H264(width, height, fps, kbps, most_kbps)
    return Vp8(width, height, fps, kbps)


def _context(name: str, width: int, height: int, fps: float, kbps: int) -> VideoCodecContext:
    context = av.CodecContext.create(name, "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.bit_rate = kbps * 1000
    context.time_base = CLOCK
    context.framerate = Fraction(fps).limit_denominator(1001)
    context.gop_size = FAR_APART
    context.max_b_frames = 0
    # More threads make the picture wait for the slowest core.
    context.thread_count = 1
    return context
