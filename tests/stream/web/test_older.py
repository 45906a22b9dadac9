"""The page in browsers that lack what newer ones have: Safari before 15.4, 16 and 17.4, Firefox ESR 115."""

from __future__ import annotations

from tests.stream.web.conftest import Visit, state

WITHOUT_ANY = (
    "delete AbortSignal.any; delete AbortSignal.timeout; delete AbortSignal.prototype.throwIfAborted;"
)
WITHOUT_TABS = (
    "delete window.BroadcastChannel; delete Navigator.prototype.locks;"
    "delete HTMLVideoElement.prototype.requestVideoFrameCallback;"
)


def test_signals_that_cannot_be_joined(visit: Visit) -> None:
    visit.context.add_init_script(WITHOUT_ANY)
    first = visit.live()
    link = first.input_value("#link")
    second = visit.open()
    second.click("#start")
    state(second, "problem")
    second.click("button:text('Move it here')")
    state(second, "live")
    assert second.input_value("#link") == link
    viewer = visit.open(link)
    state(viewer, "live")


def test_tabs_that_know_nothing_of_each_other(visit: Visit) -> None:
    visit.context.add_init_script(WITHOUT_ANY + WITHOUT_TABS)
    visit.expected.append("404")
    page = visit.live()
    viewer = visit.open(page.input_value("#link"))
    state(viewer, "live")
    page.click("#stop")
    state(page, "idle")
    state(viewer, "waiting")
    visit.live(page)
    state(viewer, "live")


def test_a_request_without_an_answer_is_given_up_at_stop(visit: Visit) -> None:
    visit.context.add_init_script(WITHOUT_ANY)
    page = visit.open()
    page.route("**/whip*", lambda _route: None)
    with page.expect_request("**/whip*"):
        page.click("#start")
    with page.expect_event("requestfailed", timeout=5000):
        page.click("#stop")
    state(page, "idle")
