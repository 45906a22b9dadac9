"""What the path on a GPU needs of one: memory, copies, and kernels in the order of one stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from stream.kernels.launch import Launch


class DeviceArray(Protocol):
    """Memory on a GPU, for as long as this object lives."""

    address: int


class Board(Protocol):
    """A GPU and one CUDA stream on it, by its handle; nothing is waited for but in what `download`
    and `reached` give."""

    stream: int

    def zeros(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> DeviceArray:
        """An array of noughts."""
        ...

    def upload(self, rows: npt.NDArray[np.uint8], pitch: int) -> DeviceArray:
        """uint8 [H, W] there, `pitch` bytes a row; the rows may be changed at once, the array must live until
        something after it was waited for."""
        ...

    def download(self, array: DeviceArray) -> Callable[[], npt.NDArray[Any]]:
        """An array back, as it was made; what is returned waits for it."""
        ...

    def reached(self) -> Callable[[], None]:
        """What, when it is called, waits for all that was set going before this."""
        ...

    def copy(self, to: int, to_pitch: int, source: int, width: int, rows: int) -> None:
        """`rows` rows of `width` bytes each, one after the other, to rows that are to_pitch bytes apart."""
        ...

    def run(self, launch: Launch) -> None:
        """Start a kernel."""
        ...
