"""Options of the media plane: each is checked, with a sentence that says what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from stream.errors import OptionError
from stream.relay.options import MediaOptions


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("codec", "av1"),
        ("bitrate_kbps", 0),
        ("bitrate_kbps", 2.5),
        ("max_bitrate_kbps", 10**9),
        ("max_width", True),
        ("max_viewers", -1),
        ("max_pending", 0),
        ("scale", (8, 8)),
        ("fps", float("nan")),
        ("fps", "30"),
        ("idle_s", 0.0),
        ("connect_deadline_s", float("inf")),
        ("strength", 1.5),
        ("also", "shine"),
        ("keep", ["rash"]),
    ],
)
def test_a_value_that_cannot_be_is_named(name: str, value: Any) -> None:
    with pytest.raises(OptionError, match=name) as caught:
        MediaOptions(**{name: value})
    assert repr(value) in str(caught.value)


def test_the_highest_bitrate_is_not_below_the_first() -> None:
    with pytest.raises(OptionError, match="max_bitrate_kbps"):
        MediaOptions(bitrate_kbps=3000, max_bitrate_kbps=2000)


@pytest.mark.parametrize(
    ("size", "fits"),
    [
        ((1280, 720), True),
        ((720, 1280), True),
        ((1282, 720), False),
        ((1280, 722), False),
        ((800, 800), False),
        ((16, 16), True),
        ((640, 8), False),
    ],
)
def test_pictures_are_admitted_by_size_upright_or_turned(size: tuple[int, int], fits: bool) -> None:
    assert MediaOptions(max_width=1280, max_height=720).admits(*size) is fits
