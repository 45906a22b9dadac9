"""Cameras and microphones that go away while the page is live, and come back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.stream.web.conftest import Relay, Visit, end_camera, state, until
from tests.stream.web.relay import LEVELS
from tests.stream.web.test_publish import darkens, fits

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

# Tracks that the page got, what it asked for, and ids of devices that are away.
NOTED = """(() => {
  window.got = [];
  window.asked = [];
  window.away = [];
  const get = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (constraints) => {
    const [[kind, wish]] = Object.entries(constraints);
    const id = wish.deviceId?.exact ?? '';
    asked.push([kind, id]);
    if (away.includes(id)) throw new OverconstrainedError('deviceId');
    const stream = await get(constraints);
    got.push(...stream.getTracks());
    return stream;
  };
})()"""
PLUG = "navigator.mediaDevices.dispatchEvent(new Event('devicechange'))"
SELF_ID = "document.querySelector('#self').srcObject.getTracks()[0].getSettings().deviceId"


def notice(page: Page) -> str:
    return page.inner_text("#notice")


def pill(page: Page) -> str:
    return page.inner_text("#pill").strip()


def opened(visit: Visit) -> Page:
    """A page whose devices are noted."""
    page = visit.open()
    page.evaluate(NOTED)
    return page


def test_a_camera_that_ends_comes_back_by_itself_or_when_asked(visit: Visit) -> None:
    page = visit.live(opened(visit))
    end_camera(page)
    page.wait_for_selector("#notice:visible")
    assert "The camera has stopped" in notice(page)
    assert pill(page) == "Live, no picture"
    # Browsers tell of one device more than once.
    page.evaluate(f"{PLUG}; {PLUG}; {PLUG}")
    page.wait_for_selector("#notice", state="hidden")
    until(page, lambda: darkens(page, -LEVELS))
    assert pill(page) == "Live"
    assert page.evaluate("got.filter((one) => one.readyState === 'live').length") == 1
    end_camera(page)
    page.focus("button:text('Try again')")
    page.keyboard.press("Enter")
    page.wait_for_selector("#notice", state="hidden")
    assert page.evaluate("document.activeElement.id") == "stop"
    until(page, lambda: darkens(page, -LEVELS))


def test_a_live_page_without_camera_and_microphone_keeps_its_connection(
    visiting: Callable[..., Visit], browser: Browser
) -> None:
    relay = Relay("--idle", "3")
    visit = visiting(browser, relay)
    visit.expected += ["ERR_CONNECTION_RE(FUSED|SET)", "404"]
    try:
        page = visit.live()
        viewer = visit.open(page.input_value("#link"))
        state(viewer, "live")
        page.bring_to_front()
        asked: list[str] = []
        for one in (page, viewer):
            one.on("request", lambda request: asked.append(request.url) if request.method != "GET" else None)
        end_camera(page)
        page.wait_for_timeout(8_000)
        assert not asked
        assert "The camera has stopped" in notice(page)
        assert viewer.inner_text("#paused").startswith("The picture is paused.")
        # A connection that is made anew meanwhile does not bring the camera back.
        relay.kill()
        state(page, "waiting")
        assert "The camera has stopped" not in notice(page)
        relay.start()
        state(page, "live")
        assert "The camera has stopped" in notice(page)
        page.click("button:text('Try again')")
        page.wait_for_selector("#notice", state="hidden")
        until(page, lambda: darkens(page, -LEVELS))
    finally:
        relay.stop()


MUTES = """(muted) => {
  const [track] = document.querySelector('#self').srcObject.getTracks();
  Object.defineProperty(track, 'muted', { value: muted, configurable: true });
  track.dispatchEvent(new Event(muted ? 'mute' : 'unmute'));
}"""


def test_a_camera_that_is_covered_is_waited_for(visit: Visit) -> None:
    page = visit.live(opened(visit))
    page.evaluate(MUTES, True)
    page.wait_for_selector("#notice:visible")
    assert "The camera gives no picture" in notice(page)
    page.set_viewport_size({"width": 360, "height": 740})
    fits(page)
    assert pill(page) == "Live, no picture"
    # It is not let go of when another device comes.
    page.evaluate(PLUG)
    page.wait_for_timeout(500)
    assert page.evaluate("asked.length") == 1
    page.evaluate(MUTES, False)
    page.wait_for_selector("#notice", state="hidden")
    assert pill(page) == "Live"


def test_a_permission_that_is_taken_back_and_given_again(
    launch: Callable[..., Browser], visiting: Callable[..., Visit], relay: Relay
) -> None:
    visit = visiting(launch(), relay, permissions=["camera"])
    page = visit.live()
    visit.context.clear_permissions()
    page.wait_for_selector("#notice:visible")
    assert "no longer allowed" in notice(page)
    assert page.is_visible("button:text('Try again')")
    visit.context.grant_permissions(["camera"])
    page.wait_for_selector("#notice", state="hidden")
    until(page, lambda: darkens(page, -LEVELS))


def test_no_other_camera_goes_on_air_unasked(
    launch: Callable[..., Browser], visiting: Callable[..., Visit], relay: Relay
) -> None:
    visit = visiting(launch("--use-fake-ui-for-media-stream", cameras=2), relay)
    page = opened(visit)
    visit.live(page)
    second, first = page.locator("#camera option").evaluate_all("all => all.slice(1).map(one => one.value)")
    page.select_option("#camera", first)
    until(page, lambda: page.evaluate(SELF_ID) == first)
    page.evaluate("id => { away = [id]; asked = []; }", first)
    end_camera(page)
    page.wait_for_selector("#notice:visible")
    page.evaluate(PLUG)
    until(page, lambda: page.evaluate("asked.length") == 1)
    page.click("button:text('Try again')")
    page.wait_for_selector("text=The camera was not found")
    assert page.evaluate("asked") == 2 * [["video", first]]
    # Back again, it is taken at once.
    page.evaluate("away = []")
    page.evaluate(PLUG)
    page.wait_for_selector("#notice", state="hidden")
    assert page.evaluate(SELF_ID) == first
    # The other one is, when the visitor says so.
    page.evaluate("id => { away = [id]; }", first)
    end_camera(page)
    page.click("button:text('Use ')")
    page.wait_for_selector("#notice", state="hidden")
    assert page.evaluate(SELF_ID) == page.input_value("#camera") == second


def test_a_start_takes_the_usual_camera_where_the_chosen_one_is_gone(visit: Visit) -> None:
    page = visit.open()
    page.evaluate(
        "localStorage.setItem('vretouch.chosen',"
        " JSON.stringify({ camera: 'gone', microphone: 'gone', size: '640x480', mirror: true }))"
    )
    page.reload()
    page.evaluate(NOTED)
    page.evaluate("away = ['gone']")
    visit.live(page)
    assert page.evaluate("asked") == [["video", "gone"], ["video", ""], ["audio", "gone"], ["audio", ""]]
    assert page.is_hidden("#microphone-hint")


ENDS_SOUND = """() => {
  const track = got.findLast((one) => one.kind === 'audio');
  track.stop();
  track.dispatchEvent(new Event('ended'));
}"""
# The connection that the page makes.
CAUGHT = """(() => {
  const Made = RTCPeerConnection;
  window.RTCPeerConnection = function (...given) { return (window.pc = new Made(...given)); };
})()"""
SOUND_SENT = "pc.getSenders().find((one) => one.track?.kind === 'audio')?.track.readyState"


def test_a_microphone_that_ends_is_told_and_taken_again(visit: Visit) -> None:
    page = opened(visit)
    page.evaluate(CAUGHT)
    visit.live(page)
    page.select_option("#microphone", index=1)
    until(page, lambda: page.evaluate(SOUND_SENT) == "live")
    for again in (lambda: page.evaluate(PLUG), lambda: page.click("#microphone-again")):
        page.evaluate(ENDS_SOUND)
        page.wait_for_selector("text=The microphone has stopped; you go on without sound.")
        assert pill(page) == "Live, no sound"
        assert page.evaluate(SOUND_SENT) is None
        again()
        page.wait_for_selector("#microphone-hint", state="hidden")
        assert page.is_hidden("#microphone-again")
        assert pill(page) == "Live"
        assert page.evaluate(SOUND_SENT) == "live"


# A screen lock, which the browser takes back when the page is hidden.
LOCKS = """(() => {
  window.locks = 0;
  let seen = true;
  const request = async () => {
    locks += 1;
    return { release: async () => { locks -= 1; } };
  };
  Object.defineProperty(navigator, 'wakeLock', { value: { request } });
  Object.defineProperty(document, 'visibilityState', { get: () => (seen ? 'visible' : 'hidden') });
  window.see = (now) => {
    seen = now;
    if (!seen) locks = 0;
    document.dispatchEvent(new Event('visibilitychange'));
  };
})()"""


def test_the_screen_stays_on_while_the_page_is_live(visit: Visit) -> None:
    page = visit.open()
    page.evaluate(LOCKS)
    visit.live(page)
    assert page.evaluate("locks") == 1
    page.evaluate("see(false)")
    assert page.evaluate("locks") == 0
    page.evaluate("see(true)")
    until(page, lambda: page.evaluate("locks") == 1)
    page.click("#stop")
    until(page, lambda: page.evaluate("locks") == 0)
    page.evaluate("see(false)")
    page.evaluate("see(true)")
    page.wait_for_timeout(200)
    assert page.evaluate("locks") == 0
