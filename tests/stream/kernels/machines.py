"""Where the tests run a kernel: its source compiled by g++ for this CPU, or on a GPU."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np

from stream.kernels.launch import Launch, Surface
from tests.stream.kernels.on_cpu import run_on_cpu


class Machine:
    """Runs a launch on copies of the arrays that were given to it, and tells how results differ."""

    def __init__(self, record: Callable[[str, object], None]) -> None:
        self._record = record

    def address(self, array: np.ndarray) -> int:
        """Where the kernel finds the array."""
        raise NotImplementedError

    def run(self, launch: Launch) -> None:
        """Runs it; the arrays then hold what it wrote."""
        raise NotImplementedError

    def surface(self, *planes: np.ndarray, **options: Any) -> Surface:
        """The planes of one frame; rows may be apart, pixels not."""
        pix_fmt = ("rgb24", "nv12", "yuv420p")[len(planes) - 1]
        height, width = planes[0].shape[:2]
        addresses = tuple(self.address(plane) for plane in planes)
        return Surface(pix_fmt, width, height, addresses, tuple(p.strides[0] for p in planes), **options)

    def apart(self, one: np.ndarray, other: np.ndarray) -> float:
        """The largest difference, which goes into the GPU's table."""
        apart = float(np.abs(one.astype(float) - other.astype(float)).max())
        self._record("apart", round(apart, 6))
        return apart


class Cpu(Machine):
    """The source as C++."""

    def address(self, array: np.ndarray) -> int:
        return array.ctypes.data

    def run(self, launch: Launch) -> None:
        run_on_cpu(launch)


class Gpu(Machine):
    """The source as CUDA, on copies as far off a multiple of 16 as the arrays are."""

    def __init__(self, record: Callable[[str, object], None]) -> None:
        super().__init__(record)
        self._copies: list[tuple[np.ndarray, Any]] = []

    def address(self, array: np.ndarray) -> int:
        import cupy

        span = sum((size - 1) * stride for size, stride in zip(array.shape, array.strides, strict=True))
        held = (ctypes.c_ubyte * (span + array.itemsize)).from_address(array.ctypes.data)
        host, skew = np.frombuffer(held, np.uint8), array.ctypes.data % 16
        device = cupy.zeros(host.size + 32, np.uint8)[skew : skew + host.size]
        device.set(host)
        self._copies.append((host, device))
        return int(device.data.ptr)

    def run(self, launch: Launch) -> None:
        from stream.kernels.cupy_ import run

        run(launch, 0)
        for host, device in self._copies:
            np.copyto(host, device.get())
