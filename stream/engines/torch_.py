"""The network in torch itself, the reference beside ONNX; here alone stream imports torch and model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from model.weights import load_preset
from stream.engine import Seen
from stream.errors import WeightsError


@dataclass
class TorchState:
    """The network's own state, replaced at every step."""

    inner: Any


class TorchEngine:
    """A preset's torch weights on the CPU."""

    name = "torch-cpu"

    def __init__(self, preset: str, threads: int) -> None:
        self.preset = preset
        self.threads = threads
        torch.set_num_threads(threads)
        try:
            self._network = load_preset(preset)
        except ValueError as error:
            raise WeightsError(str(error)) from error

    def new_state(self) -> TorchState:
        """The memory of a face not yet seen."""
        return TorchState(None)

    def step(self, face_rgb_u8: npt.NDArray[np.uint8], state: TorchState) -> Seen:
        """One causal step; see stream.engine.Engine.step."""
        with torch.inference_mode():
            face = torch.from_numpy(face_rgb_u8).permute(2, 0, 1)[None].float() / 255.0  # [1, 3, 512, 512]
            before = self._network.fresh_state(face) if state.inner is None else state.inner
            result = self._network.step(face, before)
            state.inner = result.state
            levels = (result.residual[0] * 255.0).permute(1, 2, 0).contiguous()  # [512, 512, 3]
        return Seen(levels.numpy(), result.map[0, 0].numpy(), result.kept[0].numpy())
