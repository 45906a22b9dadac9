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
    watched = "record(document.querySelector('#result'), 2000, 1, 8, 8, {x: 8, y: 8, side: 8})"
    frames = firefox.run(watched)
    assert (len(frames) - 1) / (frames[-1]["atMs"] - frames[0]["atMs"]) * 1e3 > 8.0
    x, y = patch_at()
    for dx, darker in ((0, -LEVELS), (120, 0.0)):
        raw, result = (mean_rgb(firefox, video, x + dx, y) for video in ("#self", "#result"))
        assert all(abs(a - b - darker) < NEAR for a, b in zip(raw, result, strict=True) if a + NEAR > darker)
    for figure in ("#fps", "#delay", "#retouch", "#drops"):
        firefox.until(f"Number.isFinite(parseFloat(document.querySelector('{figure}').innerText))")
    link = firefox.run("document.querySelector('#link').value")
    firefox.run(f"(window.viewer = window.open({link!r}), null)")
    firefox.until("viewer.document.querySelector('#result')?.currentTime > 0.5")
    firefox.until("document.querySelector('#viewers').innerText === '1 viewer'")
    firefox.run("document.querySelector('#stop').click()")
    firefox.until("document.body.dataset.state === 'idle'")
