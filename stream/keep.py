"""What a person is known by, by name, for options; needs no library (how it is kept: stream.traits)."""

from __future__ import annotations

from typing import Any

from stream.choice import some_of

MOLES, FRECKLES, LINES, TEXTURE = "moles", "freckles", "lines", "texture"
TRAITS = (MOLES, FRECKLES, LINES, TEXTURE)
DEFAULT = frozenset({MOLES})


def checked(keep: Any) -> frozenset[str]:
    """The traits asked for; raises OptionError for what is no collection of them."""
    return some_of(TRAITS, keep, "keep", MOLES)
