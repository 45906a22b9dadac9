"""Glass to glass: a real browser sends its camera through the relay, and the delay is read off a barcode."""

from __future__ import annotations

import argparse
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bench import barcode, report
from bench.budgets import GLASS, judge
from bench.report import BenchError

CHROMIUM = "/usr/bin/chromium"
START_S = 30.0
SETTLE_S = 5.0
LONG_S = 300.0
LONGEST_MS = 5000.0
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)
# Notes when each number is first shown by each of the two videos, and how many frames each has presented: a
# busy page is not called for all of them.
WATCH_JS = f"""
() => {{
  const read = {barcode.READ_JS};
  window.seen = {{self: [], result: []}};
  const follow = (id) => {{
    const canvas = document.createElement('canvas');
    let video = null;
    const shown = (now, about) => {{
      window.seen[id].push([read(video, canvas), about.presentationTime, about.presentedFrames]);
      video.requestVideoFrameCallback(shown);
    }};
    const find = () => {{
      video = document.getElementById(id);
      if (video) video.requestVideoFrameCallback(shown); else setTimeout(find, 50);
    }};
    find();
  }};
  follow('self'); follow('result');
}}
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The bench's options."""
    parser.add_argument("--sizes", nargs="+", default=["640x480", "1280x720"], metavar="WxH")
    parser.add_argument("--codec", choices=("vp8", "h264"), default="h264", help="(h264, as with `auto`)")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long each is watched")
    parser.add_argument("--threads", type=int, metavar="N", help="cores for the relay's network")
    parser.add_argument("--no-echo", dest="echo", action="store_false", help="leave the echo out")
    parser.add_argument("--chromium", default=CHROMIUM, metavar="FILE")
    parser.add_argument("--json", metavar="FILE", help="write the figures (- for standard output)")


def main(options: argparse.Namespace) -> int:
    """Echo and relay at each size in turn, the figures, and what they should be."""
    demand_chromium(options.chromium)
    runs = []
    for size in options.sizes:
        for server in ("echo", "relay") if options.echo else ("relay",):
            run = measured(server, size, options)
            runs.append(run)
            print(line(run), file=sys.stderr, flush=True)
    figures = figures_of(runs, options.seconds)
    verdicts = judge(GLASS, figures)
    print(report.verdict_table(verdicts), file=report.text_stream(options.json))
    if options.json:
        report.write_json(report.document("glass", vars(options), figures, verdicts, runs=runs), options.json)
    return 0


def demand_chromium(path: str) -> None:
    """BenchError where the browser is not."""
    if not Path(path).is_file():
        raise BenchError(f"there is no Chromium at {path}; install it or name it with --chromium")


def line(run: dict[str, Any]) -> str:
    """One run in a line."""
    said = (
        f"{run['server']:5} {run['size']:>9} {run['codec']}: {run['fps']:.1f} fps, glass to glass p50 "
        f"{run['p50_ms']:.0f} p95 {run['p95_ms']:.0f} ms, grew {run['growth_ms_per_min']:+.1f} ms/min"
    )
    if run["server"] == "echo":
        return said
    return (
        f"{said}, relay's part p95 {run['filter_p95_ms']:.0f} ms, level {run['level']:.0f}, "
        f"{run['dropped']:.0f} of {run['frames_in']:.0f} dropped"
    )


def figures_of(runs: list[dict[str, Any]], seconds: float) -> dict[str, float | None]:
    """The figures that have a target. A growth of minutes is not read off less than LONG_S seconds."""
    by = {(run["server"], run["size"]): run for run in runs}
    figures: dict[str, float | None] = {}
    for size in ("640x480", "1280x720"):
        echo, relay = by.get(("echo", size)), by.get(("relay", size))
        if relay is not None:
            figures[f"relay_{size}_fps"] = relay["fps"]
            figures[f"relay_{size}_filter_p95_ms"] = relay.get("filter_p95_ms")
            figures[f"relay_{size}_growth"] = relay["growth_ms_per_min"] if seconds >= LONG_S else None
            if echo is not None:
                figures[f"relay_{size}_ratio"] = relay["p50_ms"] / echo["p50_ms"]
    return figures


def measured(server: str, size: str, options: argparse.Namespace) -> dict[str, Any]:
    """One server at one size, watched by a browser."""
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(server, options.codec, options.threads) as address,
        browsing(Path(folder), size, options.chromium) as page,
    ):
        page.goto(address + (f"#{size}" if server == "echo" else ""))
        if server == "relay":
            choose_size(page, size)
        page.evaluate(WATCH_JS)
        page.click("#start")
        page.wait_for_function("window.seen.result.length > 30", timeout=1e3 * START_S)
        page.wait_for_timeout(1e3 * SETTLE_S)
        page.evaluate("window.seen = {self: window.seen.self.slice(-60), result: []}")
        page.wait_for_timeout(1e3 * options.seconds)
        seen = page.evaluate("window.seen")
        run = {"server": server, "size": size, "codec": options.codec, **delays(seen)}
        run["sent_size"] = page.evaluate("[result.videoWidth, result.videoHeight].join('x')")
        if server == "relay":
            run |= relay_figures(address)
        return run


def choose_size(page: Any, size: str) -> None:
    """Choose the size on the relay's page; BenchError where it offers no such size."""
    offered = page.evaluate("[...document.getElementById('size').options].map(each => each.value)")
    if size not in offered:
        raise BenchError(f"the relay's page offers no {size}; give {' or '.join(offered)}")
    page.select_option("#size", size)


def delays(seen: dict[str, list[list[float]]]) -> dict[str, float]:
    """Rate and delay in ms from what both videos showed: [number, when, frames presented until then] by
    `self` and `result`. A frame that shows the number of the one before does not count."""
    shown = [(int(number), at, count) for number, at, count in seen["result"] if number >= 0]
    if len(shown) < 10:
        raise BenchError("the browser showed no barcode; see whether the relay's picture arrives")
    own: dict[int, list[float]] = {}
    for number, at, _ in seen["self"]:
        own.setdefault(int(number), []).append(at)
    times, late, changes = [], [], 0
    for (number, at, _), (before, *_) in zip(shown[1:], shown[:-1], strict=True):
        if number == before:
            continue
        changes += 1
        # The clip comes round again; what the browser showed of it ten seconds ago is another frame.
        begun = [start for start in own.get(number, []) if start <= at <= start + LONGEST_MS]
        if begun:
            times.append(at)
            late.append(at - begun[-1])
    span_s, presented = (shown[-1][1] - shown[0][1]) / 1e3, shown[-1][2] - shown[0][2]
    slope = np.polyfit(np.array(times) / 60e3, late, 1)[0]
    return {
        "fps": presented / span_s * changes / (len(shown) - 1),
        "p50_ms": float(np.percentile(late, 50)),
        "p95_ms": float(np.percentile(late, 95)),
        "growth_ms_per_min": float(slope),
        "frames": float(len(late)),
    }


def relay_figures(address: str) -> dict[str, float]:
    """What the relay says of itself."""
    text = metrics(address)

    def read(pattern: str) -> float:
        found = re.search(pattern + r"[^}]*} (\S+)", text)
        return float(found[1]) if found else float("nan")

    return {
        "filter_p95_ms": 1e3 * read(r'vretouch_stream_delay_seconds\{[^}]*quantile="0.95"'),
        "dropped": read(r"vretouch_stream_frames_dropped_total\{"),
        "frames_in": read(r"vretouch_stream_frames_in_total\{"),
        "level": read(r"vretouch_stream_level\{"),
    }


def metrics(address: str) -> str:
    """The text of /metrics."""
    with urllib.request.urlopen(f"{address}/metrics", timeout=5.0) as answer:
        return str(answer.read().decode("utf-8"))


@contextmanager
def serving(server: str, codec: str, threads: int | None = None) -> Iterator[str]:
    """The relay or the echo in a process of its own: its address."""
    with started(server, codec, threads) as (address, _):
        yield address


@contextmanager
def started(
    server: str, codec: str, threads: int | None = None, more: Sequence[str] = ()
) -> Iterator[tuple[str, int]]:
    """The relay or the echo in a process of its own: its address, and the process's number. more: options."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    module = ["bench.echo"] if server == "echo" else ["stream", "relay"]
    command = [sys.executable, "-m", *module, "--port", str(port), "--codec", codec, *more]
    if server == "relay" and threads is not None:
        command += ["--threads", str(threads)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(port, process)
        yield f"http://127.0.0.1:{port}", process.pid
    finally:
        process.terminate()
        try:
            process.wait(10.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 0.5).close()
            return
        except OSError:
            time.sleep(0.1)
    raise BenchError(f"the server did not start on port {port}; run it by hand to see why")


@contextmanager
def browsing(folder: Path, size: str, chromium: str) -> Iterator[Any]:
    """A page of a headless Chromium whose camera is the numbered clip."""
    from playwright.sync_api import sync_playwright

    clip = folder / "camera.y4m"
    width, height = (int(part) for part in size.split("x"))
    barcode.write_clip(clip, (width, height))
    flags = [*FLAGS, f"--use-file-for-fake-video-capture={clip}"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        try:
            context = browser.new_context(permissions=["camera", "microphone"], bypass_csp=True)
            yield context.new_page()
        finally:
            browser.close()
