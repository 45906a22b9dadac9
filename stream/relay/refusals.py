"""Answers that are no success: one sentence in plain text, with the headers that belong to the status."""

from __future__ import annotations

import ipaddress
import logging
import math
from collections.abc import Awaitable, Callable, Collection, Mapping

from aiohttp import web

from stream.errors import VretouchError
from stream.relay.errors import MediaError
from stream.relay.limits import Network

_LOG = logging.getLogger("vretouch.relay")
_SENTENCES = {
    400: "the request cannot be read; send HTTP/1.1",
    404: "there is nothing at this address; open / for the page",
    405: "this address does not take {method} requests",
    413: "the request is too long",
    500: "this is an error of the relay itself; its log says more",
}


class RefusalError(VretouchError):
    """A request that is not carried out. retry_after_s: when to try again, where that makes sense."""

    def __init__(
        self,
        status: int,
        sentence: str,
        retry_after_s: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(sentence)
        self.status, self.retry_after_s, self.headers = status, retry_after_s, dict(headers or {})


@web.middleware
async def plainly(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Turn every error into an answer of one sentence; what nobody foresaw is logged and becomes a 500."""
    try:
        return await handler(request)
    except RefusalError as error:
        return _answer(error.status, str(error), error.retry_after_s, error.headers)
    except MediaError as error:
        return _answer(error.status, str(error), error.retry_after_s)
    except VretouchError as error:
        return _answer(503, str(error))
    except web.HTTPException as error:
        sentence = _SENTENCES.get(error.status, error.reason).format(method=request.method)
        kept = {name: error.headers[name] for name in ("Allow",) if name in error.headers}
        return _answer(error.status, sentence, headers=kept)
    except Exception:
        _LOG.exception("an error of the relay itself")
        return _answer(500, _SENTENCES[500])


def _answer(
    status: int,
    sentence: str,
    retry_after_s: float | None = None,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    response = web.Response(status=status, text=f"{sentence}\n", headers=dict(headers or {}))
    if retry_after_s is not None:
        response.headers["Retry-After"] = str(max(1, math.ceil(retry_after_s)))
    if status in (408, 413):
        # The rest of the body is still on its way, and nobody will read it.
        response.force_close()
    return response


def unanswered(status: int, error: BaseException | None, headers: Mapping[str, str]) -> web.Response:
    """The answer to what never reached the application: it is no HTTP, or an error of our own (500)."""
    own = status >= 500
    if own:
        _LOG.error(_SENTENCES[500], exc_info=error)
    response = _answer(500 if own else 400, _SENTENCES[500 if own else 400], headers=headers)
    response.force_close()
    return response


def client_address(request: web.Request, proxies: Collection[Network] = ()) -> str:
    """Who asks. Behind a reverse proxy on this machine, or in one of these networks: what it wrote last into
    X-Forwarded-For, be it into the client's own line or, as HAProxy, into one below it."""
    peer = request.remote or ""
    forwarded = ",".join(request.headers.getall("X-Forwarded-For", [])).rpartition(",")[2].strip()
    if not (forwarded and _is_ip(forwarded) and _is_ip(peer)):
        return peer
    address = ipaddress.ip_address(peer)
    trusted = address.is_loopback or any(address in network for network in proxies)
    return forwarded if trusted else peer


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
