"""What a viewer may change while the stream runs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from typing import Any, Self

from stream import broad, keep
from stream.errors import OptionError

VIEWS = ("plain", "split", "map")


@dataclass(frozen=True)
class Settings:
    """How a live stream is shown.

    effect: off lets frames pass bit for bit. strength: 0 to 1. view: `plain` (retouched), `split` (raw left
    of split_at, retouched right of it) or `map` (the imperfection map). split_at: 0 to 1 of the width.
    frozen: the last picture stays. also: some of stream.broad.BROAD_KINDS, what is taken away beside marks;
    keep: some of stream.keep.TRAITS; both are tuples in those orders, whatever was given.
    """

    effect: bool = True
    strength: float = 1.0
    view: str = "plain"
    split_at: float = 0.5
    frozen: bool = False
    also: Collection[str] = broad.BROAD_KINDS
    keep: Collection[str] = keep.DEFAULT

    def __post_init__(self) -> None:
        for name in ("strength", "split_at"):
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not 0.0 <= value <= 1.0:
                raise OptionError(f"{name} must be a number from 0 to 1, not {value!r}")
        for name in ("effect", "frozen"):
            if not isinstance(getattr(self, name), bool):
                raise OptionError(f"{name} must be true or false, not {getattr(self, name)!r}")
        if self.view not in VIEWS:
            raise OptionError(f"view must be one of {', '.join(VIEWS)}, not {self.view!r}")
        also, kept = broad.checked(self.also), keep.checked(self.keep)
        object.__setattr__(self, "also", tuple(kind for kind in broad.BROAD_KINDS if kind in also))
        object.__setattr__(self, "keep", tuple(trait for trait in keep.TRAITS if trait in kept))

    def changed(self, /, **wanted: Any) -> Self:
        """These settings with some of them changed; raises OptionError for a name or value that is wrong."""
        names = {field.name for field in fields(self)}
        if unknown := sorted(set(wanted) - names):
            raise OptionError(f"there is no setting {unknown[0]!r}; choose from {', '.join(sorted(names))}")
        return replace(self, **wanted)
