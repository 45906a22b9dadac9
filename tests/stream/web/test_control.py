"""The page's end of the control channel: which answer belongs to which change, and what is shown of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.stream.web.conftest import Visit

if TYPE_CHECKING:
    from playwright.sync_api import Page

# A channel that keeps what is sent; tell(message) is the relay speaking.
MADE = """async () => {
  const { Control } = await import(new URL('control.js', document.querySelector('script[type=module]').src));
  const channel = Object.assign(new EventTarget(), { readyState: 'open', sent: [] });
  channel.send = (text) => channel.sent.push(JSON.parse(text));
  window.sent = channel.sent;
  window.tell = (message) =>
    channel.dispatchEvent(new MessageEvent('message', { data: JSON.stringify(message) }));
  window.control = new Control(channel, (message) => (window.heard = message));
}"""


@pytest.fixture
def page(visit: Visit) -> Page:
    """A page with a Control of its own on such a channel."""
    page = visit.open()
    page.evaluate(MADE)
    return page


def settled(page: Page, *told: dict[str, Any]) -> bool:
    """Whether all is answered once the relay has said this."""
    for message in told:
        page.evaluate("message => tell(message)", message)
        assert page.evaluate("heard") == message
    return bool(page.evaluate("control.settled"))


def test_what_the_relay_says_unasked_is_no_answer(page: Page) -> None:
    assert settled(page)
    page.evaluate("control.set({ strength: 0.5 })")
    assert page.evaluate("sent") == [{"type": "set", "number": 1, "strength": 0.5}]
    assert not settled(page, {"type": "error", "message": "the video is too large"}, {"type": "stats"})
    assert settled(page, {"type": "settings", "strength": 0.5, "number": 1})
    assert settled(page, {"type": "error", "message": "the video is too large"})


# Within one task: the first goes at once, the others together after a pause; then the first is answered.
THREE_CHANGES = """(answer) => {
  control.set({ strength: 0.5 });
  control.set({ strength: 0.4 });
  control.set({ view: 'map', strength: 0.3 });
  tell(answer);
  return control.settled;
}"""


@pytest.mark.parametrize("answer", [{"type": "settings"}, {"type": "error", "message": "it must not be 7"}])
def test_only_the_answer_to_the_newest_change_settles(page: Page, answer: dict[str, Any]) -> None:
    assert not page.evaluate(THREE_CHANGES, {**answer, "number": 1})
    page.wait_for_function("() => sent.length === 2")
    assert page.evaluate("sent[1]") == {"type": "set", "number": 2, "view": "map", "strength": 0.3}
    assert not settled(page, {**answer, "number": 1})
    assert settled(page, {**answer, "number": 2})


# The channel that a page makes, on which the test may speak too.
CAUGHT = """(() => {
  const make = RTCPeerConnection.prototype.createDataChannel;
  RTCPeerConnection.prototype.createDataChannel = function (...given) {
    return (window.channel = make.apply(this, given));
  };
})()"""
# Within one task, so that the relay's own answer comes after it.
TOO_EARLY = """() => {
  const strength = document.querySelector('#strength');
  strength.value = 30;
  strength.dispatchEvent(new Event('input'));
  const tell = (message) =>
    channel.dispatchEvent(new MessageEvent('message', { data: JSON.stringify(message) }));
  tell({ type: 'error', message: 'the video is too large' });
  tell({ type: 'settings', strength: 0.9, number: 0 });
  return document.querySelector('#strength-now').textContent;
}"""


def test_a_live_page_shows_the_newest_settings_and_no_earlier_ones(visit: Visit) -> None:
    page = visit.open()
    page.evaluate(CAUGHT)
    visit.live(page)
    assert page.evaluate(TOO_EARLY) == "30 %"
    assert "The video is too large" in page.inner_text("#view-hint")
    # What the relay has is shown once it has answered: here, something that the visitor did not see.
    page.evaluate("document.querySelector('#strength-now').textContent = '?'")
    page.uncheck("#effect")
    page.wait_for_function("() => document.querySelector('#strength-now').textContent === '30 %'")
