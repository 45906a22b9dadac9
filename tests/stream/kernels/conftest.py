"""Each kernel's test runs its source on this machine's CPU and, where there is one, on the GPU."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.stream.kernels.machines import Cpu, Gpu, Machine


@pytest.fixture(params=["cpu", pytest.param("gpu", marks=pytest.mark.gpu)])
def machine(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> Machine:
    """Where the kernel runs."""
    return Cpu(record_property) if request.param == "cpu" else Gpu(record_property)
