"""Whatever is sent: no 5xx of ours, no session left, and the relay serves the next one."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
import threading
from collections.abc import Iterator

import pytest
from aiohttp import web
from hypothesis import event, given, settings
from hypothesis import strategies as st

from stream.relay.errors import BadOffer, NoCodec
from stream.relay.http import HttpOptions, make_app
from stream.relay.options import MediaOptions
from stream.relay.rooms import Rooms
from stream.relay.sdp import check_offer
from stream.relay.serve import Runner
from tests.stream.relay.fake_rooms import PAGES, FakeRooms
from tests.stream.relay.offers import chromium_offer, publish_offer, watch_offer
from tests.stream.relay.test_sdp import mutated_offers

ANY_NUMBER = HttpOptions(offers_per_s=1e6, offer_burst=10**6, wrong_per_s=1e6, wrong_burst=10**6)


class Served:
    """A relay with fake rooms in a thread of its own."""

    def __init__(self) -> None:
        self.rooms = FakeRooms()
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._runner = Runner(make_app(self.rooms, PAGES, ANY_NUMBER), access_log=None)
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._wait(self._start())

    def _wait(self, work: object) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(20.0)

    async def _start(self) -> None:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]

    def close(self) -> None:
        self._wait(self._runner.cleanup())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def ask(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes, str]:
        """Status, body and Location of one request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10.0)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.headers.get("Location", "")
        finally:
            connection.close()


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    relay = Served()
    yield relay
    relay.close()


METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
ROOTS = [
    "/",
    "/whip",
    "/whip/",
    "/whep/",
    "/whep-session/",
    "/watch/",
    "/static/",
    "/ice",
    "/metrics",
    "/healthz",
]
PATHS = st.tuples(
    st.sampled_from(ROOTS),
    st.text("abcXYZ019_-./%?&=#+~;:@", max_size=30),
).map("".join)
PLAIN = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "Content-Type": st.one_of(st.sampled_from(["application/sdp", "application/sdp; charset=x"]), PLAIN),
        "Authorization": st.one_of(PLAIN, PLAIN.map(lambda text: f"Bearer {text}")),
        "Origin": st.one_of(st.sampled_from(["null", "http://localhost"]), PLAIN),
        "Host": st.one_of(st.sampled_from(["localhost", "[::1]:1"]), PLAIN),
        "X-Forwarded-For": PLAIN,
        "If-None-Match": PLAIN,
        "Content-Encoding": st.sampled_from(["gzip", "br", "identity", "x"]),
        "Accept": PLAIN,
        "Range": PLAIN,
        "Expect": st.just("100-continue"),
        "Access-Control-Request-Method": PLAIN,
    },
)
BODIES = st.one_of(
    st.binary(max_size=200), mutated_offers.map(lambda offer: offer.encode("utf-8", "surrogatepass"))
)


@settings(deadline=None, max_examples=300)
@given(METHODS, PATHS, BODIES, HEADERS)
def test_any_request_is_answered_properly(served, method, path, body, headers):
    before = len(served.rooms.open)
    status, said, location = served.ask(method, path, body, headers)
    event(f"status {status}")
    assert status < 500, said
    assert (len(served.rooms.open) - before == 1) == (status == 201)
    if status == 201:
        assert served.ask("DELETE", location, b"", {})[0] == 200
    assert len(served.rooms.open) == before


@settings(deadline=None, max_examples=150)
@given(mutated_offers, st.sampled_from(["/whip", "/whep/stage"]))
def test_any_offer_is_taken_or_refused_in_a_sentence(served, offer, path):
    body = offer.encode("utf-8", "surrogatepass")
    status, said, location = served.ask("POST", path, body, {"Content-Type": "application/sdp"})
    event(f"status {status}")
    assert status in (201, 400, 404, 406)
    if status == 201:
        assert served.ask("DELETE", location, b"", {})[0] == 200
    else:
        assert said.decode("ascii").count("\n") == 1
    assert not served.rooms.open


REQUEST = (
    b"POST /whip HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: application/sdp\r\nContent-Length: 4\r\n\r\nv=0\n"
)


@st.composite
def broken_requests(draw: st.DrawFn) -> bytes:
    """A request with bytes taken out, put in or changed, or no request at all."""
    request = bytearray(REQUEST)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(request)))
        request[at : at + draw(st.integers(0, 6))] = draw(st.binary(max_size=8))
    return draw(st.sampled_from([bytes(request), bytes(request[: len(request) // 2])]))


@settings(deadline=None, max_examples=80)
@given(st.one_of(broken_requests(), st.binary(min_size=1, max_size=300)))
def test_broken_http_harms_nobody(served, request_bytes):
    with socket.create_connection(("127.0.0.1", served.port), 10.0) as connection:
        connection.sendall(request_bytes)
        connection.settimeout(0.1)
        answer = b""
        # Of a request that is not whole nothing can be said yet.
        with contextlib.suppress(TimeoutError, ConnectionResetError):
            while piece := connection.recv(65536):
                answer += piece
    event(f"answer {answer[:12]!r}")
    # A request line without a version is answered as HTTP/0.9.
    assert not answer or answer.startswith(b"HTTP/")
    assert answer[8:10] != b" 5"
    head = answer.partition(b"\r\n\r\n")[0] + b"\r\n"
    assert not answer or (b"Server: vretouch\r\n" in head and b"Content-Security-Policy: " in head)
    assert not served.rooms.open
    assert served.ask("GET", "/healthz", b"", {})[0] == 200


@settings(deadline=None, max_examples=40)
@given(st.lists(mutated_offers, min_size=1, max_size=2))  # four may publish
def test_no_session_of_a_real_room_is_left(offers):
    """What the look at the offer lets through may be refused still, and is never an error."""

    async def run() -> None:
        rooms = Rooms(MediaOptions(loopback=True), no_filter)
        opened: list[str] = []
        try:
            for offer in [*offers, chromium_offer(), publish_offer()]:
                with contextlib.suppress(BadOffer, NoCodec):
                    check_offer(offer, "publish")
                    opened.append((await rooms.publish(offer, None)).session)
            assert len(opened) >= 2
            stream = rooms.snapshot().streams[-1].name
            watching: list[str] = []
            for offer in [*offers, watch_offer()]:
                with contextlib.suppress(BadOffer, NoCodec):
                    check_offer(offer, "watch")
                    watching.append((await rooms.watch(offer, stream)).session)
            assert watching and rooms.snapshot().viewers == len(watching)
            assert rooms.snapshot().publishers == len(opened)
            for session in watching:
                assert await rooms.end(session, "watch")
            for session in opened:
                assert await rooms.end(session, "publish")
            assert rooms.snapshot().publishers == rooms.snapshot().viewers == 0
        finally:
            await rooms.close()
        await asyncio.sleep(0)
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        assert not [task for task in left if "stream/relay/" in repr(task)]

    asyncio.run(run())


def no_filter(_on_frame: object) -> None:
    raise AssertionError("no frame came")
