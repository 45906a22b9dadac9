"""The stream's name, and so the viewer link, stays the visitor's own: after a crash, and against others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.conftest import require
from tests.stream.web.conftest import Relay, Visit, state

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SKIPS_TIME = (
    "const now = performance.now.bind(performance);performance.now = () => now() + (window.laterMs ?? 0);"
)


@pytest.fixture(scope="module")
def forgetful() -> Iterator[Relay]:
    """A relay that lets go of who is silent after 6 s."""
    running = Relay("--idle", "6")
    yield running
    running.stop()


def kept(page: Page) -> dict[str, str]:
    """What the tab keeps, and has again where it is loaded anew after a crash."""
    return dict(page.evaluate("({ ...sessionStorage })"))


def crash(page: Page) -> None:
    """End the tab's process, which can tell nobody."""
    with page.expect_event("crash"), suppress(require("playwright.sync_api").Error):
        page.goto("chrome://crash")
    page.close()


def start(visit: Visit, storage: dict[str, str]) -> Page:
    """A tab that keeps this, and has pressed Start."""
    visit.expected.append("409")
    page = visit.open()
    page.evaluate("storage => Object.assign(sessionStorage, storage)", storage)
    page.reload()
    page.click("#start")
    return page


def test_a_tab_that_crashed_has_its_link_again_at_once(visit: Visit) -> None:
    page = visit.live()
    link, storage = page.input_value("#link"), kept(page)
    crash(page)
    asked: list[str] = []
    visit.context.on("request", lambda request: asked.append(f"{request.method} {request.url}"))
    page = start(visit, storage)
    state(page, "live")
    assert page.input_value("#link") == link
    assert sum("POST" in request for request in asked) == 2


def test_a_tab_that_cannot_end_its_last_connection_waits_for_its_link(
    visiting: Callable[..., Visit], browser: Browser, forgetful: Relay
) -> None:
    visit = visiting(browser, forgetful)
    page = visit.live()
    link, storage = page.input_value("#link"), kept(page)
    storage.pop("vretouch.session", None)
    crash(page)
    page = start(visit, storage)
    page.wait_for_selector("text=The stream is still in use")
    assert "half a minute" in page.inner_text("#notice")
    state(page, "live")
    assert page.input_value("#link") == link


def test_a_name_that_is_somebody_elses_stays_theirs(
    visiting: Callable[..., Visit], browser: Browser, visit: Visit
) -> None:
    theirs = visit.live()
    link = theirs.input_value("#link")
    other = visiting(browser, visit.relay)
    other.context.add_init_script(SKIPS_TIME)
    page = start(other, {"vretouch.stream": kept(theirs)["vretouch.stream"]})
    state(page, "waiting")
    page.evaluate("window.laterMs = 30_000")
    state(page, "live")
    assert page.input_value("#link") != link
    assert theirs.evaluate("document.body.dataset.state") == "live"
