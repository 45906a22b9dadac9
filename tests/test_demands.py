"""What is missing skips a test, or fails it where everything is demanded."""

from __future__ import annotations

import pytest

from tests.conftest import require


def test_a_library_that_is_there_is_returned() -> None:
    assert require("json").dumps([1]) == "[1]"


def test_a_missing_library_skips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VRETOUCH_REQUIRE_ALL", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no_such_library is not installed"):
        require("no_such_library")


def test_a_missing_library_fails_where_all_is_demanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VRETOUCH_REQUIRE_ALL", "1")
    with pytest.raises(pytest.fail.Exception, match="demands it"):
        require("no_such_library")
