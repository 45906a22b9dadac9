"""Our encoders: a packet for each frame at once, colours as browsers read them, a bitrate that follows."""

from __future__ import annotations

import av
import numpy as np
import numpy.typing as npt
import pytest
from av.packet import Packet
from av.video.frame import VideoFrame

from stream.relay.codec import CLOCK, RENEW_DOWN_S, RENEW_UP_S, Aim, VideoCodec, open_codec
from stream.relay.colour import DecodedFrame, ToRgb, ToYuv, shrunk
from tests.stream.relay.fakes import busy_rgb

DECODERS = {"vp8": "libvpx", "h264": "h264"}
COLOURS = [(200, 60, 40), (30, 120, 200), (180, 140, 120), (250, 250, 250), (5, 5, 5), (60, 200, 60)]


def encoded(
    codec: VideoCodec, name: str, rgb_u8: npt.NDArray[np.uint8], pts: int, key: bool
) -> Packet[av.VideoStream]:
    frame = ToYuv(name)(rgb_u8)
    frame.pts, frame.time_base, frame.duration, frame.pict_type = pts, CLOCK, 3000, int(key)
    (packet,) = codec.encode(frame)
    return packet


@pytest.mark.parametrize("name", ["vp8", "h264"])
def test_colours_come_back_within_codec_noise(name: str) -> None:
    codec = open_codec(name, 320, 240, 30.0, 2000, 2000)
    decoder, to_rgb = av.CodecContext.create(DECODERS[name], "r"), ToRgb()
    for number, colour in enumerate(COLOURS):
        packet = encoded(codec, name, np.full((240, 320, 3), colour, np.uint8), number * 3000, key=True)
        (frame,) = decoder.decode(packet)
        assert np.abs(to_rgb(frame).mean(axis=(0, 1)) - colour).max() < 2.5, (name, colour)


def test_h264_says_that_it_is_bt709_and_vp8_is_bt601() -> None:
    """What a decoder that obeys the stream alone makes of it."""
    seen = {}
    for name in ("vp8", "h264"):
        codec = open_codec(name, 320, 240, 30.0, 2000, 2000)
        packet = encoded(codec, name, np.full((240, 320, 3), (200, 60, 40), np.uint8), 0, key=True)
        (frame,) = av.CodecContext.create(DECODERS[name], "r").decode(packet)
        planes = [int(np.frombuffer(plane, np.uint8)[100]) for plane in frame.planes]
        seen[name] = (planes, frame.colorspace, frame.color_range)
    # H.273, equations for matrices 6 (BT.601) and 1 (BT.709), of (200, 60, 40) in limited range.
    assert np.abs(np.subtract(seen["vp8"][0], (102, 98, 191))).max() <= 2
    assert np.abs(np.subtract(seen["h264"][0], (92, 105, 190))).max() <= 2
    assert seen["h264"][1:] == (1, 1)


@pytest.mark.parametrize(
    ("matrix", "planes"), [(1, (92, 105, 190)), (2, (102, 98, 191)), (6, (102, 98, 191))]
)
def test_decoded_frames_become_rgb_by_the_matrix_they_name(matrix: int, planes: tuple[int, int, int]) -> None:
    frame = VideoFrame(64, 48, "yuv420p")
    for plane, level in zip(frame.planes, planes, strict=True):
        plane.update(bytes([level]) * plane.buffer_size)
    frame.colorspace = matrix
    decoded = DecodedFrame(frame, 0, CLOCK, 0, ToRgb())
    assert np.abs(decoded.rgb_u8.astype(int) - (200, 60, 40)).max() <= 2
    assert decoded.rgb_u8 is decoded.rgb_u8


def test_full_range_is_told_from_limited() -> None:
    frame = VideoFrame(64, 48, "yuvj420p")
    for plane, level in zip(frame.planes, (255, 128, 128), strict=True):
        plane.update(bytes([level]) * plane.buffer_size)
    assert np.abs(ToRgb()(frame).astype(int) - 255).max() <= 1


@pytest.mark.parametrize(
    ("size", "fits"),
    [
        ((1920, 1080), (1280, 720)),
        ((1080, 1920), (720, 1280)),
        ((1280, 720), (1280, 720)),
        ((640, 480), (640, 480)),
        ((1440, 1080), (960, 720)),
        ((1279, 719), (1279, 719)),
        ((4000, 100), (1280, 32)),
        ((4000, 20), (1280, 16)),
    ],
)
def test_what_is_larger_is_scaled_to_fit_upright_or_turned(
    size: tuple[int, int], fits: tuple[int, int]
) -> None:
    assert shrunk(*size, (1280, 720)) == shrunk(*size, (720, 1280)) == fits


@pytest.mark.parametrize("name", ["vp8", "h264"])
def test_a_scaled_picture_is_the_mean_of_what_it_covers(name: str) -> None:
    """VP8's colours and H.264's are converted in two ways."""
    colours = np.array([[[200, 60, 40], [30, 120, 200]], [[180, 140, 120], [60, 200, 60]]], np.uint8)
    picture = np.repeat(np.repeat(colours, 24, axis=0), 32, axis=1)  # four fields, lines across them
    lines = picture.astype(int) + np.tile([-20, 20], 24)[:, None, None]
    frame = ToYuv(name)(lines.astype(np.uint8))
    whole, half = ToRgb()(frame), ToRgb((32, 32))(frame)
    assert (whole.shape, half.shape) == ((48, 64, 3), (24, 32, 3))
    wanted = whole.reshape(24, 2, 32, 2, 3).mean(axis=(1, 3))
    apart = np.abs(half - wanted)
    # Where fields meet, chroma is of both; elsewhere it is the mean, but for rounding.
    assert apart[2:10, 2:14].max() <= 2.0 and apart[14:22, 18:30].max() <= 2.0 and apart.mean() < 2.0


def test_odd_sizes_lose_their_last_row_and_column() -> None:
    frame = ToYuv("h264")(np.zeros((241, 321, 3), np.uint8))
    assert (frame.width, frame.height) == (320, 240)


@pytest.mark.parametrize("name", ["vp8", "h264"])
def test_key_frames_come_when_asked_for_and_only_then(name: str) -> None:
    codec = open_codec(name, 320, 240, 30.0, 1000, 1000)
    # A cut at every tenth frame, which must not make one.
    packets = [
        encoded(
            codec,
            name,
            busy_rgb(number, 320, 240)[:: 1 if number // 10 % 2 else -1].copy(),
            number * 3000,
            number == 25,
        )
        for number in range(60)
    ]
    assert [number for number, packet in enumerate(packets) if packet.is_keyframe] == [0, 25]
    assert [packet.pts for packet in packets] == [number * 3000 for number in range(60)]
    assert {packet.time_base for packet in packets} == {CLOCK}


def kbps_of(codec: VideoCodec, name: str, first: int, fps: int, kbps: int) -> tuple[float, int]:
    """What two seconds take, and how many key frames are among them."""
    size = keyframes = 0
    for number in range(first, first + 2 * fps):
        assert codec.aim(Aim(kbps, 1.0 / fps, False, 0.0))
        packet = encoded(codec, name, busy_rgb(number, 320, 240), number * 90_000 // fps, False)
        size += packet.size
        keyframes += packet.is_keyframe
    return size * 8 / 2000, keyframes


def test_h264_follows_another_bitrate_without_a_key_frame() -> None:
    codec = open_codec("h264", 320, 240, 30.0, 600, 1200)
    kbps_of(codec, "h264", 0, 30, 600)
    for first, wanted in ((60, 200), (180, 1000), (300, 300)):
        kbps_of(codec, "h264", first, 30, wanted)
        got, keyframes = kbps_of(codec, "h264", first + 60, 30, wanted)
        assert 0.6 * wanted < got < 1.2 * wanted
        assert keyframes == 0


@pytest.mark.parametrize("name", ["vp8", "h264"])
def test_half_the_frame_rate_gets_the_same_bitrate(name: str) -> None:
    codec = open_codec(name, 320, 240, 30.0, 500, 500)
    kbps_of(codec, name, 0, 15, 500)
    got, _ = kbps_of(codec, name, 30, 15, 500)
    assert 0.6 * 500 < got < 1.3 * 500


def test_vp8_begins_anew_for_another_bitrate_only_if_it_is_worth_it() -> None:
    codec = open_codec("vp8", 320, 240, 30.0, 1000, 2000)
    opened_s = codec._opened_s

    def done_in_place(kbps: int, after_s: float, keyframe_due: bool = False) -> bool:
        return codec.aim(Aim(kbps, 1 / 30, keyframe_due, opened_s + after_s))

    assert done_in_place(400, 0.9 * RENEW_DOWN_S)
    assert not done_in_place(400, 1.1 * RENEW_DOWN_S)
    assert done_in_place(900, 100.0)
    assert done_in_place(1900, 0.9 * RENEW_UP_S)
    assert not done_in_place(1900, 1.1 * RENEW_UP_S)
    assert not done_in_place(900, 0.0, keyframe_due=True)
    assert done_in_place(990, 0.0, keyframe_due=True)
