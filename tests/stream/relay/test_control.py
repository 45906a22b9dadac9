"""The control channel: settings are taken or refused in a sentence, whatever is sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from stream.errors import OptionError
from stream.live.settings import Settings
from stream.relay.control import MOST_A_SECOND, MOST_BUFFERED_BYTES, MOST_NUMBER, Control


class FakeChannel:
    """Like aiortc's RTCDataChannel as far as it is used."""

    def __init__(self) -> None:
        self.readyState = "open"
        self.bufferedAmount = 0
        self.sent: list[dict[str, Any]] = []
        self.take: Callable[[Any], None] = lambda _: None

    def on(self, event: str, handler: Callable[[Any], None]) -> None:
        assert event == "message"
        self.take = handler

    def send(self, text: str) -> None:
        self.sent.append(json.loads(text))


class Page:
    """A channel with settings behind it."""

    def __init__(self) -> None:
        self.channel = FakeChannel()
        self.settings = Settings()
        channel: Any = self.channel
        self.control = Control(channel, self.change)

    def change(self, wanted: dict[str, Any]) -> Settings:
        self.settings = self.settings.changed(**wanted)
        return self.settings

    def says(self, message: Any) -> dict[str, Any]:
        self.channel.take(message if isinstance(message, str | bytes) else json.dumps(message))
        return self.channel.sent[-1]


def test_it_greets_with_all_settings() -> None:
    page = Page()
    page.control.hello("one", page.settings)
    assert page.channel.sent == [
        {
            "type": "hello",
            "stream": "one",
            "watch": "watch/one",
            "settings": {
                "effect": True,
                "strength": 1.0,
                "view": "plain",
                "split_at": 0.5,
                "frozen": False,
                "also": ["under-eye", "redness", "shine"],
                "keep": ["moles"],
            },
        }
    ]


def test_settings_are_changed_and_all_of_them_told() -> None:
    page = Page()
    answer = page.says({"type": "set", "strength": 0.5, "view": "split", "also": ["shine"], "keep": []})
    assert answer == {
        "type": "settings",
        "effect": True,
        "strength": 0.5,
        "view": "split",
        "split_at": 0.5,
        "frozen": False,
        "also": ["shine"],
        "keep": [],
    }
    assert page.settings == Settings(strength=0.5, view="split", also={"shine"}, keep=())
    assert page.says({"type": "set", "strength": 1})["strength"] == 1


@pytest.mark.parametrize("number", [0, 1, MOST_NUMBER])
def test_an_answer_has_the_number_of_its_message_and_no_other_sentence_has_one(number: int) -> None:
    page = Page()
    assert page.says({"type": "set", "number": number, "strength": 0.5})["number"] == number
    assert page.settings == Settings(strength=0.5)
    page.control.complain("the video is too large")
    assert page.channel.sent[-1] == {"type": "error", "message": "the video is too large"}
    refusal = page.says({"type": "set", "number": number, "strength": 2})
    assert refusal["type"] == "error"
    assert refusal["number"] == number
    assert "number" not in page.says({"type": "set", "strength": 1})


@pytest.mark.parametrize(
    "message",
    [
        {"type": "set", "number": -1, "strength": 0.5},
        {"type": "set", "number": 0.5, "strength": 0.5},
        {"type": "set", "number": "1", "strength": 0.5},
        {"type": "set", "number": True, "strength": 0.5},
        {"type": "set", "number": None, "strength": 0.5},
        {"type": "set", "number": [1], "strength": 0.5},
        {"type": "set", "number": MOST_NUMBER + 1, "strength": 0.5},
        '{"type":"set","strength":0.5,"number":NaN}',
        '{"type":"set","strength":0.5,"number":1' + "0" * 3000 + "}",
        {"type": "set", "strength": 2},
        {"type": "set", "strength": "1"},
        {"type": "set", "view": ["map"]},
        {"type": "set", "colour": "red"},
        {"type": "set", "frozen": 1},
        {"type": "reboot"},
        {"strength": 0.5},
        ["type", "set"],
        "set strength 1",
        b"\xff\xfe",
        "[" * 3000,
        '{"type":"set","strength":1e999}',
        {"type": "set", "keep": {"moles": False}},
        {"type": "set", "also": "shine"},
        {"type": "set", "also": ["shine", ["redness"]]},
        '{"type":"set","keep":' + "[" * 980 + "]" * 980 + "}",
        '{"type":"set","strength":NaN}',
        '{"type":"set","strength":1' + "0" * 4000 + "}",
        '{"type":"set","strength":1' + "0" * 3000 + "}",
    ],
)
def test_anything_else_is_refused_in_a_sentence_and_changes_nothing(message: Any) -> None:
    page = Page()
    answer = page.says(message)
    assert answer["type"] == "error"
    assert answer["message"]
    assert "number" not in answer
    assert page.settings == Settings()


def test_a_flood_of_messages_is_not_all_read() -> None:
    page = Page()
    for number in range(5 * MOST_A_SECOND):
        page.channel.take(json.dumps({"type": "set", "split_at": number / 1000}))
    # The flood may run from one second into the next, and a slow machine into the one after.
    assert len(page.channel.sent) <= 3 * MOST_A_SECOND


def test_nothing_is_sent_to_a_page_that_does_not_read_or_is_gone() -> None:
    page = Page()
    page.channel.bufferedAmount = MOST_BUFFERED_BYTES
    page.control.complain("late")
    page.channel.bufferedAmount = 0
    page.channel.readyState = "closing"
    page.control.complain("gone")
    assert page.channel.sent == []


def test_a_refusal_by_the_stream_reaches_the_page() -> None:
    page = Page()

    def refuse(wanted: dict[str, Any]) -> Settings:
        raise OptionError("the stream says no")

    channel: Any = page.channel
    Control(channel, refuse)
    assert page.says({"type": "set"}) == {"type": "error", "message": "the stream says no"}
