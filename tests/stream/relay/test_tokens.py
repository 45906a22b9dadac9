"""Tokens: where they come from, when they are needed, and that one right is not the other."""

from __future__ import annotations

import hmac
from pathlib import Path

import pytest

from stream.errors import OptionError
from stream.relay.tokens import Tokens, find_secret, is_loopback, require_tokens

PUBLISH, VIEW = "publish-token-1", "view-token-22"
BOTH = Tokens(PUBLISH, VIEW)


def test_each_token_gives_its_own_right_only():
    assert BOTH.publish(f"Bearer {PUBLISH}")
    assert BOTH.view(f"Bearer {VIEW}")
    assert not BOTH.publish(f"Bearer {VIEW}")
    assert not BOTH.view(f"Bearer {PUBLISH}")
    assert BOTH.any(f"Bearer {PUBLISH}")
    assert BOTH.any(f"Bearer {VIEW}")


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        PUBLISH,
        f"Basic {PUBLISH}",
        f"Bearer {PUBLISH}x",
        f"Bearer {PUBLISH[:-1]}",
        f"Bearer {PUBLISH.upper()}",
        f"Bearer {PUBLISH} {PUBLISH}",
        "Bearer \udcff",
    ],
)
def test_anything_else_gives_none(header):
    assert not BOTH.publish(header)
    assert not BOTH.view(header)
    assert not BOTH.any(header)


def test_the_scheme_has_no_case_as_http_says():
    assert BOTH.publish(f"bearer {PUBLISH}")


def test_without_tokens_everyone_may():
    assert Tokens().publish(None)
    assert Tokens().view("Bearer whatever")
    assert not Tokens().complete
    assert not Tokens(PUBLISH).complete
    assert BOTH.complete


def test_the_comparison_takes_as_long_for_every_guess(monkeypatch):
    """It is the standard library's, over digests of one length."""
    seen: list[tuple[bytes, bytes]] = []
    compare = hmac.compare_digest

    def noted(a: bytes, b: bytes) -> bool:
        seen.append((a, b))
        return compare(a, b)

    monkeypatch.setattr("stream.relay.tokens.hmac.compare_digest", noted)
    for guess in (None, "Bearer x", f"Bearer {PUBLISH}", "Bearer " + "y" * 500):
        BOTH.publish(guess)
    assert len(seen) == 4
    assert {len(side) for pair in seen for side in pair} == {32}


def test_tokens_do_not_show_in_a_repr():
    assert PUBLISH not in repr(BOTH)
    assert VIEW not in repr(BOTH)


def test_one_token_for_both_is_refused():
    with pytest.raises(OptionError, match="are the same"):
        Tokens(PUBLISH, PUBLISH)


def test_option_then_file_then_environment(tmp_path, monkeypatch):
    file = tmp_path / "token"
    file.write_text("from-the-file\nand a remark\n")
    monkeypatch.setenv("SECRET", "from-the-environment")
    assert find_secret("token", "from-the-option", None, "SECRET") == "from-the-option"
    assert find_secret("token", None, str(file), "SECRET") == "from-the-file"
    assert find_secret("token", None, None, "SECRET") == "from-the-environment"
    monkeypatch.delenv("SECRET")
    assert find_secret("token", None, None, "SECRET") is None


@pytest.mark.parametrize(
    "value", ["", "short", "with spaces in it", "quo\"te'd-token", "ümlaut-token", "x" * 257]
)
def test_a_secret_that_cannot_be_one_is_refused_and_not_told(value):
    with pytest.raises(OptionError, match="must have 8 to 256") as refused:
        find_secret("publish token", value, None, "SECRET")
    assert not value or value not in str(refused.value)


def test_files_that_are_no_token(tmp_path):
    with pytest.raises(OptionError, match=r"cannot be read \(No such file"):
        find_secret("view token", None, str(tmp_path / "none"), "SECRET")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(OptionError, match="is no text"):
        find_secret("view token", None, str(tmp_path / "binary"), "SECRET")
    (tmp_path / "empty").touch()
    with pytest.raises(OptionError, match="must have 8 to 256"):
        find_secret("view token", None, str(tmp_path / "empty"), "SECRET")
    with pytest.raises(OptionError, match="given twice"):
        find_secret("view token", "from-the-option", str(tmp_path / "empty"), "SECRET")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost", "LocalHost"])
def test_loopback(host):
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "localhost.example", "studio.example", ""])
def test_not_loopback(host):
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("tokens", "missing"), [(Tokens(), "publish"), (Tokens(PUBLISH), "view"), (Tokens(None, VIEW), "publish")]
)
def test_whom_others_reach_needs_both_tokens(tokens, missing):
    for host, origins in (("0.0.0.0", []), ("192.168.1.2", ["localhost"]), ("127.0.0.1", ["studio.example"])):
        with pytest.raises(OptionError, match=f"the {missing} token is missing") as refused:
            require_tokens(tokens, host, origins)
        assert str(refused.value).count("\n") == 0


def test_on_this_machine_no_token_is_needed():
    require_tokens(Tokens(), "127.0.0.1", ["localhost"])
    require_tokens(BOTH, "0.0.0.0", ["studio.example"])


def test_the_environment_is_not_asked_where_a_file_is_given(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("SECRET", "from-the-environment")
    with pytest.raises(OptionError, match="cannot be read"):
        find_secret("token", None, str(tmp_path), "SECRET")
