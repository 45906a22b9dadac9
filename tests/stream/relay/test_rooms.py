"""Publishers and viewers over real connections on 127.0.0.1: what comes in goes out, to all, in order, in the
right colours and at its own time."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from stream.live.filter import Filtered
from stream.live.settings import Settings
from stream.relay.metrics import StageTimes
from stream.relay.options import MediaOptions
from stream.relay.publication import Publication
from stream.relay.rooms import Rooms
from stream.relay.viewer import Viewer
from tests.stream.relay.fakes import PATCH_RGB, FakeFilter, run, until
from tests.stream.relay.peers import ClipTrack, Publisher, Seen, Watcher

LOOPBACK = MediaOptions(loopback=True)


def check_frames(seen: list[Seen]) -> None:
    """In order, each once, at the publisher's own time, in the right colour."""
    numbers = [one.number for one in seen]
    assert numbers == sorted(set(numbers))
    assert len({one.pts - 3000 * one.number for one in seen}) == 1
    # Two codecs, one after the other, lie between.
    assert np.abs(np.mean([one.patch_rgb for one in seen], axis=0) - PATCH_RGB).max() < 4.0
    assert {one.size for one in seen} == {(320, 240)}


def test_what_is_too_large_to_be_retouched_is_scaled() -> None:
    async def main() -> None:
        rooms = Rooms(replace(LOOPBACK, scale=(160, 160)), FakeFilter)
        publisher, watcher = Publisher("vp8"), Watcher()
        await publisher.publish(rooms)
        await watcher.watch(rooms)
        await until(lambda: len(watcher.seen) > 5 and len(publisher.receiver.seen) > 5)
        assert {one.size for one in watcher.seen + publisher.receiver.seen} == {(160, 120)}
        (stream,) = rooms.snapshot().streams
        assert (stream.width, stream.height) == (320, 240)
        await watcher.close()
        await publisher.close()
        await rooms.close()

    run(main)


@pytest.mark.parametrize("codec", ["vp8", "h264"])
def test_one_publisher_and_three_viewers(codec: str) -> None:
    async def main() -> None:
        rooms = Rooms(LOOPBACK, FakeFilter)
        publisher = Publisher(codec, sound=True)
        await publisher.publish(rooms)
        await until(lambda: len(publisher.receiver.seen) > 5)
        watchers = [Watcher(sound=True) for _ in range(3)]
        for watcher in watchers:
            await watcher.watch(rooms)
        await until(lambda: all(len(watcher.seen) > 45 for watcher in watchers))
        (stream,) = rooms.snapshot().streams
        assert (stream.codec, stream.viewers, stream.flushes) == (codec, 3, 0)
        # Encoded once for all of them, with a key frame for each that joined at most.
        assert [thread.name for thread in threading.enumerate()].count("video-encoder") == 1
        assert stream.keyframes <= 5
        assert stream.frames["encoded"] <= stream.frames["decoded"]
        assert max(stream.queue_age_ms.values()) < 500.0
        for seen in (publisher.receiver.seen, *(watcher.seen for watcher in watchers)):
            check_frames(seen)
        for watcher in watchers:
            times = [pts for pts, _ in watcher.receiver.sounds]
            assert len(times) > 20
            assert {after - before for before, after in itertools.pairwise(times)} == {960}
        await rooms.close()
        await until(lambda: all(watcher.peer.connectionState == "closed" for watcher in watchers))
        for peer in (publisher, *watchers):
            await peer.close()

    run(main)


def test_a_viewer_who_joins_late_gets_a_key_frame_made_for_it_and_another_when_it_asks() -> None:
    async def main() -> None:
        rooms = Rooms(LOOPBACK, FakeFilter)
        publisher, watcher = Publisher("h264"), Watcher()
        await publisher.publish(rooms)
        await until(lambda: len(publisher.receiver.seen) > 30)
        answer = await watcher.watch(rooms)
        await until(lambda: bool(watcher.seen))
        track = rooms._sessions[answer.session].video
        # The publisher's own key frames come each second and do not count: ours are made when asked for.
        assert track.first_packet_s - track.started_s < 0.8
        assert rooms.snapshot().streams[0].keyframes == 2
        receiver = watcher.peer.getTransceivers()[0].receiver
        await until(lambda: bool(receiver.getSynchronizationSources()))
        await receiver._send_rtcp_pli(receiver.getSynchronizationSources()[0].source)
        await until(lambda: rooms.snapshot().streams[0].keyframes == 3)
        # What aiortc estimates of its way (REMB) has come too.
        publication = rooms._publications["one"]
        await until(lambda: any(isinstance(way, Viewer) for way in publication.plain.rate._ways))
        await rooms.close()
        await publisher.close()
        await watcher.close()

    run(main)


def test_a_viewer_who_joins_while_pictures_pause_is_sent_the_last_one() -> None:
    async def main() -> None:
        rooms = Rooms(LOOPBACK, FakeFilter)
        publisher, watcher = Publisher(track=ClipTrack("vp8", frames=20)), Watcher()
        await publisher.publish(rooms)
        # aiortc shows a frame when the next one begins.
        await until(lambda: any(seen.number == 18 for seen in publisher.receiver.seen))
        answer = await watcher.watch(rooms)
        track = rooms._sessions[answer.session].video
        await until(lambda: track.first_packet_s > 0.0)
        assert rooms.snapshot().streams[0].frames["decoded"] == 20
        await rooms.close()
        await publisher.close()
        await watcher.close()

    run(main)


def test_a_strict_whip_client_gets_nothing_back_and_costs_nothing_while_nobody_watches() -> None:
    async def main() -> None:
        made: list[FakeFilter] = []

        def make(on_frame: object) -> FakeFilter:
            made.append(FakeFilter(on_frame))
            return made[-1]

        rooms = Rooms(LOOPBACK, make)
        publisher, watcher = Publisher("vp8", returns=False), Watcher()
        answer = await publisher.publish(rooms)
        assert "a=recvonly" in answer.sdp
        await until(lambda: rooms.snapshot().streams[0].frames.get("unwatched", 0) > 10)
        assert not made
        await watcher.watch(rooms)
        await until(lambda: len(watcher.seen) > 10)
        assert len(made) == 1
        assert not publisher.receiver.seen
        check_frames(watcher.seen)
        await watcher.close()
        await until(lambda: rooms.snapshot().viewers == 0)
        worked = made[0].stats().frames_in
        unwatched = rooms.snapshot().streams[0].frames["unwatched"]
        await until(lambda: rooms.snapshot().streams[0].frames["unwatched"] > unwatched + 5)
        assert made[0].stats().frames_in == worked
        await rooms.close()
        assert made[0].closed
        await publisher.close()

    run(main)


def test_the_page_is_told_and_obeyed_and_viewers_keep_the_plain_picture() -> None:
    async def main() -> None:
        chosen = replace(LOOPBACK, strength=0.5, also=["shine"], keep=["lines", "freckles"])
        filters: list[FakeFilter] = []

        def make_filter(on_frame: Callable[[Filtered[Any]], None]) -> FakeFilter:
            filters.append(FakeFilter(on_frame))
            return filters[-1]

        rooms = Rooms(chosen, make_filter)
        publisher, watcher = Publisher("h264", control=True), Watcher()
        await publisher.publish(rooms)
        await until(lambda: bool(publisher.said("hello")))
        assert publisher.said("hello")[0]["watch"] == "watch/one"
        settings = publisher.said("hello")[0]["settings"]
        wanted = Settings(strength=0.5, also=["shine"], keep=["freckles", "lines"])
        assert Settings(**settings) == wanted
        await watcher.watch(rooms)
        await until(lambda: len(watcher.seen) > 5 and len(publisher.receiver.seen) > 5)
        assert [one.settings for one in filters] == [wanted]
        assert publisher.channel is not None
        publisher.channel.send('{"type":"set","view":"split"}')
        # The fake filter shows other views upside down, where no number is at the top.
        await until(lambda: publisher.receiver.seen[-1].number == 0)
        before = len(watcher.seen)
        await until(lambda: len(watcher.seen) > before + 10)
        assert publisher.receiver.seen[-1].number == 0
        publisher.channel.send('{"type":"set","view":"plain"}')
        await until(lambda: publisher.receiver.seen[-1].number > 0)
        check_frames(watcher.seen)
        times = [one.pts for one in publisher.receiver.seen]
        assert times == sorted(set(times))
        publisher.channel.send('{"type":"set","view":"sideways"}')
        publisher.channel.send('{"type":"set","self":1}')
        await until(lambda: len(publisher.said("error")) == 2)
        assert [message["view"] for message in publisher.said("settings")] == ["split", "plain"]
        await until(lambda: bool(publisher.said("stats")))
        stats = publisher.said("stats")[-1]
        assert {"fps", "delay_p95_ms", "dropped", "level_name", "viewers", "bitrate_kbps"} <= set(stats)
        await until(lambda: [thread.name for thread in threading.enumerate()].count("video-encoder") == 1)
        # The second encoder is gone; what it has made beside the first stays counted.
        frames = rooms.snapshot().streams[0].frames
        assert frames["encoded"] > frames["retouched"]
        await rooms.close()
        await publisher.close()
        await watcher.close()

    run(main)


def stage(times: StageTimes, name: str) -> tuple[float, float]:
    """How many frames a stage was timed of, and the seconds of all of them."""
    found = {(one.labels["stage"], one.suffix): one.value for one in times.samples()}
    return found[name, "_count"], found[name, "_sum"]


def test_every_stage_of_a_frame_is_timed() -> None:
    async def main() -> None:
        times, work_s = StageTimes(), 0.02
        rooms = Rooms(LOOPBACK, partial(FakeFilter, work_s=work_s), times)
        publisher, watcher = Publisher("vp8"), Watcher()
        await publisher.publish(rooms)
        await watcher.watch(rooms)
        await until(lambda: len(watcher.seen) > 20)
        await publisher.close()
        await until(lambda: rooms.snapshot().publishers == 0)
        decoded, decoding_s = stage(times, "decode")
        filtered, filtering_s = stage(times, "filter")
        encoded, encoding_s = stage(times, "encode")
        sent, whole_s = stage(times, "whole")
        assert decoded >= filtered >= encoded == sent > 20
        assert filtering_s == pytest.approx(filtered * work_s)
        assert min(decoding_s, encoding_s) > 0.0
        assert whole_s > sent * work_s + encoding_s
        await rooms.close()
        await watcher.close()

    run(main)


def test_sound_is_delayed_as_long_as_the_picture() -> None:
    async def main() -> None:
        rooms = Rooms(LOOPBACK, partial(FakeFilter, work_s=0.03))
        publisher, watcher = Publisher("vp8", sound=True), Watcher(sound=True)
        await publisher.publish(rooms)
        await watcher.watch(rooms)

        def in_step() -> bool:
            (stream,) = rooms.snapshot().streams
            return (
                stream.audio_delay_ms > 25.0 and abs(stream.audio_delay_ms - stream.stats.delay_p50_ms) < 15.0
            )

        await until(in_step, 15.0)
        sounds = watcher.receiver.sounds
        assert len(sounds) > 10
        times = [pts for pts, _ in sounds]
        assert {after - before for before, after in itertools.pairwise(times)} == {960}
        await rooms.close()
        await publisher.close()
        await watcher.close()

    run(main)


def test_three_times_the_load_does_not_make_it_late() -> None:
    async def main() -> None:
        rooms = Rooms(LOOPBACK, partial(FakeFilter, work_s=0.1))
        publisher = Publisher("h264")
        await publisher.publish(rooms)
        await until(lambda: len(publisher.receiver.seen) >= 36, 15.0)
        seen, sent = publisher.receiver.seen, publisher.track.times
        late_s = [one.at_s - sent[one.number] for one in seen[4:]]
        first, second = np.median(late_s[:16]), np.median(late_s[16:])
        # A frame waits for the one before it, and is worked on: twice 0.1 s, and the way there and back.
        assert second < 0.2 + 0.25
        assert second < first + 0.1
        (stream,) = rooms.snapshot().streams
        assert stream.frames["overtaken"] > stream.frames["retouched"]
        assert stream.frames["not_encoded"] == 0
        assert stream.stats.dropped >= stream.frames["overtaken"]
        check_frames(seen)
        await rooms.close()
        await publisher.close()

    run(main)


@pytest.mark.parametrize("control", [True, False])
def test_frames_that_are_too_large_are_not_decoded_which_the_log_says_and_the_page(
    control: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        rooms = Rooms(MediaOptions(loopback=True, max_width=160, max_height=120), FakeFilter)
        publisher = Publisher("vp8", control=control)
        await publisher.publish(rooms)
        await until(lambda: "the video is 320x240, more than the 160x120 allowed" in caplog.text)
        if control:
            await until(lambda: bool(publisher.said("error")))
            assert "320x240" in publisher.said("error")[0]["message"]
        await until(lambda: rooms.snapshot().streams[0].frames["too_large"] > 5)
        frames = rooms.snapshot().streams[0].frames
        assert frames.get("decoded", 0) == 0
        await rooms.close()
        await publisher.close()

    run(main)


def test_a_page_that_speaks_late_is_told_of_a_size_that_is_too_large_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    said: list[str] = []
    stream: Any = SimpleNamespace(
        name="stage", options=MediaOptions(), _control=None, _refused=None, _told=None
    )
    stream._intake = SimpleNamespace(refused_size=(2560, 1440))
    Publication._complain_of_size(stream)
    stream._control = SimpleNamespace(complain=said.append)
    for _ in range(3):
        Publication._complain_of_size(stream)
    assert len(said) == 1 and "2560x1440" in said[0]
    assert caplog.text.count("2560x1440") == 1
    stream._intake.refused_size = (3840, 2160)
    Publication._complain_of_size(stream)
    assert len(said) == 2 and caplog.text.count("3840x2160") == 1


def test_frames_that_come_too_fast_are_thinned() -> None:
    async def main() -> None:
        rooms = Rooms(MediaOptions(loopback=True, fps=10.0), FakeFilter)
        publisher = Publisher("vp8")
        await publisher.publish(rooms)
        await until(lambda: len(publisher.receiver.seen) > 12)
        frames = rooms.snapshot().streams[0].frames
        assert frames["too_fast"] == pytest.approx(2 / 3 * frames["decoded"], rel=0.15)
        await rooms.close()
        await publisher.close()

    run(main)
