"""The engine's step as torch.compile makes it, to be timed beside the engine's own."""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager, nullcontext

import torch

from bench.report import BenchError
from model.vretoucher import VRetouchEr
from model.warp import warp
from stream import parity
from stream.engines.torch_ import TorchEngine, TorchState
from stream.errors import first_line

NAME = "torch.compile of the same step"
# It times several kernels for each operation, and makes no CUDA graphs of its own: those of "reduce-overhead"
# copy what a step reads, and are left out where it changes its memory in place, as ours does.
MODE = "max-autotune-no-cudagraphs"


class CompiledEngine(TorchEngine):
    """A TorchEngine like the one given but that its whole step, from the face's bytes to the memory that is
    changed in place, is torch.compile's; on a GPU recorded and replayed as ever. It warps as torch does,
    which the compiler sees through.

    network: the engine's, copied. The first step compiles and raises whatever the compiler does.
    """

    def __init__(self, engine: TorchEngine, network: VRetouchEr) -> None:
        own = copy.deepcopy(network)
        super().__init__(engine.preset, engine.threads, engine.device.type, engine.dtype, own, warp)
        # A part that is left to Python is an error: then it would not be the compiler's step.
        self._compiled = torch.compile(super().compute, mode=MODE, fullgraph=True, dynamic=False)

    def compute(self, state: TorchState) -> None:
        """See TorchEngine."""
        self._compiled(state)


def _own_stream(device: torch.device) -> AbstractContextManager[object]:
    """The stream that there is, also after a recording that failed, which leaves torch on the recording's."""
    if device.type == "cpu":
        return nullcontext()
    return torch.cuda.stream(torch.cuda.current_stream(device))


def compiled_beside(engine: TorchEngine, network: VRetouchEr) -> CompiledEngine:
    """A CompiledEngine that has stepped beside the engine, and is compiled.

    Raises:
        BenchError: it cannot be compiled or recorded, or computes something else.
    """
    try:
        with _own_stream(engine.device):
            made = CompiledEngine(engine, network)
            apart = parity.measure(made, engine).residual_levels
    except Exception as error:  # the compiler's own, or those of the compilers that it calls
        raise BenchError(first_line(getattr(error, "inner_exception", error))) from error
    if not apart <= parity.LEVELS:
        raise BenchError(f"its residual is off by {apart:.2g} levels")
    return made
