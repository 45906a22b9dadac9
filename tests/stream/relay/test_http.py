"""The relay over HTTP: WHIP, WHEP, the page, headers, methods, figures."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientResponse

from stream.relay.http import HttpOptions
from stream.relay.tokens import Tokens
from stream.relay.turn import IceServers
from tests.stream.relay.fake_rooms import (
    ANSWER_SDP,
    PAGES,
    PUBLISH,
    SDP,
    TOKENS,
    VIEW,
    Client,
    FakeRooms,
    refused,
    relay,
    served,
    with_token,
)
from tests.stream.relay.offers import (
    chromium_offer,
    ffmpeg_offer,
    gstreamer_offer,
    obs_offer,
    publish_offer,
    watch_offer,
)


@pytest.mark.parametrize(
    "offer",
    [chromium_offer(), ffmpeg_offer(), gstreamer_offer(), obs_offer(), publish_offer()],
    ids=["chromium", "ffmpeg", "gstreamer", "obs", "small"],
)
def test_publish_and_end(offer):
    async def do(client: Client) -> None:
        response = await client.post("/whip", data=offer, headers=SDP)
        assert response.status == 201
        assert response.content_type == "application/sdp"
        assert await response.text() == ANSWER_SDP
        location = response.headers["Location"]
        assert location.startswith("/whip/")
        assert "Link" not in response.headers
        ended = await client.delete(location)
        assert ended.status == 200
        await refused(await client.delete(location), 404, "no such session")

    rooms = relay(do)
    assert rooms.offers == [offer]
    assert not rooms.open


@pytest.mark.parametrize(
    ("prefix", "before"),
    [
        ("/live", "/live"),
        ("/live/", "/live"),
        ("/a/b-c", "/a/b-c"),
        ("/", ""),
        ("live", ""),
        ("//evil.example", ""),
        ("/a b", ""),
        ("/a?b", ""),
        ("/a" * 9, ""),
    ],
)
def test_sessions_are_found_under_the_path_that_a_proxy_names(prefix: str, before: str):
    async def do(client: Client) -> None:
        headers = SDP | {"X-Forwarded-Prefix": prefix}
        response = await client.post("/whip?stream=one", data=publish_offer(), headers=headers)
        assert re.fullmatch(before + "/whip/[A-Za-z0-9_-]+", response.headers["Location"])
        response = await client.post("/whep/one", data=watch_offer(), headers=headers)
        assert re.fullmatch(before + "/whep-session/[A-Za-z0-9_-]+", response.headers["Location"])

    relay(do)


def test_publish_under_a_name_watch_it_and_leave():
    async def do(client: Client) -> None:
        await client.post("/whip?stream=stage_1", data=publish_offer(), headers=SDP)
        response = await client.post("/whep/stage_1", data=watch_offer(), headers=SDP)
        assert response.status == 201
        assert await response.text() == ANSWER_SDP
        location = response.headers["Location"]
        assert location.startswith("/whep-session/")
        # A viewer's session is no publisher's.
        session = location.rpartition("/")[2]
        assert (await client.delete(f"/whip/{session}")).status == 404
        assert (await client.delete(location)).status == 200

    assert [kind for kind, _ in relay(do).open.values()] == []


def test_rooms_are_closed_at_the_end():
    async def do(client: Client) -> None:
        await client.post("/whip", data=publish_offer(), headers=SDP)

    rooms = relay(do)
    assert rooms.closed
    assert not rooms.open


def test_pages():
    async def do(client: Client) -> None:
        for path, name in (
            ("/", "index.html"),
            ("/watch/stage_1", "watch.html"),
            ("/static/app.js", "app.js"),
        ):
            response = await client.get(path)
            assert response.status == 200
            assert await response.read() == PAGES[name].body
            assert response.headers["Content-Type"] == PAGES[name].kind
            etag = response.headers["ETag"]
            again = await client.get(path, headers={"If-None-Match": etag})
            assert (again.status, await again.read()) == (304, b"")
            head = await client.head(path)
            assert (head.status, await head.read()) == (200, b"")

    relay(do)


@pytest.mark.parametrize(
    "path",
    [
        "/static/",
        "/static/none.js",
        "/static/../http.py",
        "/static/..%2fhttp.py",
        "/static/%2e%2e/%2e%2e/pyproject.toml",
        "/static/%2fetc%2fpasswd",
        "/static/app.js/",
        "/static/app.js%00",
        "/watch/",
        "/watch/a/b",
        "/watch/" + "x" * 65,
        "/watch/%3Cscript%3E",
        "/nothing",
    ],
)
def test_nothing_else_is_served(path):
    async def do(client: Client) -> None:
        head, _, said = (await sent(client, f"GET {path} HTTP/1.1")).partition("\r\n\r\n")
        assert head.startswith("HTTP/1.1 404 ")
        assert said in (
            "there is no such file; open / for the page\n",
            "there is nothing at this address; open / for the page\n",
        )

    relay(do)


async def sent(client: Client, request_line: str) -> str:
    """The answer to a request that no URL library has touched."""
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(f"{request_line}\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer.decode()


async def everything(client: Client) -> AsyncIterator[ClientResponse]:
    """An answer of every kind."""
    for method, path in (
        ("GET", "/"),
        ("GET", "/static/app.js"),
        ("GET", "/healthz"),
        ("GET", "/metrics"),
        ("GET", "/ice"),
        ("GET", "/nothing"),
        ("GET", "/whip"),
        ("POST", "/whip"),
        ("OPTIONS", "/whip"),
        ("PATCH", "/whip/session"),
        ("DELETE", "/whip/session"),
    ):
        yield await client.request(method, path)
    yield await client.post("/whip", data=publish_offer(), headers=SDP)


@pytest.mark.parametrize("options", [HttpOptions(), TOKENS])
def test_security_headers_on_every_answer(options):
    async def do(client: Client) -> None:
        seen = set()
        async for response in everything(client):
            seen.add(response.status)
            policy = dict(
                rule.strip().partition(" ")[::2]
                for rule in response.headers["Content-Security-Policy"].split(";")
            )
            assert policy["default-src"] == "'none'"
            assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
            assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
            assert "unsafe" not in response.headers["Content-Security-Policy"]
            assert "camera=(self), microphone=(self)" in response.headers["Permissions-Policy"]
            assert response.headers["Referrer-Policy"] == "no-referrer"
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["Server"] == "vretouch"
            assert "Access-Control-Allow-Origin" not in response.headers
            assert response.headers["Cache-Control"] in ("no-store", "no-cache")
        assert {200, 404, 405} < seen

    relay(do, options=options)


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/whip", {"POST", "OPTIONS"}),
        ("/whip/session-1", {"DELETE", "OPTIONS"}),
        ("/whep/stage", {"POST", "OPTIONS"}),
        ("/whep-session/session-1", {"DELETE", "OPTIONS"}),
        ("/ice", {"GET", "OPTIONS"}),
    ],
)
def test_other_methods_are_not_allowed(path, allowed):
    async def do(client: Client) -> None:
        for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE"} - allowed:
            response = await client.request(method, path)
            assert response.status == 405, method
            assert set(response.headers["Allow"].split(",")) >= allowed
            if method != "HEAD":
                await refused(response, 405, f"does not take {method} requests")

    relay(do)


FRAGMENT = "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\na=end-of-candidates\r\n"


@pytest.mark.parametrize("options", [HttpOptions(), TOKENS], ids=["open", "guarded"])
def test_candidates_that_come_later_are_refused_and_the_session_goes_on(options: HttpOptions):
    """RFC 9725 leaves Trickle ICE and ICE restarts, both by PATCH, to the server; ours has neither. What is
    said of a method that an address does not have is RFC 9110's, section 15.5.6."""

    async def do(client: Client) -> None:
        await client.post("/whip?stream=one", data=publish_offer(), headers=with_token(PUBLISH))
        begun = {"/whip?stream=two": (publish_offer(), PUBLISH), "/whep/one": (watch_offer(), VIEW)}
        for path, (offer, token) in begun.items():
            created = await client.post(path, data=offer, headers=with_token(token))
            assert "ETag" not in created.headers and "Accept-Patch" not in created.headers
            session = created.headers["Location"]
            for more in ({}, {"If-Match": "*"}):
                headers = {"Content-Type": "application/trickle-ice-sdpfrag"} | more
                response = await client.patch(session, data=FRAGMENT, headers=headers)
                await refused(response, 405, "does not take PATCH requests")
                assert set(response.headers["Allow"].split(",")) == {"DELETE", "OPTIONS"}
            assert (await client.delete(session, headers=with_token(token))).status == 200

    relay(do, options=options)


def test_options_say_what_is_taken():
    async def do(client: Client) -> None:
        for path in ("/whip", "/whep/stage"):
            response = await client.options(path)
            assert response.status == 200
            assert response.headers["Accept-Post"] == "application/sdp"
            assert "POST" in response.headers["Allow"]
        response = await client.options("/whip/session-1")
        assert response.status == 200
        assert "DELETE" in response.headers["Allow"]
        assert "Accept-Post" not in response.headers

    relay(do)


def test_health_and_figures():
    async def do(client: Client) -> None:
        health = await client.get("/healthz")
        assert json.loads(await health.text()) == {"status": "ok"}
        await client.post("/whip?stream=stage", data=publish_offer(), headers=SDP)
        response = await client.get("/metrics")
        assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        lines = (await response.text()).splitlines()
        assert 'vretouch_stream_frames_in_total{stream="stage"} 7' in lines
        assert 'vretouch_sessions{kind="publish"} 1' in lines
        assert any(line.startswith('vretouch_build_info{version="1.2.3"') for line in lines)

    relay(do, options=HttpOptions(version="1.2.3"))


def test_a_relay_that_cannot_serve_says_why():
    rooms = FakeRooms()
    rooms.illness = "the last 3 streams have failed; start the relay again"

    async def do(client: Client) -> None:
        await refused(await client.get("/healthz"), 503, rooms.illness or "")
        rooms.illness = None
        assert (await client.get("/healthz")).status == 200

    relay(do, rooms)


def test_ice_servers_are_told_to_who_may_know():
    ice = IceServers(("stun:stun.example:3478", "turn:turn.example:3478?transport=udp"), "secret-of-turn")
    options = HttpOptions(tokens=Tokens(PUBLISH, VIEW), ice=ice)

    async def do(client: Client) -> None:
        response = await client.get("/ice", headers=with_token(VIEW))
        stun, turn = (await response.json())["iceServers"]
        assert stun == {"urls": ["stun:stun.example:3478"]}
        assert turn["urls"] == ["turn:turn.example:3478?transport=udp"]
        assert turn["username"].partition(":")[0].isdecimal()
        assert response.headers["Cache-Control"] == "no-store"
        created = await client.post("/whip", data=publish_offer(), headers=with_token(PUBLISH))
        links = created.headers.getall("Link")
        assert links[0] == '<stun:stun.example:3478>; rel="ice-server"'
        assert 'credential-type="password"' in links[1]
        assert "Link" not in (await client.post("/whip", data=publish_offer(), headers=SDP)).headers

    relay(do, options=options)
    assert asyncio.run(no_servers()) == {"iceServers": []}


async def no_servers() -> object:
    async with served(FakeRooms()) as client:
        return await (await client.get("/ice")).json()
