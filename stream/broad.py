"""The broad kinds of imperfection by name, for options; needs no library (what they are: stream.kinds)."""

from __future__ import annotations

from collections.abc import Collection

from stream.errors import OptionError

UNDER_THE_EYES, REDNESS, SHINE = "under-eye", "redness", "shine"
BROAD_KINDS = (UNDER_THE_EYES, REDNESS, SHINE)
ALL = frozenset(BROAD_KINDS)


def checked(also: Collection[str]) -> frozenset[str]:
    """The kinds asked for.

    Raises:
        OptionError: one of them is no kind, or it is no collection of texts.
    """
    try:
        chosen = frozenset(also)
    except TypeError:
        chosen = frozenset({""})
    if isinstance(also, str) or not chosen <= ALL:
        raise OptionError(f"also must be some of {', '.join(BROAD_KINDS)}, as in {{'redness'}}; not {also!r}")
    return chosen
