"""The torch engine over a longer stream: its memory changed in place, and its step replayed as a GPU does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import pytest

from tests.conftest import require

torch = require("torch")

from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils._pytree import tree_leaves  # noqa: E402

from model.config import preset  # noqa: E402
from model.state import State  # noqa: E402
from model.vretoucher import VRetouchEr  # noqa: E402
from stream.crop import FACE_PX  # noqa: E402
from stream.engines.torch_ import TorchEngine, TorchState  # noqa: E402

DELTA, FRAMES = 3, 20


@pytest.fixture(scope="module")
def network() -> VRetouchEr:
    torch.manual_seed(4)
    network = VRetouchEr(replace(preset("tiny"), delta=DELTA)).eval()
    with torch.no_grad():
        for weights in network.parameters():  # nothing may hide behind a zero initialisation
            weights.add_(0.05 * torch.randn_like(weights))
    return network


@pytest.fixture(scope="module")
def engine(network: VRetouchEr) -> TorchEngine:
    return TorchEngine("tiny", 1, network=network)


def pairs(frames: int = FRAMES) -> Iterator[torch.Tensor]:
    """Two streams' faces uint8 [2, 512, 512, 3]."""
    random = torch.Generator().manual_seed(2)
    grain = torch.randint(0, 50, (2, FACE_PX, FACE_PX, 3), generator=random).to(torch.uint8)
    for number in range(frames):
        shade = torch.randint(40, 200, (2, 1, 1, 3), generator=random).to(torch.uint8)
        yield shade + grain.roll(7 * number, 1)


def seen_of(engine: TorchEngine, state: TorchState, faces: torch.Tensor) -> torch.Tensor:
    """The residuals and maps of a step, [2, 4, 512, 512]."""
    state.faces_u8.copy_(faces)
    with torch.inference_mode():
        engine.run(state)
    return torch.cat([state.residuals, 255 * state.maps[:, None]], 1)


def test_the_memory_that_is_changed_in_place_is_the_one_that_is_handed_on(
    engine: TorchEngine, network: VRetouchEr
) -> None:
    state, memory = engine.new_state(2), network.fresh_state(torch.zeros(2, 3, FACE_PX, FACE_PX))
    where = [getattr(state.memory, field.name).data_ptr() for field in fields(State)]
    for faces in pairs():
        got = seen_of(engine, state, faces)
        with torch.inference_mode():
            step = network.step(faces.permute(0, 3, 1, 2).float() / 255, memory)
        memory = step.state
        wanted = 255 * torch.cat([step.residual, step.map], 1)
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-3)
    assert where == [getattr(state.memory, field.name).data_ptr() for field in fields(State)]


def test_a_new_state_knows_nothing_of_an_old_one(engine: TorchEngine) -> None:
    old = engine.new_state(2)
    first = [seen_of(engine, old, faces).clone() for faces in pairs(DELTA + 1)]
    carried = [seen_of(engine, old, faces).clone() for faces in pairs(DELTA + 1)]
    fresh = engine.new_state(2)
    again = [seen_of(engine, fresh, faces).clone() for faces in pairs(DELTA + 1)]
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    assert not any(torch.equal(one, other) for one, other in zip(carried, again, strict=True))


class Recording(TorchDispatchMode):
    """As a CUDA graph: the operations with their tensors, to be done again between these. What the host
    reads of a tensor would be left as it was, and is refused."""

    def __init__(self) -> None:
        super().__init__()
        self._done: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func is not torch.ops.aten._local_scalar_dense.default, "the host waits for the device"
        out = func(*args, **(kwargs or {}))
        self._done.append((func, args, kwargs or {}, out))
        return out

    def replay(self) -> None:
        for func, args, kwargs, out in self._done:
            for old, new in zip(tree_leaves(out), tree_leaves(func(*args, **kwargs)), strict=True):
                if isinstance(old, torch.Tensor) and old.untyped_storage() is not new.untyped_storage():
                    old.copy_(new)


def test_a_step_that_is_recorded_once_goes_on_as_one_that_is_not(engine: TorchEngine) -> None:
    recorded, plain, recording = engine.new_state(2), engine.new_state(2), Recording()
    for number, faces in enumerate(pairs(3 + 2 * DELTA)):
        wanted = seen_of(engine, plain, faces)
        recorded.faces_u8.copy_(faces)
        with torch.inference_mode():
            if number == 2:
                with recording:
                    engine.run(recorded)
            elif number < 2:
                engine.run(recorded)
            else:
                recording.replay()
        got = torch.cat([recorded.residuals, 255 * recorded.maps[:, None]], 1)
        torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-3)
    assert torch.equal(recorded.slot, plain.slot)
