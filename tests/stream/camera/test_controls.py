"""What each key does."""

from __future__ import annotations

import pytest

from stream.camera.controls import Controls
from stream.live.settings import Settings


@pytest.mark.parametrize(
    ("keys", "wanted"),
    [
        (["space"], Settings(effect=False)),
        (["e", "e"], Settings()),
        (["f"], Settings(frozen=True)),
        (["m"], Settings(view="map")),
        (["m", "m"], Settings()),
        (["m", "s"], Settings(view="split")),
        (["s", "left"], Settings(view="split", split_at=0.45)),
        (["right"] * 20, Settings(split_at=1.0)),
        (["-"] * 3, Settings(strength=0.7)),
        (["down", "up", "+", "="], Settings(strength=1.0)),
        (["_"] * 20, Settings(strength=0.0)),
        (["z", "1"], Settings()),
    ],
)
def test_keys_change_the_settings(keys: list[str], wanted: Settings) -> None:
    controls = Controls(Settings())
    for key in keys:
        controls.press(key)
    assert controls.settings == wanted
    assert not controls.quit and not controls.mirror


def test_x_mirrors_and_q_quits() -> None:
    controls = Controls(Settings(), mirror=True)
    assert controls.press("x") == "mirror off"
    assert not controls.mirror
    controls.press("q")
    assert controls.quit


def test_what_was_done_is_said_and_unknown_keys_say_nothing() -> None:
    controls = Controls(Settings(strength=0.5))
    assert controls.press("+") == "strength 0.6"
    assert controls.press("space") == "effect off"
    assert controls.press("m") == "view: map"
    assert "q quit" in controls.press("h")
    assert controls.press("z") == ""
