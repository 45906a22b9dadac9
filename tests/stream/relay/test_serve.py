"""Serving: where it listens, TLS, what cannot be, and how it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl

import aiohttp
import pytest
from aiohttp import web

from stream.relay.http import SECURITY_HEADERS, make_app
from stream.relay.serve import Place, ServeError, load_tls, serve
from tests.stream.relay.certificates import certificate
from tests.stream.relay.fake_rooms import PAGES, FakeRooms
from tests.stream.relay.offers import publish_offer

SDP = {"Content-Type": "application/sdp"}
LONG = b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n"


def served(place: Place, number: signal.Signals, rooms: FakeRooms, tls: ssl.SSLContext | bool = True) -> int:
    """Publish once over HTTP, then send the signal to this process; returns the status of the publishing."""

    async def run() -> int:
        opened: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(serve(make_app(rooms, PAGES), place, opened.set_result))
        url = place.url(await opened)
        async with aiohttp.ClientSession() as client:
            response = await client.post(f"{url}whip", data=publish_offer(), headers=SDP, ssl=tls)
            assert len(rooms.open) == 1
            os.kill(os.getpid(), number)
            await asyncio.wait_for(serving, 10.0)
        return response.status

    return asyncio.run(run())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_sessions(number):
    rooms = FakeRooms()
    before = signal.getsignal(number)
    assert served(Place(port=0), number, rooms) == 201
    assert rooms.closed
    assert not rooms.open
    assert signal.getsignal(number) == before or number == signal.SIGINT


class WindowsLoop(asyncio.SelectorEventLoop):
    """Knows no signals, as on Windows."""

    def add_signal_handler(self, sig, callback, *args):
        raise NotImplementedError


def test_ctrl_c_ends_all_sessions_where_the_loop_knows_no_signals():
    rooms, answers = FakeRooms(), []

    async def publish(opened: asyncio.Future[int]) -> None:
        url = Place().url(await opened)
        async with aiohttp.ClientSession() as client:
            response = await client.post(f"{url}whip", data=publish_offer(), headers=SDP)
            answers.append((response.status, len(rooms.open)))
        os.kill(os.getpid(), signal.SIGINT)

    async def run() -> None:
        opened: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        publishing = asyncio.create_task(publish(opened))
        await serve(make_app(rooms, PAGES), Place(port=0), opened.set_result)
        await publishing

    # A test run started in the background inherits an ignored SIGINT.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with asyncio.Runner(loop_factory=WindowsLoop) as runner, pytest.raises(KeyboardInterrupt):
            runner.run(asyncio.wait_for(run(), 20.0))
    finally:
        signal.signal(signal.SIGINT, before)
    assert answers == [(201, 1)]
    assert rooms.closed
    assert not rooms.open


def test_tls(tmp_path):
    cert, key = certificate(tmp_path)
    trusting = ssl.create_default_context(cafile=cert)
    place = Place("localhost", free_port(), load_tls(cert, key))
    assert place.url(1).startswith("https://")
    assert served(place, signal.SIGTERM, FakeRooms(), trusting) == 201


def free_port() -> int:
    """A port of 127.0.0.1 and ::1 that nobody uses."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_certificates_that_cannot_be_used(tmp_path):
    cert, key = certificate(tmp_path / "one")
    _, other_key = certificate(tmp_path / "two")
    _, locked = certificate(tmp_path / "three", b"password")
    (tmp_path / "text").write_text("no PEM")
    for given, words in (
        ((str(tmp_path / "none.pem"), None), "none.pem cannot be read (No such file"),
        ((cert, str(tmp_path / "none.pem")), "none.pem cannot be read (No such file"),
        ((str(tmp_path), None), "cannot be read (Is a directory"),
        ((cert, other_key), "belong together"),
        ((cert, None), "the key in it are no certificate and key"),
        ((cert, locked), "the key without a password"),
        ((str(tmp_path / "text"), key), "give both in PEM"),
        ((None, key), "give --tls-cert too"),
    ):
        with pytest.raises(ServeError) as refused:
            load_tls(*given)
        assert words in str(refused.value), given
        assert "\n" not in str(refused.value)
    assert load_tls(None, None) is None


def fails(place: Place) -> str:
    """Why it cannot be served there."""
    with pytest.raises(ServeError) as refused:
        asyncio.run(serve(make_app(FakeRooms(), PAGES), place, lambda _: None))
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_where_it_cannot_listen():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert fails(Place(port=port)) == (
            f"127.0.0.1 port {port} is in use by another program; choose another with --port"
        )
    assert "is no address of this machine" in fails(Place("192.0.2.77", 0))
    assert "there is no address for the host no.such.host.invalid" in fails(Place("no.such.host.invalid", 0))


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80/"),
        ("::1", "http://[::1]:80/"),
        ("0.0.0.0", "http://localhost:80/"),
        ("::", "http://localhost:80/"),
    ],
)
def test_what_to_open(host, url):
    assert Place(host).url(80) == url


def test_who_gets_a_camera():
    assert Place("localhost").has_camera
    assert not Place("0.0.0.0").has_camera
    assert Place("0.0.0.0", tls=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)).has_camera


def test_a_connection_that_sends_nothing_whole_is_closed(monkeypatch):
    """One that sends its headers a byte at a time holds a descriptor, not for long."""
    monkeypatch.setattr("stream.relay.serve.IDLE_CONNECTION_S", 0.3)

    async def run() -> bytes:
        opened: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(serve(make_app(FakeRooms(), PAGES), Place(port=0), opened.set_result))
        reader, writer = await asyncio.open_connection("127.0.0.1", await opened)
        writer.write(b"GET / HTTP/1.1\r\nHost: loc")
        rest = await asyncio.wait_for(reader.read(), 20.0)
        writer.close()
        os.kill(os.getpid(), signal.SIGTERM)
        await serving
        return rest

    assert asyncio.run(run()) == b""


def answers_to(*requests: bytes) -> list[bytes]:
    """What a relay answers to these bytes, each on a connection of its own."""

    async def run() -> list[bytes]:
        opened: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(serve(make_app(FakeRooms(), PAGES), Place(port=0), opened.set_result))
        port, answers = await opened, []
        for request in requests:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request)
            answers.append(await asyncio.wait_for(reader.read(), 20.0))
            writer.close()
        os.kill(os.getpid(), signal.SIGTERM)
        await serving
        return answers

    return asyncio.run(run())


def check(answer: bytes, status: int, sentence: bytes) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert f" {status} ".encode() in head.splitlines()[0]
    for name, value in SECURITY_HEADERS.items():
        assert f"{name}: {value}".encode() in head
    assert body == sentence + b"\n"


def test_what_is_no_http_is_told_in_a_sentence_with_the_headers_of_all_answers():
    requests = (b"NONSENSE\r\n\r\n", b"GET / HTTP/1.1\r\nbad header: 1\r\n\r\n", LONG)
    for answer in answers_to(*requests):
        check(answer, 400, b"the request cannot be read; send HTTP/1.1")


def test_an_error_before_the_application_is_no_fault_of_who_asks(monkeypatch, caplog):
    async def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(web.UrlDispatcher, "resolve", broken)
    (answer,) = answers_to(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    check(answer, 500, b"this is an error of the relay itself; its log says more")
    assert "ZeroDivisionError: a bug" in caplog.text
