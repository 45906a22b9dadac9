"""The relay over HTTP: WHIP to publish (RFC 9725), WHEP to watch (draft-ietf-wish-whep-03), page, figures.

There is neither Trickle ICE nor an ICE restart: a session takes no PATCH. The answer has all candidates of
the relay, and where a client is reached shows in its own checks.

Every answer that is no success is one sentence in plain text.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from aiohttp import web

from stream.relay.limits import AddressLimit, Network
from stream.relay.metrics import CONTENT_TYPE, StageTimes, exposition
from stream.relay.origins import Origins
from stream.relay.pages import PUBLISH_PAGE, WATCH_PAGE, Page
from stream.relay.refusals import RefusalError, client_address, plainly
from stream.relay.sdp import Purpose, check_offer
from stream.relay.tokens import Tokens
from stream.relay.turn import IceServers

if TYPE_CHECKING:
    from stream.relay.rooms import Answer
    from stream.relay.snapshot import Snapshot

MAX_BODY_BYTES = 64 * 1024
BODY_DEADLINE_S = 5.0
ANSWER_DEADLINE_S = 10.0
SDP = "application/sdp"
NAME = r"[A-Za-z0-9_-]{1,64}"
SESSION = r"[A-Za-z0-9_-]{1,128}"
MOUNT = re.compile(r"(?:/[A-Za-z0-9._~-]{1,64}){1,8}")
# The page loads nothing from elsewhere and runs nothing that is not in a file of its own.
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; media-src 'self' blob: mediastream:; manifest-src 'self'; base-uri 'none'; "
    "frame-ancestors 'none'; form-action 'none'",
    "Permissions-Policy": "camera=(self), microphone=(self), display-capture=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Server": "vretouch",
}
_EXPOSED = "Location, Link, Retry-After, WWW-Authenticate"


def mounted_at(request: web.Request) -> str:
    """The path under which a reverse proxy shows the relay, by its X-Forwarded-Prefix; empty for none. It
    says nothing to anybody but who sent it."""
    prefix = request.headers.get("X-Forwarded-Prefix", "").rstrip("/")
    return prefix if MOUNT.fullmatch(prefix) else ""


class Media(Protocol):
    """What the HTTP side asks of stream.relay.rooms.Rooms."""

    async def publish(self, offer_sdp: str, stream: str | None) -> Answer: ...
    async def watch(self, offer_sdp: str, stream: str) -> Answer: ...
    async def end(self, session: str, kind: Purpose) -> bool: ...
    def snapshot(self) -> Snapshot: ...
    def ill(self) -> str | None: ...
    async def close(self) -> None: ...


@dataclass(frozen=True)
class HttpOptions:
    """tokens: who may do what. origins: other sites whose pages may come. ice: what clients are told to use.
    offers_per_s, offer_burst: for each address. wrong_per_s, wrong_burst: wrong tokens of each address.
    proxies: networks of reverse proxies on other machines. version: what /metrics calls this build."""

    tokens: Tokens = field(default_factory=Tokens)
    origins: tuple[str, ...] = ()
    ice: IceServers = field(default_factory=IceServers)
    offers_per_s: float = 4.0
    offer_burst: int = 20
    wrong_per_s: float = 0.5
    wrong_burst: int = 10
    proxies: tuple[Network, ...] = ()
    version: str = "unknown"


def make_app(
    rooms: Media,
    pages: Mapping[str, Page],
    options: HttpOptions | None = None,
    times: StageTimes | None = None,
) -> web.Application:
    """The application. It closes the rooms when it shuts down.

    pages: see stream.relay.pages.load_pages. times: what /metrics shows of the stages.
    """
    relay = _Relay(rooms, pages, options or HttpOptions(), times or StageTimes())
    # aiohttp refuses a body of exactly its limit.
    app = web.Application(middlewares=[plainly, relay.guard], client_max_size=MAX_BODY_BYTES + 1)
    app.on_response_prepare.append(relay.add_headers)
    app.on_shutdown.append(relay.close)
    app.add_routes(
        [
            web.get("/", relay.publish_page),
            web.get(f"/watch/{{stream:{NAME}}}", relay.watch_page),
            web.get("/static/{name}", relay.static),
            web.get("/healthz", relay.healthz),
            web.get("/metrics", relay.metrics),
        ]
    )
    endpoints: list[tuple[str, str, _Handler]] = [
        ("POST", "/whip", relay.publish),
        ("DELETE", f"/whip/{{session:{SESSION}}}", relay.end_publish),
        ("POST", f"/whep/{{stream:{NAME}}}", relay.watch),
        ("DELETE", f"/whep-session/{{session:{SESSION}}}", relay.end_watch),
        ("GET", "/ice", relay.ice),
    ]
    for method, path, handler in endpoints:
        app.router.add_route(method, path, handler)
        app.router.add_route("OPTIONS", path, _options_of(method))
    return app


_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _Relay:
    """The handlers, and what they share."""

    def __init__(
        self, rooms: Media, pages: Mapping[str, Page], options: HttpOptions, times: StageTimes
    ) -> None:
        self._rooms, self._pages, self._times = rooms, pages, times
        self._tokens, self._ice, self._version = options.tokens, options.ice, options.version
        self._proxies = options.proxies
        self._origins = Origins(options.origins, local=not options.tokens.complete)
        self._offers = AddressLimit(options.offers_per_s, options.offer_burst)
        self._wrong = AddressLimit(options.wrong_per_s, options.wrong_burst)

    @web.middleware
    async def guard(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Nothing is answered to another site's page, nor under another machine's name."""
        complaint = self._origins.complaint(request.headers.get("Host"), request.headers.get("Origin"))
        if complaint is not None:
            raise RefusalError(403, complaint)
        return await handler(request)

    async def add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        """Security headers on every answer, and CORS for the sites on the list."""
        response.headers.update(SECURITY_HEADERS)
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers.add("Vary", "Origin")
        origin = request.headers.get("Origin")
        if origin is not None and self._origins.permits(origin):
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = _EXPOSED

    async def close(self, _app: web.Application) -> None:
        """End all sessions."""
        await self._rooms.close()

    async def publish_page(self, request: web.Request) -> web.StreamResponse:
        """GET /"""
        return _page(request, self._pages[PUBLISH_PAGE])

    async def watch_page(self, request: web.Request) -> web.StreamResponse:
        """GET /watch/{stream}"""
        return _page(request, self._pages[WATCH_PAGE])

    async def static(self, request: web.Request) -> web.StreamResponse:
        """GET /static/{name}: the name is looked up in a list, and never becomes a path."""
        page = self._pages.get(request.match_info["name"])
        if page is None:
            raise RefusalError(404, "there is no such file; open / for the page")
        return _page(request, page)

    async def healthz(self, _request: web.Request) -> web.StreamResponse:
        """GET /healthz: 200 while the relay can serve, full or busy as it may be; else 503 and why."""
        if (illness := self._rooms.ill()) is not None:
            raise RefusalError(503, illness)
        return web.json_response({"status": "ok"})

    async def metrics(self, request: web.Request) -> web.StreamResponse:
        """GET /metrics: Prometheus text, with either token where there are tokens."""
        self._authorize(request, self._tokens.any, "publish or view")
        text = exposition(self._rooms.snapshot(), self._times, self._version)
        return web.Response(body=text.encode(), headers={"Content-Type": CONTENT_TYPE})

    async def ice(self, request: web.Request) -> web.StreamResponse:
        """GET /ice: {"iceServers": [...]} for RTCPeerConnection, with either token where there are tokens."""
        self._authorize(request, self._tokens.any, "publish or view")
        return web.json_response({"iceServers": [server.as_json() for server in self._ice.now()]})

    async def publish(self, request: web.Request) -> web.StreamResponse:
        """POST /whip: an offer for its answer. ?stream=NAME chooses the name that viewers use."""
        self._count_offer(request)
        self._authorize(request, self._tokens.publish, "publish")
        stream = _stream_wanted(request)
        offer = await _offer(request, "publish")
        answer = await _in_time(self._rooms.publish(offer, stream))
        return self._created(answer, f"{mounted_at(request)}/whip/{answer.session}")

    async def watch(self, request: web.Request) -> web.StreamResponse:
        """POST /whep/{stream}: an offer for its answer."""
        self._count_offer(request)
        self._authorize(request, self._tokens.view, "view")
        offer = await _offer(request, "watch")
        answer = await _in_time(self._rooms.watch(offer, request.match_info["stream"]))
        return self._created(answer, f"{mounted_at(request)}/whep-session/{answer.session}")

    async def end_publish(self, request: web.Request) -> web.StreamResponse:
        """DELETE /whip/{session}"""
        self._authorize(request, self._tokens.publish, "publish")
        return await self._ended(request, "publish")

    async def end_watch(self, request: web.Request) -> web.StreamResponse:
        """DELETE /whep-session/{session}"""
        self._authorize(request, self._tokens.view, "view")
        return await self._ended(request, "watch")

    async def _ended(self, request: web.Request, kind: Purpose) -> web.StreamResponse:
        if not await self._rooms.end(request.match_info["session"], kind):
            raise RefusalError(404, "there is no such session; it may have ended already")
        return web.Response(status=200)

    def _created(self, answer: Answer, location: str) -> web.StreamResponse:
        response = web.Response(
            status=201, body=answer.sdp.encode(), headers={"Content-Type": SDP, "Location": location}
        )
        for server in self._ice.now():
            response.headers.add("Link", server.as_link())
        return response

    def _count_offer(self, request: web.Request) -> None:
        if wait_s := self._offers.take(client_address(request, self._proxies)):
            raise RefusalError(429, "that is too many offers from one address; wait a little", wait_s)

    def _authorize(self, request: web.Request, holds: Callable[[str | None], bool], right: str) -> None:
        address, given = client_address(request, self._proxies), request.headers.get("Authorization")
        if wait_s := self._wrong.wait_s(address):
            raise RefusalError(429, "that is too many wrong tokens from one address; wait a little", wait_s)
        if holds(given):
            return
        self._wrong.take(address)
        said = "is not the right one" if given else "is missing"
        challenge = 'Bearer realm="vretouch"' + (', error="invalid_token"' if given else "")
        raise RefusalError(
            401,
            f"the {right} token {said}; send it as 'Authorization: Bearer TOKEN'",
            headers={"WWW-Authenticate": challenge},
        )


def _page(request: web.Request, page: Page) -> web.StreamResponse:
    headers = {"Content-Type": page.kind, "Cache-Control": "no-cache", "ETag": page.etag}
    if request.headers.get("If-None-Match") == page.etag:
        return web.Response(status=304, headers=headers)
    return web.Response(body=page.body, headers=headers)


def _options_of(method: str) -> _Handler:
    """OPTIONS: what the address takes, for CORS too (RFC 9725, section 4.2)."""

    async def options(request: web.Request) -> web.StreamResponse:
        headers = {"Allow": f"OPTIONS, {method}"}
        if method == "POST":
            headers["Accept-Post"] = SDP
        if "Access-Control-Request-Method" in request.headers:
            headers["Access-Control-Allow-Methods"] = f"OPTIONS, {method}"
            headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type"
            headers["Access-Control-Max-Age"] = "600"
        return web.Response(status=200, headers=headers)

    return options


def _stream_wanted(request: web.Request) -> str | None:
    stream = request.query.get("stream")
    if stream is not None and not re.fullmatch(NAME, stream):
        raise RefusalError(
            400,
            f"{stream[:80]!a} is no stream name; use 1 to 64 letters, digits, - and _, or leave it out",
        )
    return stream


async def _offer(request: web.Request, purpose: Purpose) -> str:
    """The request's body, after all checks that need no session."""
    if request.content_type != SDP or request.headers.get("Content-Encoding", "identity") != "identity":
        raise RefusalError(415, f"the offer must come as {SDP}, and not compressed")
    try:
        async with asyncio.timeout(BODY_DEADLINE_S):
            body = await request.read()
    except TimeoutError:
        raise RefusalError(
            408, f"the offer did not come within {BODY_DEADLINE_S:g} s; send it at once"
        ) from None
    except web.HTTPRequestEntityTooLarge:
        raise RefusalError(
            413, f"the offer is longer than {MAX_BODY_BYTES} bytes; send a shorter one"
        ) from None
    except (web.RequestPayloadError, ConnectionError):
        raise RefusalError(400, "the offer did not come whole; send it again") from None
    offer = body.decode("utf-8", "replace")
    check_offer(offer, purpose)
    return offer


async def _in_time(answering: Awaitable[Answer]) -> Answer:
    try:
        async with asyncio.timeout(ANSWER_DEADLINE_S):
            return await answering
    except TimeoutError:
        raise RefusalError(
            503, f"the relay found no answer within {ANSWER_DEADLINE_S:g} s; try again", ANSWER_DEADLINE_S
        ) from None
