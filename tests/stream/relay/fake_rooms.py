"""Rooms without media: they answer every offer, remember what is open, and fail when told to; and a relay of
them over HTTP."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer

from stream.live.stats import Stats
from stream.relay.errors import NoStream, Taken
from stream.relay.http import HttpOptions, make_app
from stream.relay.metrics import StageTimes
from stream.relay.pages import Page
from stream.relay.rooms import Answer
from stream.relay.sdp import Purpose
from stream.relay.snapshot import Snapshot, StreamSnapshot
from stream.relay.tokens import Tokens

PAGES = {
    "index.html": Page(b"<!doctype html><title>publish</title>", "text/html; charset=utf-8", '"1"'),
    "watch.html": Page(b"<!doctype html><title>watch</title>", "text/html; charset=utf-8", '"2"'),
    "app.js": Page(b"'use strict';", "text/javascript; charset=utf-8", '"3"'),
}
SDP = {"Content-Type": "application/sdp"}
PUBLISH, VIEW = "publish-token-1", "view-token-22"
TOKENS = HttpOptions(tokens=Tokens(PUBLISH, VIEW))
Client = TestClient[web.Request, web.Application]
ANSWER_SDP = "v=0\r\ns=an answer\r\n"


class FakeRooms:
    """open: what stands, by session: its kind and stream. offers: all that came. illness: why nothing can be
    served. before: called, and waited for, before each answer."""

    def __init__(self, before: Callable[[], object] | None = None) -> None:
        self.open: dict[str, tuple[Purpose, str]] = {}
        self.offers: list[str] = []
        self.closed = False
        self.illness: str | None = None
        self._before = before
        self._numbers = itertools.count()

    async def publish(self, offer_sdp: str, stream: str | None) -> Answer:
        await self._met(offer_sdp)
        name = stream or f"random{next(self._numbers)}"
        if ("publish", name) in self.open.values():
            raise Taken(f"somebody publishes {name!r} already; choose another name")
        return self._opened("publish", name)

    async def watch(self, offer_sdp: str, stream: str) -> Answer:
        await self._met(offer_sdp)
        if ("publish", stream) not in self.open.values():
            raise NoStream(f"nobody publishes {stream!r}; check the name")
        return self._opened("watch", stream)

    async def end(self, session: str, kind: Purpose) -> bool:
        if self.open.get(session, ("", ""))[0] != kind:
            return False
        del self.open[session]
        return True

    def snapshot(self) -> Snapshot:
        streams = tuple(
            StreamSnapshot(name, "vp8", stats=Stats(frames_in=7))
            for kind, name in self.open.values()
            if kind == "publish"
        )
        return Snapshot(streams, publishers=len(streams), viewers=len(self.open) - len(streams))

    def ill(self) -> str | None:
        return self.illness

    async def close(self) -> None:
        self.open.clear()
        self.closed = True

    async def _met(self, offer_sdp: str) -> None:
        self.offers.append(offer_sdp)
        waiting = self._before() if self._before else None
        if asyncio.iscoroutine(waiting):
            await waiting

    def _opened(self, kind: Purpose, name: str) -> Answer:
        session = f"session-{next(self._numbers)}"
        self.open[session] = (kind, name)
        return Answer(session, ANSWER_SDP, name)


@asynccontextmanager
async def served(
    rooms: FakeRooms, options: HttpOptions | None = None, times: StageTimes | None = None
) -> AsyncIterator[Client]:
    """A client of the relay with these rooms, over a real socket on 127.0.0.1."""
    server = TestServer(make_app(rooms, PAGES, options, times), host="127.0.0.1")
    async with TestClient(server) as client:
        yield client


def relay(
    do: Callable[[Client], Awaitable[None]],
    rooms: FakeRooms | None = None,
    options: HttpOptions | None = None,
) -> FakeRooms:
    """Serve these rooms while `do` lasts; returns them."""
    used = rooms or FakeRooms()

    async def run() -> None:
        async with served(used, options) as client:
            await do(client)

    asyncio.run(run())
    return used


async def refused(response: ClientResponse, status: int, words: str) -> ClientResponse:
    """The answer has this status and is one sentence of plain text with these words."""
    said = await response.text()
    assert response.status == status, said
    assert words in said, said
    assert said.count("\n") == 1
    assert said.endswith("\n")
    assert response.content_type == "text/plain"
    return response


def with_token(token: str) -> dict[str, str]:
    return SDP | {"Authorization": f"Bearer {token}"}
