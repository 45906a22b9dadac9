"""The step that warps by the kernel: its own source, run on this CPU, beside torch's grid_sample."""

from __future__ import annotations

import copy
import logging
import re
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from types import ModuleType
from typing import Any

import pytest

from stream.errors import EngineError
from stream.kernels.launch import Launch
from tests.conftest import require
from tests.stream.kernels.on_cpu import run_on_cpu

torch = require("torch")

from bench import cuda  # noqa: E402
from bench.operations import operations  # noqa: E402
from model.config import preset  # noqa: E402
from model.state import State  # noqa: E402
from model.vretoucher import VRetouchEr  # noqa: E402
from model.warp import Warp, warp  # noqa: E402
from stream import parity  # noqa: E402
from stream.crop import FACE_PX  # noqa: E402
from stream.engines import torch_  # noqa: E402
from stream.engines.torch_ import UNRECORDED_STEPS, KernelWarp, TorchEngine, kernel_warp  # noqa: E402

PLANES, CHANNELS_LAST = torch.contiguous_format, torch.channels_last
LAYOUTS = pytest.mark.parametrize("layout", [PLANES, CHANNELS_LAST], ids=["planes", "channels last"])
FLOW_LAYOUTS = pytest.mark.parametrize(
    "flow_layout", [PLANES, CHANNELS_LAST], ids=["flow planes", "flow pixels"]
)
CPU, FRAMES = torch.device("cpu"), 7


def on_cpu(launch: Launch, stream: int) -> None:
    assert stream == 0
    run_on_cpu(launch)


@pytest.fixture(scope="module")
def network() -> VRetouchEr:
    """Of three flow levels; two streams whose ring of three slots turns twice in FRAMES."""
    torch.manual_seed(4)
    network = VRetouchEr(replace(preset("tiny"), delta=3)).eval()
    with torch.no_grad():
        for weights in network.parameters():  # nothing may hide behind a zero initialisation
            weights.add_(0.05 * torch.randn_like(weights))
    return network


def pictures(channels: int) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(1)
    shape = (2, channels, 20, 31)
    return torch.rand(shape, generator=random), 3 * torch.randn((2, 2, *shape[2:]), generator=random)


@LAYOUTS
@FLOW_LAYOUTS
@pytest.mark.parametrize("channels", [1, 4, 8])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.float16, 1e-3)])
def test_it_is_torchs_warp_in_the_layout_of_the_picture(
    layout: Any, flow_layout: Any, channels: int, dtype: Any, bound: float
) -> None:
    image, flow = (tensor.to(dtype) for tensor in pictures(channels))
    laid = image.contiguous(memory_format=layout)
    got = KernelWarp(on_cpu)(laid, flow.contiguous(memory_format=flow_layout))
    assert (got.dtype, got.stride()) == (dtype, laid.stride())
    torch.testing.assert_close(got.float(), warp(image.float(), flow.float()), rtol=0.0, atol=bound)


def test_parts_of_larger_tensors_and_a_flow_of_another_type_are_warped_too() -> None:
    image, flow = pictures(8)
    part, wide = image[:, 2:5], torch.cat([flow, flow], dim=1)[:, 1:3]
    assert not part.is_contiguous() and not wide.is_contiguous()
    by_kernel = KernelWarp(on_cpu)
    torch.testing.assert_close(by_kernel(part, wide), warp(part, wide))
    torch.testing.assert_close(
        by_kernel(part.half(), wide).float(), warp(part.half().float(), wide), rtol=0.0, atol=1e-3
    )


def steps(network: VRetouchEr, layout: Any, by: Warp) -> tuple[torch.Tensor, State]:
    """What two streams' steps give, [FRAMES, 2, 4, 512, 512] in units of the face, and their memory, laid out
    so and changed in place."""
    own = copy.deepcopy(network).to(memory_format=layout)
    own.warp_by(by)
    random = torch.Generator().manual_seed(2)
    faces = torch.rand((2, 3, FACE_PX, FACE_PX), generator=random).contiguous(memory_format=layout)
    memory, slot = own.fresh_state(faces), torch.zeros(1, dtype=torch.int64)
    memory = replace(memory, patches_prev=memory.patches_prev.contiguous(memory_format=layout))
    where = [getattr(memory, field.name).data_ptr() for field in fields(State)]
    given = []
    with torch.inference_mode():
        for number in range(FRAMES):
            step = own.step_(faces.roll((5 * number, 9 * number), (2, 3)), memory, slot)
            given.append(torch.cat([step.residual, step.map], dim=1))
    assert where == [getattr(memory, field.name).data_ptr() for field in fields(State)]
    return torch.stack(given), memory


@LAYOUTS
def test_a_whole_step_is_that_with_grid_sample(network: VRetouchEr, layout: Any) -> None:
    wanted, remembered = steps(network, layout, warp)
    got, memory = steps(network, layout, KernelWarp(on_cpu))
    torch.testing.assert_close(got, wanted, rtol=0.0, atol=1e-4)
    for field in fields(State):
        one, other = (getattr(state, field.name) for state in (memory, remembered))
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    still, _ = steps(network, layout, lambda image, flow: image)
    assert (still - wanted).abs().max() > 1e-2  # so much hangs on the warp


def test_every_warp_of_a_step_is_one_launch_without_a_copy(network: VRetouchEr) -> None:
    launches: list[Launch] = []

    def run(launch: Launch, stream: int) -> None:
        launches.append(launch)
        on_cpu(launch, stream)

    by_torch = len(operations(lambda: steps(network, CHANNELS_LAST, warp)))
    by_kernel = len(operations(lambda: steps(network, CHANNELS_LAST, KernelWarp(run))))
    warps = FRAMES * (network.config.flow_levels + 1)
    assert len(launches) == warps
    assert by_torch - by_kernel >= 15 * warps
    assert all(launch.variant.defines[-1] == "FLOW_PIXELS=1" for launch in launches)


def test_the_engine_steps_with_the_warp_it_is_given(network: VRetouchEr) -> None:
    engines = [
        TorchEngine("tiny", 1, network=copy.deepcopy(network), warp=by) for by in (None, KernelWarp(on_cpu))
    ]
    states = [engine.new_state(2) for engine in engines]
    random = torch.Generator().manual_seed(3)
    for _ in range(FRAMES):
        faces = torch.randint(0, 256, (2, FACE_PX, FACE_PX, 3), generator=random).to(torch.uint8)
        for engine, state in zip(engines, states, strict=True):
            state.faces_u8.copy_(faces)
            with torch.inference_mode():
                engine.run(state)
        torch.testing.assert_close(states[1].residuals, states[0].residuals, rtol=0.0, atol=255e-4)
        torch.testing.assert_close(states[1].maps, states[0].maps, rtol=0.0, atol=1e-4)


def cupys(monkeypatch: pytest.MonkeyPatch, run: Callable[[Launch, int], None]) -> None:
    """The adapter of CuPy, which runs launches so."""
    module = ModuleType("stream.kernels.cupy_")
    module.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "stream.kernels.cupy_", module)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_the_kernel_is_taken_where_it_does_what_torch_does(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, dtype: Any
) -> None:
    tried = set()

    def run(launch: Launch, stream: int) -> None:
        tried.add(launch.variant)
        on_cpu(launch, stream)

    cupys(monkeypatch, run)
    assert isinstance(kernel_warp(CPU, dtype), KernelWarp)
    assert not caplog.records
    kind = "half_t" if dtype == torch.float16 else "float"
    assert {variant.defines for variant in tried} == {
        (f"REAL={kind}", f"FLOW={kind}", f"VECTOR={vector}", f"FLOW_PIXELS={pixels}")
        for vector in (0, 4)
        for pixels in (0, 1)
    }


def cannot(launch: Launch, stream: int) -> None:
    raise EngineError("it cannot be compiled; choose engine onnx-cpu") from RuntimeError(
        "no NVRTC\nfor miles"
    )


@pytest.mark.parametrize(
    ("run", "reason"),
    [(cannot, "no NVRTC"), (lambda launch, stream: None, r"its pictures are \S+ apart from torch's")],
    ids=["not compiled", "nothing done"],
)
def test_where_the_kernel_fails_torch_warps_and_a_line_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, run: Any, reason: str
) -> None:
    cupys(monkeypatch, run)
    monkeypatch.setattr(torch, "empty_like", lambda tensor: torch.full_like(tensor, torch.nan))
    assert_torch_warps(caplog, reason)


def test_without_cupy_torch_warps_and_a_line_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "stream.kernels.cupy_", None)
    assert_torch_warps(caplog, "stream.kernels.cupy_")


def assert_torch_warps(caplog: pytest.LogCaptureFixture, reason: str) -> None:
    assert kernel_warp(CPU, torch.float32) is None
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    said = record.getMessage()
    assert re.fullmatch(rf"the step warps with torch, in more launches, .* its kernel \(.*{reason}.*\)", said)


class OnGpu(VRetouchEr):
    """A network that is said to lie on a GPU."""

    def to(self, *_: Any) -> OnGpu:
        return self


@pytest.mark.parametrize("found", [KernelWarp(on_cpu), None], ids=["kernel", "no kernel"])
def test_an_engine_of_a_gpu_takes_the_kernel_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, found: Warp | None
) -> None:
    tried: list[Any] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch_, "kernel_warp", lambda *given: tried.append(given) or found)
    network = OnGpu(preset("tiny"))
    TorchEngine("tiny", 1, "cuda", network=network)
    assert tried == [(torch.device("cuda"), torch.float16)]
    assert all(part.warp is (found or warp) for part in (network.fir, *network.spynet.levels))


@pytest.mark.gpu
def test_this_gpu_warps_to_the_same_step_in_fewer_launches(record_property: Any) -> None:
    by_kernel, by_torch = (TorchEngine("live", 1, "cuda", warp=by) for by in (None, warp))
    found = parity.measure(by_kernel, by_torch)
    record_property("levels", round(found.residual_levels, 3))
    assert found.objection == ""
    kernels = [kernels_of(engine) for engine in (by_kernel, by_torch)]
    record_property("kernels", "{:.0f} for {:.0f}".format(*kernels))
    assert kernels[0] < kernels[1]


def kernels_of(engine: TorchEngine) -> float:
    """What the device does in a step that was recorded."""
    state = engine.new_state()

    def run() -> None:
        with torch.inference_mode():
            engine.run(state)

    for _ in range(UNRECORDED_STEPS + 1):
        run()
    return cuda.launches(run)["kernels"]
