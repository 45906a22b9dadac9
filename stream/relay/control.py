"""The data channel `control` between a publisher's page and the relay: settings in, figures out."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from aiortc import RTCDataChannel

from stream.errors import OptionError
from stream.live.settings import Settings

LABEL = "control"
MOST_CHARS = 4096
MOST_A_SECOND = 100
MOST_BUFFERED_BYTES = 64 * 1024
# A page's numbers are float64, exact up to here.
MOST_NUMBER = 2**53 - 1


class Control:
    """Speaks JSON, one object a message; the answer to one with a `number` has the same.

    change: makes the settings asked for, or raises OptionError. heard_s: monotonic time of the newest
    message, 0 before there is one.
    """

    def __init__(self, channel: RTCDataChannel, change: Callable[[dict[str, Any]], Settings]) -> None:
        self._channel, self._change = channel, change
        self.heard_s = 0.0
        self._second, self._messages = 0, 0
        channel.on("message", self._take)

    def hello(self, stream: str, settings: Settings) -> None:
        """The first message."""
        self.send(
            {"type": "hello", "stream": stream, "watch": f"watch/{stream}", "settings": asdict(settings)}
        )

    def complain(self, sentence: str) -> None:
        """Tell the person at the page."""
        self.send({"type": "error", "message": sentence})

    def send(self, message: dict[str, Any]) -> None:
        """Send a message, unless the page has stopped reading."""
        channel = self._channel
        if channel.readyState == "open" and channel.bufferedAmount < MOST_BUFFERED_BYTES:
            channel.send(json.dumps(message))

    def _take(self, text: str | bytes) -> None:
        self.heard_s = time.monotonic()
        if not self._in_time():
            return
        number: dict[str, int] = {}
        try:
            wanted = _wanted(text)
            number = _number_in(wanted)
            settings = self._change(wanted)
        except OptionError as error:
            self.send({"type": "error", "message": str(error), **number})
        else:
            self.send({"type": "settings", **asdict(settings), **number})

    def _in_time(self) -> bool:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._messages = second, 0
        self._messages += 1
        return self._messages <= MOST_A_SECOND


def _wanted(text: str | bytes) -> dict[str, Any]:
    """The settings that a message asks for."""
    if len(text) > MOST_CHARS:
        raise OptionError(f"a message has {len(text)} characters; send at most {MOST_CHARS}")
    try:
        # Numbers of hundreds of digits become infinite, which no setting takes.
        message = json.loads(text, parse_int=float)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict) or message.pop("type", None) != "set":
        raise OptionError('a message is not understood; send {"type": "set", ...} with settings')
    return message


def _number_in(message: dict[str, Any]) -> dict[str, int]:
    """The message's number, taken out of it; empty where it has none."""
    if "number" not in message:
        return {}
    number = message.pop("number")
    if not isinstance(number, float) or not number.is_integer() or not 0.0 <= number <= MOST_NUMBER:
        raise OptionError(f"a message's number must be a whole one from 0 to {MOST_NUMBER}; count them")
    return {"number": int(number)}
