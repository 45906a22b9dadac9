"""How many faces may be followed at once, for options; needs no library."""

from __future__ import annotations

import operator
from typing import Any

from stream.errors import OptionError

MOST_FACES = 16


def checked(max_faces: Any) -> int:
    """The count asked for; raises OptionError for what is no whole number from 1 to MOST_FACES."""
    try:
        count = operator.index(max_faces)
    except TypeError:
        count = 0
    if isinstance(max_faces, bool) or not 1 <= count <= MOST_FACES:
        raise OptionError(f"max_faces must be a whole number from 1 to {MOST_FACES}, not {max_faces!r}")
    return count
