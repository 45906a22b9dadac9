"""What stands before the decoder: pictures leave with their last packet, lost ones are given up in time, too
large ones and too many are never decoded."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from aiortc import rtcrtpreceiver
from aiortc.jitterbuffer import JitterFrame
from aiortc.rtp import RtpPacket

from stream.relay import intake
from stream.relay.codec import CLOCK, open_codec
from stream.relay.colour import ToYuv
from stream.relay.intake import MOST_WAITING, AudioIntake, PromptBuffer, StraightThrough, VideoIntake
from stream.relay.options import MediaOptions
from tests.stream.relay.fakes import frame_rgb, run


class Codec:
    name = "VP8"


def packet(number: int, time: int, payload: bytes = b"x", last: bool = False) -> Any:
    made: Any = RtpPacket(96, marker=int(last), sequence_number=number % 65536, timestamp=time)
    made._data = payload
    return made


def clip(pictures: int, width: int = 320, height: int = 240) -> list[bytes]:
    """Encoded VP8, a key frame at every tenth."""
    codec, to_yuv = open_codec("vp8", width, height, 30.0, 500, 500), ToYuv("vp8")
    made = []
    for number in range(pictures):
        frame = to_yuv(frame_rgb(number, width, height))
        frame.pts, frame.time_base, frame.pict_type = number * 3000, CLOCK, int(number % 10 == 0)
        made += [bytes(one) for one in codec.encode(frame)]
    return made


def buffer() -> tuple[PromptBuffer, list[str]]:
    losses: list[str] = []
    return PromptBuffer(lambda: losses.append("lost")), losses


def test_a_picture_leaves_with_its_last_packet() -> None:
    prompt, _ = buffer()
    for picture in range(3):
        first = 65534 + 2 * picture
        assert prompt.add(packet(first, picture, b"a")) == (False, None)
        asks, frame = prompt.add(packet(first + 1, picture, b"b", last=True))
        assert not asks
        assert frame is not None
        assert (frame.data, frame.timestamp) == (b"ab", picture)


def test_packets_in_another_order_make_the_same_pictures() -> None:
    prompt, losses = buffer()
    order = [0, 2, 1, 4, 5, 3, 6, 7]
    got = [prompt.add(packet(number, number // 2, bytes([number]), number % 2 == 1))[1] for number in order]
    assert [frame.data for frame in got if frame is not None] == [bytes([2 * n, 2 * n + 1]) for n in range(4)]
    assert not losses


def test_pictures_without_markers_leave_when_the_next_begins() -> None:
    prompt, _ = buffer()
    assert prompt.add(packet(0, 0, b"a"))[1] is None
    frame = prompt.add(packet(1, 1, b"b"))[1]
    assert frame is not None
    assert frame.data == b"a"


def test_padding_becomes_no_picture() -> None:
    prompt, _ = buffer()
    assert prompt.add(packet(0, 0, b"a", last=True))[1] is not None
    assert prompt.add(packet(1, 0, b""))[1] is None
    frame = prompt.add(packet(2, 1, b"b", last=True))[1]
    assert frame is not None
    assert frame.data == b"b"


def test_a_packet_that_stays_missing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [10.0]
    monkeypatch.setattr(intake.time, "monotonic", lambda: now[0])
    prompt, losses = buffer()
    prompt.add(packet(0, 0, b"a", last=True))
    for number in range(2, 12):
        now[0] += 0.03
        assert prompt.add(packet(number, number, b"n", last=True)) == (False, None)
    assert not losses
    now[0] += 0.1
    assert prompt.add(packet(12, 12, b"y", last=True)) == (True, None)
    assert losses == ["lost"]
    frame = prompt.add(packet(13, 13, b"z", last=True))[1]
    assert frame is not None
    assert frame.data == b"y"
    assert not prompt.add(packet(14, 14, b"z", last=True))[0]


def test_a_late_packet_within_time_mends_the_hole(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [10.0]
    monkeypatch.setattr(intake.time, "monotonic", lambda: now[0])
    prompt, losses = buffer()
    prompt.add(packet(0, 0, b"0", last=True))
    prompt.add(packet(2, 2, b"2", last=True))
    now[0] += 0.2
    assert prompt.add(packet(1, 1, b"1", last=True))[1].data == b"1"
    now[0] += 5.0
    assert prompt.add(packet(3, 3, b"3", last=True))[1].data == b"2"
    assert not losses


def video_intake(**options: Any) -> tuple[VideoIntake, threading.Event]:
    lost = threading.Event()
    return VideoIntake(MediaOptions(**options), lost, lambda ms: None), lost


def give(video: VideoIntake, pictures: list[bytes], first: int = 0) -> None:
    for number, picture in enumerate(pictures, first):
        video.put((Codec, JitterFrame(picture, number * 3000)))


def test_pictures_go_on_to_the_decoder_with_their_arrival() -> None:
    video, lost = video_intake()
    give(video, clip(3))
    assert [video.get()[1].timestamp for _ in range(3)] == [0, 3000, 6000]
    arrivals = [video.arrival_ns(pts) for pts in (0, 3000, 6000)]
    assert arrivals == sorted(arrivals)
    assert not lost.is_set()
    video.put(None)
    assert video.get() is None


class SlowDecoder:
    """Knows when it began with each picture and when it was done."""

    def __init__(self) -> None:
        self.spans_ns: list[tuple[int, int]] = []

    def decode(self, picture: JitterFrame) -> list[Any]:
        began_ns = time.perf_counter_ns()
        time.sleep(0.005 * (1 + picture.timestamp / 3000))
        self.spans_ns.append((began_ns, time.perf_counter_ns()))
        return []


def test_what_the_decoder_takes_for_each_picture_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder, told_ms, told_at_ns = SlowDecoder(), list[float](), list[int]()

    def tell(ms: float) -> None:
        told_ms.append(ms)
        told_at_ns.append(time.perf_counter_ns())

    async def decoded() -> None:
        frames: asyncio.Queue[Any] = asyncio.Queue()
        worker = rtcrtpreceiver.decoder_worker, asyncio.get_running_loop(), video, frames, threading.Event()
        await asyncio.to_thread(*worker)
        assert await frames.get() is None

    monkeypatch.setattr(rtcrtpreceiver, "get_decoder", lambda _: decoder)
    video = VideoIntake(MediaOptions(), threading.Event(), tell)
    give(video, clip(3))
    video.put(None)
    began_ns = time.perf_counter_ns()
    run(decoded)
    assert len(told_ms) == 3
    for ms, at_ns, (begun_ns, done_ns) in zip(told_ms, told_at_ns, decoder.spans_ns, strict=True):
        assert (done_ns - begun_ns) / 1e6 <= ms <= (at_ns - began_ns) / 1e6
        began_ns = at_ns


def test_a_burst_is_taken_whole() -> None:
    video, lost = video_intake()
    give(video, clip(MOST_WAITING))
    assert video.qsize() == MOST_WAITING
    assert not lost.is_set()


def test_a_decoder_that_is_late_gets_nothing_until_a_key_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    now_ns = [10**10]
    monkeypatch.setattr(intake.time, "monotonic_ns", lambda: now_ns[0])
    video, lost = video_intake()
    pictures = clip(11)
    give(video, pictures[:2])
    now_ns[0] += int(1.1e6 * intake.MOST_WAITING_MS)
    give(video, pictures[2:4], 2)
    assert (video.qsize(), video.skipped) == (2, 2)
    assert video.oldest_ms() > intake.MOST_WAITING_MS
    assert lost.is_set()
    assert [video.get()[1].timestamp for _ in range(2)] == [0, 3000]
    give(video, pictures[4:], 4)
    assert [video.get()[1].timestamp for _ in range(video.qsize())] == [10 * 3000]


def test_a_decoder_that_is_far_behind_gets_nothing_until_a_key_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "MOST_WAITING", 8)
    video, lost = video_intake()
    pictures = clip(31)
    give(video, pictures[:20])
    assert video.qsize() == 8
    assert video.skipped == 12
    assert video.oldest_ms() > 0.0
    assert lost.is_set()
    while not video.empty():
        video.get()
    assert video.oldest_ms() == 0.0
    give(video, pictures[18:], 18)
    assert video.get()[1].timestamp == 20 * 3000
    assert video.qsize() == 7


def test_after_a_loss_it_begins_again_at_a_key_frame() -> None:
    video, _ = video_intake()
    pictures = clip(12)
    give(video, pictures[:2])
    video.lose()
    give(video, pictures[3:], 3)
    taken = [video.get()[1].timestamp // 3000 for _ in range(video.qsize())]
    assert taken == [0, 1, 10, 11]


def test_a_stream_without_key_frames_begins_again_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [10.0]
    monkeypatch.setattr(intake.time, "monotonic", lambda: now[0])
    video, _ = video_intake()
    delta = clip(2)[1]
    video.lose()
    give(video, [delta] * 3)
    assert video.empty()
    now[0] += intake.KEYFRAME_WAIT_S + 0.1
    give(video, [delta])
    assert video.qsize() == 1


def test_a_picture_that_is_too_large_is_not_decoded_nor_what_builds_on_it() -> None:
    video, _ = video_intake(max_width=400, max_height=400)
    give(video, clip(5, 640, 480))
    assert video.empty()
    assert video.too_large == 5
    assert video.refused_size == (640, 480)
    give(video, clip(2), 5)
    assert video.qsize() == 2
    assert video.refused_size is None


def test_sound_passes_straight_through_but_never_backwards() -> None:
    line = StraightThrough()
    got = [
        line.add(packet(number, number * 960, bytes([number % 256])))[1]
        for number in (65535, 65537, 65536, 65538)
    ]
    assert [frame and frame.timestamp for frame in got] == [65535 * 960, 65537 * 960, None, 65538 * 960]


def test_encoded_sound_is_handed_over_and_not_decoded() -> None:
    got: list[tuple[bytes, int]] = []
    audio = AudioIntake(lambda payload, pts: got.append((payload, pts)))
    audio.put((Codec, JitterFrame(b"opus", 960)))
    audio.put((Codec, JitterFrame(b"", 1920)))
    assert got == [(b"opus", 960)]
    assert audio.empty()
    audio.put(None)
    assert audio.get() is None
