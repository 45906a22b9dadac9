"""Origins and hosts: whose pages may use the relay."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.errors import OptionError
from stream.relay.origins import Origin, Origins, read_host, read_origin

STUDIO = "https://studio.example"


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        (STUDIO, Origin("https", "studio.example", 443)),
        ("HTTPS://Studio.Example:443", Origin("https", "studio.example", 443)),
        ("http://127.0.0.1:8080", Origin("http", "127.0.0.1", 8080)),
        ("http://[::1]:8080/", Origin("http", "::1", 8080)),
    ],
)
def test_origins_are_read(text, origin):
    assert read_origin(text) == origin


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "*",
        "studio.example",
        "ftp://studio.example",
        "https://",
        "https://a b",
        "https://a/path",
        "https://user@studio.example",
        "https://studio.example:x",
        "https://studio.example?q",
        "https://studio.example#f",
        "https://[::1",
        "https://stüdio.example",
        "file:///etc/passwd",
    ],
)
def test_what_is_no_origin(text):
    assert read_origin(text) is None
    with pytest.raises(OptionError, match="is no origin"):
        Origins([text])


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8080", "localhost", "localhost:9000", "[::1]:8080", "LOCALHOST:8080"]
)
def test_this_machine_by_its_own_names(host):
    assert Origins().complaint(host, None) is None
    assert Origins().complaint(host, f"http://{host}") is None


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "a b", "[::1"]
)
def test_another_name_for_this_machine_is_refused(host):
    """What a page does that gives its own name this machine's address (DNS rebinding)."""
    assert "serves its own machine only" in (Origins().complaint(host, None) or "")
    assert "serves its own machine only" in (Origins().complaint(host, f"http://{host}") or "")


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "https://evil.example",
        "http://127.0.0.1:8081",
        "http://localhost:8080",
        "http://127.0.0.1",
        "garbage",
        "",
    ],
)
def test_other_sites_are_refused(origin):
    assert "may not use this relay" in (Origins().complaint("127.0.0.1:8080", origin) or "")
    assert "may not use this relay" in (
        Origins([STUDIO], local=False).complaint("127.0.0.1:8080", origin) or ""
    )


def test_sites_on_the_list_may():
    origins = Origins([STUDIO])
    assert origins.hosts == ["studio.example"]
    assert origins.permits(STUDIO)
    assert origins.permits("https://studio.example:443")
    assert not origins.permits("http://studio.example")
    assert not origins.permits("https://studio.example.evil.example")
    assert not origins.permits(None)
    assert origins.complaint("127.0.0.1:8080", STUDIO) is None
    # Behind a proxy that hands the name on.
    assert origins.complaint("studio.example", STUDIO) is None
    assert origins.complaint("studio.example", None) is None


def test_with_tokens_any_name_will_do_but_not_any_page():
    origins = Origins(local=False)
    assert origins.complaint("relay.example", None) is None
    assert origins.complaint("relay.example", "https://relay.example") is None
    assert origins.complaint("relay.example:8443", "https://relay.example:8443") is None
    assert origins.complaint("relay.example", "https://evil.example") is not None
    assert origins.complaint("relay.example", "https://relay.example:8443") is not None


@given(st.text(), st.text())
def test_nothing_in_a_header_is_an_error(host, origin):
    said = Origins([STUDIO]).complaint(host, origin)
    assert said is None or said.isascii()
    assert read_host(host) is None or ":" not in host or "[" in host or host.count(":") == 1


def test_a_request_that_names_no_host_is_told_so() -> None:
    for host in (None, ""):
        said = Origins().complaint(host, None)
        assert said == "the request does not say whom it is for; send a Host header"
