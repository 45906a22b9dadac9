"""The broad kinds of imperfection by name, for options; needs no library (what they are: stream.kinds)."""

from __future__ import annotations

from typing import Any

from stream.choice import some_of

UNDER_THE_EYES, REDNESS, SHINE = "under-eye", "redness", "shine"
BROAD_KINDS = (UNDER_THE_EYES, REDNESS, SHINE)
ALL = frozenset(BROAD_KINDS)


def checked(also: Any) -> frozenset[str]:
    """The kinds asked for; raises OptionError for what is no collection of them."""
    return some_of(BROAD_KINDS, also, "also", REDNESS)
