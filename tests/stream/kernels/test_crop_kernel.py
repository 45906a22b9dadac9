"""The crop kernel against stream.crop."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stream.crop import FACE_PX
from stream.frame import ColourTags
from stream.kernels import launch
from tests.stream.fakes import noise_frame
from tests.stream.kernels import twins
from tests.stream.kernels.machines import Machine


def to_face(x_px: float, y_px: float, scale: float, turn: float = 0.0) -> np.ndarray:
    """The alignment of a face whose middle is at (x_px, y_px), `scale` frame pixels for each of its own."""
    a, b = math.cos(turn) / scale, math.sin(turn) / scale
    linear = np.array([[a, b], [-b, a]])
    return np.column_stack([linear, FACE_PX / 2 - linear @ [x_px, y_px]])


def cropped(
    machine: Machine,
    planes: list[np.ndarray],
    matrix: np.ndarray,
    dtype: str = "uint8",
    pixels: bool = False,
    **options: object,
) -> np.ndarray:
    face = np.full((FACE_PX, FACE_PX, 3) if pixels else (3, FACE_PX, FACE_PX), 7, dtype)
    machine.run(
        launch.crop(machine.surface(*planes, **options), matrix, machine.address(face), dtype, pixels=pixels)
    )
    return face


def smooth(height: int, width: int, channels: int) -> np.ndarray:
    """A picture without noise, uint8: without fine detail it shows where pixels are put."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    waves = [128 + 60 * np.sin(x / (19 + 7 * c) + c) * np.cos(y / (23 + 5 * c)) for c in range(channels)]
    return np.round(np.stack(waves, axis=2)).astype(np.uint8)


def yuv_frame(height: int, width: int, planes: int, seed: int = 0) -> list[np.ndarray]:
    """Noise, as NV12 (2 planes) or I420 (3)."""
    random = np.random.default_rng(seed)
    luma = random.integers(0, 256, (height, width), dtype=np.uint8)
    chroma = random.integers(60, 196, ((height + 1) // 2, (width + 1) // 2, 2), dtype=np.uint8)
    if planes == 2:
        return [luma, chroma]
    return [luma, *(np.ascontiguousarray(chroma[:, :, c]) for c in range(2))]


PLACES = {
    "small": (300, 180, 0.3),
    "its own size": (300, 250, 1.0),
    "blurred": (400, 300, 1.7, 0.4),
    "blurred, upside down": (400, 300, 1.9, 3.0),
    "averaged by 2": (640, 360, 2.2, -0.3),
    "averaged by 5": (640, 360, 5.4, 0.8),
    "over a border": (20, 700, 1.2, 0.1),
    "averaged over a corner": (1270, 710, 3.3, 0.7),
    "far outside": (9000, -5000, 1.0),
    "tiny": (300, 180, 0.01),
    "huge": (600, 300, 70.0, 0.2),
    "huger than is averaged": (600, 300, 400.0, 0.2),
}


@pytest.mark.parametrize("place", PLACES.values(), ids=list(PLACES))
def test_a_crop_of_noise_is_that_of_a_cpu_within_a_level(machine: Machine, place: tuple[float, ...]) -> None:
    frame, matrix = noise_frame(720, 1280), to_face(*place)
    face = cropped(machine, [frame], matrix)
    wanted = twins.crop([frame], matrix, np.uint8)
    assert machine.apart(face, wanted) <= 1
    assert np.mean(face != wanted) < 0.05


@pytest.mark.parametrize("shape", [(1, 1), (3, 901), (901, 7), (240, 333), (241, 427)])
@pytest.mark.parametrize("scale", [0.5, 1.6, 3.7])
def test_frames_of_any_size_whose_rows_are_not_aligned(
    machine: Machine, shape: tuple[int, int], scale: float
) -> None:
    frame, matrix = noise_frame(*shape), to_face(shape[1] / 2, shape[0] / 2, scale, 0.2)
    assert machine.apart(cropped(machine, [frame], matrix), twins.crop([frame], matrix, np.uint8)) <= 1


def test_rows_apart_and_a_part_of_a_larger_picture(machine: Machine) -> None:
    whole, matrix = noise_frame(400, 640), to_face(200, 150, 1.8)
    frame = whole[3:333, 16:560]
    assert machine.apart(cropped(machine, [frame], matrix), twins.crop([frame], matrix, np.uint8)) <= 1


@pytest.mark.parametrize("pixels", [False, True])
@pytest.mark.parametrize(("dtype", "bound"), [("uint8", 0), ("float16", 1e-3), ("float32", 1e-6)])
def test_every_type_and_layout(machine: Machine, dtype: str, bound: float, pixels: bool) -> None:
    frame, matrix = smooth(500, 600, 3), np.array([[1.0, 0, -30], [0, 1, 10]])
    face = cropped(machine, [frame], matrix, dtype, pixels)
    wanted = twins.crop([frame], matrix, dtype, pixels=pixels)
    assert face.dtype == wanted.dtype
    assert machine.apart(face, wanted) <= bound


@pytest.mark.parametrize("planes", [2, 3])
@pytest.mark.parametrize("size", [(360, 640), (361, 427), (1, 1), (2, 3)])
@pytest.mark.parametrize(
    ("scale", "tags"),
    [
        (0.6, ColourTags()),
        (1.7, ColourTags(matrix=1, range=2)),
        (2.0, ColourTags(matrix=1)),
        (3.4, ColourTags(matrix=9)),
    ],
)
def test_yuv_within_a_level(
    machine: Machine, planes: int, size: tuple[int, int], scale: float, tags: ColourTags
) -> None:
    frame, matrix = yuv_frame(*size, planes), to_face(size[1] / 2, size[0] / 2, scale, 0.3)
    face = cropped(machine, frame, matrix, tags=tags)
    assert machine.apart(face, twins.crop(frame, matrix, np.uint8, tags=tags)) <= 1


def test_both_layouts_of_chroma_give_the_same(machine: Machine) -> None:
    matrix = to_face(200, 150, 1.3, 0.3)
    one = cropped(machine, yuv_frame(301, 403, 2), matrix)
    np.testing.assert_array_equal(one, cropped(machine, yuv_frame(301, 403, 3), matrix))


def test_greys_of_yuv_are_greys_in_full_range(machine: Machine) -> None:
    planes = [np.full((64, 64), code, np.uint8) for code in (235, 128, 128)]
    matrix = to_face(32, 32, 0.1)
    assert np.unique(cropped(machine, planes, matrix)).tolist() == [255]
    assert np.unique(cropped(machine, planes, matrix, tags=ColourTags(range=2))).tolist() == [235]
