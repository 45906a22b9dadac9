"""A browser that has no network to send pictures over, though it reaches the relay."""

from __future__ import annotations

from tests.stream.web.conftest import Visit, state

NO_ADDRESS = """window.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(options) {
    super({ ...options, iceTransportPolicy: 'relay' });  // only by TURN
  }
}"""


def test_a_computer_without_a_network(visit: Visit) -> None:
    visit.context.add_init_script(NO_ADDRESS)
    visit.expected.append("404")  # the relay ends what never connects before the page does
    page = visit.open()
    page.click("#start")
    page.wait_for_selector("text=join any Wi-Fi", timeout=40_000)
    state(page, "waiting")
    assert "pictures do not get through" in page.inner_text("#notice")
