"""AutoRetouch or BPFRe as an engine, in torch: each face is a picture of its own, nothing is remembered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from model.earlier.systems import FrameByFrame
from model.earlier.weights import load_earlier
from stream.crop import FACE_PX
from stream.engine import Seen
from stream.errors import EngineError, WeightsError

LEVELS = 255.0


class EarlierEngine:
    """The weights of an earlier system, by path.

    device: `cpu` or `cuda`, in float32. What it gives holds no moles or freckles, which these systems do not
    know.

    Raises:
        WeightsError: the weights are missing, damaged or of another system. EngineError: there is no such
        device.
    """

    def __init__(self, system: str, weights: Path, threads: int, device: str = "cpu") -> None:
        if device == "cuda" and not torch.cuda.is_available():
            raise EngineError(
                f"{system} on torch-cuda needs an NVIDIA GPU and torch for CUDA, but torch "
                f"{torch.__version__} sees none; install that torch and the driver, or choose torch-cpu"
            )
        self.name = f"{system} torch-{device}"
        self.preset = system
        self.threads = threads
        self.device = torch.device(device)
        if device == "cpu":
            torch.set_num_threads(threads)
        try:
            network = load_earlier(system, weights)
        except ValueError as error:
            raise WeightsError(str(error)) from error
        self._network = FrameByFrame(network.to(self.device))

    def new_state(self) -> None:
        """Nothing: each face is new."""

    def step(self, face_rgb_u8: npt.NDArray[np.uint8], state: None) -> Seen:  # noqa: ARG002
        """One face; see stream.engine.Engine.step."""
        assert face_rgb_u8.shape == (FACE_PX, FACE_PX, 3)
        with torch.inference_mode():
            face = torch.from_numpy(face_rgb_u8).to(self.device).permute(2, 0, 1)[None].float() / LEVELS
            seen = self._network.step(face)
            residual = (seen.residual[0] * LEVELS).permute(1, 2, 0).contiguous()
        return Seen(residual.cpu().numpy(), seen.map[0, 0].cpu().numpy())
