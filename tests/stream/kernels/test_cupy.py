"""stream.kernels.cupy_ against a stand-in for CuPy: what is compiled and when, where things are run."""

from __future__ import annotations

import importlib
import sys
import threading
import weakref
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from stream.errors import EngineError
from stream.kernels import launch


class FakeCupy(ModuleType):
    """What cupy_ uses of CuPy. log: what was done, in order; events: those recorded, done when a test says;
    pinned: the memory that copies went to."""

    def __init__(self) -> None:
        super().__init__("cupy")
        self.log: list[Any] = []
        self.events: list[SimpleNamespace] = []
        self.pinned: list[weakref.ref[npt.NDArray[Any]]] = []
        self.device, self.broken = 0, False
        fake = self

        class Stream:
            ptr = 5

            def __init__(self, handle: int = 5) -> None:
                self.handle = handle

            @staticmethod
            def from_external(other: Any) -> Stream:
                return Stream(other.__cuda_stream__()[1])

            def __enter__(self) -> None:
                fake.log.append(("on", self.handle))

            def __exit__(self, *_: object) -> None:
                pass

            def record(self) -> SimpleNamespace:
                event = SimpleNamespace(done=False)
                event.synchronize = lambda: setattr(event, "done", True)
                fake.events.append(event)
                return event

        class RawModule:
            def __init__(self, code: str, options: tuple[str, ...]) -> None:
                if fake.broken:
                    raise RuntimeError("no NVRTC\nfor miles")
                assert "extern" in code
                fake.log.append(("compile", options))

            def get_function(self, name: str) -> Any:
                return lambda grid, block, args, shared_mem: fake.log.append(
                    ("run", name, grid, block, len(args), shared_mem)
                )

        self.RawModule = RawModule
        self.cuda = SimpleNamespace(
            Stream=Stream,
            Device=lambda: SimpleNamespace(id=self.device),
            runtime=SimpleNamespace(getDeviceCount=lambda: 1),
        )

    def empty_pinned(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Memory that a weak reference tells of."""
        memory = np.empty(shape, dtype)
        self.pinned.append(weakref.ref(memory))
        return memory


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCupy]:
    """CuPy's stand-in; the adapter is imported anew for it, and forgotten afterwards."""
    cupy = FakeCupy()
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setitem(sys.modules, "cupyx", SimpleNamespace(empty_pinned=cupy.empty_pinned))
    monkeypatch.delitem(sys.modules, "stream.kernels.cupy_", raising=False)
    yield cupy
    sys.modules.pop("stream.kernels.cupy_", None)


WARP = launch.warp(16, 32, 48, (1, 4, 8, 8), np.float16, np.float16)


def test_a_kernel_is_compiled_once_for_each_variant_and_device(fake: FakeCupy) -> None:
    run = importlib.import_module("stream.kernels.cupy_").run
    other = launch.warp(16, 32, 48, (1, 4, 8, 8), np.float32, np.float32)
    for one in (WARP, WARP, other, WARP):
        run(one, 0)
    compiled = [entry[1] for entry in fake.log if entry[0] == "compile"]
    assert len(compiled) == 2
    assert compiled[0] == (
        "-std=c++17",
        "-DREAL=half_t",
        "-DFLOW=half_t",
        "-DVECTOR=0",
        "-DFLOW_PIXELS=0",
    )
    fake.device = 1
    run(WARP, 0)
    assert sum(entry[0] == "compile" for entry in fake.log) == 3


def test_it_runs_on_the_stream_of_the_handle_with_what_the_launch_says(fake: FakeCupy) -> None:
    run = importlib.import_module("stream.kernels.cupy_").run
    run(WARP, 77)
    assert ("on", 77) in fake.log
    assert fake.log[-1] == ("run", "warp", WARP.grid, WARP.block, len(WARP.arguments), WARP.shared_bytes)


def test_a_board_runs_on_its_own_stream(fake: FakeCupy) -> None:
    board = importlib.import_module("stream.kernels.cupy_").CupyBoard()
    assert board.stream == 5
    board.run(WARP)
    assert ("on", 5) in fake.log


def test_a_frame_that_nobody_waits_for_has_its_memory_until_it_is_there(fake: FakeCupy) -> None:
    module = importlib.import_module("stream.kernels.cupy_")
    board = module.CupyBoard()
    frame = SimpleNamespace(
        shape=(4, 6), dtype=np.uint8, data=SimpleNamespace(ptr=16), get=lambda *_, **__: None
    )
    for _ in range(2):
        board.download(module.CupyArray(frame))
    assert all(memory() is not None for memory in fake.pinned)
    fake.events[0].done = True
    board.download(module.CupyArray(frame))
    assert [memory() is None for memory in fake.pinned] == [True, False, False]


def test_a_frame_on_its_way_there_has_its_memory_until_it_is_there(fake: FakeCupy) -> None:
    fake.empty = lambda shape, _: SimpleNamespace(
        shape=shape, set=lambda *_: None, data=SimpleNamespace(ptr=16)
    )
    board = importlib.import_module("stream.kernels.cupy_").CupyBoard()
    for _ in range(2):
        board.upload(np.zeros((4, 6), np.uint8), 16)
    assert all(memory() is not None for memory in fake.pinned)
    fake.events[0].done = True
    board.upload(np.zeros((4, 6), np.uint8), 16)
    assert [memory() is None for memory in fake.pinned] == [True, False, False]


def test_frames_that_two_threads_send_at_once_both_have_their_memory(fake: FakeCupy) -> None:
    fake.empty = lambda shape, _: SimpleNamespace(
        shape=shape, set=lambda *_: None, data=SimpleNamespace(ptr=16)
    )
    board = importlib.import_module("stream.kernels.cupy_").CupyBoard()
    frame = np.zeros((4, 6), np.uint8)
    other = threading.Thread(target=board.upload, args=(frame, 16))

    class Asked:
        """An event; the other thread begins while this one asks whether it is done."""

        @property
        def done(self) -> bool:
            if other.ident is None:
                other.start()
                other.join(0.2)
            return False

    board.upload(frame, 16)
    board._under_way = [(Asked(), memory) for _, memory in board._under_way]
    board.upload(frame, 16)
    other.join()
    assert len(fake.pinned) == 3 and all(memory() is not None for memory in fake.pinned)


def test_what_was_set_going_is_waited_for_by_an_event_of_the_board_s_stream(fake: FakeCupy) -> None:
    board = importlib.import_module("stream.kernels.cupy_").CupyBoard()
    wait = board.reached()
    (event,) = fake.events
    assert not event.done
    wait()
    assert event.done


def test_what_is_held_in_reserve_is_given_back(fake: FakeCupy) -> None:
    def pool(name: str) -> SimpleNamespace:
        return SimpleNamespace(free_all_blocks=lambda: fake.log.append(("free", name)))

    fake.get_default_memory_pool = lambda: pool("device")
    fake.get_default_pinned_memory_pool = lambda: pool("pinned")
    importlib.import_module("stream.kernels.cupy_").give_back()
    assert sorted(fake.log) == [("free", "device"), ("free", "pinned")]


def test_a_kernel_that_cannot_be_compiled_is_a_sentence(fake: FakeCupy) -> None:
    run = importlib.import_module("stream.kernels.cupy_").run
    fake.broken = True
    with pytest.raises(EngineError, match=r"warp cannot be compiled on this GPU \(no NVRTC\); choose engine"):
        run(WARP, 0)


def test_a_machine_without_a_gpu_is_a_sentence(fake: FakeCupy) -> None:
    made: list[str] = []

    def none() -> None:
        raise RuntimeError("no driver")

    fake.cuda.runtime.getDeviceCount = none
    fake.cuda.Stream = lambda: made.append("stream")
    with pytest.raises(EngineError, match=r"CuPy finds no GPU \(no driver\)"):
        importlib.import_module("stream.kernels.cupy_").CupyBoard()
    assert made == []  # one that fails is said twice, by CuPy itself
