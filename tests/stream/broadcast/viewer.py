"""One who watches a live output, and what they have seen and heard of the test card."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import av
import numpy as np

from stream.broadcast.urls import reading_address, reading_options
from tests.stream.broadcast import card

OPEN_S, SILENT_S = 60.0, 20.0
LOUD = 0.1
# Of what came at least so much is as it should be: a machine with much to do repeats a picture now and then.
MOST = 0.8


class Viewer:
    """Watches an address, or listens there, until it is closed or what it watches ends.

    shown: of each picture its time in seconds and its number; heard: of each piece of sound its time and
    whether it is loud.
    """

    def __init__(self, url: str) -> None:
        self.shown: list[tuple[float, int | None]] = []
        self.heard: list[tuple[float, bool]] = []
        self.colours: list[Any] = []
        self._url, self._datagrams = url, url.startswith("udp")
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Hang up."""
        self._closed.set()
        self.join()

    def join(self) -> None:
        """Wait until what is watched ends."""
        self._thread.join(OPEN_S)
        assert not self._thread.is_alive()

    @property
    def numbers(self) -> list[int | None]:
        return [number for _, number in self.shown]

    def has_seen(self, count: int) -> bool:
        """Whether there were so many pictures, no two alike after one another, and a beep."""
        numbers = self.numbers
        new = sum(number != before for number, before in zip(numbers[1:], numbers[:-1], strict=True))
        return new >= count and sum(loud for _, loud in self.heard) > 1

    def _run(self) -> None:
        # Of datagrams one may miss the first, and has to wait for the next picture that one can begin from.
        probe_s = 3.0 if self._datagrams else 0.5
        options = reading_options(self._url) | {"analyzeduration": f"{1e6 * probe_s:.0f}"}
        # FFmpeg's own servers end with an error when the client has gone.
        with suppress(av.error.FFmpegError), self._opened(options) as container:
            self._watch(container)

    def _opened(self, options: dict[str, str]) -> Any:
        while True:
            try:
                return av.open(reading_address(self._url), options=options, timeout=(OPEN_S, SILENT_S))
            except ConnectionRefusedError:
                time.sleep(0.1)

    def _watch(self, container: Any) -> None:
        for packet in container.demux(*container.streams.video[:1], *container.streams.audio[:1]):
            for frame in self._decoded(packet):
                if self._closed.is_set():
                    return
                if frame.pts is not None:
                    self._take(frame)

    def _decoded(self, packet: Any) -> Sequence[Any]:
        try:
            return packet.decode()
        except av.error.InvalidDataError:
            if not self._datagrams:
                raise
            return ()

    def _take(self, frame: Any) -> None:
        if isinstance(frame, av.AudioFrame):
            self.heard.append((frame.time, bool(np.abs(frame.to_ndarray()).max() > LOUD)))
            return
        assert int(frame.colorspace) == card.BT709
        rgb_u8 = frame.to_ndarray(format="rgb24", src_colorspace="ITU709", src_color_range="MPEG")
        assert rgb_u8.shape == (card.SIZE[1], card.SIZE[0], 3)
        self.shown.append((frame.time, card.number_of(rgb_u8)))
        self.colours.append(card.colours_of(rgb_u8))

    def check(self) -> None:
        """That what came is the card, in order, at the right speed, its sound with its pictures."""
        assert None not in self.numbers
        assert np.abs(np.array(self.colours) - card.COLOURS).max() < 8.0
        shown = np.array(self.shown)
        new = np.diff(shown[:, 1], prepend=-1) != 0
        times, numbers = shown[new].T
        assert (np.diff(times) > 0.0).all()
        # The card begins again after its last picture, also where none came for a while.
        passed = card.FPS * np.diff(times)
        assert (passed + apart(np.diff(numbers), passed) > 0.0).all()
        lead, share = self._lead(times, numbers)
        assert share > MOST
        heard_s, loud = np.array(self.heard).T
        # Where in its second, in pictures, each piece of sound stands.
        place = (card.FPS * heard_s + lead + 5) % card.FPS - 5
        assert ((place > -2.5) & (place < card.BEEP_FRAMES + 2.5))[loud > 0].mean() > MOST

    @staticmethod
    def _lead(times: Any, numbers: Any) -> tuple[float, float]:
        """By how many pictures the numbers are ahead of the times, and for what share of them that holds."""
        leads = (numbers - card.FPS * times) % card.COUNT
        shares = (np.abs(apart(leads[:, None], leads)) < 0.5).mean(axis=0)
        return float(leads[shares.argmax()]), float(shares.max())


def apart(number: Any, other: Any) -> Any:
    """By how many pictures a number is ahead of another, the shorter way round."""
    return (number - other + card.COUNT / 2) % card.COUNT - card.COUNT / 2
