"""The page in Firefox, which makes no pair with 127.0.0.1 and tells other figures than Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import missing
from tests.stream.web.conftest import RECORDER, Relay
from tests.stream.web.firefox import PROGRAM, Firefox
from tests.stream.web.relay import LEVELS, patch_at

NEAR = 12.0
"""Levels that coding, and the fake camera's changing colour, may make a difference."""


@pytest.fixture
def firefox(tmp_path: Path) -> Iterator[Firefox]:
    """A window that gives its fake camera to every page."""
    if not PROGRAM.is_file():
        missing(f"there is no {PROGRAM}")
    window = Firefox(tmp_path)
    yield window
    window.close()


def mean_rgb(firefox: Firefox, video: str, x: int, y: int) -> list[float]:
    """Of 8 x 8 pixels of a video's picture about a place."""
    return firefox.run(f"colours(document.querySelector('{video}'), [[{x}, {y}]], 8)")[0]


def test_firefox_goes_live_and_is_watched(firefox: Firefox, relay: Relay) -> None:
    firefox.preload(RECORDER.read_text())
    firefox.open(relay.url)
    firefox.run("document.querySelector('#start').click()")
    firefox.until("document.body.dataset.state === 'live'")
    firefox.until("reports.length > 1")

    def most_come_back() -> bool:
        first = firefox.run("counts()")
        firefox.run("new Promise((resolve) => setTimeout(resolve, 2000))")
        grown = {name: value - first[name] for name, value in firefox.run("counts()").items()}
        return grown["back"] > 0.6 * grown["sent"] > 0.0

    firefox.until(most_come_back)
    x, y = patch_at()
    for dx, darker in ((0, -LEVELS), (120, 0.0)):

        def is_darker(x: int = x + dx, darker: float = darker) -> bool:
            """The two pictures are not of the same moment, so that it shows at some moments only."""
            raw, result = (mean_rgb(firefox, video, x, y) for video in ("#self", "#result"))
            pairs = zip(raw, result, strict=True)
            return all(abs(a - b - darker) < NEAR for a, b in pairs if a + NEAR > darker)

        firefox.until(is_darker)
    for figure in ("#fps", "#delay", "#retouch", "#drops"):
        firefox.until(f"Number.isFinite(parseFloat(document.querySelector('{figure}').innerText))")
    link = firefox.run("document.querySelector('#link').value")
    firefox.run(f"(window.viewer = window.open({link!r}), null)")
    firefox.until("viewer.document.querySelector('#result')?.currentTime > 0.5")
    firefox.until("document.querySelector('#viewers').innerText === '1 viewer'")
    firefox.run("document.querySelector('#stop').click()")
    firefox.until("document.body.dataset.state === 'idle'")
