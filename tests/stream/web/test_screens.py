"""Every state of the two pages fits a desktop's and a phone's window.

With VRETOUCH_SCREENSHOTS=FOLDER in the environment, as `make screenshots` has it, there are pictures of each
in that folder, light and dark.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.stream.web.conftest import Relay, Visit, end_camera, state, until
from tests.stream.web.relay import LEVELS
from tests.stream.web.test_control import CAUGHT
from tests.stream.web.test_devices import ENDS_SOUND, MUTES, NOTED
from tests.stream.web.test_network import NO_ADDRESS
from tests.stream.web.test_publish import darkens, fits
from tests.stream.web.test_trouble import REFUSES

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

FOLDER = os.environ.get("VRETOUCH_SCREENSHOTS")
SIZES = {"desktop": (1280, 800), "phone": (390, 844)}
SCHEMES = ("light", "dark")
# Gives a connection up early.
IMPATIENT = """(() => {
  const wait = window.setTimeout;
  window.setTimeout = (call, ms, ...more) => wait(call, ms === 12_000 ? 200 : ms, ...more);
})()"""
LATER = {"Retry-After": "30"}
# Again and again, as the relay goes on with its own.
TELLS = """message => {
  const tell = () => channel.dispatchEvent(new MessageEvent('message', { data: JSON.stringify(message) }));
  tell();
  setInterval(tell, 20);
}"""
BUSY = {"type": "stats", "level": 9, "level_name": "pass-through", "viewers": 0}
TOO_LARGE = {"type": "error", "message": "the video is 2560x1440, more than the 1920x1080 allowed"}
NO_AUTOPLAY = """HTMLMediaElement.prototype.play = () => new Promise((_, reject) => setTimeout(() => {
  reject(new DOMException('a click', 'NotAllowedError'));
}))"""


@pytest.fixture
def visit(visiting: Callable[..., Visit], browser: Browser, relay: Relay) -> Visit:
    """A window whose console may tell of the answers that are put into the relay's mouth."""
    visit = visiting(browser, relay, reduced_motion="reduce")
    visit.expected.append("Failed to load resource")
    return visit


def look(page: Page, name: str) -> None:
    """It fits; and pictures of it, where a folder for them is named."""
    page.bring_to_front()
    for size, (width, height) in SIZES.items():
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_timeout(100)  # the slider's line follows the picture's new size
        fits(page)
        for scheme in SCHEMES if FOLDER else ():
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            path = Path(FOLDER or "") / f"{name}-{size}-{scheme}.png"
            page.screenshot(path=path, full_page=True)


def answer(page: Page, status: int | None, body: str = "", headers: dict[str, str] | None = None) -> None:
    """What the relay says to each offer; None: nothing."""

    def fulfill(route: Route) -> None:
        if status is not None:
            route.fulfill(status=status, headers=headers, body=body)

    page.route(re.compile("/wh[ie]p"), fulfill)


def started(visit: Visit, script: str = "") -> Page:
    """A page on which the start was pressed, after a script of ours."""
    page = visit.open()
    if script:
        page.evaluate(script)
    page.click("#start")
    return page


def test_before_the_start_and_until_it_is_live(visit: Visit) -> None:
    page = visit.open()
    look(page, "idle")
    page.click(".choices summary")
    look(page, "idle-choices")
    page = started(visit, "() => { navigator.mediaDevices.getUserMedia = () => new Promise(() => {}); }")
    state(page, "asking")
    look(page, "asking")
    page.reload()
    answer(page, None)
    page.click("#start")
    state(page, "connecting")
    look(page, "connecting")


def test_live(visit: Visit) -> None:
    page = visit.open()
    page.evaluate(CAUGHT)
    visit.live(page)
    until(page, lambda: darkens(page, -LEVELS))
    until(page, lambda: page.inner_text("#delay").isdecimal())
    look(page, "live")
    for view in ("split", "map"):
        page.check(f"input[value={view}]")
        page.wait_for_timeout(500)
        look(page, f"live-{view}")
    page.check("input[value=plain]")
    page.uncheck("#effect")
    until(page, lambda: darkens(page, 0.0))
    look(page, "live-off")
    page.check("#effect")
    page.click("#freeze")
    page.click(".parts summary")
    page.click(".choices summary")
    page.click("#copy")
    look(page, "live-frozen-all-open")
    page.click("#freeze")
    page.evaluate(TELLS, BUSY)
    look(page, "live-busy")
    page.evaluate(TELLS, TOO_LARGE)
    look(page, "live-complaint")


def test_live_without_camera_or_microphone(visit: Visit) -> None:
    page = visit.open()
    page.evaluate(NOTED)
    visit.live(page)
    page.select_option("#microphone", index=1)
    page.wait_for_function("() => got.some((one) => one.kind === 'audio')")
    page.evaluate(ENDS_SOUND)
    page.wait_for_selector("#microphone-hint:visible")
    look(page, "live-no-sound")
    page.evaluate(MUTES, True)
    page.wait_for_selector("#notice:visible")
    look(page, "live-covered")
    page.evaluate(MUTES, False)
    end_camera(page)
    page.wait_for_selector("#notice:visible")
    look(page, "live-no-picture")


@pytest.mark.parametrize(
    ("name", "script"),
    [
        ("denied", REFUSES % "'NotAllowedError'"),
        ("in-use", REFUSES % "'NotReadableError'"),
        ("no-camera", REFUSES % "'NotFoundError'"),
        ("insecure", "Object.defineProperty(window, 'isSecureContext', { value: false })"),
    ],
)
def test_no_camera(visit: Visit, name: str, script: str) -> None:
    page = started(visit, script)
    state(page, "problem")
    look(page, f"problem-{name}")


@pytest.mark.parametrize(
    ("name", "status", "shown"),
    [
        ("token", 401, "problem"),
        ("codec", 406, "problem"),
        ("refused", 400, "problem"),
        ("in-use", 409, "waiting"),
        ("too-many", 429, "waiting"),
        ("full", 503, "waiting"),
    ],
)
def test_the_relay_refuses(visit: Visit, name: str, status: int, shown: str) -> None:
    page = visit.open()
    answer(page, status, "the offer has 2 video m-lines; send one\n", LATER)
    page.click("#start")
    state(page, shown)
    look(page, f"{shown}-{name}")
    if name == "token":
        page.fill("#notice-token", "not-the-right-one")
        page.keyboard.press("Enter")
        page.wait_for_selector("text=not the right one")
        look(page, "problem-token-wrong")


def test_the_relay_goes_away(visit: Visit) -> None:
    page = visit.open()
    page.evaluate(CAUGHT)
    visit.live(page)
    until(page, lambda: darkens(page, -LEVELS))
    page.route("**/whip*", lambda route: route.abort())
    page.evaluate("channel.close()")
    page.wait_for_selector("text=cannot be reached")
    look(page, "waiting-reconnecting")


def test_a_network_that_carries_no_pictures(visit: Visit) -> None:
    for script in (NO_ADDRESS, IMPATIENT):
        visit.context.add_init_script(script)
    page = started(visit)
    page.wait_for_selector("text=join any Wi-Fi")
    look(page, "waiting-blocked")


def test_two_tabs(visit: Visit) -> None:
    first = visit.live()
    second = started(visit)
    state(second, "problem")
    look(second, "problem-second-tab")
    second.click("button:text('Move it here')")
    state(second, "live")
    state(first, "problem")
    look(first, "problem-moved")


def test_watching(visit: Visit) -> None:
    page = visit.live()
    page.select_option("#microphone", index=1)
    until(page, lambda: darkens(page, -LEVELS))
    viewer = visit.open(page.input_value("#link"))
    viewer.wait_for_selector("#sound:visible")
    viewer.wait_for_function("() => document.querySelector('#result').currentTime > 1")
    look(viewer, "watch-live")
    viewer.click("#sound")
    end_camera(page)
    viewer.wait_for_selector("text=The picture is paused.")
    look(viewer, "watch-paused")
    page.click("#stop")
    state(viewer, "waiting")
    look(viewer, "watch-not-live")


@pytest.mark.parametrize(
    ("name", "status", "shown"),
    [
        ("connecting", None, "connecting"),
        ("token", 401, "problem"),
        ("codec", 406, "problem"),
        ("full", 503, "waiting"),
    ],
)
def test_watching_is_refused(visit: Visit, name: str, status: int | None, shown: str) -> None:
    viewer = visit.context.new_page()
    answer(viewer, status, headers=LATER)
    viewer.goto(visit.relay.url + "watch/stage")
    state(viewer, shown)
    assert "Reconnecting" not in viewer.inner_text("#pill")
    look(viewer, f"watch-{name}")


def test_a_browser_that_wants_a_click(visit: Visit) -> None:
    page = visit.live()
    visit.context.add_init_script(NO_AUTOPLAY)
    viewer = visit.open(page.input_value("#link"))
    viewer.wait_for_selector("text=Ready to play")
    look(viewer, "watch-click")
