"""The kernels on a GPU; here alone stream imports CuPy.

A kernel is compiled when it is first needed on a device, and then kept; CuPy keeps it on disk too.
Nothing here waits for the device.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import cupy

from stream.errors import EngineError
from stream.kernels.launch import OPTIONS, Launch, Variant, source_of


def run(launch: Launch) -> None:
    """Set the launch going on CuPy's current device and stream."""
    kernel = _compiled(launch.variant, cupy.cuda.Device().id)
    kernel(launch.grid, launch.block, launch.arguments, shared_mem=launch.shared_bytes)


@cache
def _compiled(variant: Variant, device: int) -> Any:  # noqa: ARG001 - a module belongs to one device
    options = (*OPTIONS, *(f"-D{define}" for define in variant.defines))
    try:
        return cupy.RawModule(code=source_of(variant.kernel), options=options).get_function(variant.kernel)
    except Exception as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise EngineError(
            f"the kernel {variant.kernel} cannot be compiled on this GPU ({reason}); choose engine onnx-cpu"
        ) from error
