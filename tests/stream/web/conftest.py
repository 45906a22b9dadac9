"""A real browser with a fake camera, and a relay in a process of its own that tests may kill."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests.conftest import REPOSITORY, missing, require
from tests.stream.web.clip import write_y4m

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page, Playwright

CHROMIUM = Path("/usr/bin/chromium")
RECORDER = Path(__file__).with_name("recorder.js")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
)
ROUTES = Path("/proc/net/route")
LOOPBACK_FLAG = "--allow-loopback-in-peer-connection"
PATIENCE_MS = 20_000


STAND_IN = ("tests.stream.web.relay",)


class Relay:
    """A relay process on one port, which it keeps when it is started again. module: what is run, and its
    first arguments."""

    def __init__(self, *options: str, module: Sequence[str] = STAND_IN) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._command = [sys.executable, "-m", *module, "--port", str(self.port), *options]
        self.start()

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}/"

    def figure(self, name: str, *labels: str) -> float:
        """A figure of /metrics; of several with these labels the sum."""
        with urllib.request.urlopen(f"{self.url}metrics", timeout=10.0) as answer:
            lines = answer.read().decode().splitlines()
        places = (line.rpartition(" ") for line in lines if line.partition("{")[0] == f"vretouch_{name}")
        return sum(float(value) for place, _, value in places if all(label in place for label in labels))

    def start(self) -> None:
        """Run it, and wait until it answers."""
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            self._command, cwd=REPOSITORY, env=environment, stderr=subprocess.PIPE, text=True
        )
        assert self._process.stderr is not None
        assert "open http" in (said := self._process.stderr.readline()), said

    def kill(self) -> None:
        """As if its machine had lost power."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """As Ctrl-C does."""
        self._end(signal.SIGINT)

    def _end(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            self._process.send_signal(number)
            self._process.communicate(timeout=20)


@dataclass
class Visit:
    """A browser window's pages on one relay, and all that they complained of or asked elsewhere for.

    expected: what the console may say, as regular expressions.
    """

    context: BrowserContext
    relay: Relay
    complaints: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def open(self, path: str = "") -> Page:
        """A new tab."""
        page = self.context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.goto(path if "://" in path else self.relay.url + path)
        return page

    def live(self, page: Page | None = None) -> Page:
        """A tab that is live."""
        page = page or self.open()
        page.bring_to_front()
        page.click("#start")
        state(page, "live")
        return page

    def check(self) -> None:
        """Nothing was wrong in any tab, and nothing was asked of another host."""
        for page in self.context.pages:
            self.complaints += page.evaluate("window.violations ?? []")
        unexpected = [
            one for one in self.complaints if not any(re.search(pattern, one) for pattern in self.expected)
        ]
        assert not unexpected


def state(page: Page, *names: str) -> None:
    """Wait until the page is in one of these states."""
    page.wait_for_function("names => names.includes(document.body.dataset.state)", arg=list(names))


def stream_of(page: Page) -> str:
    """What /metrics calls the stream of a live page, as a label."""
    return f'stream="{page.input_value("#link").rpartition("/")[2]}"'


def until(page: Page, holds: Callable[[], Any], at_most_s: float = PATIENCE_MS / 1e3) -> None:
    """Wait until something holds that the page cannot tell by itself."""
    deadline_s = time.monotonic() + at_most_s
    while not holds():
        assert time.monotonic() < deadline_s, "it did not come to be"
        page.wait_for_timeout(100)


def end_camera(page: Page) -> None:
    """As if it had been unplugged, or the system or the visitor had taken it away."""
    page.evaluate(
        "() => { const [track] = document.querySelector('#self').srcObject.getTracks();"
        " track.stop(); track.dispatchEvent(new Event('ended')); }"
    )


def has_network() -> bool:
    """Whether IPv4 has a route that is not lo's. Without one Chromium has no address to connect from, to this
    machine neither, and needs a flag that no visitor has."""
    _, *routes = ROUTES.read_text().splitlines()
    return any(route.split()[0] != "lo" for route in routes)


@pytest.fixture(scope="session")
def playing() -> Iterator[Playwright]:
    """Playwright itself."""
    with require("playwright.sync_api").sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="session")
def launch(playing: Playwright, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Browser]]:
    """launch(*flags): Chromium with a camera that plays the clip, and these flags on top; or, with cameras=N,
    with so many that show Chromium's own pattern."""
    if not CHROMIUM.is_file():
        missing(f"there is no {CHROMIUM}")
    clip = tmp_path_factory.mktemp("camera") / "clip.y4m"
    write_y4m(clip)
    begun: list[Browser] = []

    def launched(*flags: str, cameras: int = 0) -> Browser:
        shown = f"--use-file-for-fake-video-capture={clip}"
        if cameras:
            shown = f"--use-fake-device-for-media-stream=device-count={cameras}"
        way = [] if has_network() else [LOOPBACK_FLAG]
        used = [*FLAGS, *way, shown, *flags]
        begun.append(playing.chromium.launch(executable_path=str(CHROMIUM), args=used))
        return begun[-1]

    yield launched
    for browser in begun:
        browser.close()
    clip.unlink()


@pytest.fixture(scope="session")
def browser(launch: Callable[..., Browser]) -> Browser:
    """A browser that lets every page have the camera."""
    return launch("--use-fake-ui-for-media-stream")


@pytest.fixture(scope="session")
def relay() -> Iterator[Relay]:
    """A relay that several tests share."""
    running = Relay()
    yield running
    running.stop()


@pytest.fixture
def visiting() -> Iterator[Callable[..., Visit]]:
    """visiting(browser, relay, **context options): a window, whose pages are looked over at the end.

    A test that has a relay of its own names it before this, so that it ends after the pages that ask it.
    """
    visits: list[Visit] = []

    def visited(browser: Browser, relay: Relay, **options: Any) -> Visit:
        visit = Visit(browser.new_context(**options), relay)
        visits.append(visit)
        visit.context.add_init_script(path=RECORDER)
        tell = visit.complaints.append
        visit.context.on(
            "console", lambda said: tell(said.text) if said.type in ("error", "warning") else None
        )
        visit.context.on("weberror", lambda error: tell(f"uncaught: {error.error}"))
        visit.context.on("request", lambda asked: _only_here(asked.url, relay, tell))
        return visit

    yield visited
    for visit in visits:
        visit.check()
        visit.context.close()


@pytest.fixture
def visit(visiting: Callable[..., Visit], browser: Browser, relay: Relay) -> Visit:
    """A window on the shared relay."""
    return visiting(browser, relay)


def _only_here(url: str, relay: Relay, tell: Callable[[str], None]) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("data", "blob") and parts.netloc != f"localhost:{relay.port}":
        tell(f"asked another host: {url}")
