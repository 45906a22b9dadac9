"""ICE servers: addresses that are read, credentials that a TURN server would take."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from stream.errors import OptionError
from stream.relay.turn import IceServers, turn_credential

TURN = "turn:turn.example:3478?transport=udp"


def test_none_by_default():
    assert IceServers().now() == []


def test_stun_needs_no_credential():
    [server] = IceServers(("stun:stun.example:3478",)).now()
    assert server.as_json() == {"urls": ["stun:stun.example:3478"]}
    assert server.as_link() == '<stun:stun.example:3478>; rel="ice-server"'


def test_a_turn_credential_is_what_coturn_computes():
    [server] = IceServers((TURN,), "secret-of-turn", ttl_s=600).now(now_s=1_700_000_000.7)
    expiry, _, name = (server.username or "").partition(":")
    assert int(expiry) == 1_700_000_600
    assert name
    digest = hmac.new(b"secret-of-turn", (server.username or "").encode(), hashlib.sha1).digest()
    assert base64.b64decode(server.credential or "") == digest
    assert server.as_json() == {
        "urls": [TURN],
        "username": server.username,
        "credential": server.credential,
    }
    assert server.as_link() == (
        f'<{TURN}>; rel="ice-server"; username="{server.username}"; '
        f'credential="{server.credential}"; credential-type="password"'
    )


def test_a_known_credential():
    """Computed with `echo -n 1433895918:4Z2ZVYg3Y | openssl dgst -sha1 -hmac secret -binary | base64`."""
    assert turn_credential("secret", "1433895918:4Z2ZVYg3Y") == "2/eHEua/OgvBQAeY/1iSX6c15hs="


def test_credentials_are_fresh_and_the_secret_stays():
    servers = IceServers((TURN,), "secret-of-turn")
    first, second = servers.now()[0], servers.now()[0]
    assert first.username != second.username
    for told in (repr(servers), repr(first), str(first.as_json()), first.as_link()):
        assert "secret-of-turn" not in told
    assert first.credential is not None
    assert first.credential not in repr(first)


@pytest.mark.parametrize(
    "url",
    [
        "stun:stun.example",
        "stuns:stun.example:5349",
        "turn:10.0.0.1:3478",
        "turns:turn.example:5349?transport=tcp",
        "turn:[2001:db8::1]:3478",
    ],
)
def test_addresses_of_servers(url):
    assert IceServers((url,), "secret-of-turn").now()[0].url == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "stun.example",
        "http://stun.example",
        "stun:",
        "stun:user@host",
        "stun:host:port",
        'stun:host"; rel="x',
        "turn:host?transport=sctp",
        "stun:host\r\nSet-Cookie: x",
        "stun:-host",
    ],
)
def test_what_is_no_server(url):
    with pytest.raises(OptionError, match="is no ICE server"):
        IceServers((url,), "secret-of-turn")


def test_turn_without_a_secret_is_refused():
    with pytest.raises(OptionError, match="needs its secret"):
        IceServers((TURN,))
