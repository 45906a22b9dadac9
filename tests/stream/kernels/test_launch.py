"""What a launch asks of a GPU, whatever the face, and what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.composite import placed
from stream.crop import FACE_PX
from stream.errors import FrameError, OptionError
from stream.kernels import launch
from stream.kernels.launch import MAX_SIDE_PX, Residual, Surface

# What every card gives a block without being asked for more.
SHARED_BYTES = 48 * 1024
side = st.integers(1, MAX_SIDE_PX)


def turned(scale: float, turn: float, x: float, y: float) -> np.ndarray:
    a, b = scale * math.cos(turn), scale * math.sin(turn)
    linear = np.array([[a, -b], [b, a]])
    return np.column_stack([linear, FACE_PX / 2 - linear @ [x, y]])


@settings(max_examples=300, deadline=None)
@given(side, side, st.floats(-7, 5), st.floats(-4, 4), st.floats(-0.5, 1.5), st.floats(-0.5, 1.5))
def test_no_face_asks_for_more_shared_memory_than_there_is(
    width: int, height: int, log_scale: float, turn: float, x: float, y: float
) -> None:
    frame = Surface("rgb24", width, height, (0,), (3 * width,))
    to_face = turned(math.exp(log_scale), turn, x * width, y * height)
    assert launch.crop(frame, to_face, 0).shared_bytes <= SHARED_BYTES
    guard = np.full((FACE_PX, FACE_PX), 255, np.uint8)
    place = placed(guard, to_face, (height, width))
    if place is not None:
        for surface in (frame, Surface("nv12", width, height, (0, 0), (width, width + width % 2))):
            pasted = launch.paste(surface, Residual(0), 0, place, 1.0)
            assert pasted.shared_bytes <= SHARED_BYTES
            assert all(1 <= blocks < 65536 for blocks in pasted.grid)


@pytest.mark.parametrize("size", [(MAX_SIDE_PX + 1, 10), (10, MAX_SIDE_PX + 1), (0, 10)])
def test_a_frame_of_a_size_that_does_not_fit_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(FrameError, match="1 to 8192 pixels a side"):
        Surface("rgb24", *size, (0,), (0,))


def test_a_format_that_is_not_known_is_refused() -> None:
    with pytest.raises(FrameError, match="give one of rgb24, nv12, yuv420p"):
        Surface("p010", 8, 8, (0,), (0,))


def test_a_face_of_another_type_is_refused() -> None:
    frame = Surface("rgb24", 8, 8, (0,), (24,))
    with pytest.raises(OptionError, match="cannot work on int16; give one of float16, float32, uint8"):
        launch.crop(frame, np.eye(2, 3), 0, np.int16)


def test_every_source_is_part_of_the_package() -> None:
    for kernel in ("crop", "warp", "guard", "paste"):
        assert f"void {kernel}(" in launch.source_of(kernel)
