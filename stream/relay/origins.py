"""Which sites' pages may use the relay: its own, and those on a list (Origin, RFC 6454; CORS in Fetch)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from stream.errors import OptionError
from stream.relay.tokens import is_loopback

_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(\d{1,5}))?", re.IGNORECASE)


@dataclass(frozen=True)
class Origin:
    """scheme://host:port, the port always there."""

    scheme: str
    host: str
    port: int


def read_origin(text: str) -> Origin | None:
    """The origin that an Origin header or option names; None where it is none ('null' among others)."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not host or not _HOST.fullmatch(parts.netloc):
        return None
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        return None
    return Origin(parts.scheme, host, port if port is not None else _PORTS[parts.scheme])


def read_host(text: str) -> tuple[str, int | None] | None:
    """Host and port of a Host header; the port is None where it is the scheme's own."""
    found = _HOST.fullmatch(text)
    if found is None:
        return None
    return found[1].lower().removeprefix("[").removesuffix("]"), int(found[2]) if found[2] else None


class Origins:
    """The sites whose pages may use the relay.

    allowed: as in `https://studio.example`. local: nothing but this machine is meant to reach the relay, and
    there is no token to tell a friend by; then a Host header that names another machine is refused, for a
    page can give its own name this machine's address (DNS rebinding).
    """

    def __init__(self, allowed: Sequence[str] = (), *, local: bool = True) -> None:
        self.allowed = frozenset(_demanded(text) for text in allowed)
        self._local = local

    @property
    def hosts(self) -> list[str]:
        """The hosts of the allowed sites."""
        return sorted(origin.host for origin in self.allowed)

    def complaint(self, host: str | None, origin: str | None) -> str | None:
        """Why a request with these Host and Origin headers is refused, in one sentence; None if it is not."""
        if not host:
            return "the request does not say whom it is for; send a Host header"
        named = read_host(host)
        if self._local and (named is None or not (is_loopback(named[0]) or named[0] in self.hosts)):
            return (
                f"this relay serves its own machine only, not {_shown(host)}; "
                "start it with --origin and tokens to open it to others"
            )
        if origin is None or self._is_own(named, origin) or self.permits(origin):
            return None
        return f"pages from {_shown(origin)} may not use this relay; start it with --origin to let them"

    def permits(self, origin: str | None) -> bool:
        """Whether pages of this other site may use the relay."""
        return origin is not None and read_origin(origin) in self.allowed

    def _is_own(self, named: tuple[str, int | None] | None, origin: str) -> bool:
        """Whether the page came from the relay itself: behind a proxy it does not know its own scheme."""
        found = read_origin(origin)
        if found is None or named is None:
            return False
        host, port = named
        return found.host == host and found.port == (_PORTS[found.scheme] if port is None else port)


def _demanded(text: str) -> Origin:
    origin = read_origin(text)
    if origin is None:
        raise OptionError(f"{text!r} is no origin; write it as in https://studio.example")
    return origin


def _shown(text: str | None) -> str:
    return ascii((text or "")[:80])
