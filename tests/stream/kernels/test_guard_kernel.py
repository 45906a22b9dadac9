"""The guard kernel against stream.traits."""

from __future__ import annotations

import numpy as np
import pytest

from stream.composite import skin_guard
from stream.keep import FRECKLES, MOLES
from stream.kernels import launch
from stream.kernels.launch import Kept
from tests.stream.fakes import template_landmarks
from tests.stream.kernels import twins
from tests.stream.kernels.machines import Machine

SKIN = skin_guard(template_landmarks())


def likely(seed: int, dtype: str = "float32") -> np.ndarray:
    """How likely moles and freckles are, [2, 128, 128]: some surely, most not."""
    random = np.random.default_rng(seed)
    return (random.random((2, 128, 128)) ** 6 * np.array([1.0, 0.1])[:, None, None]).astype(dtype)


def lowered(
    machine: Machine, newest: np.ndarray, before: np.ndarray, weight: float, keep: set[str]
) -> tuple[np.ndarray, np.ndarray]:
    after, out = np.full_like(before, 9), np.full_like(SKIN, 9)
    addresses = [machine.address(array) for array in (newest, before, after)]
    kept = Kept(*addresses, weight, newest.dtype)
    machine.run(launch.guard(machine.address(SKIN), kept, keep, machine.address(out)))
    return out, after


@pytest.mark.parametrize(
    "keep",
    [{MOLES}, {FRECKLES}, {MOLES, FRECKLES}, set()],
    ids=["moles", "freckles", "moles+freckles", "nothing"],
)
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_it_is_lowered_as_on_a_cpu(machine: Machine, keep: set[str], dtype: str) -> None:
    newest = likely(0, dtype)
    out, after = lowered(machine, newest, np.zeros((2, 128, 128), np.float32), 1.0, keep)
    wanted = twins.guard(SKIN, newest, keep)
    assert machine.apart(out, wanted) <= 1
    np.testing.assert_array_equal(after, newest.astype(np.float32))
    assert (wanted < SKIN).any() == bool(keep)
    assert (out[SKIN == 0] == 0).all()


@pytest.mark.parametrize("weight", [0.0, 0.25])
def test_what_is_kept_is_averaged_with_what_was(machine: Machine, weight: float) -> None:
    newest, before = likely(1), likely(2)
    out, after = lowered(machine, newest, before, weight, {MOLES})
    wanted = before + np.float32(weight) * (newest - before)
    np.testing.assert_allclose(after, wanted, atol=1e-6)
    assert machine.apart(out, twins.guard(SKIN, wanted, {MOLES})) <= 1
