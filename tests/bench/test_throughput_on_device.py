"""The throughput bench on a GPU, with the kernels' own sources on this machine's CPU."""

from __future__ import annotations

import json
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.__main__ import main
from stream.device import GuardedFace
from stream.errors import EngineError
from stream.retoucher import Retoucher
from tests.conftest import require
from tests.stream.fakes import FakeEngine, FakeFinder, face_at, noise_frame
from tests.stream.host_board import FakeDeviceEngine, HostArray, HostBoard

torch = require("torch")

from bench import carried, networks, pipeline  # noqa: E402
from bench.device import Cpu  # noqa: E402
from bench.streams import Batched, OneByOne, try_streams  # noqa: E402
from bench.streams_on_device import BatchedOnDevice, OneByOneOnDevice  # noqa: E402
from stream.engines.torch_ import TorchEngine  # noqa: E402
from tests.bench.scripted import ScriptedDevice  # noqa: E402

PASTED = ["guard", "paste", "download"]


class WatchedBoard(HostBoard):
    """Notes when a frame is waited for."""

    def download(self, array: HostArray) -> Callable[[], np.ndarray]:
        finish = super().download(array)

        def noted() -> np.ndarray:
            self.log.append("finish")
            return finish()

        return noted


class FakeGpu(Cpu):
    """A GPU by its kind."""

    kind, group = "cuda", "consumer"


@pytest.fixture(scope="module")
def shots() -> list[pipeline.Shot]:
    with Retoucher(engine=FakeEngine(), finder=FakeFinder(face_at(320, 180, 0.3))) as retoucher:
        return pipeline.shots_of(noise_frame(90, 160), (640, 360), 1, retoucher)


def seeded() -> TorchEngine:
    """The smallest network under a preset's name."""
    return TorchEngine("live", 1, network=networks.network_of("tiny"))


def in_order(board: HostBoard) -> list[str]:
    """What was done but for uploads, of frames and guards, which threads of their own send."""
    done = [name for name in board.log if name != "upload"]
    assert board.log.count("upload") == 2 * done.count("crop")
    return done


def marks_on(device: ScriptedDevice) -> tuple[list[str], Callable[[str], None]]:
    """The stages that end, each on the board's own stream."""
    marks: list[str] = []

    def mark(stage: str) -> None:
        assert device.stream == HostBoard.stream
        marks.append(stage)

    return marks, mark


def test_one_by_one_frames_stay_there_and_none_is_waited_for_before_all_are_under_way(
    shots: list[pipeline.Shot],
) -> None:
    board, device = WatchedBoard(), ScriptedDevice()
    there = OneByOneOnDevice(FakeDeviceEngine(board), board, device, 2, 2)
    host = OneByOne(FakeDeviceEngine(), 2)
    for number in range(3):
        pair = [shots[number], shots[number + 4]]
        board.log.clear()
        marks, mark = marks_on(device)
        got, wanted = there.tick(pair, mark), host.tick(pair, lambda _: None)
        assert marks == ["upload", "crop, step", "paste"] * 2
        assert in_order(board) == ["crop", "step", *PASTED] * 2 + ["finish"] * 2
        for shot, a, b in zip(pair, wanted, got, strict=True):
            assert (a != shot.frame_u8).any()
            assert np.abs(a.astype(int) - b).max() <= 1
    assert device.stream is None


def test_batched_frames_stay_there_and_all_streams_step_at_once(shots: list[pipeline.Shot]) -> None:
    board, device, engine = WatchedBoard(at_once=True), ScriptedDevice(), seeded()
    there, host = BatchedOnDevice(engine, board, device, 2, 3), OneByOne(engine, 3)
    steps: list[tuple[int, int]] = []
    run = engine.run

    def counted(state) -> None:
        if len(state.faces_u8) == 3:
            steps.append((len(state.faces_u8), board.log.count("crop")))
        run(state)

    engine.run = counted
    for number in range(3):
        three = [shots[number], shots[number + 2], shots[number + 4]]
        board.log.clear()
        marks, mark = marks_on(device)
        got, wanted = there.tick(three, mark), host.tick(three, lambda _: None)
        assert marks == [*["upload", "crop"] * 3, "step", *["paste"] * 3]
        assert in_order(board) == ["crop"] * 3 + PASTED * 3 + ["finish"] * 3
        for shot, a, b in zip(three, wanted, got, strict=True):
            assert (a != shot.frame_u8).any()
            assert np.abs(a.astype(int) - b).max() <= 1
    assert steps == [(3, 3)] * 3
    assert device.stream is None


@pytest.mark.parametrize("way", [OneByOneOnDevice, BatchedOnDevice])
def test_frames_are_sent_by_threads_of_their_own(way: type, shots: list[pipeline.Shot]) -> None:
    """Two at once: each of the first two waits until the other is on its way too."""
    both = threading.Barrier(2, timeout=60.0)
    frame_rows = len(shots[0].frame_u8)

    class Meeting(HostBoard):
        def upload(self, rows: np.ndarray, pitch: int) -> HostArray:
            if len(rows) == frame_rows:
                both.wait()
            return super().upload(rows, pitch)

    way(seeded(), Meeting(at_once=True), Cpu(1), 2, 2).tick(shots[:2], lambda _: None)


def test_a_stream_among_many_is_never_stepped_alone(shots: list[pipeline.Shot]) -> None:
    there = BatchedOnDevice(seeded(), HostBoard(at_once=True), Cpu(1), 1, 2)
    with pytest.raises(EngineError, match="step on the device only"):
        there._retouchers[0].step(shots[0].located)


def test_what_a_trial_made_is_gone_before_the_next(shots: list[pipeline.Shot]) -> None:
    """The next one needs the memory."""
    engine, made = seeded(), []

    def make(streams: int) -> BatchedOnDevice:
        way = BatchedOnDevice(engine, HostBoard(at_once=True), Cpu(1), 1, streams)
        made.append(weakref.ref(way._state))
        return way

    try_streams("x", make, 1, Cpu(1), shots, 1, 1e6)
    assert made[0]() is None


class CupysError(MemoryError):
    """CuPy's OutOfMemoryError is one."""


def while_recording() -> None:
    try:
        raise torch.OutOfMemoryError("CUDA: too much asked for")
    finally:
        raise RuntimeError("operation failed due to a previous error during capture")


def raising(error: Exception) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


@pytest.mark.parametrize(
    "work",
    [
        raising(CupysError("Out of memory allocating 6,220,800 bytes")),
        raising(CupysError()),
        raising(RuntimeError("cudaErrorMemoryAllocation: out of memory")),
        raising(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")),
        raising(Exception("[ONNXRuntimeError] : 6 : Failed to allocate memory for requested buffer")),
        while_recording,
    ],
    ids=["cupy", "wordless", "pinned", "cublas", "onnx", "recording"],
)
def test_too_little_memory_ends_a_trial_whichever_library_says_so(
    work: Callable[[], None], shots: list[pipeline.Shot]
) -> None:
    trial = try_streams("x", lambda _: work(), 3, Cpu(1), shots, 5, 1e6)
    assert (trial.streams, trial.ticks, trial.kept) == (3, None, False)


def test_another_error_is_not_taken_for_too_little_memory(shots: list[pipeline.Shot]) -> None:
    with pytest.raises(RuntimeError, match="no kernel image"):
        try_streams("x", lambda _: raising(RuntimeError("no kernel image"))(), 3, Cpu(1), shots, 5, 1e6)


SMALL = "throughput --threads 1 --resolution 360p --ticks 2 --limit 2 --budget-ms 1e6"


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One that torch sees. What is given is filled with the number of trials before each giving back."""
    given: list[int] = []
    tried = try_streams
    count = [0]

    def counted(*arguments: Any) -> object:
        count[0] += 1
        made = [isinstance(face, GuardedFace) for shot in arguments[4] for face in shot.located.faces]
        assert set(made) == {arguments[3].kind == "cuda"}
        return tried(*arguments)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(carried, "device_of", lambda kind, n: FakeGpu(n) if kind == "cuda" else Cpu(n))
    monkeypatch.setattr(carried, "loader", lambda *_: seeded)
    monkeypatch.setattr(carried, "board_of", lambda _: HostBoard(at_once=True))
    monkeypatch.setattr(carried, "give_back", lambda: given.append(count[0]))
    monkeypatch.setattr(carried, "try_streams", counted)
    return given


def test_a_whole_run_on_a_gpu_which_is_taken_where_there_is_one(
    gpu: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for way in (OneByOne, Batched):
        monkeypatch.setattr(way, "tick", raising(AssertionError("the frame left the GPU")))
    out = tmp_path / "out.json"
    assert main([*SMALL.split(), "--json", str(out)]) == 0
    read = json.loads(out.read_text())
    assert read["settings"]["device"] == "cuda"
    assert [(t["way"], t["streams"], list(t["stages"])) for t in read["trials"]] == [
        ("one by one, torch-cpu", 1, ["upload", "crop, step", "paste"]),
        ("one by one, torch-cpu", 2, ["upload", "crop, step", "paste"]),
        ("batched, torch-cpu", 1, ["upload", "crop", "step", "paste"]),
        ("batched, torch-cpu", 2, ["upload", "crop", "step", "paste"]),
    ]
    assert read["figures"]["streams_one_by_one"] == read["figures"]["streams_batched"] == 2
    assert gpu == [0, 1, 2, 3]
    assert "each frame goes to the GPU and comes back once" in capsys.readouterr().out


def test_a_cpu_is_still_to_be_had(gpu: list[int], tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    assert main([*f"{SMALL} --limit 1 --device cpu".split(), "--json", str(out)]) == 0
    read = json.loads(out.read_text())
    assert [t["way"] for t in read["trials"]] == ["one by one, torch-cpu", "batched, torch-cpu"]
    assert gpu == []


def test_without_a_gpu_the_cpu_is_taken(
    gpu: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    out = tmp_path / "out.json"
    assert main([*f"{SMALL} --limit 1".split(), "--json", str(out)]) == 0
    assert json.loads(out.read_text())["settings"]["device"] == "cpu"


def test_without_cupy_a_sentence_says_what_to_do(
    gpu: list[int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def absent(_: object) -> None:
        raise EngineError("frames on a GPU need CuPy")

    monkeypatch.setattr(carried, "board_of", absent)
    assert main(f"{SMALL} --device cuda".split()) == 2
    assert "frames on a GPU need CuPy, or give --device cpu" in capsys.readouterr().err


def test_an_engine_that_does_not_fit_is_a_sentence(
    gpu: list[int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(carried, "loader", lambda *_: raising(CupysError("out of\nmemory")))
    assert main(SMALL.split()) == 2
    assert "has too little memory for the engine (out of); end what else" in capsys.readouterr().err
    monkeypatch.setattr(carried, "loader", lambda *_: raising(RuntimeError("no kernel image")))
    with pytest.raises(RuntimeError, match="no kernel image"):
        main(SMALL.split())
