"""Sessions begin within limits and end in every way, and nothing is left of them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from stream.relay import pipeline as pipeline_module
from stream.relay import publication as publication_module
from stream.relay.errors import BadOffer, Full, NoCodec, NoStream, Taken
from stream.relay.options import MediaOptions
from stream.relay.publication import Publication
from stream.relay.rooms import Rooms
from stream.relay.viewer import Viewer
from tests.stream.relay.fakes import FakeFilter, run, until
from tests.stream.relay.peers import ClipTrack, Publisher, Watcher, connection, offer_of


def options(**changed: Any) -> MediaOptions:
    return MediaOptions(loopback=True, **changed)


def with_rooms(
    main: Callable[[Rooms, Publisher], Awaitable[None]],
    changed: dict[str, Any] | None = None,
    **publisher: Any,
) -> None:
    """Run with rooms in which one publisher has begun; all is closed at the end."""

    async def whole() -> None:
        rooms = Rooms(options(**(changed or {})), FakeFilter)
        one = Publisher("vp8", **publisher)
        try:
            await one.publish(rooms)
            await main(rooms, one)
        finally:
            await rooms.close()
            await one.close()
        assert rooms.snapshot().publishers == rooms.snapshot().viewers == 0

    run(whole)


async def stun_dead(publisher: Publisher | Watcher) -> None:
    """Take a peer's sockets away without a word to the other side."""

    async def lost(*_: object) -> None:
        """What is sent no more: an aborted socket of asyncio raises for it, now and then."""

    ice = publisher.peer.getTransceivers()[0].receiver.transport.transport
    for protocol in ice._connection._protocols:
        protocol.transport.abort()
        protocol.send_stun = lambda *_: None
        protocol.send_data = lost


def test_a_killed_publisher_is_noticed_and_its_viewers_are_let_go() -> None:
    async def main(rooms: Rooms, publisher: Publisher) -> None:
        watcher = Watcher()
        await watcher.watch(rooms)
        await until(lambda: len(watcher.seen) > 3)
        await stun_dead(publisher)
        await until(lambda: rooms.snapshot().publishers == 0)
        assert rooms.snapshot().ended == {"idle": 1, "publisher left": 1}
        await until(lambda: watcher.peer.connectionState == "closed")
        with pytest.raises(NoStream):
            await Watcher().watch(rooms)
        await watcher.close()

    with_rooms(main, {"idle_s": 2.0})


def test_a_publisher_whose_page_still_speaks_is_kept_without_a_picture() -> None:
    async def main(rooms: Rooms, publisher: Publisher) -> None:
        channel = publisher.channel
        assert channel is not None
        await until(lambda: bool(publisher.said("hello")))
        for _ in range(12):
            await asyncio.sleep(0.25)
            channel.send('{"type": "set"}')
        assert rooms.snapshot().publishers == 1
        await until(lambda: rooms.snapshot().publishers == 0, 5.0)
        assert rooms.snapshot().ended == {"idle": 1}

    with_rooms(main, {"idle_s": 1.0}, control=True, track=ClipTrack("vp8", frames=3))


def test_a_killed_viewer_is_noticed_and_nobody_else_is() -> None:
    async def main(rooms: Rooms, publisher: Publisher) -> None:
        watchers = [Watcher(), Watcher()]
        for watcher in watchers:
            await watcher.watch(rooms)
        await until(lambda: all(watcher.seen for watcher in watchers))
        await stun_dead(watchers[0])
        await until(lambda: rooms.snapshot().viewers == 1)
        assert rooms.snapshot().ended == {"idle": 1}
        before = len(watchers[1].seen)
        await until(lambda: len(watchers[1].seen) > before + 5)
        for watcher in watchers:
            await watcher.close()

    with_rooms(main, {"idle_s": 2.5})


def test_a_publisher_who_leaves_in_order_is_gone_at_once() -> None:
    async def main(rooms: Rooms, publisher: Publisher) -> None:
        await until(lambda: len(publisher.receiver.seen) > 3)
        await publisher.close()
        await until(lambda: rooms.snapshot().publishers == 0, 3.0)
        assert rooms.snapshot().ended == {"lost": 1}

    with_rooms(main)


def test_sessions_end_when_asked_to_and_only_by_their_own_kind() -> None:
    async def main(rooms: Rooms, publisher: Publisher) -> None:
        answer = await Watcher().watch(rooms)
        assert not await rooms.end(answer.session, "publish")
        assert not await rooms.end("no such session", "watch")
        assert await rooms.end(answer.session, "watch")
        assert not await rooms.end(answer.session, "watch")
        assert rooms.snapshot().viewers == 0
        assert rooms.snapshot().publishers == 1

    with_rooms(main)


def test_an_offer_that_nobody_follows_up_is_given_up() -> None:
    async def main() -> None:
        rooms = Rooms(options(connect_deadline_s=0.3), FakeFilter)
        publisher = Publisher("vp8")
        await rooms.publish(await offer_of(publisher.peer), "one")
        assert rooms.snapshot().pending == 1
        await until(lambda: rooms.snapshot().publishers == 0, 5.0)
        assert rooms.snapshot().ended == {"never connected": 1}
        await rooms.close()
        await publisher.close()

    run(main)


def test_no_session_outlives_its_time() -> None:
    async def main(rooms: Rooms, publisher: Publisher) -> None:
        await until(lambda: rooms.snapshot().publishers == 0)
        assert rooms.snapshot().ended == {"time is up": 1}

    with_rooms(main, {"max_session_s": 1.0})


def test_a_filter_that_fails_ends_the_stream_with_a_word_to_the_page() -> None:
    async def main() -> None:
        rooms = Rooms(options(), partial(FakeFilter, fails=True))
        publisher = Publisher("vp8", control=True)
        await publisher.publish(rooms)
        await until(lambda: bool(publisher.said("error")))
        assert "failed" in publisher.said("error")[0]["message"]
        await until(lambda: rooms.snapshot().publishers == 0)
        assert rooms.snapshot().ended == {"failed": 1}
        await rooms.close()
        await publisher.close()

    run(main)


def test_a_filter_that_hangs_ends_the_stream_and_is_waited_for_by_nobody(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pipeline_module, "STUCK_S", 0.8)
    gate = threading.Event()

    class Hanging(FakeFilter):
        def _pass_on(self, frame: Any) -> None:
            if self._frames_out == 5:
                gate.wait()
            super()._pass_on(frame)

    async def main() -> None:
        rooms = Rooms(options(), Hanging)
        publisher = Publisher("vp8", control=True)
        await publisher.publish(rooms)
        await until(lambda: rooms.snapshot().publishers == 0)
        assert rooms.snapshot().ended == {"failed": 1}
        assert rooms.ill() is None
        assert "no picture was finished for 0.8 s" in caplog.text
        await until(lambda: bool(publisher.said("error")))
        await rooms.close()
        assert [thread.name for thread in threading.enumerate()].count("fake-filter") == 1
        gate.set()
        await until(lambda: "fake-filter" not in [thread.name for thread in threading.enumerate()])
        await publisher.close()

    run(main)


def test_a_filter_without_frames_is_not_taken_to_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_module, "STUCK_S", 0.8)

    async def main(rooms: Rooms, publisher: Publisher) -> None:
        await until(lambda: len(publisher.receiver.seen) > 1)
        await asyncio.sleep(2.0)
        assert rooms.snapshot().publishers == 1

    with_rooms(main, track=ClipTrack("vp8", frames=4))


def test_a_watch_that_ends_is_told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def bug(*_: object) -> None:
        raise ValueError("a bug")

    async def main(rooms: Rooms, publisher: Publisher) -> None:
        await until(lambda: rooms.snapshot().pending == 0)
        assert rooms.ill() is None
        monkeypatch.setattr(Publication, "tick", bug)
        await until(lambda: rooms.ill() is not None)
        assert "the watch over the sessions has ended" in (rooms.ill() or "")
        await until(lambda: "ValueError: a bug" in caplog.text)

    with_rooms(main)


def test_an_event_loop_that_stands_still_is_counted() -> None:
    async def main(rooms: Rooms, publisher: Publisher) -> None:
        time.sleep(1.2)
        await until(lambda: rooms.snapshot().late_s > 0.6)
        assert rooms.ill() is None

    with_rooms(main)


def test_limits_are_kept_with_a_word_when_to_come_back() -> None:
    async def main(rooms: Rooms, publisher: Publisher) -> None:
        with pytest.raises(Taken, match="one"):
            await Publisher("vp8").publish(rooms, "one")
        with pytest.raises(Full, match="1 publish") as caught:
            await Publisher("vp8").publish(rooms, "two")
        assert caught.value.status == 503
        assert caught.value.retry_after_s
        await until(lambda: rooms.snapshot().pending == 0)
        await rooms.watch(await watch_offer(), "one")
        with pytest.raises(Full, match="1 watch"):
            await rooms.watch(await watch_offer(), "one")
        assert rooms.ill() is None

    with_rooms(main, {"max_publishers": 1, "max_viewers": 1})


def test_offers_that_wait_for_their_connection_are_counted() -> None:
    async def main(rooms: Rooms, publisher: Publisher) -> None:
        await until(lambda: rooms.snapshot().pending == 0)
        await rooms.watch(await watch_offer(), "one")
        await rooms.watch(await watch_offer(), "one")
        with pytest.raises(Full, match="2 offers") as caught:
            await rooms.watch(await watch_offer(), "one")
        assert caught.value.retry_after_s == 10
        # Whoever may only watch keeps nobody from publishing.
        other = Publisher("vp8")
        await other.publish(rooms, "two")
        await until(lambda: rooms.snapshot().publishers == 2)
        await other.close()

    with_rooms(main, {"max_pending": 2})


async def watch_offer() -> str:
    """Of a viewer who goes away at once."""
    peer = connection()
    peer.addTransceiver("video", "recvonly")
    offer = await offer_of(peer)
    await peer.close()
    return offer


def test_names_are_checked_and_made() -> None:
    async def main(rooms: Rooms, publisher: Publisher) -> None:
        with pytest.raises(NoStream, match="nobody"):
            await rooms.watch(await watch_offer(), "nobody")
        for name in ("", "a/b", "x" * 65, "ü"):
            with pytest.raises(BadOffer, match="no name"):
                await Publisher("vp8").publish(rooms, name)
        other = Publisher("vp8")
        answer = await other.publish(rooms, None)
        assert 8 <= len(answer.stream) <= 64
        assert len(answer.session) >= 20
        await other.close()

    with_rooms(main)


def test_a_viewer_without_the_codec_is_told_which() -> None:
    async def main(rooms: Rooms, publisher: Publisher) -> None:
        with pytest.raises(NoCodec, match="the stream is VP8"):
            await Watcher("h264").watch(rooms)
        assert rooms.snapshot().viewers == 0
        assert rooms.snapshot().ended == {"refused": 1}

    with_rooms(main)


def test_nothing_is_left_of_an_offer_whose_answer_is_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    async def forever(*_: object) -> str:
        await asyncio.sleep(3600)
        return ""

    monkeypatch.setattr(publication_module, "make_answer", forever)

    async def main() -> None:
        rooms = Rooms(options(), FakeFilter)
        asking = asyncio.create_task(Publisher("vp8").publish(rooms))
        await until(lambda: rooms.snapshot().publishers == 1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert rooms.snapshot().publishers == 0
        await rooms.close()

    run(main)


def test_after_closing_no_more_sessions_begin() -> None:
    async def main(rooms: Rooms, publisher: Publisher) -> None:
        await rooms.close()
        with pytest.raises(Full, match="shutting down"):
            await Publisher("vp8").publish(rooms, "two")
        assert rooms.ill() == "the relay is shutting down"

    with_rooms(main)


def test_a_viewer_who_stops_reading_costs_the_others_nothing() -> None:
    async def main(rooms: Rooms, publisher: Publisher) -> None:
        watchers = [Watcher(), Watcher()]
        answers = [await watcher.watch(rooms) for watcher in watchers]
        await until(lambda: all(len(watcher.seen) > 5 for watcher in watchers))
        stuck = rooms._sessions[answers[0].session]
        assert isinstance(stuck, Viewer)
        transport = stuck.connection.getTransceivers()[0].sender.transport
        send, gate = transport._send_rtp, asyncio.Event()

        async def waits(data: bytes) -> None:
            await gate.wait()
            await send(data)

        transport._send_rtp = waits
        await until(lambda: stuck.video.flushed == 1)
        keyframes = rooms.snapshot().streams[0].keyframes
        seen = len(watchers[1].seen)
        asked: list[int] = []
        asks, stuck.video._wants_picture = stuck.video._wants_picture, lambda: asked.append(1)
        await until(lambda: len(watchers[1].seen) > seen + 15)
        # It is not read, so that it asks for no key frame, and fills again only where somebody else did.
        assert not asked
        assert stuck.video.flushed <= 1 + rooms.snapshot().streams[0].keyframes - keyframes
        stuck.video._wants_picture = asks
        transport._send_rtp = send
        gate.set()
        seen = len(watchers[0].seen)
        await until(lambda: len(watchers[0].seen) > seen + 5)
        for watcher in watchers:
            numbers = [one.number for one in watcher.seen]
            assert numbers == sorted(set(numbers))
            await watcher.close()

    with_rooms(main)
