"""The kernels on a GPU; here alone stream imports CuPy.

A kernel is compiled when it is first needed on a device, and then kept; CuPy keeps it on disk too.
Nothing here waits for the device.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cache
from typing import Any

import cupy
import cupyx
import numpy as np
import numpy.typing as npt

from stream.errors import EngineError, first_line
from stream.kernels.board import DeviceArray
from stream.kernels.launch import OPTIONS, Launch, Variant, source_of


class CupyArray:
    """Memory of CuPy's on a GPU."""

    def __init__(self, held: Any) -> None:
        self.held, self.address = held, int(held.data.ptr)


class CupyBoard:
    """The current GPU with a CUDA stream of its own; see stream.kernels.board.Board.

    Copies go through pinned memory, which CuPy keeps and gives out again.

    Raises:
        EngineError: CuPy finds no GPU.
    """

    def __init__(self) -> None:
        try:
            # Of a stream that could not be made, CuPy complains once more when it goes.
            cupy.cuda.runtime.getDeviceCount()
            # Not one of those that never wait for the default stream, on which torch makes its tensors.
            self._stream = cupy.cuda.Stream()
        except Exception as error:
            raise EngineError(f"CuPy finds no GPU ({error}); choose an engine of the CPU") from error
        self.stream = int(self._stream.ptr)
        # Pinned memory that a copy may still read or write, though nobody waits for it any more.
        self._under_way: list[tuple[Any, Any]] = []
        # One thread uploads the next frames while another downloads those before.
        self._changing = threading.Lock()

    def zeros(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> CupyArray:
        """See stream.kernels.board.Board."""
        with self._stream:
            return CupyArray(cupy.zeros(shape, dtype))

    def upload(self, rows: npt.NDArray[np.uint8], pitch: int) -> CupyArray:
        """See stream.kernels.board.Board."""
        pinned = cupyx.empty_pinned((len(rows), pitch), np.uint8)
        np.copyto(pinned[:, : rows.shape[1]], rows)
        with self._stream:
            there = cupy.empty(pinned.shape, np.uint8)
            there.set(pinned, self._stream)
        self._keep_until_done(pinned)
        return CupyArray(there)

    def download(self, array: DeviceArray) -> Callable[[], npt.NDArray[Any]]:
        """See stream.kernels.board.Board."""
        assert isinstance(array, CupyArray)
        pinned = cupyx.empty_pinned(array.held.shape, array.held.dtype)
        array.held.get(self._stream, out=pinned, blocking=False)
        done = self._keep_until_done(pinned)

        def finish() -> npt.NDArray[Any]:
            done.synchronize()
            return np.asarray(pinned)

        return finish

    def _keep_until_done(self, pinned: Any) -> Any:
        """The event after which this memory is free."""
        with self._changing:
            done = self._stream.record()
            self._under_way = [(event, memory) for event, memory in self._under_way if not event.done]
            self._under_way.append((done, pinned))
        return done

    def reached(self) -> Callable[[], None]:
        """See stream.kernels.board.Board."""
        done: Callable[[], None] = self._stream.record().synchronize
        return done

    def copy(self, to: int, to_pitch: int, source: int, width: int, rows: int) -> None:
        """See stream.kernels.board.Board."""
        kind = cupy.cuda.runtime.memcpyDeviceToDevice
        cupy.cuda.runtime.memcpy2DAsync(to, to_pitch, source, width, width, rows, kind, self.stream)

    def run(self, launch: Launch) -> None:
        """See stream.kernels.board.Board."""
        run(launch, self.stream)


def give_back() -> None:
    """Free what CuPy holds in reserve, on the GPU and pinned."""
    cupy.get_default_memory_pool().free_all_blocks()
    cupy.get_default_pinned_memory_pool().free_all_blocks()


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
        raise EngineError(
            f"the kernel {variant.kernel} cannot be compiled on this GPU ({first_line(error)}); "
            "choose engine onnx-cpu"
        ) from error
