"""stream.engines.onnx_gpu: buffers, turns and rings, on ONNX Runtime's CPU with addresses of host memory."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest

from stream import engine as engines
from stream.device import DeviceRetoucher
from stream.engine import DeviceEngine, find_weights, load_engine
from stream.engines import onnx_, onnx_gpu
from stream.engines.onnx_ import OnnxEngine, StateSpec
from stream.engines.onnx_gpu import OnnxGpuEngine, cache_folder, provider_options
from stream.errors import EngineError
from stream.retoucher import Retoucher
from tests.conftest import REPOSITORY
from tests.stream.fakes import FakeFinder, face_at, noise_frame
from tests.stream.host_board import HostBoard
from tests.stream.tiny_onnx import DELTA, write_tiny

TENSORRT = "libnvinfer.so.10"
"""What ONNX Runtime 1.31 is linked against; it knows the provider without it too."""


class HostEngine(OnnxGpuEngine):
    """The engine's own code, its session and its memory on the host."""

    def __init__(self, folder: Path) -> None:
        weights = find_weights("live", folder)
        session = onnxruntime.InferenceSession(str(weights.path), providers=["CPUExecutionProvider"])
        self._start("onnx-cuda", session, weights, HostBoard(at_once=True), "cpu")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_tiny(tmp_path)
    return tmp_path


def faces(count: int) -> list[np.ndarray]:
    return [noise_frame(512, 512, seed=k) for k in range(count)]


def test_it_equals_the_cpus_engine_over_twice_the_ring(folder: Path) -> None:
    engine, reference = HostEngine(folder), OnnxEngine(find_weights("live", folder), 1)
    states = engine.new_state(), reference.new_state()
    for face in faces(2 * DELTA + 1):
        got, wanted = engine.step(face, states[0]), reference.step(face, states[1])
        for one, other in zip(got, wanted, strict=True):
            assert one.shape == other.shape
            np.testing.assert_allclose(one, other, atol=1e-3)


def test_two_states_share_nothing(folder: Path) -> None:
    engine = HostEngine(folder)
    one, other = engine.new_state(), engine.new_state()
    first = engine.step(faces(1)[0], one).residual
    for face in faces(3):
        engine.step(face, other)
    fresh = engine.new_state()
    np.testing.assert_array_equal(engine.step(faces(1)[0], fresh).residual, first)
    assert one.time == 1
    assert other.time == 3


def test_a_step_is_not_waited_for(folder: Path) -> None:
    waits = HostEngine(folder)._options.get_run_config_entry("disable_synchronize_execution_providers")
    assert waits == "1"


def test_a_state_that_is_dropped_takes_its_memory_with_it(folder: Path) -> None:
    engine = HostEngine(folder)
    state = engine.new_state()
    engine.step(faces(1)[0], state)
    held = [state.face, *state.outputs.values(), *state.rings.values(), *state.slots.values()]
    held += [array for pair in state.plain.values() for array in pair]
    freed = [weakref.ref(array) for array in held]
    del state, held
    assert all(array() is None for array in freed)


def test_a_step_between_buffers_is_that_between_arrays(folder: Path) -> None:
    engine, finder = HostEngine(folder), FakeFinder(face_at(160, 120, 0.35, 0.1))
    assert isinstance(engine, DeviceEngine)
    reference = OnnxEngine(find_weights("live", folder), 1)
    frames = [noise_frame(240, 320, seed=k) for k in range(3)]
    with DeviceRetoucher(engine, finder=finder) as r, Retoucher(engine=reference, finder=finder) as host:
        for k, frame in enumerate(frames):
            one, other = r.process(frame, k / 30), host.process(frame, k / 30)
            assert np.abs(one.astype(int) - other).max() <= 1
            assert (one != frame).any()


def test_another_stream_is_refused(folder: Path) -> None:
    engine = HostEngine(folder)
    with pytest.raises(EngineError, match="made for another CUDA stream"):
        engine.begin(engine.new_state(), engine.board.stream + 1)


def test_options_of_the_providers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cuda = provider_options("onnx-cuda", 123, tmp_path)
    assert cuda["user_compute_stream"] == "123"
    # Its recordings are kept for each state that ever was, and broken by what other threads allocate.
    assert "enable_cuda_graph" not in cuda
    tensorrt = provider_options("onnx-tensorrt", 123, tmp_path)
    assert tensorrt["trt_engine_cache_path"] == str(tmp_path)
    assert "trt_cuda_graph_enable" not in tensorrt
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "vretouch" / "tensorrt"


def on_the_cpu(monkeypatch: pytest.MonkeyPatch, *started: str) -> list[Any]:
    """Sessions run on the CPU, and say that these providers have started. Gives the providers asked for."""
    asked: list[Any] = []
    real = onnxruntime.InferenceSession

    def session(path: str, options: object, providers: list, enable_fallback: int) -> object:
        asked.append(providers)
        made = real(path, options, providers=["CPUExecutionProvider"])
        monkeypatch.setattr(made, "get_providers", lambda: [*started, "CPUExecutionProvider"])
        return made

    monkeypatch.setattr(onnx_, "providers", lambda: list(onnx_gpu.PROVIDERS.values()))
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    return asked


@pytest.mark.parametrize("name", onnx_gpu.PROVIDERS)
def test_what_the_provider_refuses_is_tried_once_and_said(
    name: str, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    tried: list[str] = []

    def session(path: str, options: object, providers: list, **_: object) -> None:
        tried.append(path)
        raise RuntimeError("no kernel image for this GPU\nat line 7")

    monkeypatch.setattr(onnx_, "providers", lambda: list(onnx_gpu.PROVIDERS.values()))
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    with pytest.raises(EngineError, match=r"on \w+ \(no kernel image for this GPU\); choose another engine"):
        OnnxGpuEngine(name, find_weights("live", folder), HostBoard())
    assert len(tried) == 1


@pytest.mark.parametrize(
    ("name", "wanted"), [("onnx-cuda", ["onnx-cuda"]), ("onnx-tensorrt", ["onnx-tensorrt", "onnx-cuda"])]
)
def test_the_providers_and_their_options_are_what_is_asked_for(
    name: str, wanted: list[str], monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    asked = on_the_cpu(monkeypatch, *onnx_gpu.PROVIDERS.values())
    board = HostBoard()
    engine = OnnxGpuEngine(name, find_weights("live", folder), board)
    named = [(onnx_gpu.PROVIDERS[w], provider_options(w, board.stream, cache_folder())) for w in wanted]
    assert asked == [[*named, "CPUExecutionProvider"]]
    assert (engine.name, engine.preset) == (name, "live")


def test_a_runtime_without_the_provider_says_so(folder: Path) -> None:
    with pytest.raises(
        EngineError, match="does not know Tensorrt; `pip uninstall onnxruntime onnxruntime-gpu`, then"
    ):
        OnnxGpuEngine("onnx-tensorrt", find_weights("live", folder), HostBoard())


@pytest.mark.parametrize("name", onnx_gpu.PROVIDERS)
def test_a_provider_that_falls_back_to_the_cpu_is_refused(
    name: str, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    on_the_cpu(monkeypatch, "TensorrtExecutionProvider")
    with pytest.raises(
        EngineError, match=r"could not start CUDA \(its own log says why\); .* another engine"
    ):
        OnnxGpuEngine(name, find_weights("live", folder), HostBoard())


def test_cudas_libraries_are_loaded_first_and_one_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = on_the_cpu(monkeypatch)

    def preload() -> None:
        done.append("libraries")
        print("Failed to load libcublasLt.so.13: no such file\nPlease follow the manual")

    monkeypatch.setattr(onnxruntime, "preload_dlls", preload)
    with pytest.raises(
        EngineError, match=r"start CUDA \(Failed to load libcublasLt.so.13: no such file\); `pip"
    ):
        OnnxGpuEngine("onnx-cuda", find_weights("live", folder), HostBoard())
    assert done[0] == "libraries" and len(done) == 2
    assert capsys.readouterr().out == ""


def test_a_provider_that_fails_is_not_put_aside_by_onnx_runtime_itself(
    monkeypatch: pytest.MonkeyPatch, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As ONNX Runtime 1.31 does without TensorRT's libraries."""

    def register(*_: object) -> None:
        raise RuntimeError(
            "/src/python/state.cc:729 void Register(Options&, const Options&) Please install it.\n"
        )

    monkeypatch.setattr(onnx_, "providers", lambda: list(onnx_gpu.PROVIDERS.values()))
    monkeypatch.setattr(onnxruntime.InferenceSession, "_create_inference_session", register)
    with pytest.raises(EngineError, match=r"on Tensorrt \(Please install it\.\); choose another engine"):
        OnnxGpuEngine("onnx-tensorrt", find_weights("live", folder), HostBoard())
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", onnx_gpu.PROVIDERS)
def test_without_cupy_the_engine_says_how_to_get_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines.importlib.util, "find_spec", lambda module: None)
    with pytest.raises(EngineError, match=f"engine {name} needs CuPy"):
        load_engine(name)


def test_a_ring_takes_its_slot_over_the_oldest_wherever_its_axis_is(folder: Path) -> None:
    engine = HostEngine(folder)
    board = engine.board
    spec = StateSpec("deep", True, (2, 3, 4), 1)
    ring, slot = board.zeros(spec.shape, np.float32), board.zeros(spec.out_shape(), np.float32)
    slot.values[...] = np.arange(1, 9).reshape(2, 1, 4)
    state = SimpleNamespace(time=4, rings={"deep": ring}, slots={"deep": slot})
    engine._push(spec, state)
    wanted = np.zeros((2, 3, 4), np.float32)
    wanted[:, 1:2] = slot.values
    np.testing.assert_array_equal(ring.values, wanted)


@pytest.mark.gpu
@pytest.mark.parametrize("name", engines.GPU_ENGINES)
def test_an_engine_of_a_gpu_passes_the_check(name: str) -> None:
    """In a process of its own: this one may have CUDA's libraries from torch, which not everybody has."""
    provider = onnx_gpu.PROVIDERS.get(name)
    if provider is not None and provider not in onnx_.providers():
        pytest.skip(f"the installed ONNX Runtime has no {provider}")
    if name == "onnx-tensorrt" and not has_library(TENSORRT):
        pytest.skip(f"TensorRT's {TENSORRT} is not where libraries are looked for")
    code = "import sys; from stream.engine import load_engine; print(load_engine(sys.argv[1]).name)"
    command = [sys.executable, "-c", code, name]
    ran = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert ran.stdout == f"{name}\n", ran.stderr


def has_library(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True
