"""Who may publish and who may watch: two separate bearer tokens (RFC 6750), compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stream.errors import OptionError

SHORTEST = 8
LONGEST = 256
# What may stand in an Authorization header without quoting (RFC 6750, section 2.1).
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")


@dataclass(frozen=True)
class Tokens:
    """The token to publish and the one to watch; None where everyone may.

    `publish`, `view` and `any` take an Authorization header (None where there is none) and say whether it
    gives that right. The right to publish is not the right to watch, nor the other way round.
    """

    publish_token: str | None = field(default=None, repr=False)
    view_token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.publish_token is not None and self.publish_token == self.view_token:
            raise OptionError("the publish token and the view token are the same; give two different ones")

    @property
    def complete(self) -> bool:
        """Whether nothing can be done without a token."""
        return self.publish_token is not None and self.view_token is not None

    def publish(self, authorization: str | None) -> bool:
        """Whether this header gives the right to publish."""
        return _matches(self.publish_token, authorization)

    def view(self, authorization: str | None) -> bool:
        """Whether this header gives the right to watch."""
        return _matches(self.view_token, authorization)

    def any(self, authorization: str | None) -> bool:
        """Whether this header gives one of the two rights."""
        publish, view = self.publish(authorization), self.view(authorization)
        return publish or view


def _matches(token: str | None, authorization: str | None) -> bool:
    if token is None:
        return True
    scheme, _, given = (authorization or "").partition(" ")
    # Digests are of one length, so that not even the token's length shows in the time this takes.
    same = hmac.compare_digest(_digest(token), _digest(given.strip()))
    return same and scheme.lower() == "bearer"


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def find_secret(name: str, option: str | None, file: str | None, variable: str) -> str | None:
    """A secret from the option, else from the file's first line, else from the environment; None if nowhere.

    name: what it is called in an error, as in 'publish token'.
    """
    if option is not None and file is not None:
        raise OptionError(f"the {name} is given twice, as an option and as the file {file}; give one of them")
    if option is not None:
        return check_secret(name, option)
    if file is not None:
        return check_secret(name, _first_line(name, Path(file)))
    found = os.environ.get(variable)
    return None if found is None else check_secret(name, found)


def _first_line(name: str, path: Path) -> str:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise OptionError(
            f"the {name}'s file {path} cannot be read ({error.strerror}); check its name and rights"
        ) from error
    except UnicodeDecodeError as error:
        raise OptionError(
            f"the {name}'s file {path} is no text; write the {name} into its first line"
        ) from error
    return lines[0].strip() if lines else ""


def check_secret(name: str, value: str) -> str:
    """The value, if it is long enough and fits into an HTTP header and an address; the error does not tell
    it."""
    if not SHORTEST <= len(value) <= LONGEST or not _TOKEN.fullmatch(value):
        raise OptionError(
            f"the {name} must have {SHORTEST} to {LONGEST} letters, digits or -._~+/ and this one "
            f"({len(value)} characters) has not; make one with `openssl rand -hex 16`"
        )
    return value


def is_loopback(host: str) -> bool:
    """Whether a host name or address is reached from this machine alone."""
    bare = host.removeprefix("[").removesuffix("]")
    try:
        return ipaddress.ip_address(bare).is_loopback
    except ValueError:
        return bare.lower() == "localhost"


def require_tokens(tokens: Tokens, host: str, origin_hosts: Sequence[str]) -> None:
    """Raise OptionError unless the tokens are there that a relay needs which others can reach.

    host: what it binds to. origin_hosts: the hosts of the sites whose pages may use it; one that is not this
    machine means that others come, through a reverse proxy for example.
    """
    if tokens.complete:
        return
    missing = "publish" if tokens.publish_token is None else "view"
    reached = [name for name in (host, *origin_hosts) if not is_loopback(name)]
    if reached:
        raise OptionError(
            f"others can reach the relay at {reached[0] or 'every address'}, so it needs a publish token and "
            "a view token, and "
            f"the {missing} token is missing; give --{missing}-token-file or VRETOUCH_{missing.upper()}_TOKEN"
        )
