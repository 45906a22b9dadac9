"""The command as users run it, with its face models and its network, between a camera and the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest

from stream.frame import RgbImage
from tests.conftest import require
from tests.stream.web import clip
from tests.stream.web.conftest import Relay, Visit, until
from tests.stream.web.relay import PROMISED_FPS
from tests.stream.web.seen import RESULT, SELF, patch_colours, picture

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

KNOWN = range(8, 32)
"""Frames that are looked at. Not the clip's first ones: the head jumps there, as no head does."""
MARKED_LEVELS = 15
ASIDE = (slice(60, 260), slice(20, 120))
"""Rows and columns of a wall and a flag, away from the face."""


@dataclass(frozen=True)
class Truth:
    """A frame of the clip: as the camera gives it, with marks painted on its face, and without them."""

    marked_rgb_u8: RgbImage
    clean_rgb_u8: RgbImage

    def marks(self, rgb: RgbImage) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """float64 [N, 3] each: how a picture differs from the clean one where marks are, and how they do."""
        clean = self.clean_rgb_u8.astype(np.float64)
        off, painted = rgb - clean, self.marked_rgb_u8 - clean
        there = np.abs(painted).max(axis=2) > MARKED_LEVELS
        return off[there], painted[there]

    def left(self, rgb: RgbImage) -> float:
        """Which part of the marks is there; 1 in the camera's picture."""
        off, painted = self.marks(rgb)
        return float((off * painted).sum() / (painted**2).sum())

    def distance(self, rgb: RgbImage) -> float:
        """How far a picture is from the clean one where marks are, as a part of how far the camera's is."""
        off, painted = self.marks(rgb)
        return float(np.abs(off).sum() / np.abs(painted).sum())

    def aside(self, rgb: RgbImage) -> float:
        """By how many levels a picture differs from the camera's away from the face, at the mean."""
        return float(np.abs(rgb[ASIDE].astype(np.float64) - self.marked_rgb_u8[ASIDE]).mean())


@pytest.fixture(scope="module")
def truths() -> dict[int, Truth]:
    """Of each frame that is looked at, by its number."""
    require("skimage")
    unpainted = require("bench.demo_face").enlarged()
    marked = list(clip.shown(KNOWN.stop))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stream.demo._asset", lambda: unpainted)
        clean = list(clip.shown(KNOWN.stop))
    return {number: Truth(marked[number], clean[number]) for number in KNOWN}


@pytest.fixture(params=["h264", "vp8"])
def codec(request: pytest.FixtureRequest) -> str:
    """What the page and the relay send each other."""
    return str(request.param)


@pytest.fixture
def relay(codec: str) -> Iterator[Relay]:
    """`vretouch relay` itself, at a rate that a busy machine can retouch at."""
    running = Relay("--codec", codec, "--fps", f"{PROMISED_FPS:.0f}", module=("stream", "relay"))
    yield running
    running.stop()


def known(page: Page, selector: str) -> tuple[int, RgbImage]:
    """A frame that is looked at, as a video shows it, and its number."""
    seen: list[tuple[int | None, RgbImage]] = []

    def comes() -> bool:
        rgb = picture(page, selector)
        seen.append((clip.number_in(rgb), rgb))
        return seen[-1][0] in KNOWN

    until(page, comes)
    number, rgb = seen[-1]
    assert number is not None
    return number, rgb


def test_marks_go_and_all_else_stays(
    relay: Relay, visiting: Callable[..., Visit], browser: Browser, truths: dict[int, Truth], codec: str
) -> None:
    visit = visiting(browser, relay)
    page = visit.live()
    page.wait_for_function("() => ['Full', 'Reduced'].includes(document.querySelector('#level').textContent)")
    number, rgb = known(page, SELF)
    assert truths[number].left(rgb) > 0.95

    seen: list[tuple[int, RgbImage]] = []

    def marks_are_gone() -> bool:
        """In a frame or two after the head's jump, and on a machine with other work, not yet."""
        seen.append(known(page, RESULT))
        number, rgb = seen[-1]
        return truths[number].left(rgb) < 0.4

    until(page, marks_are_gone, at_most_s=40.0)
    number, rgb = seen[-1]
    assert truths[number].distance(rgb) < 0.6
    assert truths[number].aside(rgb) < 4.0
    assert np.allclose(patch_colours(page), clip.COLOURS, atol=8.0)
    assert page.evaluate("codedAs()").lower() == f"video/{codec}"
