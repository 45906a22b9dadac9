"""What the relay refuses, with which status and sentence: bodies, tokens, other sites, too much."""

from __future__ import annotations

import argparse
import asyncio
import gzip
import logging
from collections.abc import AsyncIterator

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from stream.errors import VretouchError
from stream.relay.command import network
from stream.relay.errors import Full
from stream.relay.http import MAX_BODY_BYTES, HttpOptions
from stream.relay.refusals import client_address
from stream.relay.tokens import Tokens
from tests.stream.relay.fake_rooms import (
    PUBLISH,
    SDP,
    TOKENS,
    VIEW,
    Client,
    FakeRooms,
    refused,
    relay,
    with_token,
)
from tests.stream.relay.offers import chromium_offer, publish_offer, watch_offer

STUDIO = "https://studio.example"


def test_bodies_that_are_no_offer_never_reach_the_rooms():
    async def do(client: Client) -> None:
        for path, offer in (("/whip", publish_offer()), ("/whep/stage", watch_offer())):
            post = client.post
            for kind in ("text/plain", "application/json", "application/sdpx", "", "a/b/c"):
                headers = {"Content-Type": kind}
                await refused(await post(path, data=offer, headers=headers), 415, "application/sdp")
            packed = SDP | {"Content-Encoding": "gzip"}
            response = await post(path, data=gzip.compress(offer.encode()), headers=packed)
            await refused(response, 415, "not compressed")
            await refused(await post(path, data="", headers=SDP), 400, "does not begin with v=0")
            await refused(await post(path, data=b"\xff\x00", headers=SDP), 400, "no plain text")
            await refused(await post(path, data=offer[:40], headers=SDP), 400, "no video m-line")
            long = offer + "a=x:y\r\n" * 20_000
            await refused(await post(path, data=long, headers=SDP), 413, "longer than 65536 bytes")
            await refused(await post(path, data=chunks(long), headers=SDP), 413, "longer than 65536 bytes")

    rooms = relay(do, options=HttpOptions(offer_burst=1000))
    assert rooms.offers == []
    assert not rooms.open


async def chunks(text: str) -> AsyncIterator[bytes]:
    for start in range(0, len(text), 10_000):
        yield text[start : start + 10_000].encode()


def test_an_offer_of_exactly_the_limit_is_read():
    async def do(client: Client) -> None:
        rest = MAX_BODY_BYTES - len(publish_offer())
        line = "a=x:" + "y" * 94 + "\r\n"
        filled = publish_offer() + line * (rest // 100) + "s=" + "y" * (rest % 100 - 4) + "\r\n"
        assert len(filled) == MAX_BODY_BYTES
        assert (await client.post("/whip", data=filled, headers=SDP)).status == 201

    relay(do)


def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch):
    monkeypatch.setattr("stream.relay.http.BODY_DEADLINE_S", 0.2)
    never = asyncio.Event

    async def slowly() -> AsyncIterator[bytes]:
        yield b"v=0\r\n"
        await never().wait()

    async def do(client: Client) -> None:
        await refused(await client.post("/whip", data=slowly(), headers=SDP), 408, "within 0.2 s")

    assert relay(do).offers == []


@pytest.mark.parametrize("name", ["", "a b", "../x", "x" * 65, "straße", "a\r\nX: y", "a;b"])
def test_stream_names_are_plain(name):
    async def do(client: Client) -> None:
        response = await client.post("/whip", params={"stream": name}, data=publish_offer(), headers=SDP)
        await refused(response, 400, "is no stream name")

    assert relay(do).offers == []


# --- tokens


def test_each_right_needs_its_own_token():
    async def do(client: Client) -> None:
        for path, offer, wanted, other in (
            ("/whip?stream=stage", publish_offer(), PUBLISH, VIEW),
            ("/whep/stage", watch_offer(), VIEW, PUBLISH),
        ):
            missing = await refused(await client.post(path, data=offer, headers=SDP), 401, "token is missing")
            assert missing.headers["WWW-Authenticate"] == 'Bearer realm="vretouch"'
            wrong = await client.post(path, data=offer, headers=with_token(other))
            await refused(wrong, 401, "token is not the right one")
            assert 'error="invalid_token"' in wrong.headers["WWW-Authenticate"]
            created = await client.post(path, data=offer, headers=with_token(wanted))
            assert created.status == 201
            location = created.headers["Location"]
            assert (await client.delete(location)).status == 401
            assert (await client.delete(location, headers=with_token(other))).status == 401
            if path == "/whep/stage":
                assert (await client.delete(location, headers=with_token(wanted))).status == 200

    assert [kind for kind, _ in relay(do, options=TOKENS).open.values()] == []


def test_figures_and_ice_servers_take_either_token_and_health_none():
    async def do(client: Client) -> None:
        for path in ("/metrics", "/ice"):
            assert (await client.get(path)).status == 401
            for token in (PUBLISH, VIEW):
                assert (await client.get(path, headers=with_token(token))).status == 200
        assert (await client.get("/healthz")).status == 200
        assert (await client.get("/")).status == 200

    relay(do, options=TOKENS)


def test_a_token_cannot_be_guessed_at_leisure():
    options = HttpOptions(tokens=Tokens(PUBLISH, VIEW), wrong_burst=5, wrong_per_s=0.01)

    async def do(client: Client) -> None:
        statuses = [
            (await client.get("/ice", headers=with_token(f"guess-number-{k}"))).status for k in range(8)
        ]
        assert statuses == [401] * 5 + [429] * 3
        late = await client.get("/ice", headers=with_token(PUBLISH))
        await refused(late, 429, "too many wrong tokens")
        assert 1 <= int(late.headers["Retry-After"]) <= 100
        # Somebody else is not held back.
        other = with_token(PUBLISH) | {"X-Forwarded-For": "192.0.2.9"}
        assert (await client.get("/ice", headers=other)).status == 200

    relay(do, options=options)


# --- other sites


def test_other_sites_pages_get_nothing():
    async def do(client: Client) -> None:
        for origin in ("https://evil.example", "null", "http://127.0.0.1:1"):
            headers = SDP | {"Origin": origin}
            response = await client.post("/whip", data=publish_offer(), headers=headers)
            await refused(response, 403, "may not use this relay")
            preflight = headers | {"Access-Control-Request-Method": "POST"}
            await refused(await client.options("/whip", headers=preflight), 403, "may not use this relay")
            assert "Access-Control-Allow-Origin" not in response.headers

    rooms = relay(do, options=HttpOptions(origins=(STUDIO,)))
    assert rooms.offers == []


def test_the_relays_own_page_may():
    async def do(client: Client) -> None:
        origin = str(client.make_url("/")).rstrip("/")
        headers = SDP | {"Origin": origin}
        assert (await client.post("/whip", data=publish_offer(), headers=headers)).status == 201

    relay(do)


def test_sites_on_the_list_may_and_can_read_the_answer():
    async def do(client: Client) -> None:
        headers = SDP | {"Origin": STUDIO}
        preflight = headers | {"Access-Control-Request-Method": "POST"}
        response = await client.options("/whip", headers=preflight)
        assert response.status == 200
        assert response.headers["Access-Control-Allow-Origin"] == STUDIO
        assert "POST" in response.headers["Access-Control-Allow-Methods"]
        assert "Authorization" in response.headers["Access-Control-Allow-Headers"]
        assert "Access-Control-Allow-Credentials" not in response.headers
        created = await client.post("/whip", data=publish_offer(), headers=headers)
        assert created.status == 201
        assert created.headers["Access-Control-Allow-Origin"] == STUDIO
        assert "Location" in created.headers["Access-Control-Expose-Headers"]
        assert "Origin" in created.headers["Vary"]
        bad = await client.post("/whip", data="x", headers=headers)
        assert (bad.status, bad.headers["Access-Control-Allow-Origin"]) == (400, STUDIO)

    relay(do, options=HttpOptions(origins=(STUDIO,)))


def test_another_name_for_this_machine_gets_nothing_unless_there_are_tokens():
    async def do(client: Client) -> None:
        for path in ("/", "/metrics", "/healthz", "/ice"):
            await refused(
                await client.get(path, headers={"Host": "evil.example"}), 403, "serves its own machine only"
            )

    relay(do)

    async def do_with_tokens(client: Client) -> None:
        assert (await client.get("/", headers={"Host": "relay.example"})).status == 200

    relay(do_with_tokens, options=TOKENS)


# --- how much


def test_offers_of_one_address_are_bounded_good_or_bad():
    options = HttpOptions(offer_burst=4, offers_per_s=0.01)

    async def do(client: Client) -> None:
        offers = ["bad", publish_offer(), "bad", publish_offer(), "bad", publish_offer()]
        responses = [await client.post("/whip", data=offer, headers=SDP) for offer in offers]
        assert [response.status for response in responses] == [400, 201, 400, 201, 429, 429]
        await refused(responses[-1], 429, "too many offers")
        assert int(responses[-1].headers["Retry-After"]) >= 1
        assert (await client.post("/whep/random0", data=watch_offer(), headers=SDP)).status == 429
        # Through a proxy on this machine others are others, whatever they claim themselves.
        for forwarded, status in (
            ("192.0.2.1", 201),
            ("127.0.0.1, 192.0.2.2", 201),
            ("192.0.2.3, what", 429),
        ):
            headers = SDP | {"X-Forwarded-For": forwarded}
            assert (await client.post("/whip", data=publish_offer(), headers=headers)).status == status

    assert len(relay(do, options=options).offers) == 4


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("127.0.0.1", None, "127.0.0.1"),
        ("127.0.0.1", "192.0.2.1", "192.0.2.1"),
        ("::1", "2001:db8::1", "2001:db8::1"),
        ("127.0.0.1", "10.0.0.1, 192.0.2.1", "192.0.2.1"),
        ("127.0.0.1", "192.0.2.1, unknown", "127.0.0.1"),
        # Who comes from elsewhere may write what they like.
        ("192.0.2.7", "192.0.2.1", "192.0.2.7"),
        ("not an address", "192.0.2.1", "not an address"),
    ],
)
def test_who_asks(peer, forwarded, address):
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    request = make_mocked_request("GET", "/", headers=headers).clone(remote=peer)
    assert client_address(request) == address


def test_a_proxy_that_writes_a_line_of_its_own_is_believed_and_not_the_clients():
    """As HAProxy's `option forwardfor` does."""
    headers = CIMultiDict([("X-Forwarded-For", "10.1.0.1"), ("X-Forwarded-For", "203.0.113.9")])
    request = make_mocked_request("GET", "/", headers=headers).clone(remote="127.0.0.1")
    assert client_address(request) == "203.0.113.9"


def test_a_proxy_on_another_machine_is_believed_where_it_is_named():
    request = make_mocked_request("GET", "/", headers={"X-Forwarded-For": "192.0.2.1"}).clone(
        remote="172.18.0.2"
    )
    for networks, address in (((), "172.18.0.2"), (("10.0.0.0/8", "172.18.0.0/16"), "192.0.2.1")):
        assert client_address(request, [network(one) for one in networks]) == address
    with pytest.raises(argparse.ArgumentTypeError, match="'proxy' is no network"):
        network("proxy")


def test_fifty_bad_offers_disturb_no_good_publisher():
    """While they come the loop turns as ever, and the session that stands goes on standing."""
    rooms = FakeRooms()

    async def do(client: Client) -> None:
        created = await client.post("/whip?stream=good", data=publish_offer(), headers=SDP)
        gaps: list[float] = []

        async def tick() -> None:
            loop = asyncio.get_running_loop()
            while True:
                before = loop.time()
                await asyncio.sleep(0.01)
                gaps.append(loop.time() - before)

        ticking = asyncio.create_task(tick())
        bad = [
            chromium_offer().replace("a=setup", "a=step"),
            "x" * 60_000,
            chromium_offer() * 7,
            "v=0\r\n",
        ] * 13
        answers = await asyncio.gather(*(client.post("/whip", data=offer, headers=SDP) for offer in bad))
        ticking.cancel()
        assert {answer.status for answer in answers} == {400, 429}
        assert gaps
        assert max(gaps) < 1.0
        assert list(rooms.open.values()) == [("publish", "good")]
        assert (await client.delete(created.headers["Location"])).status == 200

    relay(do, rooms)
    assert len(rooms.offers) == 1


def test_what_the_rooms_refuse_is_passed_on():
    def full() -> None:
        raise Full("all 4 places are taken; try again later", 7)

    async def do(client: Client) -> None:
        response = await client.post("/whip", data=publish_offer(), headers=SDP)
        await refused(response, 503, "all 4 places are taken")
        assert response.headers["Retry-After"] == "7"

    relay(do, FakeRooms(full))

    async def do_twice(client: Client) -> None:
        for status in (201, 409):
            response = await client.post("/whip?stream=stage", data=publish_offer(), headers=SDP)
            assert response.status == status
        await refused(response, 409, "somebody publishes 'stage' already")
        nobody = await client.post("/whep/nobody", data=watch_offer(), headers=SDP)
        await refused(nobody, 404, "nobody publishes 'nobody'")

    relay(do_twice)


def test_an_answer_that_does_not_come_is_not_waited_for(monkeypatch):
    monkeypatch.setattr("stream.relay.http.ANSWER_DEADLINE_S", 0.2)
    rooms = FakeRooms(lambda: asyncio.sleep(60.0))

    async def do(client: Client) -> None:
        response = await client.post("/whip", data=publish_offer(), headers=SDP)
        await refused(response, 503, "no answer within 0.2 s")
        assert response.headers["Retry-After"] == "1"

    assert not relay(do, rooms).open


def test_an_error_of_the_package_is_its_sentence():
    def broken() -> None:
        raise VretouchError("the weights are gone; install vretouch again")

    async def do(client: Client) -> None:
        response = await client.post("/whip", data=publish_offer(), headers=SDP)
        await refused(response, 503, "the weights are gone")

    relay(do, FakeRooms(broken))


def test_a_bug_is_logged_and_not_shown(caplog):
    def bug() -> None:
        raise ZeroDivisionError("a secret detail")

    async def do(client: Client) -> None:
        response = await client.post("/whip", data=publish_offer(), headers=SDP)
        await refused(response, 500, "an error of the relay itself")
        assert "secret" not in await response.text()
        assert (await client.get("/healthz")).status == 200

    with caplog.at_level(logging.ERROR):
        relay(do, FakeRooms(bug))
    assert "a secret detail" in caplog.text
