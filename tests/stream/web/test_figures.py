"""The page's figures are those of its connection and of the relay, and what is sent comes back."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.stream.web.conftest import Visit, stream_of, until

if TYPE_CHECKING:
    from playwright.sync_api import Page

TILES = ("fps", "delay", "retouch", "drops", "drops-share", "bitrate", "level", "viewers")
# What the page shows, and the two reports that it has just made that of.
SHOWN = """(ids) => ({
  ...Object.fromEntries(ids.map((id) => [id, document.getElementById(id).textContent])),
  parts: [...document.querySelectorAll('#parts dd')].map((one) => one.textContent),
  reports: reports.slice(-2),
})"""
# Of frames that the relay takes in, what became of those that do not come back.
LOST = ("skipped", "too_large", "too_fast", "unwatched", "behind", "overtaken", "not_encoded")
UNDER_WAY_MS = 1_000


def shown(page: Page) -> dict[str, Any]:
    """What a live page shows, once it has all figures."""
    seen: list[dict[str, Any]] = []

    def whole() -> bool:
        seen.append(page.evaluate(SHOWN, list(TILES)))
        return str(seen[-1]["delay"]).isdecimal()

    until(page, whole)
    return seen[-1]


def counts(page: Page) -> dict[str, float]:
    """See recorder.js."""
    found: dict[str, float] = page.evaluate("counts()")
    return found


def counted(page: Page, for_ms: float) -> dict[str, float]:
    """By how much these have grown in this time."""
    first = counts(page)
    page.wait_for_timeout(for_ms)
    return {name: value - first[name] for name, value in counts(page).items()}


def gained(reports: list[list[dict[str, Any]]], kind: str) -> dict[str, float]:
    """What the numbers of the video's part of this kind have grown by from the first report to the last."""
    first, last = (
        next(part for part in report if part["type"] == kind and part.get("kind") == "video")
        for report in (reports[0], reports[-1])
    )
    return {
        name: value - first.get(name, 0) for name, value in last.items() if isinstance(value, int | float)
    }


def test_figures_are_those_of_the_connection(visit: Visit) -> None:
    page = visit.live()
    page.click(".parts summary")
    seen = shown(page)
    out, into = gained(seen["reports"], "outbound-rtp"), gained(seen["reports"], "inbound-rtp")
    seconds = into["timestamp"] / 1e3
    assert float(seen["fps"]) == pytest.approx(into["framesDecoded"] / seconds, abs=0.051)
    up, down = (float(text) for text in seen["bitrate"].split(" / "))
    assert up == pytest.approx(out["bytesSent"] * 8e-6 / (out["timestamp"] / 1e3), abs=0.051)
    assert down == pytest.approx(into["bytesReceived"] * 8e-6 / seconds, abs=0.051)
    parts = [float(re.fullmatch(r"([0-9.]+) ms", text)[1]) for text in seen["parts"]]  # type: ignore[index]
    assert len(parts) == 4
    # Each is rounded.
    assert float(seen["delay"]) == pytest.approx(sum(parts), abs=2.5)
    coding = out["totalEncodeTime"] / out["framesEncoded"] + out["totalPacketSendDelay"] / out["packetsSent"]
    assert parts[0] == pytest.approx(coding * 1e3, abs=0.51)
    by_id = {part["id"]: part for part in seen["reports"][-1]}
    (transport,) = (part for part in by_id.values() if part["type"] == "transport")
    pair = by_id[transport["selectedCandidatePairId"]]
    assert parts[1] == pytest.approx(pair["currentRoundTripTime"] * 1e3, abs=0.51)


def test_figures_agree_with_what_comes_and_what_the_relay_says(visit: Visit) -> None:
    page, relay = visit.live(), visit.relay
    stream = stream_of(page)

    def near(figure: float, other: float, by: float) -> bool:
        return abs(figure - other) <= by * max(figure, other)

    def rate_is_told() -> bool:
        grown = counted(page, 1500)
        return near(float(shown(page)["fps"]), grown["back"] / grown["atMs"] * 1e3, 0.25)

    def bitrate_is_told() -> bool:
        sent = relay.figure("stream_bitrate_bits_per_second", stream, 'kind="sent"')
        down = float(shown(page)["bitrate"].split(" / ")[1])
        return down > 0.0 and near(down, sent / 1e6, 0.25)

    def retouching_is_told() -> bool:
        median = relay.figure("stream_retouch_seconds", stream, 'quantile="0.5"')
        return abs(float(shown(page)["retouch"]) - median * 1e3) <= 1.0 + 0.25 * median * 1e3

    def effort_is_told() -> bool:
        return (relay.figure("stream_level", stream) == 0.0) == (shown(page)["level"] == "Full")

    shown(page)
    for told in (rate_is_told, bitrate_is_told, retouching_is_told, effort_is_told):
        until(page, told)


def test_dropped_frames_are_those_that_the_relay_has_counted(visit: Visit) -> None:
    page, relay = visit.live(), visit.relay
    stream = stream_of(page)
    shown(page)
    before = [relay.figure(f"stream_frames_{name}_total", stream) for name in ("dropped", "in")]
    seen = shown(page)
    for _ in range(2):  # the next message may be as old as that, the one after it is not
        last = seen["drops-share"]
        page.wait_for_function(
            "last => document.querySelector('#drops-share').textContent !== last", arg=last
        )
        seen = shown(page)
    after = [relay.figure(f"stream_frames_{name}_total", stream) for name in ("dropped", "in")]
    frames = float(seen["drops-share"].removeprefix("of "))
    assert before[0] <= float(seen["drops"]) <= after[0]
    assert before[1] <= frames <= after[1]


def test_what_the_camera_sends_comes_back_at_its_rate(visit: Visit) -> None:
    page, relay = visit.live(), visit.relay
    stream = stream_of(page)

    def lost() -> float:
        return sum(relay.figure("stream_frames_total", stream, f'became="{kind}"') for kind in LOST)

    def most_come_back() -> bool:
        """On a machine with other work not all of them do: the filter then takes the newest frame only. Two
        seconds in which it keeps up must come; what became of every frame is looked at below."""
        grown = counted(page, 2000)
        return grown["back"] > 0.85 * grown["sent"] > 0.0

    shown(page)
    until(page, most_come_back)
    sent = counts(page)["sent"]
    page.wait_for_timeout(UNDER_WAY_MS)
    # Of those that do not come back the relay tells: none is lost in silence, none comes from nowhere.
    assert counts(page)["back"] + lost() >= 0.9 * sent
    told = lost() + counts(page)["back"]
    assert told <= 1.02 * counts(page)["sent"]


# Two pairs of addresses that were nominated one after the other; the second is in use.
ROUND_TRIP = """async () => {
  const page = document.querySelector('script[type=module]').src;
  const { Figures } = await import(new URL('figures.js', page));
  const pair = { type: 'candidate-pair', nominated: true };
  return new Figures().take([
    { ...pair, id: 'left', currentRoundTripTime: 0.005 },
    { ...pair, id: 'used', currentRoundTripTime: 0.002 },
    { type: 'transport', id: 'one', selectedCandidatePairId: 'used' },
  ]).networkMs;
}"""


def test_the_round_trip_is_that_of_the_addresses_in_use(visit: Visit) -> None:
    assert visit.open().evaluate(ROUND_TRIP) == pytest.approx(2.0)
