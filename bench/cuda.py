"""What a step sets going on a GPU, and whether the host waits in it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

# What torch says of a wait. When it is first told to watch, it also warns that it "does not yet detect all
# synchronizing operations", which is none.
_WAIT = "called a synchronizing"
# How the names of the driver's and the runtime's calls that set something going begin.
_LAUNCHES = ("cudaLaunch", "cuLaunch", "cudaGraphLaunch", "cudaMemcpy", "cudaMemset")


def launches(run: Callable[[], object]) -> dict[str, float]:
    """`launches`: calls with which the host sets a kernel, a copy or a graph going. `kernels`: what the
    device then does."""
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        run()
        torch.cuda.synchronize()
    return counted((event.name, event.device_type.name) for event in profiler.events())


def counted(events: Iterable[tuple[str, str]]) -> dict[str, float]:
    """`launches` of a profile's events, each with its name and the kind of device it took place on."""
    noted = list(events)
    called = sum(kind == "CPU" and name.startswith(_LAUNCHES) for name, kind in noted)
    return {"launches": float(called), "kernels": float(sum(kind == "CUDA" for _, kind in noted))}


def host_syncs(
    run: Callable[[], object], set_mode: Callable[[Any], object] = torch.cuda.set_sync_debug_mode
) -> int:
    """How often the host waits for the device inside `run`, as torch itself warns of it."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        set_mode("warn")
        try:
            run()
        finally:
            set_mode("default")
    return sum(_WAIT in str(warning.message) for warning in said)
