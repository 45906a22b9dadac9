"""A device whose clock is a script, and which notes what is asked of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bench.project import Roof
from tests.conftest import require

require("torch")

from bench.device import Cpu  # noqa: E402

if TYPE_CHECKING:
    import torch


class ScriptedDevice(Cpu):
    """A millisecond a tick. waited: how often it was waited for; stream: the one in whose order it works now,
    None of its own; roofs: the dtypes in which its rates were measured."""

    name = "a scripted device"

    def __init__(self) -> None:
        self.ticks = itertools.count(0, 1_000_000)
        self.waited = 0
        self.stream: int | None = None
        self.roofs: list[torch.dtype] = []

    def tick(self) -> int:
        return next(self.ticks)

    def synchronize(self) -> None:
        self.waited += 1

    def work_ms(self, spent: int) -> None:
        """So many milliseconds pass."""
        for _ in range(spent):
            next(self.ticks)

    @contextmanager
    def on_stream(self, stream: int) -> Iterator[None]:
        before, self.stream = self.stream, stream
        yield
        self.stream = before

    def roof(self, dtype: torch.dtype) -> Roof:
        self.roofs.append(dtype)
        return Roof(1000.0, 100.0)

    def peak_mb(self) -> Any:
        return 5.0
