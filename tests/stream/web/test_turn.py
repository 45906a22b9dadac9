"""A visitor whose pictures get through by a TURN server only: coturn, with credentials of the relay's."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING

import pytest

from tests.conftest import missing
from tests.stream.web.conftest import Relay, Visit, until
from tests.stream.web.seen import darkening
from tests.stream.web.test_network import NO_ADDRESS
from tests.stream.web.test_publish import FULL, NEAR

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SECRET = "what-relay-and-coturn-share"
USED = """async () => {
  const parts = [...(await window.connection.getStats()).values()];
  const transport = parts.find((part) => part.type === 'transport');
  const pair = parts.find((part) => part.id === transport.selectedCandidatePairId);
  const ours = parts.find((part) => part.id === pair.localCandidateId);
  return [ours.candidateType, ours.relayProtocol];
}"""


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def answers(port: int) -> bool:
    """Whether something listens there."""
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def way_of(page: Page) -> list[str]:
    """Of what kind the address is that a page's pictures go or come by, and how it is reached."""
    page.wait_for_function("() => window.connection")  # which is known once the page has read its figures
    found: list[str] = page.evaluate(USED)
    return found


@pytest.fixture(scope="module")
def turn_port() -> Iterator[int]:
    """Where coturn listens, for UDP and TCP, and passes on to this machine only."""
    if which("turnserver") is None:
        missing("coturn is not installed")
    port = free_port()
    command = [
        "turnserver", "-n", "--no-tls", "--no-dtls", "--no-cli", "--log-file=stdout", "--pidfile=/dev/null",
        f"--listening-port={port}", "--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1",
        "--allow-loopback-peers", "--realm=here.test", "--use-auth-secret", f"--static-auth-secret={SECRET}",
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            deadline_s = time.monotonic() + 20.0
            while not answers(port):
                assert server.poll() is None and time.monotonic() < deadline_s, "coturn does not listen"
                time.sleep(0.05)
            yield port
        finally:
            server.terminate()


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_pictures_by_way_of_turn(
    visiting: Callable[..., Visit], browser: Browser, turn_port: int, transport: str, tmp_path: Path
) -> None:
    secret = tmp_path / "turn.secret"
    secret.write_text(SECRET + "\n")
    server = f"turn:127.0.0.1:{turn_port}?transport={transport}"
    relay = Relay("--ice-server", server, "--turn-secret-file", str(secret))
    try:
        visit = visiting(browser, relay)
        visit.context.add_init_script(NO_ADDRESS)
        page = visit.live()
        until(page, lambda: abs(darkening(page) - FULL) < NEAR)
        assert way_of(page) == ["relay", transport]
        viewer = visit.open(page.input_value("#link"))
        until(viewer, lambda: viewer.evaluate("document.querySelector('#result').readyState") >= 2)
        assert way_of(viewer) == ["relay", transport]
        visit.check()
        for tab in (viewer, page):
            tab.close()
    finally:
        relay.stop()
