"""Write a network as ONNX with the streaming contract."""

from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from export.contract import FACE, MAP, METADATA_KEY, RESIDUAL, metadata, state_specs
from model.config import FACE_PX
from model.state import State
from model.vretoucher import VRetouchEr

OPSET = 20


class Streaming(nn.Module):
    """The step with flat inputs and outputs, rings as one slot out."""

    def __init__(self, network: VRetouchEr) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, face: Tensor, patches_prev: Tensor, map_prev: Tensor, references: Tensor, valid: Tensor
    ) -> tuple[Tensor, ...]:
        """One step; see `export.contract`."""
        state = State(patches_prev, map_prev, references, valid)
        residual, mask, pushed, _ = self.network.look(face, state)
        one = torch.ones(1, 1)
        return residual, mask, pushed.patches, pushed.map_prev, pushed.reference[:, None], one


def export_onnx(network: VRetouchEr, path: Path, face_px: int = FACE_PX) -> None:
    """Write `network` to `path` as ONNX, batch 1, faces of `face_px`, the contract in its metadata."""
    specs = state_specs(network.config, face_px)
    inputs = (torch.zeros(1, 3, face_px, face_px), *(torch.zeros(spec.shape) for spec in specs))
    program = torch.onnx.export(
        Streaming(network).eval(),
        inputs,
        dynamo=True,
        opset_version=OPSET,
        input_names=[FACE, *(f"{spec.name}_in" for spec in specs)],
        output_names=[RESIDUAL, MAP, *(f"{spec.name}_out" for spec in specs)],
        verbose=False,
    )
    assert program is not None
    proto = program.model_proto
    onnx.helper.set_model_props(proto, {METADATA_KEY: metadata(network.config, face_px)})
    onnx.checker.check_model(proto)
    onnx.save_model(proto, path)
