"""Settings: what may be changed, and the sentences for what may not."""

from __future__ import annotations

import pytest

from stream.broad import BROAD_KINDS
from stream.errors import OptionError
from stream.live.settings import VIEWS, Settings


def test_changed_settings_are_new_ones() -> None:
    before = Settings()
    after = before.changed(strength=0.5, view="split", split_at=0, frozen=True, effect=False)
    assert before == Settings()
    assert after == Settings(effect=False, strength=0.5, view="split", split_at=0, frozen=True)


def test_choices_are_in_one_order_whatever_is_given() -> None:
    assert Settings().also == BROAD_KINDS
    assert Settings().keep == ("moles",)
    chosen = Settings().changed(also=["shine", "under-eye"], keep={"texture", "lines"})
    assert chosen.also == ("under-eye", "shine")
    assert chosen.keep == ("lines", "texture")
    assert chosen == Settings(also={"under-eye", "shine"}, keep=("lines", "texture", "lines"))
    assert Settings().changed(also=[], keep=()).also == ()


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_is_taken(view: str) -> None:
    assert Settings().changed(view=view).view == view


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"strength": 1.1}, "strength must be a number from 0 to 1, not 1.1"),
        ({"strength": float("nan")}, "strength must be"),
        ({"strength": "0.5"}, "not '0.5'"),
        ({"split_at": True}, "split_at must be"),
        ({"effect": 1}, "effect must be true or false"),
        ({"frozen": None}, "frozen must be true or false"),
        ({"view": "side"}, "view must be one of plain, split, map, not 'side'"),
        ({"strength": 10**400}, "strength must be"),
        ({"self": 1}, "there is no setting 'self'"),
        ({"view": []}, "view must be one of"),
        (
            {"blur": 1.0},
            "there is no setting 'blur'; choose from also, effect, frozen, keep, split_at, strength",
        ),
        ({"also": "shine"}, "also must be some of under-eye, redness, shine"),
        ({"also": [["shine"]]}, "also must be some of"),
        ({"keep": ["shine"]}, "keep must be some of moles, freckles, lines, texture"),
        ({"keep": 1.0}, "keep must be some of"),
    ],
)
def test_what_is_wrong_is_said(wanted: dict[str, object], said: str) -> None:
    with pytest.raises(OptionError, match=said.replace("(", r"\(")):
        Settings().changed(**wanted)
