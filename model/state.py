"""What one face's stream remembers from frame to frame: an argument and a result, fixed shapes from frame
0."""

from dataclasses import dataclass

import torch
from torch import Tensor

from model.config import PATCH_CHANNELS, Config


@dataclass(frozen=True)
class State:
    """State of one stream; a fresh one is all zeros.

    Attributes:
        patches_prev: [B, 4, H/8, W/8], the previous face as S sees it (Eq. 1).
        map_prev: [B, 1, H/4, W/4] in [0, 1], the previous refined map (Eq. 2).
        references: [B, delta, C, H/8, W/8], ring of the past frames' K and V of every MMA block (Eq. 4).
        valid: [B, delta], 1 where a slot of the ring is filled.
    """

    patches_prev: Tensor
    map_prev: Tensor
    references: Tensor
    valid: Tensor


torch.export.register_dataclass(State, serialized_type_name="model.state.State")


def fresh_state(config: Config, face: Tensor) -> State:
    """The state before the first frame, for faces shaped like `face` [B, 3, H, W]."""
    batch, _, height, width = face.shape
    zeros = face.new_zeros
    return State(
        patches_prev=zeros(batch, PATCH_CHANNELS, height // 8, width // 8),
        map_prev=zeros(batch, 1, height // 4, width // 4),
        references=zeros(batch, config.delta, config.reference_channels, height // 8, width // 8),
        valid=zeros(batch, config.delta),
    )


@dataclass(frozen=True)
class Pushed:
    """What one step adds: the plain states whole, the rings' newest slot only (see `push`).

    Attributes:
        patches: [B, 4, H/8, W/8], this face as S sees it.
        map_prev: as `State`.
        reference: [B, C, H/8, W/8], this frame's K and V.
    """

    patches: Tensor
    map_prev: Tensor
    reference: Tensor


def push(state: State, pushed: Pushed) -> State:
    """The next state: each ring without its oldest slot and with the newest."""
    one = torch.ones_like(state.valid[:, :1])
    return State(
        patches_prev=pushed.patches,
        map_prev=pushed.map_prev,
        references=torch.cat([state.references[:, 1:], pushed.reference[:, None]], dim=1),
        valid=torch.cat([state.valid[:, 1:], one], dim=1),
    )


def push_(state: State, pushed: Pushed, slot: Tensor) -> State:
    """`push` in place: the newest is written over the ring's oldest slot, and nothing else of it is moved.

    The order of a ring's slots then turns, which has no meaning (Eq. 5 sums over them). slot: int64 [1], the
    oldest slot, at first 0; moved on. It lies with the state and is never read by the host, so that a CUDA
    graph of it may be replayed.
    """
    state.patches_prev.copy_(pushed.patches)
    state.map_prev.copy_(pushed.map_prev)
    state.references.index_copy_(1, slot, pushed.reference[:, None])
    state.valid.index_fill_(1, slot, 1.0)
    slot.add_(1).remainder_(state.valid.shape[1])
    return state
