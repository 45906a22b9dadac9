"""The page as a visitor uses it: going live, settings, the border dragged, by hand and by keyboard."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.stream.web.clip import COLOURS, FRAMES
from tests.stream.web.conftest import Relay, Visit, until
from tests.stream.web.relay import LEVELS, patch_at
from tests.stream.web.seen import RESULT, SELF, darkening, delays_ms, patch_colours, record, steps

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FULL = -LEVELS
NEAR = 9.0
"""Levels that coding may change the patch by."""


def darkens(page: Page, by: float) -> bool:
    return abs(darkening(page) - by) < NEAR


def saturation(page: Page) -> float:
    """Of the clip's first colour, as the result shows it; 0 to 255."""
    red, green, blue = patch_colours(page)[0]
    return max(red, green, blue) - min(red, green, blue)


def test_nothing_is_taken_before_start(visit: Visit) -> None:
    page = visit.open()
    page.wait_for_function("() => document.querySelector('#camera').options.length > 0")
    assert page.evaluate("document.querySelector('#self').srcObject === null")
    assert page.is_visible("#start") and not page.is_visible("#stop")
    assert page.is_disabled("#freeze") and page.is_disabled("#full")
    assert "nothing is recorded" in page.inner_text("main")


def test_going_live(visit: Visit) -> None:
    page = visit.live()
    assert page.inner_text("#pill").strip() == "Live"
    until(page, lambda: darkens(page, FULL))
    raw, result = record(page, [SELF, RESULT], 2500)
    # A busy machine's encoder may smear a barcode now and then, but not often.
    assert sum(frame.number is None for frame in result) <= 0.1 * len(result)
    # In order: none comes twice as another, none comes back; at the end of the clip its first frame follows.
    assert min(steps(result)) >= 0 and max(steps(result)) < FRAMES // 4
    delays = delays_ms(raw, result)
    assert len(delays) > len(result) / 2
    assert np.allclose(patch_colours(page), COLOURS, atol=8.0)
    assert np.allclose(patch_colours(page, SELF), COLOURS, atol=8.0)
    until(page, lambda: page.inner_text("#delay").isdecimal())
    estimate, measured = float(page.inner_text("#delay")), statistics.median(delays)
    assert 0.5 * measured - 20.0 < estimate < 2.0 * measured + 30.0
    page.click("#stop")
    assert page.inner_text("#pill").strip() == "Not live"
    assert page.evaluate("document.querySelector('#self').srcObject === null")


def test_settings_reach_the_relay(visit: Visit) -> None:
    page = visit.live()
    page.fill("#strength", "50")
    assert page.inner_text("#strength-now") == "50 %"
    until(page, lambda: darkens(page, 0.5 * FULL))
    page.uncheck("#effect")
    until(page, lambda: darkens(page, 0.0))
    page.check("#effect")
    page.fill("#strength", "100")
    until(page, lambda: darkens(page, FULL))
    page.check("input[value=map]")
    until(page, lambda: saturation(page) < 20.0)
    page.check("input[value=plain]")
    until(page, lambda: saturation(page) > 100.0)
    page.click("#freeze")
    assert page.get_attribute("#freeze", "aria-pressed") == "true"
    assert "viewers too" in page.inner_text("#view-hint")

    def standing() -> bool:
        return len({frame.number for frame in record(page, [RESULT], 400)[0]}) == 1

    until(page, standing)
    page.click("#freeze")
    until(page, lambda: not standing())


def test_the_page_says_what_viewers_see_beside_a_view(visit: Visit) -> None:
    page = visit.live()

    def says(words: str) -> bool:
        return words in page.inner_text("#view-hint")

    page.check("input[value=split]")
    until(page, lambda: says("Viewers keep seeing the retouched picture."))
    page.uncheck("#effect")
    until(page, lambda: says("Nothing is being retouched: viewers see the picture as the camera gives it."))
    page.check("input[value=map]")
    until(page, lambda: says("Marks glow") and says("as the camera gives it"))
    page.check("#effect")
    until(page, lambda: says("Viewers keep seeing the retouched picture."))
    page.fill("#strength", "0")
    until(page, lambda: says("as the camera gives it"))
    page.check("input[value=plain]")
    until(page, lambda: page.inner_text("#view-hint") == "")


def test_choices_reach_the_relay_and_outlast_a_reload(visit: Visit) -> None:
    page = visit.live()
    until(page, lambda: darkens(page, FULL))
    page.click(".choices summary")
    assert page.is_checked("input[value=moles]")
    page.uncheck("input[value=shine]")  # what darkens is shine
    until(page, lambda: darkens(page, 0.0))
    page.check("input[value=shine]")
    until(page, lambda: darkens(page, FULL))
    page.uncheck("input[value=moles]")
    page.check("input[value=lines]")
    page.reload()
    page.click(".choices summary")
    assert page.locator("input[name=keep]:checked").evaluate_all("all => all.map(one => one.value)") == [
        "lines"
    ]
    assert page.locator("input[name=also]:checked").count() == 3


def test_the_border_is_dragged_on_the_picture(visit: Visit) -> None:
    page = visit.live()
    until(page, lambda: darkens(page, FULL))
    page.check("input[value=split]")
    until(page, lambda: darkens(page, 0.0))
    x, y, width, height = picture_box(page)
    border = patch_at()[0] / 640.0
    page.mouse.move(x + 0.5 * width, y + 0.5 * height)
    page.mouse.down()
    for share in np.linspace(0.5, border - 0.15, 12):
        page.mouse.move(x + share * width, y + 0.4 * height)
    page.mouse.up()
    page.mouse.move(x + 0.9 * width, y + 0.4 * height)
    now = float(page.get_attribute("#split", "aria-valuenow") or "nan")
    assert now == pytest.approx(100 * (border - 0.15), abs=1.0)
    until(page, lambda: darkens(page, FULL))
    handle = page.locator("#split svg").bounding_box()
    assert handle is not None
    assert handle["x"] + handle["width"] / 2 == pytest.approx(x + now / 100 * width, abs=0.01 * width)
    page.focus("#split")
    page.keyboard.press("End")
    until(page, lambda: darkens(page, 0.0))
    for key, value in (("Home", 0), ("PageUp", 10), ("ArrowRight", 11), ("ArrowLeft", 10)):
        page.keyboard.press(key)
        assert page.get_attribute("#split", "aria-valuenow") == str(value)
    until(page, lambda: darkens(page, FULL))


def picture_box(page: Page) -> tuple[float, float, float, float]:
    """x, y, width and height of the picture itself, in window pixels; it has the middle of its element."""
    box = page.locator(RESULT).bounding_box()
    assert box is not None
    zoom = min(box["width"] / 640.0, box["height"] / 480.0)
    width, height = 640.0 * zoom, 480.0 * zoom
    return box["x"] + (box["width"] - width) / 2, box["y"] + (box["height"] - height) / 2, width, height


def test_by_keyboard_alone(visit: Visit) -> None:
    page = visit.open()
    tab_to(page, "start")
    page.keyboard.press("Enter")
    page.wait_for_selector("body[data-state=live]")
    # The button that was pressed is gone, and the next one is at hand.
    assert page.evaluate("document.activeElement.id") == "stop"
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.value") == "split"
    page.wait_for_selector("#split:visible")
    tab_to(page, "effect")
    page.keyboard.press("Space")
    until(page, lambda: darkens(page, 0.0))
    tab_to(page, "strength")
    page.keyboard.press("Home")
    assert page.inner_text("#strength-now") == "0 %"
    tab_to(page, "copy")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.querySelector('#copy').textContent === 'Copied'")
    page.keyboard.press("Shift+Tab")
    assert page.evaluate("getSelection().toString() || document.activeElement.value").startswith("http")
    tab_to(page, "stop")
    page.keyboard.press("Enter")
    assert page.evaluate("document.body.dataset.state") == "idle"
    assert page.evaluate("document.activeElement.id") == "start"


def tab_to(page: Page, wanted: str) -> None:
    """Press Tab until this element has the focus, which must be seen at each stop."""
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement === document.body"):
            continue
        assert page.evaluate(SHOWS_FOCUS), page.evaluate("document.activeElement.outerHTML")
        if page.evaluate("document.activeElement.id") == wanted:
            return
    raise AssertionError(f"Tab never comes to {wanted}")


# A control that is drawn by its neighbour or child shows the focus there.
SHOWS_FOCUS = """() => [document.activeElement, document.activeElement.nextElementSibling,
  document.activeElement.firstElementChild].some((one) => {
    const style = one && getComputedStyle(one);
    return style && style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2 && style.opacity > 0;
  })"""


MIRRORED = "(one) => getComputedStyle(document.querySelector(one)).transform"


def test_another_device_or_size_without_a_break(visit: Visit) -> None:
    page = visit.live()
    first = page.evaluate("document.querySelector('#self').srcObject.getTracks()[0].id")
    page.select_option("#size", "1280x720")
    page.wait_for_function(
        "id => document.querySelector('#self').srcObject.getTracks()[0].id !== id", arg=first
    )
    until(page, lambda: darkens(page, FULL))
    assert page.evaluate("document.body.dataset.state") == "live"
    assert "-1" in page.evaluate(MIRRORED, SELF) and page.evaluate(MIRRORED, RESULT) == "none"
    page.uncheck("#mirror")
    assert page.evaluate(MIRRORED, SELF) == "none"
    cameras = page.locator("#camera option").all_text_contents()
    assert len(cameras) == 2 and cameras[1].endswith(".y4m")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_window(visiting: Callable[..., Visit], browser: Browser, relay: Relay, scheme: str) -> None:
    visit = visiting(browser, relay, viewport={"width": 360, "height": 740}, color_scheme=scheme)
    page = visit.open()
    fits(page)
    visit.live(page)
    page.check("input[value=split]")
    page.click(".parts summary")
    fits(page)
    brightness = page.evaluate(
        "getComputedStyle(document.documentElement).backgroundColor.match(/\\d+/g).map(Number)"
    )
    assert (max(brightness) < 60) if scheme == "dark" else (min(brightness) > 200)
    fits(visit.open(page.input_value("#link")))
    fits(visit.open("watch/nobody"))
    visit.expected.append("404")


def fits(page: Page) -> None:
    """Nothing reaches beyond the window's sides, no notice is cut off, what is to be touched is large enough
    for a finger."""
    assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
    beyond = page.evaluate(
        "[...document.querySelectorAll('body *')].filter((one) => one.getClientRects().length && "
        "getComputedStyle(one).clipPath === 'none' && one.getBoundingClientRect().right > innerWidth + 1)"
        ".map((one) => one.outerHTML)"
    )
    assert not beyond
    small = page.evaluate(
        "[...document.querySelectorAll('button, select, label.switch, .segments label')].filter((one) => "
        "one.getClientRects().length && one.getBoundingClientRect().height < 28).map((one) => one.outerHTML)"
    )
    assert not small
    assert page.evaluate("(({ scrollHeight, clientHeight }) => scrollHeight <= clientHeight)(notice)")
