"""What encoded pictures say of themselves is what encoders were told, and broken bytes do no harm."""

from __future__ import annotations

import random
from fractions import Fraction

import av
import numpy as np
import pytest

from stream.relay.sniff import UNREADABLE, Sniffed, sniff


def pictures(name: str, width: int, height: int, options: dict[str, str], pix_fmt: str) -> list[bytes]:
    """Three encoded pictures, of which the first is a key frame."""
    context = av.CodecContext.create(name, "w")
    context.width, context.height, context.pix_fmt = width, height, pix_fmt
    context.time_base, context.framerate, context.options = Fraction(1, 30), Fraction(30), options
    packets = []
    for number in range(3):
        frame = av.VideoFrame.from_ndarray(np.full((height, width, 3), 60 * number, np.uint8), "rgb24")
        frame = frame.reformat(format=pix_fmt)
        frame.pts = number
        packets += context.encode(frame)
    return [bytes(packet) for packet in [*packets, *context.encode(None)]]


@pytest.mark.parametrize("size", [(320, 240), (1280, 720), (176, 144), (1920, 1088)])
def test_vp8_tells_its_size_with_each_key_frame(size: tuple[int, int]) -> None:
    first, second, _ = pictures("libvpx", *size, {"deadline": "realtime", "lag-in-frames": "0"}, "yuv420p")
    assert sniff("vp8", first) == Sniffed(True, size)
    assert sniff("vp8", second) == Sniffed(False)


@pytest.mark.parametrize(
    ("options", "pix_fmt"),
    [
        ({"profile": "baseline"}, "yuv420p"),
        ({"profile": "high"}, "yuv420p"),
        ({"profile": "high10"}, "yuv420p10le"),
        ({"profile": "high444", "x264-params": "cqm=jvt"}, "yuv444p"),
        ({"x264-params": "interlaced=1"}, "yuv420p"),
    ],
)
@pytest.mark.parametrize("size", [(320, 256), (1280, 720), (1920, 1080), (638, 360)])
def test_h264_tells_its_size_with_each_parameter_set(
    size: tuple[int, int], options: dict[str, str], pix_fmt: str
) -> None:
    first, second, _ = pictures("libx264", *size, {**options, "tune": "zerolatency"}, pix_fmt)
    assert sniff("h264", first) == Sniffed(True, size)
    assert sniff("h264", second) == Sniffed(False)


def test_a_size_is_not_believed_that_is_cropped_by_more_than_the_last_macroblocks() -> None:
    cropped = av.bitstream.BitStreamFilterContext("h264_metadata=crop_right=320:crop_bottom=64", "h264")
    packet = av.Packet(pictures("libx264", 640, 352, {"tune": "zerolatency"}, "yuv420p")[0])
    first = b"".join(bytes(out) for out in cropped.filter(packet))
    assert sniff("h264", first) == Sniffed(True, (640, 352))


def test_of_two_parameter_sets_the_larger_counts() -> None:
    small = pictures("libx264", 160, 128, {"tune": "zerolatency"}, "yuv420p")[0]
    large = pictures("libx264", 1280, 736, {"tune": "zerolatency"}, "yuv420p")[0]
    assert sniff("h264", large + small).size == (1280, 736)
    assert sniff("h264", small + large).size == (1280, 736)


def test_a_parameter_set_that_is_broken_off_is_unreadable() -> None:
    assert sniff("h264", b"\x00\x00\x01\x67\x42").size == UNREADABLE


KEY_FRAME, PARAMETER_SET = b"\x10\x00\x00\x9d\x01\x2a", b"\x00\x00\x01\x67"


def test_any_bytes_are_taken_and_what_begins_as_a_header_has_a_size() -> None:
    chance = random.Random(3)
    for _ in range(500):
        noise = bytes(chance.randrange(256) for _ in range(chance.randrange(60)))
        assert (sniff("vp8", KEY_FRAME + noise).size is None) == (len(noise) < 4)
        assert sniff("h264", PARAMETER_SET + noise).size is not None
        assert sniff("vp8", PARAMETER_SET + noise) == sniff("vp8", noise) == Sniffed(False)
        assert sniff("h264", KEY_FRAME + noise) == sniff("h264", noise) == Sniffed(False)
