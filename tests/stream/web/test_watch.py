"""The viewers' page: waits for a stream, plays it, waits again, gives sound when asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.stream.web.conftest import Relay, Visit, end_camera, state, until
from tests.stream.web.seen import RESULT, patch_colours, record, steps

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def test_a_viewer_waits_watches_and_waits_again(visit: Visit) -> None:
    visit.expected.append("404")
    page = visit.live()
    link = page.input_value("#link")
    page.click("#stop")
    viewer = visit.open(link)
    state(viewer, "waiting")
    assert "This stream is not live" in viewer.inner_text("#notice")
    assert viewer.is_disabled("#full")
    visit.live(page)
    state(viewer, "live")
    viewer.bring_to_front()
    frames = record(viewer, [RESULT], 1500)[0]
    assert len(frames) > 5 and min(steps(frames)) >= 0
    assert viewer.is_hidden("#sound")
    until(page, lambda: page.inner_text("#viewers") == "1 viewer")
    page.click("#stop")
    state(viewer, "waiting")
    visit.live(page)
    state(viewer, "live")


def test_sound_is_off_until_the_viewer_turns_it_on(visit: Visit) -> None:
    page = visit.live()
    page.select_option("#microphone", index=1)
    viewer = visit.open(page.input_value("#link"))
    viewer.wait_for_selector("#sound:visible")
    assert viewer.evaluate("document.querySelector('#result').muted")
    viewer.click("#sound")
    assert not viewer.evaluate("document.querySelector('#result').muted")
    assert viewer.inner_text("#sound").strip() == "Turn sound off"


def test_a_viewer_keeps_sound_and_last_picture_while_the_camera_is_gone(visit: Visit) -> None:
    page = visit.live()
    page.select_option("#microphone", index=1)
    viewer = visit.open(page.input_value("#link"))
    viewer.wait_for_selector("#sound:visible")
    until(viewer, lambda: record(viewer, [RESULT], 300)[0])
    asked: list[str] = []
    viewer.on("request", lambda request: asked.append(request.url))
    end_camera(page)
    viewer.wait_for_selector("text=The picture is paused.")
    # Longer than any connection without a sign of life lasts.
    viewer.wait_for_timeout(9_000)
    assert not asked
    assert viewer.inner_text("#pill").strip() == "Live"
    assert viewer.is_hidden("#notice")
    assert viewer.evaluate("document.querySelector('#result').readyState") >= 2
    assert viewer.is_visible("text=The picture is paused.")
    late = visit.open(page.input_value("#link"))
    until(late, lambda: late.evaluate("document.querySelector('#result').readyState") >= 2)
    late.wait_for_selector("text=The picture is paused.")
    for shown, before in zip(patch_colours(late), patch_colours(viewer), strict=True):
        assert shown == pytest.approx(before, abs=3)
    late.close()
    page.evaluate("navigator.mediaDevices.dispatchEvent(new Event('devicechange'))")
    until(viewer, lambda: viewer.inner_text("#paused") == "")
    assert record(viewer, [RESULT], 300)[0]


def test_a_microphone_is_chosen_before_the_browser_names_any(
    launch: Callable[..., Browser], visiting: Callable[..., Visit], relay: Relay
) -> None:
    visit = visiting(launch(), relay, permissions=["camera"])
    page = visit.live()

    def offered() -> list[str]:
        return page.locator("#microphone option").all_text_contents()

    assert offered() == ["None: pictures only", "Default microphone"]
    visit.context.grant_permissions(["camera", "microphone"])
    page.select_option("#microphone", label="Default microphone")
    until(page, lambda: len(offered()) > 2)
    assert page.locator("#microphone option:checked").inner_text() == "Default microphone"
    assert page.is_hidden("#microphone-hint")
    viewer = visit.open(page.input_value("#link"))
    viewer.wait_for_selector("#sound:visible")


def test_viewers_see_neither_split_nor_map(visit: Visit) -> None:
    page = visit.live()
    page.check("input[value=map]")
    viewer = visit.open(page.input_value("#link"))
    state(viewer, "live")
    # The first frame that a browser shows may be black.
    until(viewer, lambda: any(frame.number is not None for frame in record(viewer, [RESULT], 300)[0]))
    frames = record(viewer, [RESULT], 800)[0]
    assert frames and all(max(frame.rgb) - min(frame.rgb) > 20 for frame in frames)
