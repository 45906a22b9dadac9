"""The viewers' page: waits for a stream, plays it, waits again, gives sound when asked."""

from __future__ import annotations

from tests.stream.web.conftest import Visit, state, until
from tests.stream.web.seen import RESULT, record, steps


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
    assert len(frames) > 10 and min(steps(frames)) >= 0
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


def test_viewers_see_neither_split_nor_map(visit: Visit) -> None:
    page = visit.live()
    page.check("input[value=map]")
    viewer = visit.open(page.input_value("#link"))
    state(viewer, "live")
    frames = record(viewer, [RESULT], 800)[0]
    assert frames and all(max(frame.rgb) - min(frame.rgb) > 20 for frame in frames)
