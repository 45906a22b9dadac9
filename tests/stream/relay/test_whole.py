"""The relay as a whole, over HTTP and 127.0.0.1: a publisher, a viewer, a flood of bad offers."""

from __future__ import annotations

import asyncio
from collections import Counter

from aiohttp.test_utils import TestClient, TestServer

from stream.relay.http import make_app
from stream.relay.options import MediaOptions
from stream.relay.rooms import Answer, Rooms
from tests.stream.relay.fake_rooms import PAGES, SDP, Client
from tests.stream.relay.fakes import FakeFilter, run, until
from tests.stream.relay.offers import chromium_offer
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
