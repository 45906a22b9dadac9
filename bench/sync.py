"""Sound and picture at a viewer: a clapperboard is published from a browser, another page watches it."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

from bench import report
from bench.budgets import SYNC, judge
from bench.glass import CHROMIUM, SETTLE_S, START_S, browsing, choose_size, demand_chromium, started
from bench.report import BenchError

PERIOD_MS = 1000
# Fewer say nothing of where the middle is.
LEAST_CLAPS = 5
# Camera and microphone of the page: the camera's picture with a bar above it that is white for 200 ms of a
# second, and a tone for just as long.
CLAPPERBOARD_JS = f"""
(() => {{
  const devices = navigator.mediaDevices;
  if (!devices) return;
  const open = devices.getUserMedia.bind(devices);
  const camera = document.createElement('video');
  devices.getUserMedia = async (wanted) => {{
    const real = await open(wanted);
    const tracks = [];
    if (wanted.video) {{
      camera.srcObject = new MediaStream(real.getVideoTracks());
      camera.muted = true;
      await camera.play();
      const [width, height] = [camera.videoWidth, camera.videoHeight];
      const paper = Object.assign(document.createElement('canvas'), {{width, height}});
      const pen = paper.getContext('2d');
      setInterval(() => {{
        pen.drawImage(camera, 0, 0);
        pen.fillStyle = performance.now() % {PERIOD_MS} < 200 ? '#fff' : '#222';
        pen.fillRect(0, 0, width, height / 16);
      }}, 10);
      tracks.push(...paper.captureStream(30).getVideoTracks());
    }}
    if (wanted.audio) {{
      const sound = new AudioContext({{sampleRate: 48000}});
      const tone = new OscillatorNode(sound, {{frequency: 1000}}), gate = new GainNode(sound, {{gain: 0}});
      const out = new MediaStreamAudioDestinationNode(sound, {{channelCount: 1}});
      tone.connect(gate).connect(out);
      tone.start();
      setInterval(() => {{ gate.gain.value = performance.now() % {PERIOD_MS} < 200 ? 0.5 : 0; }}, 5);
      window.microphone = out.stream.getAudioTracks();
      tracks.push(...window.microphone);
    }}
    return new MediaStream(tracks);
  }};
}})()
"""
# When the bar of a video turns white and when its tone begins, in ms of the page's clock.
CLAPS_JS = """
([id, forMs]) => new Promise((resolve) => {
  const video = document.getElementById(id);
  const sound = new AudioContext({sampleRate: 48000});
  const heard = new AnalyserNode(sound, {fftSize: 2048});
  const tracks = window.microphone ?? video.srcObject.getAudioTracks();
  sound.createMediaStreamSource(new MediaStream(tracks)).connect(heard);
  const wave = new Float32Array(heard.fftSize);
  const pen = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
  const claps = {seen: [], heard: []};
  let white = true, loudUntil = Infinity;
  const listening = setInterval(() => {
    heard.getFloatTimeDomainData(wave);
    const now = performance.now(), first = wave.findIndex((value) => Math.abs(value) > 0.1);
    if (loudUntil === Infinity && first < 0) loudUntil = now;
    if (first < 0) return;
    if (now - loudUntil > 200) claps.heard.push(now - (wave.length - first) / 48);
    if (loudUntil !== Infinity) loudUntil = now;
  }, 5);
  const look = (now, frame) => {
    const {videoWidth: width, videoHeight: height} = video;
    pen.drawImage(video, width / 2, height / 64, width / 8, height / 64, 0, 0, 1, 1);
    const bright = pen.getImageData(0, 0, 1, 1).data[1] > 140;
    if (bright && !white) claps.seen.push(frame.expectedDisplayTime);
    white = bright;
    video.requestVideoFrameCallback(look);
  };
  video.requestVideoFrameCallback(look);
  setTimeout(() => { clearInterval(listening); resolve(claps); }, forMs);
})
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The bench's options."""
    parser.add_argument("--size", default="640x480", metavar="WxH")
    parser.add_argument("--codec", choices=("vp8", "h264"), default="h264", help="(h264, as with `auto`)")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long it is watched")
    parser.add_argument("--threads", type=int, metavar="N", help="cores for the relay's network")
    parser.add_argument("--chromium", default=CHROMIUM, metavar="FILE")
    parser.add_argument("--json", metavar="FILE", help="write the figures (- for standard output)")


def main(options: argparse.Namespace) -> int:
    """Publish and watch, and say by how much the sound is early or late."""
    demand_chromium(options.chromium)
    source, viewer = watched(options)
    print(f"source: {said(source)}\nviewer: {said(viewer)}", file=sys.stderr, flush=True)
    figures = figures_of(source, viewer)
    verdicts = judge(SYNC, figures)
    print(report.verdict_table(verdicts), file=report.text_stream(options.json))
    if options.json:
        report.write_json(report.document("sync", vars(options), figures, verdicts), options.json)
    return 0


def watched(options: argparse.Namespace) -> tuple[list[float], list[float]]:
    """`lateness` at the source and at a viewer."""
    with (
        tempfile.TemporaryDirectory() as folder,
        started("relay", options.codec, options.threads) as (address, _),
        browsing(Path(folder), options.size, options.chromium) as page,
    ):
        page.context.add_init_script(CLAPPERBOARD_JS)
        page.goto(address)
        choose_size(page, options.size)
        page.click("#start")
        page.wait_for_function("document.body.dataset.state === 'live'", timeout=1e3 * START_S)
        page.select_option("#microphone", index=1)
        viewer = page.context.browser.new_context(bypass_csp=True).new_page()
        viewer.goto(page.input_value("#link"))
        viewer.wait_for_selector("#sound:visible", timeout=1e3 * START_S)
        viewer.click("#sound")
        viewer.wait_for_timeout(2e3 * SETTLE_S)  # the browser brings the two together by small steps
        found = [
            tab.evaluate(CLAPS_JS, [element, 1e3 * seconds])
            for tab, element, seconds in ((viewer, "result", options.seconds), (page, "self", 10.0))
        ]
    at_viewer, at_source = (lateness(claps["seen"], claps["heard"]) for claps in found)
    return at_source, at_viewer


def lateness(seen_ms: list[float], heard_ms: list[float]) -> list[float]:
    """By how many ms each clap is heard after it is seen; those of which there is only one are left out.

    Raises:
        BenchError: there are hardly any.
    """
    late = [min((heard - seen for heard in heard_ms), key=abs) for seen in seen_ms] if heard_ms else []
    late = [each for each in late if abs(each) < PERIOD_MS / 2]
    if len(late) < LEAST_CLAPS:
        raise BenchError(
            f"only {len(late)} claps were both seen and heard; raise --seconds, or see what is amiss"
        )
    return late


def said(late_ms: list[float]) -> str:
    """One place in a line."""
    low, middle, high = np.percentile(late_ms, (5, 50, 95))
    return f"{len(late_ms)} claps, sound late by p5 {low:+.0f}, p50 {middle:+.0f}, p95 {high:+.0f} ms"


def figures_of(source: list[float], viewer: list[float]) -> dict[str, float | None]:
    """The bench's figures: what the way to the viewer adds, at the median."""
    late = float(np.median(viewer) - np.median(source))
    return {"sound_late_ms": max(0.0, late), "sound_early_ms": max(0.0, -late)}
