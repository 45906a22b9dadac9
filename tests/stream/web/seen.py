"""What a video in a page shows: frame numbers, their order and rate, colours, how strong the effect is."""

from __future__ import annotations

import base64
import itertools
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from stream.frame import RgbImage
from tests.stream.web import relay
from tests.stream.web.clip import BAR_PX, BITS, BLOCK_PX, COLOURS, FRAMES, patch_at

if TYPE_CHECKING:
    from playwright.sync_api import Page

PATCH_SIDE_PX = 8
RESULT, SELF = "#result", "#self"


@dataclass(frozen=True)
class Seen:
    """A frame that was shown. captured_ms: on the same clock, when this machine's camera took it; None where
    another's did. number: None where its barcode was not whole. rgb: of the relay's patch."""

    at_ms: float
    captured_ms: float | None
    number: int | None
    rgb: tuple[float, float, float]


def record(page: Page, selectors: list[str], for_ms: int) -> list[list[Seen]]:
    """Frames of some videos of the page over the same time."""
    x, y = relay.patch_at()
    found: list[list[dict[str, Any]]] = page.evaluate(
        "([selectors, forMs, bits, block, bar, patch]) => Promise.all(selectors.map("
        "(one) => record(document.querySelector(one), forMs, bits, block, bar, patch)))",
        [selectors, for_ms, BITS, BLOCK_PX, BAR_PX, {"x": x, "y": y, "side": PATCH_SIDE_PX}],
    )
    return [
        [Seen(one["atMs"], one["capturedMs"], one["number"], tuple(one["rgb"])) for one in frames]
        for frames in found
    ]


def steps(frames: list[Seen]) -> list[int]:
    """By how much the number grows from frame to frame; the clip's end meets its beginning."""
    numbers = [frame.number for frame in frames if frame.number is not None]
    return [
        (after - before + FRAMES // 2) % FRAMES - FRAMES // 2 for before, after in itertools.pairwise(numbers)
    ]


def rate(frames: list[Seen]) -> float:
    """Frames a second."""
    return (len(frames) - 1) / (frames[-1].at_ms - frames[0].at_ms) * 1e3


def delays_ms(raw: list[Seen], result: list[Seen]) -> list[float]:
    """From a frame's leaving the camera to its being shown as it came back. Not from its being shown as it
    left: the page shows both by the same beat, and on a quick machine often in the same one."""
    taken_ms = {frame.number: frame.captured_ms for frame in raw if frame.number is not None}
    pairs = ((taken_ms.get(frame.number), frame.at_ms) for frame in result)
    return [shown - taken for taken, shown in pairs if taken is not None]


def darkening(page: Page) -> float:
    """By how many levels the relay's patch is darker in the result than in the camera's own picture of the
    same number, at the median."""
    raw, result = record(page, [SELF, RESULT], 700)
    before = {frame.number: frame.rgb for frame in raw if frame.number is not None}
    pairs = [(before[frame.number], frame.rgb) for frame in result if frame.number in before]
    return statistics.median(sum(a) / 3 - sum(b) / 3 for a, b in pairs) if pairs else float("nan")


def patch_colours(page: Page, selector: str = RESULT) -> list[list[float]]:
    """The clip's flat colours as a video shows them, in the order of COLOURS."""
    places = [patch_at(index) for index in range(len(COLOURS))]
    found: list[list[float]] = page.evaluate(
        "([one, places]) => colours(document.querySelector(one), places, 16)", [selector, places]
    )
    return found


def picture(page: Page, selector: str = RESULT) -> RgbImage:
    """What a video shows at the moment, or as soon as it shows something, uint8 [H, W, 3]."""
    page.wait_for_function("one => document.querySelector(one).readyState >= 2", arg=selector)
    coded = base64.b64decode(page.evaluate("one => picture(document.querySelector(one))", selector))
    bgr = cv2.imdecode(np.frombuffer(coded, np.uint8), cv2.IMREAD_COLOR)
    assert bgr is not None
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
