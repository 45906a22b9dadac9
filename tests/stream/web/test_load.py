"""Under load the page says how hard the relay works, and that it does not retouch where it cannot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stream.live.budget import LADDER
from tests.stream.web.conftest import Relay, Visit, until
from tests.stream.web.relay import LEVELS, PROMISED_FPS
from tests.stream.web.test_publish import darkens

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

INTERVAL_MS = 1e3 / PROMISED_FPS
HEAVY_MS, HOPELESS_MS = 1.6 * INTERVAL_MS, 40.0 * INTERVAL_MS
"""What a network takes that sees every second frame at most, and one that is too slow for any."""
# What words.js says of each report: whether the relay is busy, a word, what it leaves out.
SAID = """async (reports) => {
  const page = document.querySelector('script[type=module]').src;
  const { isBusy, effort } = await import(new URL('words.js', page));
  return reports.map((one) => [isBusy(one), ...effort(one)]);
}"""


@pytest.fixture
def takes_ms(tmp_path: Path) -> Path:
    """The file that says how long the relay's network takes."""
    path = tmp_path / "takes-ms"
    path.write_text("0")
    return path


@pytest.fixture
def relay(takes_ms: Path) -> Iterator[Relay]:
    """A relay that nobody else uses, whose network takes as long as the file says."""
    running = Relay("--takes-ms", str(takes_ms))
    yield running
    running.stop()


def shows(page: Page, level: str) -> None:
    """Wait until the page says this of the relay's effort."""
    page.wait_for_function("level => document.querySelector('#level').textContent === level", arg=level)


def test_the_page_says_what_the_load_leaves(
    relay: Relay, visiting: Callable[..., Visit], browser: Browser, takes_ms: Path
) -> None:
    page = visiting(browser, relay).live()
    shows(page, "Full")
    assert page.inner_text("#level-why") == ""
    takes_ms.write_text(str(HEAVY_MS))
    shows(page, "Reduced")
    assert page.inner_text("#level-why") in {effort.name for effort in LADDER[1:-1]}
    assert page.inner_text("#view-hint") == ""
    until(page, lambda: darkens(page, -LEVELS))
    takes_ms.write_text(str(HOPELESS_MS))
    shows(page, "None")
    assert page.inner_text("#level-why") == "relay too busy"
    assert "too busy to retouch" in page.inner_text("#view-hint")
    until(page, lambda: darkens(page, 0.0))
    # The relay tries again by itself, and goes on where it succeeds.
    takes_ms.write_text("0")
    shows(page, "Reduced")
    assert page.inner_text("#view-hint") == ""
    until(page, lambda: darkens(page, -LEVELS))


def test_the_page_knows_each_step_of_the_ladder(visit: Visit) -> None:
    page = visit.open()
    reports = [{"level": level, "level_name": effort.name} for level, effort in enumerate(LADDER)]
    full, *reduced, none = page.evaluate(SAID, reports)
    assert full == [False, "Full", ""]
    assert reduced == [[False, "Reduced", effort.name] for effort in LADDER[1:-1]]
    assert none == [True, "None", "relay too busy"]
    assert [effort.retouch for effort in LADDER] == [True] * (len(LADDER) - 1) + [False]
