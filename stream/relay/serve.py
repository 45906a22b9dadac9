"""Serve the relay's application on one address until a signal ends it; one sentence for what fails."""

from __future__ import annotations

import asyncio
import errno
import logging
import signal
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from stream.errors import VretouchError
from stream.relay.http import SECURITY_HEADERS
from stream.relay.refusals import unanswered
from stream.relay.tokens import is_loopback

# Also how long a connection may take to send its first request's headers.
IDLE_CONNECTION_S = 20.0
LINGER_S = 1.0
FAREWELL_S = 10.0
# aiohttp logs a traceback for each request that is no HTTP; what goes wrong in here is logged by refusals.py.
_QUIET = logging.getLogger("vretouch.relay.http")
_QUIET.disabled = True


class ServeError(VretouchError):
    """The relay cannot listen where it is told to, or its certificate cannot be used."""


@dataclass(frozen=True)
class Place:
    """Where to listen. port 0: any that is free. tls: None for plain HTTP."""

    host: str = "127.0.0.1"
    port: int = 8080
    tls: ssl.SSLContext | None = None

    def url(self, port: int) -> str:
        """What to open in a browser on this machine."""
        host = "localhost" if self.host in ("0.0.0.0", "::", "") else self.host
        host = f"[{host}]" if ":" in host else host
        return f"{'https' if self.tls else 'http'}://{host}:{port}/"

    @property
    def has_camera(self) -> bool:
        """Whether a browser gives its camera to a page from here: over TLS, or from its own machine."""
        return self.tls is not None or is_loopback(self.host)


def load_tls(cert: str | None, key: str | None) -> ssl.SSLContext | None:
    """TLS with this certificate chain and key (None: in the same file), both PEM; None for no certificate."""
    if cert is None:
        if key is not None:
            raise ServeError("--tls-key is of no use without a certificate; give --tls-cert too")
        return None
    for path in (Path(name) for name in (cert, key) if name is not None):
        try:
            path.read_bytes()
        except OSError as error:
            raise ServeError(
                f"{path} cannot be read ({error.strerror}); check its name and rights"
            ) from error
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert, key, password=_no_password)
    except ssl.SSLError as error:
        raise ServeError(
            f"{cert} and {key or 'the key in it'} are no certificate and key that belong together "
            f"({error.reason or 'no PEM'}); give both in PEM, the key without a password"
        ) from error
    return context


def _no_password() -> str:
    """Without this OpenSSL would ask on the terminal."""
    return ""


class _Handler(web.RequestHandler):
    """A connection. What is no HTTP never reaches the application, and is answered as it would answer."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """One sentence in place of aiohttp's page, which shows what was sent; the connection is closed."""
        super().handle_error(request, status, exc, message)
        return unanswered(status, exc, SECURITY_HEADERS)


class _Server(web.Server):
    def __call__(self) -> web.RequestHandler:
        handler = super().__call__()
        handler.__class__ = _Handler
        return handler


class Runner(web.AppRunner):
    """Runs an application whose answers are all alike, those to what is no HTTP too."""

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        server.__class__ = _Server
        return server


async def serve(app: web.Application, place: Place, opened: Callable[[int], None]) -> None:
    """Serve until Ctrl-C or SIGTERM, then end all sessions. opened: called with the port once it is open.

    A second Ctrl-C ends at once.
    """
    runner = Runner(
        app,
        access_log=None,
        logger=_QUIET,
        keepalive_timeout=IDLE_CONNECTION_S,
        lingering_time=LINGER_S,
        auto_decompress=False,
        shutdown_timeout=LINGER_S,
    )
    await runner.setup()
    try:
        opened(await _listen(runner, place))
        await _until_signal()
    finally:
        async with asyncio.timeout(FAREWELL_S):
            await runner.cleanup()


async def _listen(runner: web.AppRunner, place: Place) -> int:
    try:
        await web.TCPSite(runner, place.host, place.port, ssl_context=place.tls, backlog=128).start()
    except OSError as error:
        raise ServeError(_why_not(error, place)) from error
    return int(runner.addresses[0][1])


def _why_not(error: OSError, place: Place) -> str:
    where = f"{place.host} port {place.port}"
    if isinstance(error, socket.gaierror):
        return f"there is no address for the host {place.host}; give an address of this machine with --host"
    if error.errno == errno.EADDRINUSE:
        return f"{where} is in use by another program; choose another with --port"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{place.host} is no address of this machine; give another with --host"
    if error.errno == errno.EACCES:
        return f"{where} may not be used by this account; choose a port above 1023 with --port"
    return f"{where} cannot be listened on ({error.strerror}); choose another with --host and --port"


async def _until_signal() -> None:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    numbers = (signal.SIGINT, signal.SIGTERM)

    def end() -> None:
        ended.set()
        for number in numbers:
            loop.remove_signal_handler(number)

    try:
        for number in numbers:
            loop.add_signal_handler(number, end)
    except NotImplementedError:
        # Windows' loop has none. There asyncio.run cancels us at Ctrl-C, which ends all sessions too, and
        # raises KeyboardInterrupt once they are ended.
        pass
    await ended.wait()
