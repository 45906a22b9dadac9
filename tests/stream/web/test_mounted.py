"""The relay under a path of a reverse proxy: the page asks for nothing outside that path."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import web

from tests.stream.web.conftest import Relay, Visit, state, until

if TYPE_CHECKING:
    from playwright.sync_api import Browser

MOUNT = "/live"
HOP_BY_HOP = {"transfer-encoding", "content-length", "connection", "date", "server"}


@dataclass
class Proxy:
    """Where it listens, and what was asked outside of the path."""

    port: int
    strays: list[str]

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}{MOUNT}/"


async def serve(relay: Relay, found: Callable[[Proxy], None], over: asyncio.Event) -> None:
    strays: list[str] = []

    async def passed_on(request: web.Request) -> web.Response:
        if not request.path.startswith(MOUNT + "/"):
            strays.append(request.path)
            return web.Response(status=404)
        url = f"http://127.0.0.1:{relay.port}{request.raw_path.removeprefix(MOUNT)}"
        headers = {**request.headers, "X-Forwarded-Prefix": MOUNT, "X-Forwarded-For": "127.0.0.1"}
        asked = http.request(request.method, url, headers=headers, data=await request.read())
        async with asked as answer:
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP}
            return web.Response(status=answer.status, body=await answer.read(), headers=kept)

    async with aiohttp.ClientSession(auto_decompress=False) as http:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", passed_on)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        found(Proxy(runner.addresses[0][1], strays))
        await over.wait()
        await runner.cleanup()


@contextmanager
def mounted(relay: Relay) -> Iterator[Proxy]:
    proxies: list[Proxy] = []
    ready, over = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    def found(proxy: Proxy) -> None:
        proxies.append(proxy)
        ready.set()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve(relay, found, over)), daemon=True)
    thread.start()
    try:
        assert ready.wait(20.0)
        yield proxies[0]
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(20.0)
        loop.close()


def test_under_a_path_of_a_reverse_proxy(
    visiting: Callable[..., Visit], browser: Browser, relay: Relay
) -> None:
    with mounted(relay) as proxy:
        place: Any = proxy
        visit = visiting(browser, place)
        page = visit.live()
        link = page.input_value("#link")
        assert link.startswith(f"{proxy.url}watch/")
        viewer = visit.open(link)
        state(viewer, "live")
        until(page, lambda: page.inner_text("#viewers") == "1 viewer")
        # The session is ended under the proxy's path too, at once and not by its timer.
        visit.expected.append("404")
        page.bring_to_front()
        page.click("#stop")
        state(viewer, "waiting")
        visit.check()
        visit.context.close()
        assert proxy.strays == []
