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


class Handle:
    """A CUDA stream of another library, by its handle."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self._handle


def run(launch: Launch, stream: int) -> None:
    """Set the launch going on the current device, on the CUDA stream of this handle (0: the default one)."""
    kernel = _compiled(launch.variant, cupy.cuda.Device().id)
    with cupy.cuda.Stream.from_external(Handle(stream)):
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
