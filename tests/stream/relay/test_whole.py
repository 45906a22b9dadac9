"""The relay as a whole, over HTTP and 127.0.0.1: a publisher, a viewer, a flood of bad offers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from stream.live.filter import Filtered
from stream.relay.http import make_app
from stream.relay.options import MediaOptions
from stream.relay.rooms import Answer, Rooms
from tests.stream.relay.fake_rooms import PAGES, SDP, Client
from tests.stream.relay.fakes import FakeFilter, run, until
from tests.stream.relay.offers import chromium_offer, publish_offer, watch_offer
from tests.stream.relay.peers import Publisher, Watcher


class OverHttp:
    """Rooms as they are reached by WHIP and WHEP. places: the Location of each session."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.places: dict[str, str] = {}

    async def publish(self, offer_sdp: str, stream: str | None) -> Answer:
        return await self._asked(f"/whip?stream={stream}", offer_sdp, stream or "")

    async def watch(self, offer_sdp: str, stream: str) -> Answer:
        return await self._asked(f"/whep/{stream}", offer_sdp, stream)

    async def _asked(self, path: str, offer_sdp: str, stream: str) -> Answer:
        response = await self._client.post(path, data=offer_sdp, headers=SDP)
        assert response.status == 201, await response.text()
        place = response.headers["Location"]
        session = place.rpartition("/")[2]
        self.places[session] = place
        return Answer(session, await response.text(), stream)


async def flood(client: Client, seconds: float) -> Counter[int]:
    """Fifty bad offers a second; how often each status came."""
    bad, statuses = chromium_offer().replace("a=setup", "a=step"), Counter[int]()

    async def one() -> None:
        statuses[(await client.post("/whip", data=bad, headers=SDP)).status] += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(int(50 * seconds)):
            group.create_task(one())
            await asyncio.sleep(0.02)
    return statuses


class SickFilter(FakeFilter):
    """One that fails for as long as the machine that it runs on is sick."""

    sick = True

    def __init__(self, on_frame: Callable[[Filtered[Any]], None]) -> None:
        super().__init__(on_frame, fails=self.sick)


def test_health_is_refused_once_stream_after_stream_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        rooms = Rooms(MediaOptions(loopback=True, max_publishers=1), SickFilter)
        async with TestClient(TestServer(make_app(rooms, PAGES), host="127.0.0.1")) as client:

            async def health() -> tuple[int, str]:
                response = await client.get("/healthz")
                return response.status, await response.text()

            for failed in range(3):
                assert (await health())[0] == 200, failed
                publisher = Publisher()
                await publisher.publish(OverHttp(client), "stage")
                await until(lambda: rooms.snapshot().publishers == 0)
                await publisher.close()
            assert await health() == (
                503,
                "the last 3 streams have failed; start the relay again, and look at its log\n",
            )
            monkeypatch.setattr(SickFilter, "sick", False)
            publisher = Publisher()
            await publisher.publish(OverHttp(client), "stage")
            await until(lambda: len(publisher.receiver.seen) > 3)
            # It is full now.
            assert (await health())[0] == 200
            await publisher.close()
            await until(lambda: rooms.snapshot().publishers == 0)
            assert (await health())[0] == 200

    run(main)


def test_a_stream_goes_through_a_flood_of_bad_offers():
    async def main() -> None:
        rooms = Rooms(MediaOptions(loopback=True), FakeFilter)
        async with TestClient(TestServer(make_app(rooms, PAGES), host="127.0.0.1")) as client:
            over, publisher, watcher = OverHttp(client), Publisher(), Watcher()
            published = await publisher.publish(over, "stage")
            watching = await watcher.watch(over, "stage")
            await until(lambda: len(watcher.seen) > 5)
            before = len(watcher.seen)
            statuses = await flood(client, 2.0)
            during = [seen.number for seen in watcher.seen[before:]]
            assert set(statuses) == {400, 429}
            assert sum(statuses.values()) == 100
            assert len(during) > 20
            assert during == sorted(set(during))
            snapshot = rooms.snapshot()
            assert (snapshot.publishers, snapshot.viewers, snapshot.pending) == (1, 1, 0)
            figures = await (await client.get("/metrics")).text()
            assert 'vretouch_stream_viewers{stream="stage"} 1' in figures
            for session in (watching.session, published.session):
                assert (await client.delete(over.places[session])).status == 200
            assert rooms.snapshot().publishers == rooms.snapshot().viewers == 0
            await watcher.close()
            await publisher.close()

    run(main)


def test_three_watch_over_http_a_fourth_is_told_when_to_come_back_and_let_in_once_one_has_left():
    async def main() -> None:
        options = MediaOptions(loopback=True, max_publishers=1, max_viewers=3)
        async with TestClient(
            TestServer(make_app(Rooms(options, FakeFilter), PAGES), host="127.0.0.1")
        ) as client:
            over, publisher, watchers = OverHttp(client), Publisher(), [Watcher() for _ in range(3)]
            await publisher.publish(over, "stage")
            sessions = [(await watcher.watch(over, "stage")).session for watcher in watchers]
            await until(lambda: all(len(watcher.seen) > 3 for watcher in watchers))
            for path, offer in (("/whip?stream=other", publish_offer()), ("/whep/stage", watch_offer())):
                refused = await client.post(path, data=offer, headers=SDP)
                assert refused.status == 503
                assert int(refused.headers["Retry-After"]) > 0
                assert "the most allowed; try again later" in await refused.text()
            assert (await client.delete(over.places[sessions[0]])).status == 200
            late = Watcher()
            await late.watch(over, "stage")
            await until(lambda: len(late.seen) > 3)
            for one in (late, *watchers, publisher):
                await one.close()

    run(main)
