"""A real browser's own estimate of its way (REMB) rules what the relay sends it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from tests.stream.web.conftest import Relay, Visit, until
from tests.stream.web.narrow import NarrowWay

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

START_KBPS, NARROW_KBPS = 1000, 350
LOCAL = re.compile(r"a=candidate:(\S+ 1 udp \S+) 127\.0\.0\.1 (\d+) typ host", re.IGNORECASE)
# A browser finds out slowly how much its way carries.
PATIENCE_S = 60.0


@pytest.fixture
def relay() -> Iterator[Relay]:
    """A relay that nobody else uses, and that begins with START_KBPS."""
    running = Relay("--bitrate", str(START_KBPS))
    yield running
    running.stop()


@pytest.fixture
def ways() -> Iterator[list[NarrowWay]]:
    """Closed when the test is over."""
    made: list[NarrowWay] = []
    yield made
    for way in made:
        way.close()


def lead_through(ways: list[NarrowWay], page: Page) -> None:
    """Have this page's pictures take such a way, by the only candidate in the answer that it gets."""

    def lead(route: Route) -> None:
        if route.request.method != "POST":
            return route.continue_()
        answer = route.fetch()
        found = LOCAL.search(answer.text())
        assert found is not None, answer.text()
        ways.append(NarrowWay(int(found[2])))
        only = f"a=candidate:{found[1]} 127.0.0.1 {ways[-1].port} typ host\r\n"
        bare = re.sub(r"a=candidate:.*\r\n", "", answer.text())
        return route.fulfill(response=answer, body=re.sub(r"(m=video .*\r\n)", rf"\1{only}", bare))

    page.route("**/whip*", lead)


def test_the_relay_sends_what_the_way_carries(
    relay: Relay, visiting: Callable[..., Visit], browser: Browser, ways: list[NarrowWay]
) -> None:
    visit = visiting(browser, relay)
    page = visit.open()
    lead_through(ways, page)
    visit.live(page)

    def kbps() -> tuple[float, ...]:
        """What the relay aims at, and what it sends."""
        kinds = ('kind="target"', 'kind="sent"')
        return tuple(relay.figure("stream_bitrate_bits_per_second", kind) / 1e3 for kind in kinds)

    until(page, lambda: min(kbps()) > 2.0 * NARROW_KBPS, PATIENCE_S)
    ways[-1].kbps = NARROW_KBPS
    until(page, lambda: max(kbps()) < NARROW_KBPS, PATIENCE_S)
    until(page, lambda: float(page.inner_text("#fps")) > 0.0)
    ways[-1].kbps = math.inf
    until(page, lambda: min(kbps()) > 1.3 * NARROW_KBPS, PATIENCE_S)
    assert len(ways) == 1
