"""The relay's own ICE servers, and time-limited TURN credentials (coturn's `use-auth-secret`).

A TURN user name is `expiry:name`, expiry in seconds since 1970; its password is
base64(HMAC-SHA1(secret, user name)), as in draft-uberti-behave-turn-rest-00, section 2.2.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import time
from dataclasses import dataclass, field

from stream.errors import OptionError

_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])"
_URL = re.compile(
    rf"(?:stuns?:{_HOST}(?::\d{{1,5}})?|turns?:{_HOST}(?::\d{{1,5}})?(?:\?transport=(?:udp|tcp))?)"
)


@dataclass(frozen=True)
class IceServer:
    """One entry of a browser's RTCConfiguration.iceServers; user name and credential for TURN only."""

    url: str
    username: str | None = None
    credential: str | None = field(default=None, repr=False)

    def as_json(self) -> dict[str, object]:
        """What `new RTCPeerConnection({iceServers: [...]})` takes."""
        entry: dict[str, object] = {"urls": [self.url]}
        if self.username is not None:
            entry |= {"username": self.username, "credential": self.credential}
        return entry

    def as_link(self) -> str:
        """The value of a Link header (RFC 9725, section 4.6)."""
        link = f'<{self.url}>; rel="ice-server"'
        if self.username is not None:
            link += f'; username="{self.username}"; credential="{self.credential}"'
            link += '; credential-type="password"'
        return link


@dataclass(frozen=True)
class IceServers:
    """The servers that pages and WHIP clients are told to use: none unless some are given.

    urls: `stun:host:port`, `turn:host:port?transport=udp`, `turns:...`. secret: what is shared with coturn
    (`static-auth-secret`); needed for TURN. ttl_s: for how long a credential lets someone in.
    """

    urls: tuple[str, ...] = ()
    secret: str | None = field(default=None, repr=False)
    ttl_s: int = 3600

    def __post_init__(self) -> None:
        for url in self.urls:
            if not _URL.fullmatch(url):
                raise OptionError(
                    f"{url!r} is no ICE server; write stun:HOST:PORT or turn:HOST:PORT?transport=udp"
                )
            if is_turn(url) and self.secret is None:
                raise OptionError(f"the TURN server {url} needs its secret; give --turn-secret-file")

    def now(self, now_s: float | None = None) -> list[IceServer]:
        """The servers with credentials that are good for ttl_s from now (seconds since 1970) on."""
        if not self.urls:
            return []
        # The wall clock, because it is what the TURN server compares with.
        expiry_s = int(time.time() if now_s is None else now_s) + self.ttl_s
        username = f"{expiry_s}:{secrets.token_hex(4)}"
        return [
            IceServer(url, username, turn_credential(self.secret, username))
            if is_turn(url) and self.secret is not None
            else IceServer(url)
            for url in self.urls
        ]


def is_turn(url: str) -> bool:
    """Whether an ICE server's address is a TURN server's."""
    return url.startswith(("turn:", "turns:"))


def turn_credential(secret: str, username: str) -> str:
    """The password of a time-limited user name."""
    digest = hmac.new(secret.encode(), username.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()
