"""The warp kernel and its twin against torch's grid_sample, as the network uses it."""

from __future__ import annotations

import numpy as np
import pytest

from stream.errors import OptionError
from stream.kernels import launch
from tests.conftest import require
from tests.stream.kernels import twins
from tests.stream.kernels.machines import Machine

torch = require("torch")
model_warp = require("model.warp").warp
SHAPES = [(1, 3, 5, 7), (2, 8, 33, 17), (1, 1, 1, 1), (1, 12, 64, 64), (1, 9, 3, 200), (2, 6, 8, 9)]


def pictures(shape: tuple[int, ...], dtype: str, reach: float) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    count, _, height, width = shape
    image = random.uniform(0, 1, shape).astype(dtype)
    return image, random.normal(0, reach, (count, 2, height, width)).astype(dtype)


def warped(
    machine: Machine, image: np.ndarray, flow: np.ndarray, channels_last: bool, flow_last: bool = False
) -> np.ndarray:
    laid, field = laid_out(image, channels_last), laid_out(flow, flow_last)
    out = np.full_like(laid, 9)
    machine.run(
        launch.warp(
            *(machine.address(array) for array in (laid, field, out)),
            image.shape,
            image.dtype,
            flow.dtype,
            channels_last=channels_last,
            flow_channels_last=flow_last,
        )
    )
    return out.transpose(0, 3, 1, 2) if channels_last else out


def laid_out(array: np.ndarray, channels_last: bool) -> np.ndarray:
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1)) if channels_last else array


def by_torch(image: np.ndarray, flow: np.ndarray) -> np.ndarray:
    return model_warp(*(torch.from_numpy(array.astype(np.float32)) for array in (image, flow))).numpy()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("reach", [0.4, 3.0, 500.0])
def test_the_twin_is_grid_sample(shape: tuple[int, ...], reach: float) -> None:
    image, flow = pictures(shape, "float32", reach)
    np.testing.assert_allclose(twins.warp(image, flow), by_torch(image, flow), atol=2e-4)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("reach", [0.4, 3.0, 500.0])
@pytest.mark.parametrize("channels_last", [False, True], ids=["planes", "channels last"])
@pytest.mark.parametrize("flow_last", [False, True], ids=["flow planes", "flow pixels"])
@pytest.mark.parametrize(("dtype", "bound"), [("float16", 1e-3), ("float32", 1e-5)])
def test_the_kernel_is_its_twin(
    machine: Machine,
    shape: tuple[int, ...],
    reach: float,
    channels_last: bool,
    flow_last: bool,
    dtype: str,
    bound: float,
) -> None:
    image, flow = pictures(shape, dtype, reach)
    got = warped(machine, image, flow, channels_last, flow_last)
    assert machine.apart(got, twins.warp(image, flow)) <= bound


def test_no_flow_keeps_every_bit(machine: Machine) -> None:
    image, flow = pictures((1, 16, 20, 30), "float16", 0.0)
    for channels_last in (False, True):
        np.testing.assert_array_equal(warped(machine, image, flow, channels_last), image)


def test_a_flow_of_finer_type_than_the_picture(machine: Machine) -> None:
    image, flow = pictures((1, 4, 40, 50), "float16", 3.0)
    finer = flow.astype(np.float32) + np.float32(0.01)
    assert machine.apart(warped(machine, image, finer, False), twins.warp(image, finer)) <= 1e-3


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_no_flow_reaches_outside_the_picture(machine: Machine, bad: float) -> None:
    image, flow = pictures((1, 2, 8, 8), "float32", 0.0)
    out = warped(machine, image, np.full_like(flow, bad), False)
    assert np.isin(out, image).all()


def test_nothing_to_warp_and_unknown_types_are_refused() -> None:
    with pytest.raises(OptionError, match="holds nothing to warp"):
        launch.warp(0, 0, 0, (1, 3, 0, 8))
    with pytest.raises(OptionError, match="cannot work on float64; give one of float16, float32"):
        launch.warp(0, 0, 0, (1, 3, 8, 8), np.float64)
