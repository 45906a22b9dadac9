"""Options that are some of a few names."""

from __future__ import annotations

import reprlib
from collections.abc import Collection, Mapping
from typing import Any

from stream.errors import OptionError


def some_of(names: tuple[str, ...], given: Any, option: str, example: str) -> frozenset[str]:
    """The names chosen.

    Raises:
        OptionError: `given` is no collection of some of the names; says so of the option, with an example.
    """
    listed = isinstance(given, Collection) and not isinstance(given, str | bytes | Mapping)
    if not listed or not all(isinstance(one, str) and one in names for one in given):
        raise OptionError(
            f"{option} must be some of {', '.join(names)}, as in {{{example!r}}}; not {reprlib.repr(given)}"
        )
    return frozenset(given)
