"""One encoder in its thread: the newest picture, its own time, nothing that piles up, few key frames."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction

import pytest
from av.codec import CodecContext

from stream.relay import encoder as encoder_module
from stream.relay.encoder import KEYFRAME_GAP_S, MOST_IN_FLIGHT, Encoded, Picture, VideoEncoder
from tests.stream.relay.fakes import frame_rgb, number_of

CLOCK = Fraction(1, 90_000)


class Sink:
    """Takes packets over as they come, unless it holds them back."""

    def __init__(self, codec: str = "vp8") -> None:
        self.got: list[Encoded] = []
        self.codec = codec
        self.holds = False
        self._came = threading.Condition()
        self.encoder = VideoEncoder(codec, 30.0, 500, 1000, self._take)

    def _take(self, encoded: Encoded) -> None:
        with self._came:
            self.got.append(encoded)
            if not self.holds:
                self.encoder.fetched()
            self._came.notify()

    def show(self, number: int, width: int = 320, time_base: Fraction = CLOCK, ticks: int = 3000) -> None:
        picture = Picture(frame_rgb(number, width), number * ticks, time_base, 1000 + number)
        self.encoder.submit(picture)

    def encode(self, number: int, width: int = 320) -> Encoded:
        """Show a picture and wait for its packet."""
        before = len(self.got)
        self.show(number, width)
        self.wait(lambda: len(self.got) > before)
        return self.got[-1]

    def wait(self, holds: Callable[[], bool]) -> None:
        with self._came:
            assert self._came.wait_for(holds, 5.0)


def wait_until(holds: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 5.0
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


@pytest.fixture(params=["vp8", "h264"])
def sink(request: pytest.FixtureRequest) -> Iterator[Sink]:
    made = Sink(request.param)
    yield made
    made.encoder.close()
    assert made.encoder.error is None


def test_each_picture_comes_out_at_once_with_its_own_time(sink: Sink) -> None:
    for number in (3, 4, 7, 100):
        encoded = sink.encode(number)
        assert encoded.packet.pts == number * 3000
        assert encoded.arrival_ns == 1000 + number
        assert encoded.encode_ms > 0.0
    assert [one.keyframe for one in sink.got] == [True, False, False, False]
    assert (sink.encoder.encoded, sink.encoder.keyframes, sink.encoder.not_encoded) == (4, 1, 0)


def test_times_in_another_clock_are_converted(sink: Sink) -> None:
    sink.show(2, time_base=Fraction(1, 1000), ticks=33)
    sink.wait(lambda: bool(sink.got))
    assert sink.got[0].packet.pts == 66 * 90


def test_a_picture_from_the_past_is_not_sent(sink: Sink) -> None:
    sink.encode(5)
    sink.show(4)
    wait_until(lambda: sink.encoder.not_encoded == 1)
    assert sink.encode(6).packet.pts == 18_000
    assert len(sink.got) == 2


def test_while_no_pictures_come_the_last_one_is_shown_to_whoever_has_none(sink: Sink) -> None:
    began_ns = time.monotonic_ns()
    for number in (0, 1):
        sink.encoder.submit(Picture(frame_rgb(number), number * 3000, CLOCK, began_ns))
        sink.wait(lambda wanted=number + 1: len(sink.got) == wanted)
    sink.encoder.request_picture()
    sink.wait(lambda: len(sink.got) == 3)
    again = sink.got[2]
    assert [one.again for one in sink.got] == [False, False, True]
    later = (again.arrival_ns - began_ns) * 9 // 100_000
    assert again.keyframe and again.packet.pts == pytest.approx(3000 + later, abs=1)
    assert later >= 90_000 * encoder_module.AGAIN_S
    decoder = CodecContext.create("libvpx" if sink.codec == "vp8" else "h264", "r")
    (shown,) = [*decoder.decode(again.packet), *decoder.decode(None)]
    assert number_of(shown.to_ndarray(format="rgb24")) == 1
    # The source counts on from where it paused, behind what was shown meanwhile, and then catches up.
    assert sink.encode(2).packet.pts == again.packet.pts + 1
    assert sink.encode(3).packet.pts == again.packet.pts + 2
    ahead = again.packet.pts // 3000 + 9
    assert sink.encode(ahead).packet.pts == ahead * 3000
    # Those who have pictures have not got the one shown again, so that what follows must not build on it.
    assert [one.keyframe for one in sink.got[3:]] == [True, False, False]
    assert not any(one.again for one in sink.got[3:])


def test_an_old_picture_is_not_shown_where_a_new_one_comes(sink: Sink) -> None:
    """As of a stream that nobody watched for long: its encoder had nothing to do."""
    for number in range(6):
        sink.encode(number)
        time.sleep(0.07 * number)
        sink.encoder.request_picture()
        asked_s = time.monotonic()
        time.sleep(0.6 * encoder_module.AGAIN_S)
        if time.monotonic() - asked_s < encoder_module.AGAIN_S:
            assert not any(one.again for one in sink.got)


def test_nothing_is_shown_again_to_whoever_has_a_picture(sink: Sink) -> None:
    sink.encode(0)
    sink.encoder.request_keyframe()
    time.sleep(2.5 * encoder_module.AGAIN_S)
    assert len(sink.got) == 1


def test_another_size_begins_with_a_key_frame(sink: Sink) -> None:
    assert sink.encode(0, 320).keyframe
    assert not sink.encode(1, 320).keyframe
    assert sink.encode(2, 480).keyframe
    assert (sink.encoder.width, sink.encoder.height) == (480, 240)


def test_many_requests_make_few_key_frames(sink: Sink) -> None:
    began_s = time.monotonic()
    number = 0
    while time.monotonic() - began_s < 2.2 * KEYFRAME_GAP_S:
        sink.encoder.request_keyframe()
        sink.encode(number)
        number += 1
    most = 2 + int((time.monotonic() - began_s) / KEYFRAME_GAP_S)
    assert 2 <= sink.encoder.keyframes <= most
    assert number > sink.encoder.keyframes


def test_nothing_is_encoded_while_packets_lie_about(sink: Sink) -> None:
    sink.holds = True
    for number in range(MOST_IN_FLIGHT):
        sink.encode(number)
    assert sink.encoder.full
    sink.show(10)
    wait_until(lambda: sink.encoder.not_encoded == 1)
    assert len(sink.got) == MOST_IN_FLIGHT
    sink.holds = False
    sink.encoder.fetched()
    assert sink.encode(11).packet.pts == 33_000


def test_a_burst_is_cut_down_to_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    sink = Sink()
    convert = sink.encoder._to_yuv

    def slow(rgb_u8: object) -> object:
        release.wait(5.0)
        return convert(rgb_u8)

    monkeypatch.setattr(sink.encoder, "_to_yuv", slow)
    for number in range(10):
        sink.show(number)
        time.sleep(0.005)
    assert sink.encoder.waiting
    assert sink.encoder.age_ms() >= 0.0
    release.set()
    sink.wait(lambda: len(sink.got) == 2)
    assert [one.packet.pts // 3000 for one in sink.got] == [0, 9]
    assert not sink.encoder.waiting
    sink.encoder.close()


def test_vp8_takes_a_new_bitrate_by_beginning_anew_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.relay.codec.RENEW_DOWN_S", 0.0)
    sink = Sink("vp8")
    sink.encode(0)
    sink.encoder.kbps = 200
    assert [sink.encode(number).keyframe for number in range(1, 6)] == [True, False, False, False, False]
    sink.encoder.kbps = 5000
    assert sink.encoder.kbps == 1000
    sink.encoder.close()


def test_an_error_ends_the_thread_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no encoder")

    monkeypatch.setattr(encoder_module, "open_codec", broken)
    sink = Sink()
    sink.show(0)
    sink.encoder._thread.join(5.0)
    assert str(sink.encoder.error) == "no encoder"
    sink.encoder.close()


def test_closing_ends_the_thread_and_may_be_done_twice() -> None:
    sink = Sink()
    sink.encode(0)
    sink.encoder.close()
    sink.encoder.close()
    sink.show(1)
    assert not sink.encoder._thread.is_alive()
    assert len(sink.got) == 1
