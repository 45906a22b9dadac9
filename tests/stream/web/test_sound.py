"""Sound on its way to viewers: both sides of it, as a studio program sends them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.stream.web.conftest import Relay, Visit, state, until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

LEFT_ONLY = """(() => {
  const devices = navigator.mediaDevices;
  if (!devices) return;  // a page yet to be loaded
  // A microphone of two sides, of which the left one has a tone, and the right one nothing.
  const open = devices.getUserMedia.bind(devices);
  devices.getUserMedia = async (wanted) => {
    if (!wanted.audio) return open(wanted);
    const sound = new AudioContext({ sampleRate: 48000 });
    const [tone, sides] = [new OscillatorNode(sound), new ChannelMergerNode(sound, { numberOfInputs: 2 })];
    const out = new MediaStreamAudioDestinationNode(sound, { channelCount: 2 });
    tone.connect(sides, 0, 0);
    sides.connect(out);
    tone.start();
    return out.stream;
  };
  // Studio programs send both sides unasked; browsers only where the answer says so.
  const take = RTCPeerConnection.prototype.setRemoteDescription;
  RTCPeerConnection.prototype.setRemoteDescription = function ({ type, sdp }) {
    const [, opus] = sdp.match(/a=rtpmap:(\\d+) opus/);
    const asks = sdp.replace(/a=rtpmap:\\d+ opus.*/, `$&\\r\\na=fmtp:${opus} stereo=1`);
    return take.call(this, { type, sdp: asks });
  };
})()"""
LISTEN = """() => {
  const sound = new AudioContext();
  const sides = new ChannelSplitterNode(sound, { numberOfOutputs: 2 });
  sound.createMediaStreamSource(document.querySelector('#result').srcObject).connect(sides);
  window.sides = [0, 1].map((side) => {
    const heard = new AnalyserNode(sound);
    sides.connect(heard, side);
    return heard;
  });
}"""
LEVELS = """() => window.sides.map((side) => {
  const wave = new Float32Array(side.fftSize);
  side.getFloatTimeDomainData(wave);
  return Math.sqrt(wave.reduce((sum, value) => sum + value * value, 0) / wave.length);
})"""


def levels(page: Page) -> tuple[float, float]:
    """Of the left and the right side of what is heard: root mean squares."""
    left, right = page.evaluate(LEVELS)
    return left, right


def test_viewers_hear_both_sides(
    visiting: Callable[..., Visit], browser: Browser, visit: Visit, relay: Relay
) -> None:
    visit.context.add_init_script(LEFT_ONLY)
    page = visit.live()
    page.select_option("#microphone", index=1)
    viewer = visiting(browser, relay).open(page.input_value("#link"))
    state(viewer, "live")
    viewer.click("#sound")
    viewer.evaluate(LISTEN)
    until(viewer, lambda: max(levels(viewer)) > 0.1)
    viewer.wait_for_timeout(500)
    left, right = levels(viewer)
    assert left > 0.1 and right < 0.1 * left
