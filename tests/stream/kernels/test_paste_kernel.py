"""The paste kernel against stream.composite."""

from __future__ import annotations

import numpy as np
import pytest

from stream.composite import placed, skin_guard
from stream.crop import FACE_PX, alignment, transform
from stream.frame import ColourTags
from stream.kernels import launch
from stream.kernels.launch import UNTAGGED, Residual
from tests.stream.fakes import face_at, noise_frame
from tests.stream.kernels import twins
from tests.stream.kernels.machines import Machine

OPEN = np.full((FACE_PX, FACE_PX), 255, np.uint8)


def noise(seed: int = 0, dtype: str = "float32") -> np.ndarray:
    """A residual [3, 512, 512] that no two pixels share."""
    return np.random.default_rng(seed).normal(0, 20, (3, FACE_PX, FACE_PX)).astype(dtype)


def paste(
    machine: Machine,
    frame: np.ndarray,
    residual: np.ndarray,
    guard: np.ndarray,
    matrix: np.ndarray,
    amount: float,
    map_cells: np.ndarray | None = None,
) -> None:
    place = placed(guard, matrix, frame.shape)
    if place is not None:
        cells = 0 if map_cells is None else machine.address(map_cells)
        layer = Residual(machine.address(residual), residual.dtype, cells)
        machine.run(launch.paste(machine.surface(frame), layer, machine.address(guard), place, amount))


def compared(machine: Machine, frame: np.ndarray, matrix: np.ndarray, guard: np.ndarray) -> None:
    """Retouches the frame with the kernel, and looks at how it differs from the CPU's."""
    residual, before, wanted = noise(), frame.copy(), frame.copy()
    twins.paste(wanted, residual, guard, matrix, 0.8)
    paste(machine, frame, residual, guard, matrix, 0.8)
    assert machine.apart(frame, wanted) <= 1
    # Where rounding may go either way.
    changed = wanted != before
    assert (frame != wanted)[changed].sum() <= 0.01 * changed.sum()
    assert (frame != wanted)[~changed].sum() <= 1e-3 * frame.size


@pytest.mark.parametrize(
    ("scale", "turn"),
    [(0.02, 0.3), (0.12, 0.0), (0.3, 0.4), (0.5, -0.8), (0.7, 0.8), (0.9, 0.0), (1.4, 0.1), (2.6, 3.0)],
)
@pytest.mark.parametrize("shape", [(720, 1280), (719, 1279)], ids=["aligned", "odd"])
def test_a_face_of_any_size_and_turn_and_no_byte_elsewhere(
    machine: Machine, scale: float, turn: float, shape: tuple[int, int]
) -> None:
    frame = noise_frame(*shape)
    before, marks = frame.copy(), face_at(640.3, 355.8, scale, turn)
    matrix = alignment(marks)
    guard = skin_guard(transform(marks, matrix))
    compared(machine, frame, matrix, guard)
    x0, y0, x1, y1 = placed(guard, matrix, shape).box
    assert (frame != before).any() or scale < 0.05
    before[y0:y1, x0:x1] = frame[y0:y1, x0:x1]
    np.testing.assert_array_equal(frame, before)


@pytest.mark.parametrize("centre", [(-20.0, 40.0), (640.0, 300.0), (310.0, 370.0), (5.0, 5.0), (9000.0, 0.0)])
@pytest.mark.parametrize("width", [640, 643])
def test_a_face_partly_or_wholly_outside(machine: Machine, centre: tuple[float, float], width: int) -> None:
    marks = face_at(*centre, 0.4, 0.3)
    matrix = alignment(marks)
    compared(machine, noise_frame(360, width), matrix, skin_guard(transform(marks, matrix)))


def test_what_lies_beside_a_part_of_a_picture_is_left_alone(machine: Machine) -> None:
    whole = noise_frame(300, 400)
    before = whole.copy()
    part = whole[10:290, 7:390]
    compared(machine, part, np.array([[1.2, 0, 0], [0, 1.2, 0]]), OPEN)
    before[10:290, 7:390] = part
    np.testing.assert_array_equal(whole, before)


@pytest.mark.parametrize("amount", [0.0, 1e-4])
def test_no_amount_and_less_than_half_a_level_change_nothing(machine: Machine, amount: float) -> None:
    frame = noise_frame(300, 400)
    before = frame.copy()
    paste(machine, frame, noise(), OPEN, np.eye(2, 3), amount)
    np.testing.assert_array_equal(frame, before)


@pytest.mark.parametrize(
    ("levels", "added"), [(0.5, 0), (1.5, 2), (2.5, 2), (-1.5, -2), (0.51, 1), (-300, -100)]
)
def test_rounding_is_half_to_even_and_saturates(machine: Machine, levels: float, added: int) -> None:
    frame = np.full((FACE_PX, FACE_PX, 3), 100, np.uint8)
    paste(machine, frame, np.full((3, FACE_PX, FACE_PX), levels, np.float32), OPEN, np.eye(2, 3), 1.0)
    assert np.unique(frame).tolist() == [100 + added]


def test_what_is_no_number_changes_nothing(machine: Machine) -> None:
    frame = noise_frame(FACE_PX, FACE_PX)
    before = frame.copy()
    paste(machine, frame, np.full((3, FACE_PX, FACE_PX), np.nan, np.float32), OPEN, np.eye(2, 3), 1.0)
    np.testing.assert_array_equal(frame, before)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("layout", ["planes", "cells"])
@pytest.mark.parametrize("scale", [0.3, 0.8])
def test_every_type_and_layout(machine: Machine, dtype: str, layout: str, scale: float) -> None:
    marks = face_at(300, 260, scale, 0.2)
    matrix = alignment(marks)
    guard = skin_guard(transform(marks, matrix))
    frame, wanted = noise_frame(500, 600), noise_frame(500, 600)
    half = FACE_PX // 2
    cells = noise(dtype=dtype).reshape(12, half, half)
    shown = np.random.default_rng(1).random((4, half, half)).astype(dtype)
    residual = twins.residual_of(cells, shown) if layout == "cells" else noise(dtype=dtype)
    twins.paste(wanted, residual, guard, matrix, 1.0)
    if layout == "cells":
        paste(machine, frame, cells, guard, matrix, 1.0, map_cells=shown)
    else:
        paste(machine, frame, residual, guard, matrix, 1.0)
    assert machine.apart(frame, wanted) <= 1
    assert np.mean(frame != wanted) < 1e-3


def test_the_guard_of_a_face_on_the_pictures_very_border(machine: Machine) -> None:
    guard = np.zeros_like(OPEN)
    guard[-3:, -3:] = 255
    for scale in (1.0, 40.0):
        compared(machine, noise_frame(600, 600), np.array([[scale, 0, 0], [0, scale, 0]]), guard)


def yuv_frame(pix_fmt: str, height: int, width: int, seed: int = 0) -> list[np.ndarray]:
    """The planes of a frame of noise, rows of which are further apart than they are long."""
    random = np.random.default_rng(seed)
    half = (-(-height // 2), -(-width // 2))
    shapes = [(height, width), *([(*half, 2)] if pix_fmt == "nv12" else [half, half])]

    def plane(rows: int, columns: int, *samples: int) -> np.ndarray:
        # Not all of them: most colours of YUV are none of RGB.
        whole = random.integers(60, 196, (rows, columns + 16, *samples), np.uint8)
        return whole[:, :columns]

    return [plane(*shape) for shape in shapes]


def paste_yuv(
    machine: Machine,
    planes: list[np.ndarray],
    residual: np.ndarray,
    guard: np.ndarray,
    matrix: np.ndarray,
    amount: float,
    tags: ColourTags = UNTAGGED,
) -> None:
    place = placed(guard, matrix, planes[0].shape)
    if place is not None:
        surface = machine.surface(*planes, tags=tags)
        layer = Residual(machine.address(residual), residual.dtype)
        machine.run(launch.paste(surface, layer, machine.address(guard), place, amount))


def compared_yuv(
    machine: Machine,
    planes: list[np.ndarray],
    matrix: np.ndarray,
    guard: np.ndarray,
    tags: ColourTags = UNTAGGED,
) -> None:
    """Retouches the planes with the kernel, and looks at how they differ from the CPU's."""
    residual, before, wanted = noise(), [p.copy() for p in planes], [p.copy() for p in planes]
    twins.paste_yuv(wanted, residual, guard, matrix, 0.8, tags)
    paste_yuv(machine, planes, residual, guard, matrix, 0.8, tags)
    for got, plane, other in zip(planes, before, wanted, strict=True):
        assert machine.apart(got, other) <= 1
        changed = other != plane
        assert (got != other)[changed].sum() <= 0.01 * changed.sum()
        assert (got != other)[~changed].sum() <= 1e-3 * got.size


def beside(plane: np.ndarray) -> np.ndarray:
    """What lies between the rows of a plane of `yuv_frame`."""
    return plane.base[:, plane.shape[1] :]


MATRICES = [
    ColourTags(1, 1),
    ColourTags(1, 2),
    ColourTags(6, 1),
    ColourTags(5, 2),
    ColourTags(9, 1),
    ColourTags(7, 2),
    UNTAGGED,
]
PIX_FMTS = pytest.mark.parametrize("pix_fmt", ["nv12", "yuv420p"])


@PIX_FMTS
@pytest.mark.parametrize(
    ("scale", "turn"),
    [(0.02, 0.3), (0.12, 0.0), (0.3, 0.4), (0.5, -0.8), (0.9, 0.0), (1.4, 0.1), (2.6, 3.0)],
)
@pytest.mark.parametrize("shape", [(720, 1280), (719, 1279)], ids=["aligned", "odd"])
def test_planes_change_as_the_cpu_s_do_and_nowhere_else(
    machine: Machine, pix_fmt: str, scale: float, turn: float, shape: tuple[int, int]
) -> None:
    planes = yuv_frame(pix_fmt, *shape)
    before, marks = [p.copy() for p in planes], face_at(640.3, 355.8, scale, turn)
    between = [beside(p).copy() for p in planes]
    matrix = alignment(marks)
    guard = skin_guard(transform(marks, matrix))
    compared_yuv(machine, planes, matrix, guard)
    x0, y0, x1, y1 = placed(guard, matrix, shape).box
    for number, (plane, was) in enumerate(zip(planes, before, strict=True)):
        assert (plane != was).any() or scale < 0.05
        inside = (slice(y0, y1), slice(x0, x1))
        if number:
            inside = (slice(y0 // 2, -(-y1 // 2)), slice(x0 // 2, -(-x1 // 2)))
        was[inside] = plane[inside]
        np.testing.assert_array_equal(plane, was)
        np.testing.assert_array_equal(beside(plane), between[number])


@PIX_FMTS
@pytest.mark.parametrize("tags", MATRICES, ids=lambda tags: f"{tags.matrix}-{tags.range}")
@pytest.mark.parametrize("lines", [300, 720])
def test_planes_of_every_matrix_and_both_ranges(
    machine: Machine, pix_fmt: str, tags: ColourTags, lines: int
) -> None:
    marks = face_at(200, 150, 0.4, 0.2)
    matrix = alignment(marks)
    guard = skin_guard(transform(marks, matrix))
    compared_yuv(machine, yuv_frame(pix_fmt, lines, 400), matrix, guard, tags)


@PIX_FMTS
@pytest.mark.parametrize("centre", [(-20.0, 40.0), (640.0, 300.0), (310.0, 370.0), (5.0, 5.0), (9000.0, 0.0)])
@pytest.mark.parametrize("size", [(640, 360), (643, 361), (641, 360)])
def test_planes_of_a_face_partly_or_wholly_outside(
    machine: Machine, pix_fmt: str, centre: tuple[float, float], size: tuple[int, int]
) -> None:
    marks = face_at(*centre, 0.4, 0.3)
    matrix = alignment(marks)
    planes = yuv_frame(pix_fmt, size[1], size[0])
    compared_yuv(machine, planes, matrix, skin_guard(transform(marks, matrix)))


@PIX_FMTS
@pytest.mark.parametrize(("left", "top"), [(0, 0), (1, 0), (2, 1), (3, 3), (1, 2)])
def test_chroma_is_the_mean_of_its_pixels_wherever_the_change_begins(
    machine: Machine, pix_fmt: str, left: int, top: int
) -> None:
    """A step of the residual in the middle of a chroma sample, and frames that end in the middle of one."""
    matrix = np.array([[1.0, 0, -left], [0, 1.0, -top]])
    compared_yuv(machine, yuv_frame(pix_fmt, 21 + top, 33 + left), matrix, OPEN, ColourTags(1, 1))


@PIX_FMTS
@pytest.mark.parametrize(("code", "levels"), [(235, 40.0), (16, -40.0)], ids=["white", "black"])
def test_what_is_white_or_black_already_changes_no_further(
    machine: Machine, pix_fmt: str, code: int, levels: float
) -> None:
    planes = yuv_frame(pix_fmt, 64, 64)
    planes[0][...] = code
    for plane in planes[1:]:
        plane[...] = 128
    before, residual = [p.copy() for p in planes], np.full((3, FACE_PX, FACE_PX), levels, np.float32)
    paste_yuv(machine, planes, residual, OPEN, np.eye(2, 3), 1.0, ColourTags(1, 1))
    for plane, was in zip(planes, before, strict=True):
        np.testing.assert_array_equal(plane, was)
    planes[0][...] = 126
    paste_yuv(machine, planes, residual, OPEN, np.eye(2, 3), 1.0, ColourTags(1, 1))
    assert np.unique(planes[0]).tolist() == [126 + round(levels * 219 / 255)]


@PIX_FMTS
@pytest.mark.parametrize("value", [0.4, float("nan")])
def test_planes_keep_what_less_than_half_a_level_and_no_number_would_change(
    machine: Machine, pix_fmt: str, value: float
) -> None:
    planes = yuv_frame(pix_fmt, 200, 300)
    before = [p.copy() for p in planes]
    residual = np.full((3, FACE_PX, FACE_PX), value, np.float32)
    paste_yuv(machine, planes, residual, OPEN, np.eye(2, 3), 1.0)
    for plane, was in zip(planes, before, strict=True):
        np.testing.assert_array_equal(plane, was)


@PIX_FMTS
def test_planes_that_begin_anywhere(machine: Machine, pix_fmt: str) -> None:
    """No access that is not aligned: the CPU's run ends at one."""
    planes = [plane[1:, 1:] for plane in yuv_frame(pix_fmt, 101, 121)]
    compared_yuv(machine, planes, np.eye(2, 3), OPEN)
