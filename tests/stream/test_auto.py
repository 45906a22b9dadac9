"""Which engine runs: the fastest that computes what the CPU's does; what drifts, fails or is flat is left
out, and said."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from stream import engine as engine_module
from stream.auto import Candidate, checked, fastest
from stream.crop import FACE_PX
from stream.engine import Engine, Seen, available_presets, load_engine
from stream.errors import EngineError
from stream.parity import FRAMES, LEAST_LEVELS, measure, spotted_faces
from tests.conftest import require


class Plain:
    """Pulls every pixel to the mean face of its stream so far."""

    name, preset, slow_s = "plain", "live", 0.0

    def new_state(self) -> list[npt.NDArray[np.float32]]:
        return []

    def step(self, face_rgb_u8: npt.NDArray[np.uint8], state: list[npt.NDArray[np.float32]]) -> Seen:
        time.sleep(self.slow_s)
        state.append(face_rgb_u8.mean((0, 1), dtype=np.float32))
        residual = 0.2 * (np.mean(state, 0) - face_rgb_u8.astype(np.float32))
        return self.spoilt(Seen(residual, np.full((FACE_PX, FACE_PX), 0.5, np.float32)), len(state))

    def spoilt(self, seen: Seen, steps: int) -> Seen:
        return seen


class Slow(Plain):
    name, slow_s = "slow", 0.05


class Slower(Plain):
    name, slow_s = "slower", 0.15


class Drifting(Plain):
    """Right at first; its error grows with its memory."""

    name = "drifting"

    def spoilt(self, seen: Seen, steps: int) -> Seen:
        return seen._replace(residual=seen.residual + np.float32(0.1 * steps))


class Flat(Plain):
    """One colour all over, as of half floats that have run over."""

    name = "flat"

    def spoilt(self, seen: Seen, steps: int) -> Seen:
        return seen._replace(residual=np.zeros_like(seen.residual))


class NotANumber(Plain):
    name = "not-a-number"

    def spoilt(self, seen: Seen, steps: int) -> Seen:
        residual = seen.residual.copy()
        residual[5, 5, 1] = np.nan
        return seen._replace(residual=residual)


class OtherMap(Plain):
    name = "other-map"

    def spoilt(self, seen: Seen, steps: int) -> Seen:
        return seen._replace(map=seen.map + np.float32(0.1))


class OutOfMemory(Plain):
    name = "out-of-memory"

    def step(self, face_rgb_u8: npt.NDArray[np.uint8], state: list[npt.NDArray[np.float32]]) -> Seen:
        raise RuntimeError("CUDA out of memory.\nTried to allocate 2 GiB")


def candidate(make: Callable[[], Engine]) -> Candidate:
    return Candidate(make().name, make)


def test_the_fastest_that_computes_the_same_is_chosen_and_said() -> None:
    reference = Slow()
    choice = fastest(reference, [candidate(Plain)])
    assert choice.engine.name == "plain"
    assert choice.said.startswith("engine plain: ")
    assert "slow" in choice.said
    assert choice.left_out == ()


def test_a_slower_one_is_not_chosen() -> None:
    reference = Plain()
    choice = fastest(reference, [candidate(Slow)])
    assert choice.engine is reference
    assert "slow" in choice.said


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (Drifting, "residual is off by 1.3 levels"),
        (Flat, "residual is off"),
        (NotANumber, "off by inf"),
        (OtherMap, "map is off by 0.1"),
        (OutOfMemory, r"failed \(CUDA out of memory.\)"),
    ],
)
def test_what_computes_something_else_is_left_out_with_the_reason(wrong: type[Plain], reason: str) -> None:
    reference = Slow()
    choice = fastest(reference, [candidate(wrong)])
    assert choice.engine is reference
    (line,) = choice.left_out
    assert line.startswith(f"engine {wrong.name} is left out: ")
    assert "\n" not in line
    with pytest.raises(EngineError, match=reason):
        checked(wrong(), reference)


def test_one_that_cannot_be_loaded_is_left_out_with_its_reason() -> None:
    def absent() -> Engine:
        raise EngineError("there is no GPU here; choose onnx-cpu")

    choice = fastest(Slow(), [Candidate("torch-cuda", absent), candidate(Plain)])
    assert choice.engine.name == "plain"
    assert choice.left_out == ("engine torch-cuda is left out: there is no GPU here; choose onnx-cpu",)


def test_weights_that_change_nothing_prove_nothing() -> None:
    with pytest.raises(EngineError, match="0 levels only"):
        checked(Flat(), Flat())


def test_the_faces_of_the_check_are_spotted_and_move() -> None:
    faces = spotted_faces()
    assert len(faces) == FRAMES
    assert {(face.shape, face.dtype) for face in faces} == {((FACE_PX, FACE_PX, 3), np.dtype(np.uint8))}
    np.testing.assert_array_equal(faces[0][1:, 2:], faces[1][:-1, :-2])
    assert faces[0].std() > 5.0


def test_the_shipped_weights_see_work_in_these_faces_and_torch_equals_onnx() -> None:
    require("torch")
    for preset in available_presets():
        reference = load_engine("onnx-cpu", preset, threads=1)
        found = measure(load_engine("torch-cpu", preset, threads=1), reference)
        assert found.largest_levels > 2 * LEAST_LEVELS
        assert found.residual_levels < 0.01
        assert found.map < 1e-4
        assert found.objection == ""


@pytest.fixture
def with_gpu(monkeypatch: pytest.MonkeyPatch) -> dict[str, Engine]:
    """A machine with a GPU on which engines are the ones given."""
    engines: dict[str, Engine] = {"onnx-cpu": Slow(), "torch-cuda": Plain(), "onnx-cuda": Slower()}
    monkeypatch.setattr(engine_module, "has_gpu", lambda: True)
    monkeypatch.setattr(engine_module, "_load", lambda name, preset, threads: engines[name])
    return engines


def test_auto_tells_what_it_chose_and_what_it_left_out(
    with_gpu: dict[str, Engine], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "vretouch.engine"):
        assert load_engine("auto") is with_gpu["torch-cuda"]
        with_gpu["torch-cuda"] = Drifting()
        assert load_engine("auto") is with_gpu["onnx-cpu"]
    assert [(record.levelname, record.message.split(":")[0]) for record in caplog.records] == [
        ("INFO", "engine plain"),
        ("WARNING", "engine torch-cuda is left out"),
        ("INFO", "engine slow"),
    ]


def test_all_that_was_left_out_is_told_in_one_line(
    with_gpu: dict[str, Engine], caplog: pytest.LogCaptureFixture
) -> None:
    with_gpu |= {"torch-cuda": Drifting(), "onnx-cuda": Drifting()}
    assert load_engine("auto") is with_gpu["onnx-cpu"]
    (warning,) = (record.message for record in caplog.records if record.levelname == "WARNING")
    assert "engine torch-cuda is left out: " in warning
    assert "; engine onnx-cuda is left out: " in warning


class Unloadable:
    """torch for CUDA, on a GPU for which it was not built."""

    def __init__(self, *arguments: object) -> None:
        raise RuntimeError("CUDA error: no kernel image is available\nCompile with TORCH_USE_CUDA_DSA")


def test_an_engine_that_its_library_cannot_load_is_left_out_and_by_its_name_a_sentence(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    require("torch")
    monkeypatch.setattr(engine_module, "has_gpu", lambda: True)
    monkeypatch.setattr(engine_module.importlib.util, "find_spec", lambda module: object())
    monkeypatch.setattr("stream.engines.torch_.TorchEngine", Unloadable)
    # As CuPy says that something of CUDA is not there.
    monkeypatch.setattr(engine_module, "_load_onnx_gpu", lambda *_: importing_cupy())
    assert load_engine("auto", threads=1).name == "onnx-cpu"
    (warning,) = (record.message for record in caplog.records if record.levelname == "WARNING")
    left_out = "engine {0} is left out: the engine {0} cannot be loaded ({1}); choose onnx-cpu"
    assert warning == "; ".join(
        left_out.format(*each)
        for each in (
            ("torch-cuda", "CUDA error: no kernel image is available"),
            ("onnx-cuda", "Failed to import CuPy."),
        )
    )
    with pytest.raises(
        EngineError, match=r"^the engine torch-cuda cannot be loaded \(CUDA error: .*; choose"
    ):
        load_engine("torch-cuda")


def importing_cupy() -> Engine:
    raise ImportError(f"\n{'=' * 64}\nFailed to import CuPy.\n\nOriginal error:\n  OSError: no libcuda\n")


def test_an_earlier_system_that_torch_cannot_load_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    require("torch")
    monkeypatch.setattr("stream.engines.earlier_.EarlierEngine", Unloadable)
    with pytest.raises(
        EngineError, match=r"^bpfre on torch-cuda cannot be loaded \(CUDA error.*; leave --system"
    ):
        engine_module.load_earlier("bpfre", tmp_path / "w.safetensors", "torch-cuda")


def test_an_engine_asked_for_by_name_is_refused_where_it_is_wrong(with_gpu: dict[str, Engine]) -> None:
    assert load_engine("torch-cuda") is with_gpu["torch-cuda"]
    with_gpu["torch-cuda"] = Drifting()
    with pytest.raises(EngineError, match=r"engine drifting cannot be used: its residual .*; choose"):
        load_engine("torch-cuda")


def test_without_a_gpu_auto_is_the_cpu_and_checks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    monkeypatch.setattr(engine_module, "has_gpu", lambda: False)
    monkeypatch.setattr(engine_module, "_load", lambda name, *_: loaded.append(name) or Plain())
    assert load_engine("auto").name == "plain"
    assert loaded == ["onnx-cpu"]


def test_torch_on_a_gpu_without_one_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = require("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EngineError, match=r"torch-cuda needs an NVIDIA GPU .*; .*choose onnx-cpu"):
        load_engine("torch-cuda", "live", threads=1)
