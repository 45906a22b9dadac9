"""What a step of a network has to do: its operations, each with its arithmetic and the bytes it moves."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from bench.project import Work
from model.config import FACE_PX
from model.vretoucher import VRetouchEr


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes every operation that computes or moves something."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.works: list[Work] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        out = func(*args, **given)
        moved = sum(t.nbytes for t in tree_leaves((args, given, out)) if isinstance(t, Tensor))
        if moved and not func.is_view:
            count = flop_registry.get(func.overloadpacket)
            self.works.append(Work(float(count(*args, **given, out_val=out)) if count else 0.0, float(moved)))
        return out


def operations(run: Callable[[], object]) -> list[Work]:
    """The operations of `run` in torch. bytes: of all the tensors that one reads and writes, as where each is
    a kernel of its own; flops: as torch counts them, of convolutions and matrix products alone."""
    counter = _Counter()
    with torch.no_grad(), counter:
        run()
    return counter.works


def step_operations(network: VRetouchEr, dtype: torch.dtype, streams: int = 1) -> list[Work]:
    """The operations of one step; nothing is computed."""
    shape_only = copy.deepcopy(network).to("meta", dtype)
    face = torch.zeros((streams, 3, FACE_PX, FACE_PX), dtype=dtype, device="meta")
    state = shape_only.fresh_state(face)
    return operations(lambda: shape_only.step(face, state))


def least_work(network: VRetouchEr, dtype: torch.dtype) -> Work:
    """A step as one operation that keeps to itself whatever it can: the same arithmetic, but every weight and
    all of the state are read once, the state's new part and the results written once."""
    face = torch.zeros((1, 3, FACE_PX, FACE_PX), dtype=dtype, device="meta")
    shape_only = copy.deepcopy(network).to("meta", dtype)
    state = shape_only.fresh_state(face)
    with torch.no_grad():
        residual, mask, pushed, trace = shape_only.look(face, state)
    read = [*shape_only.parameters(), *vars(state).values()]
    written = [residual, mask, trace.kept, *vars(pushed).values()]
    flops = sum(work.flops for work in step_operations(network, dtype))
    return Work(flops, float(face.numel() + sum(tensor.nbytes for tensor in (*read, *written))))
