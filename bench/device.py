"""What a bench runs on: a CPU or a GPU, its clock, its memory, and what it reaches at most."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import pairwise
from typing import Any, Protocol

import torch

from bench import report
from bench.ceiling import measured_gflops
from bench.clock import Spread, now_ns, spread
from bench.process import resident_mb
from bench.project import Roof
from bench.report import BenchError

KINDS = ("cpu", "cuda")
CLASSES = ("cpu", "consumer", "data-centre")
COPY_MB, COPIES = 128, 8
PRODUCT_SIDE, PRODUCTS = 8192, 10
UNRECORDED_RUNS = 3
# The names of NVIDIA's cards for data centres: Tesla V100, A100, A10G, A30X, H200, GH200, L40S, T4, P100; but
# no GeForce or RTX A500.
_DATA_CENTRE = re.compile(r"\b(Tesla|G?[ABHV]\d{1,3}[GX]?|L40?S?|T4|P100)\b")
_OTHERS = re.compile(r"GeForce|\bRTX\b")


class Device(Protocol):
    """Where a bench runs. kind: one of KINDS. group: one of CLASSES, for the budgets. dtype: of networks."""

    name: str
    kind: str
    group: str
    dtype: torch.dtype

    def synchronize(self) -> None:
        """Wait until all that was set going is done."""
        ...

    def tick(self) -> Any:
        """This moment in the order of the device's work; nothing is waited for."""
        ...

    def passed_ms(self, began: Any, ended: Any) -> float:
        """Between two ticks; after `synchronize`."""
        ...

    def recorded(self, run: Callable[[], None]) -> Callable[[], None]:
        """`run`, which works between the same tensors every time, as the device does it fastest."""
        ...

    def roof(self, dtype: torch.dtype) -> Roof:
        """Measured now, products in this dtype."""
        ...

    def on_stream(self, stream: int) -> AbstractContextManager[object]:
        """Ticks in the order of the CUDA stream of this handle."""
        ...

    def forget_peak(self) -> None:
        """Give back what is not in use, and begin anew to watch for the peak."""
        ...

    def peak_mb(self) -> float | None:
        """Most memory of the device's own that was taken since; None where it has none."""
        ...


class Cpu:
    """Cores of this machine."""

    kind, group = "cpu", "cpu"
    dtype = torch.float32

    def __init__(self, threads: int) -> None:
        self.name = f"{report.machine()['cpu']}, {threads} thread{'s' * (threads > 1)}"
        self.threads = threads
        torch.set_num_threads(threads)

    def synchronize(self) -> None:
        """Nothing is ever under way."""

    def tick(self) -> int:
        """Monotonic nanoseconds."""
        return now_ns()

    def passed_ms(self, began: int, ended: int) -> float:
        """Between two ticks."""
        return (ended - began) / 1e6

    def recorded(self, run: Callable[[], None]) -> Callable[[], None]:
        """As it is."""
        return run

    def roof(self, dtype: torch.dtype) -> Roof:
        """Products by the BLAS of NumPy, of single precision; copies by torch."""
        del dtype
        source = torch.ones(COPY_MB << 18)
        target = torch.empty_like(source)
        return Roof(measured_gflops(self.threads), _copy_gbs(self, target, source, 2))

    def on_stream(self, stream: int) -> AbstractContextManager[object]:
        """There is one order only."""
        del stream
        return nullcontext()

    def forget_peak(self) -> None:
        """Nothing is watched."""

    def peak_mb(self) -> None:
        """It has no memory of its own; see `resident_mb`."""


class Cuda:
    """The first NVIDIA GPU that torch sees."""

    kind = "cuda"
    dtype = torch.float16

    def __init__(self) -> None:
        if not torch.cuda.is_available():
            raise BenchError(
                f"torch {torch.__version__} sees no NVIDIA GPU; install torch for CUDA and the driver, or "
                "use --device cpu where a bench has it"
            )
        self.name = torch.cuda.get_device_name()
        self.group = class_of(self.name)
        self.forget_peak()

    def synchronize(self) -> None:
        """Wait for the whole device."""
        torch.cuda.synchronize()

    def tick(self) -> torch.cuda.Event:
        """An event in the stream."""
        event: torch.cuda.Event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event

    def passed_ms(self, began: torch.cuda.Event, ended: torch.cuda.Event) -> float:
        """By the device's own clock."""
        return float(began.elapsed_time(ended))

    def recorded(self, run: Callable[[], None]) -> Callable[[], None]:
        """As a CUDA graph, after runs in which kernels are chosen."""
        for _ in range(UNRECORDED_RUNS):
            run()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            run()
        return graph.replay

    def roof(self, dtype: torch.dtype) -> Roof:
        """Products, copies inside the device, copies to it from pinned memory."""
        source = torch.ones(COPY_MB << 20, dtype=torch.uint8, device="cuda")
        target = torch.empty_like(source)
        pinned = torch.ones(COPY_MB << 20, dtype=torch.uint8, pin_memory=True)
        return Roof(
            product_gflops(self, dtype, PRODUCT_SIDE),
            _copy_gbs(self, target, source, 2),
            _copy_gbs(self, target, pinned, 1),
        )

    def on_stream(self, stream: int) -> AbstractContextManager[object]:
        """It is another library's."""
        other = torch.cuda.ExternalStream(stream)  # type: ignore[no-untyped-call]
        return torch.cuda.stream(other)

    def forget_peak(self) -> None:
        """Torch gives back what it does not use; what other libraries hold now is not counted."""
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        self._free = torch.cuda.mem_get_info()[0]

    def peak_mb(self) -> float:
        """What the driver has less now, and what torch has had more than now: recorded graphs, kernels and
        their scratch, CuPy and ONNX Runtime included, which keep what they once took. Other programs on the
        card must be still."""
        gone = self._free - torch.cuda.mem_get_info()[0]
        given_back = torch.cuda.max_memory_reserved() - torch.cuda.memory_reserved()
        return (gone + given_back) / 1024.0**2


def device_of(kind: str, threads: int) -> Device:
    """The device of one of KINDS; threads are a CPU's."""
    return Cpu(threads) if kind == "cpu" else Cuda()


def class_of(name: str) -> str:
    """The class of a GPU by NVIDIA's name for it: one of CLASSES."""
    return "data-centre" if _DATA_CENTRE.search(name) and not _OTHERS.search(name) else "consumer"


def least_ms(device: Device, run: Callable[[], object], times: int) -> float:
    """The shortest of so many runs, after one untimed."""
    watch = Stopwatch(device)
    run()
    for _ in range(times):
        with watch.frame():
            run()
    return watch.device().min


def product_gflops(device: Device, dtype: torch.dtype, side: int) -> float:
    """Products of matrices [side, side] in torch; single precision by TF32, as ONNX Runtime has it on a GPU.

    Of small random numbers: constant ones draw less power, so that a GPU clocks higher than it does at work.
    """
    random = torch.Generator(device.kind).manual_seed(0)
    a, b = (
        torch.randn((side, side), generator=random, device=device.kind, dtype=dtype) / 16.0 for _ in range(2)
    )
    out = torch.empty_like(a)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        product_ms = least_ms(device, lambda: torch.matmul(a, b, out=out), PRODUCTS)
    finally:
        torch.set_float32_matmul_precision(before)
    return 2.0 * side**3 / product_ms / 1e6


def _copy_gbs(device: Device, target: torch.Tensor, source: torch.Tensor, passes: int) -> float:
    """`passes`: how often each byte passes through the memory that is measured."""
    copy_ms = least_ms(device, lambda: target.copy_(source, non_blocking=True), COPIES)
    return passes * source.nbytes / copy_ms / 1e6


class Stopwatch:
    """Times of frames and of the stages in them: stages by the device's clock, frames by the host's too."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._frames: list[list[tuple[str, Any]]] = []
        self._wall_ms: list[float] = []

    @contextmanager
    def frame(self) -> Iterator[None]:
        """One frame, from an idle device until it is idle again."""
        self._device.synchronize()
        began_ns = now_ns()
        self._frames.append([("", self._device.tick())])
        yield
        self.mark("")
        self._device.synchronize()
        self._wall_ms.append((now_ns() - began_ns) / 1e6)

    def mark(self, stage: str) -> None:
        """Here the stage ends that began at the mark before."""
        self._frames[-1].append((stage, self._device.tick()))

    @property
    def last_ms(self) -> float:
        """The last frame, by the host's clock."""
        return self._wall_ms[-1]

    def wall(self) -> Spread:
        """Frames by the host's clock, waiting for the device included."""
        return spread(self._wall_ms)

    def device(self) -> Spread:
        """Frames by the device's clock."""
        return spread([self._device.passed_ms(ticks[0][1], ticks[-1][1]) for ticks in self._frames])

    def stages(self) -> Mapping[str, Spread]:
        """Stages by the device's clock, in the order in which they first came; one that came several times in
        a frame is added up."""
        taken: dict[str, list[float]] = {}
        for ticks in self._frames:
            spent: dict[str, float] = {}
            for (_, began), (stage, ended) in pairwise(ticks):
                spent[stage] = spent.get(stage, 0.0) + self._device.passed_ms(began, ended)
            for stage, ms in spent.items():
                taken.setdefault(stage, []).append(ms)
        taken.pop("", None)
        return {stage: spread(samples) for stage, samples in taken.items()}


def own_mb() -> float:
    """What this process holds of the host's memory."""
    return resident_mb(os.getpid())
