"""What can go wrong at the page, and what it says and does then."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from tests.stream.web.conftest import Relay, Visit, state, until
from tests.stream.web.relay import LEVELS
from tests.stream.web.seen import RESULT, record
from tests.stream.web.test_publish import darkens

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

REFUSES = """() => {
  const wanted = %s;
  navigator.mediaDevices.getUserMedia = async () => { throw new DOMException(wanted, wanted); };
}"""
VP8_ONLY = """(() => {
  const add = RTCPeerConnection.prototype.addTransceiver;
  RTCPeerConnection.prototype.addTransceiver = function (...options) {
    const added = add.apply(this, options);
    const known = RTCRtpReceiver.getCapabilities('video').codecs;
    if (options[0] === 'video') added.setCodecPreferences(known.filter((one) => /VP8/.test(one.mimeType)));
    return added;
  };
})()"""
PUBLISH, VIEW = "publish-token-of-the-test", "view-token-of-the-test"


def notice(page: Page) -> str:
    return page.inner_text("#notice")


def test_the_visitor_denies_the_camera(
    launch: Callable[..., Browser], visiting: Callable[..., Visit], relay: Relay
) -> None:
    visit = visiting(launch("--use-fake-ui-for-media-stream=deny"), relay)
    page = visit.open()
    page.click("#start")
    state(page, "problem")
    assert "The camera was not allowed" in notice(page)
    assert page.is_hidden("#stop")
    assert page.evaluate("document.activeElement.textContent") == "Try again"


@pytest.mark.parametrize(
    ("error", "says"),
    [
        ("NotFoundError", "No camera was found"),
        ("NotReadableError", "Another program holds the camera"),
        ("AbortError", "Another program holds the camera"),
    ],
)
def test_a_camera_that_does_not_open(visit: Visit, error: str, says: str) -> None:
    page = visit.open()
    page.evaluate(REFUSES.replace("%s", repr(error)))
    page.click("#start")
    state(page, "problem")
    assert says in notice(page)
    page.reload()
    visit.live(page)


def test_a_viewer_whose_browser_lacks_the_codec(visit: Visit) -> None:
    visit.expected.append("406")
    link = visit.live().input_value("#link")
    visit.context.add_init_script(VP8_ONLY)
    viewer = visit.open(link)
    state(viewer, "problem")
    assert "This browser lacks the codec" in notice(viewer) and "H.264" in notice(viewer)


def test_an_address_that_is_not_secure(visit: Visit) -> None:
    page = visit.open()
    page.evaluate("Object.defineProperty(window, 'isSecureContext', { value: false })")
    page.click("#start")
    state(page, "problem")
    assert "only to https addresses" in notice(page)
    assert f"http://localhost:{visit.relay.port}/" in notice(page)


def test_the_relay_is_full_for_a_while(visit: Visit) -> None:
    page = visit.open()
    asked: list[str] = []

    def full(route: Route) -> None:
        asked.append(route.request.method)
        route.fulfill(status=503, headers={"Retry-After": "60"}, body="4 publish already; try again later\n")

    page.route("**/whip*", full)
    page.click("#start")
    state(page, "waiting")
    assert "The relay is full" in notice(page)
    assert "Trying again in" in notice(page)
    page.wait_for_timeout(1500)
    assert len(asked) == 1
    page.unroute("**/whip*")
    page.click("button:text('Try now')")
    state(page, "live")
    visit.expected.append("503")


@pytest.fixture(scope="module")
def guarded() -> Iterator[Relay]:
    """A relay with tokens."""
    running = Relay("--publish-token", PUBLISH, "--view-token", VIEW)
    yield running
    running.stop()


def test_tokens(visiting: Callable[..., Visit], browser: Browser, guarded: Relay) -> None:
    visit = visiting(browser, guarded)
    visit.expected.append("401")
    page = visit.open()
    page.click("#start")
    state(page, "problem")
    assert "asks for a token" in notice(page)
    page.keyboard.type("not-the-right-one-at-all")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=not the right one")
    page.fill("#notice-token", PUBLISH)
    page.keyboard.press("Enter")
    state(page, "live")
    viewer = visit.open(page.input_value("#link"))
    state(viewer, "problem")
    viewer.fill("#notice-token", VIEW)
    viewer.click("button:text('Continue')")
    state(viewer, "live")


def test_tokens_in_the_address(visiting: Callable[..., Visit], browser: Browser, guarded: Relay) -> None:
    visit = visiting(browser, guarded)
    visit.expected.append("404")  # what the viewer may be told until the page has been loaded anew
    page = visit.live(visit.open(f"#publish={PUBLISH}&view={VIEW}"))
    assert PUBLISH not in page.url
    link = page.input_value("#link")
    assert link.endswith(f"#view={VIEW}") and PUBLISH not in link
    viewer = visit.open(link)
    state(viewer, "live")
    visit.expected.append("404")  # the viewer asks while the publisher is away
    page.reload()
    visit.live(page)


def test_reload(visit: Visit) -> None:
    page = visit.live()
    page.fill("#strength", "40")
    link = page.input_value("#link")
    page.reload()
    state(page, "idle")
    assert page.inner_text("#strength-now") == "40 %"
    # The relay has let go of the name, so that viewers find the stream where it was.
    visit.live(page)
    assert page.input_value("#link") == link
    until(page, lambda: darkens(page, -0.4 * LEVELS))


def test_second_tab(visit: Visit) -> None:
    first = visit.live()
    link = first.input_value("#link")
    second = visit.open()
    second.click("#start")
    state(second, "problem")
    assert "live in another tab" in notice(second)
    second.click("button:text('Move it here')")
    state(second, "live")
    assert second.input_value("#link") == link
    assert "moved" in notice(first)
    assert first.evaluate("document.querySelector('#self').srcObject === null")
    first.click("button:text('Start here again')")
    state(first, "problem")
    first.click("button:text('Start a second stream')")
    state(first, "live")
    assert first.input_value("#link") != link


def test_the_relay_is_killed_and_comes_back(visiting: Callable[..., Visit], browser: Browser) -> None:
    relay = Relay()
    visit = visiting(browser, relay)
    visit.expected += ["ERR_CONNECTION_RE(FUSED|SET)", "404"]
    try:
        page = visit.live()
        page.fill("#strength", "50")
        until(page, lambda: darkens(page, -0.5 * LEVELS))
        link = page.input_value("#link")
        viewer = visit.open(link)
        state(viewer, "live")
        page.bring_to_front()
        relay.kill()
        state(page, "waiting")
        assert "Your settings are kept" in notice(page) or "cannot be reached" in notice(page)
        assert page.evaluate("document.querySelector('#result').readyState") >= 2
        assert not record(page, [RESULT], 300)[0]
        relay.start()
        state(page, "live")
        assert page.is_hidden("#notice")
        assert page.input_value("#link") == link
        until(page, lambda: darkens(page, -0.5 * LEVELS))
        state(viewer, "live")
        relay.stop()
        state(page, "waiting")
        page.click("#stop")
        state(page, "idle")
    finally:
        relay.stop()
