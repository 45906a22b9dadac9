"""What a device is: its class, its clock, its rates; and what a step sets going on it."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from bench.report import BenchError
from tests.conftest import require

torch = require("torch")

from bench import cuda  # noqa: E402
from bench.device import (  # noqa: E402
    PRODUCTS,
    Cuda,
    Stopwatch,
    class_of,
    device_of,
    least_ms,
    own_mb,
    product_gflops,
)
from tests.bench.scripted import ScriptedDevice  # noqa: E402


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("NVIDIA GeForce RTX 3090", "consumer"),
        ("NVIDIA GeForce RTX 4070 Laptop GPU", "consumer"),
        ("NVIDIA RTX A6000", "consumer"),
        ("NVIDIA RTX A500 Laptop GPU", "consumer"),
        ("Quadro T400 4GB", "consumer"),
        ("NVIDIA H200", "data-centre"),
        ("NVIDIA A100-SXM4-80GB", "data-centre"),
        ("NVIDIA GH200 480GB", "data-centre"),
        ("NVIDIA A10G", "data-centre"),
        ("NVIDIA A100X", "data-centre"),
        ("NVIDIA L40S", "data-centre"),
        ("Tesla V100-PCIE-16GB", "data-centre"),
        ("Tesla T4", "data-centre"),
    ],
)
def test_a_card_is_of_a_class_by_its_name(name: str, group: str) -> None:
    assert class_of(name) == group


def test_stages_are_timed_by_the_device_and_frames_by_the_host_too() -> None:
    device = ScriptedDevice()
    watch = Stopwatch(device)
    for _ in range(2):
        with watch.frame():
            watch.mark("crop")
            device.work_ms(1)
            watch.mark("step")
    assert device.waited == 4  # before and after each frame, and nowhere else
    stages = watch.stages()
    assert list(stages) == ["crop", "step"]
    assert (stages["crop"].count, stages["crop"].max, stages["step"].max) == (2, 1.0, 2.0)
    assert watch.device().p50 == 4.0
    assert 0.0 < watch.wall().max < 1000.0


def test_the_shortest_run_counts_and_the_first_is_not_timed() -> None:
    device = ScriptedDevice()
    spent = iter([9, 3, 2, 4])
    ran: list[int] = []

    def run() -> None:
        ran.append(next(spent))
        device.work_ms(ran[-1])

    assert least_ms(device, run, 3) == 3.0  # two ticks within, and the frame's own
    assert len(ran) == 4


def test_a_cpu_has_rates_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.device.measured_gflops", lambda threads: 1e6 * threads)
    device = device_of("cpu", 1)
    roof = device.roof(device.dtype)
    assert roof.matrix_gflops == 1e6
    assert 0.05 < roof.copy_gbs < 5000.0
    assert roof.link_gbs is None
    assert device.peak_mb() is None
    assert own_mb() > 50.0
    assert "1 thread" in device.name


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_products_are_of_random_numbers_in_the_dtype_that_is_asked(
    dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    multiply = torch.matmul

    def watched(a: Any, b: Any, out: Any) -> None:
        seen.append((a, b, torch.get_float32_matmul_precision()))
        multiply(a, b, out=out)

    monkeypatch.setattr(torch, "matmul", watched)
    # A millisecond for 2 * 50^3 operations.
    assert product_gflops(ScriptedDevice(), dtype, 50) == pytest.approx(0.25)
    assert len(seen) == PRODUCTS + 1
    a, b, precision = seen[0]
    assert a.dtype == b.dtype == dtype
    assert 0.0 < float(a.float().std()) < 1.0
    assert not torch.equal(a, b)
    assert precision == "high"
    assert torch.get_float32_matmul_precision() == "highest"


def test_a_gpu_that_is_not_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BenchError, match="use --device cpu"):
        Cuda()


def test_memory_of_a_gpu_is_what_every_library_took_and_what_torch_gave_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = {"torch": 0, "most of torch": 0, "others": 1000 << 20}

    def reset() -> None:
        held["most of torch"] = held["torch"]

    def free() -> tuple[int, int]:
        return (16000 << 20) - held["torch"] - held["others"], 16000 << 20

    stands_in = {
        "is_available": lambda: True,
        "get_device_name": lambda: "NVIDIA A10G",
        "empty_cache": lambda: held.update(torch=64 << 20),
        "reset_peak_memory_stats": reset,
        "memory_reserved": lambda: held["torch"],
        "max_memory_reserved": lambda: held["most of torch"],
        "mem_get_info": free,
    }
    for name, function in stands_in.items():
        monkeypatch.setattr(torch.cuda, name, function)
    device = Cuda()
    assert device.peak_mb() == 0.0
    held |= {"torch": 100 << 20, "most of torch": 300 << 20, "others": 1250 << 20}
    assert device.peak_mb() == 300 - 64 + 250
    device.forget_peak()
    assert device.peak_mb() == 0.0


def test_launches_are_the_hosts_and_kernels_the_devices() -> None:
    events = [
        ("aten::add", "CPU"),
        ("cudaLaunchKernel", "CPU"),
        ("cudaMemcpyAsync", "CPU"),
        ("cudaDeviceSynchronize", "CPU"),
        ("add_kernel", "CUDA"),
        ("Memcpy HtoD", "CUDA"),
    ]
    assert cuda.counted(events) == {"launches": 2.0, "kernels": 2.0}


@pytest.mark.parametrize(
    "name",
    [
        "cudaGraphLaunch",
        "cudaLaunchKernelExC",
        "cuLaunchKernelEx",
        "cudaMemcpy2DAsync",
        "cudaMemset2DAsync",
    ],
)
def test_whatever_sets_something_going_is_a_launch(name: str) -> None:
    assert cuda.counted([(name, "CPU")])["launches"] == 1.0


# Once a process, as soon as the mode is set.
NOTICE = (
    "Synchronization debug mode is a prototype feature and does not yet detect all synchronizing operations"
)


@pytest.mark.parametrize("waits", [0, 2])
def test_waits_are_counted_as_torch_warns_of_them(waits: int) -> None:
    modes: list[Any] = []

    def set_mode(mode: str) -> None:
        if not modes:
            warnings.warn(NOTICE, stacklevel=1)
        modes.append(mode)

    def run() -> None:
        assert modes == ["warn"]
        for _ in range(waits):
            warnings.warn("called a synchronizing CUDA operation", stacklevel=1)
        warnings.warn("something else", stacklevel=1)

    assert cuda.host_syncs(run, set_mode) == waits
    assert modes == ["warn", "default"]


def test_the_mode_is_taken_back_after_a_failure() -> None:
    modes: list[Any] = []

    def fail() -> None:
        raise RuntimeError("no memory")

    with pytest.raises(RuntimeError, match="no memory"):
        cuda.host_syncs(fail, modes.append)
    assert modes == ["warn", "default"]


def test_a_stage_that_comes_several_times_in_a_frame_is_added_up() -> None:
    watch = Stopwatch(ScriptedDevice())
    with watch.frame():
        for stage in ("crop", "step", "crop", "step"):
            watch.mark(stage)
    stages = watch.stages()
    assert {name: (s.count, s.max) for name, s in stages.items()} == {"crop": (1, 2.0), "step": (1, 2.0)}
