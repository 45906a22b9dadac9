"""Write a network as ONNX with the streaming contract."""

import copy
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from export.contract import FACE, KEPT_OUT, LEVELS, MAP, METADATA_KEY, RESIDUAL, metadata, state_specs
from model.config import FACE_PX
from model.decoder import RESIDUAL_CELLS
from model.localizer import probability
from model.state import State
from model.vretoucher import VRetouchEr

OPSET = 20


class Streaming(nn.Module):
    """The step with flat inputs and outputs, rings as one slot out, the residual in levels."""

    def __init__(self, network: VRetouchEr) -> None:
        super().__init__()
        self.network = copy.deepcopy(network)
        out = self.network.decoder.out
        assert out.bias is not None
        with torch.no_grad():
            out.weight[:RESIDUAL_CELLS].mul_(LEVELS)
            out.bias[:RESIDUAL_CELLS].mul_(LEVELS)

    def forward(
        self, face: Tensor, patches_prev: Tensor, map_prev: Tensor, references: Tensor, valid: Tensor
    ) -> tuple[Tensor, ...]:
        """One step; see `export.contract`."""
        state = State(patches_prev, map_prev, references[None], valid)
        residual, mask, pushed, trace = self.network.look(face, state)
        one = torch.ones(1, 1)
        kept = probability(trace.kept)
        return residual, mask, kept, pushed.patches, pushed.map_prev, pushed.reference, one


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
        output_names=[RESIDUAL, MAP, KEPT_OUT, *(f"{spec.name}_out" for spec in specs)],
        verbose=False,
    )
    assert program is not None
    proto = program.model_proto
    onnx.helper.set_model_props(proto, {METADATA_KEY: metadata(network.config, face_px)})
    onnx.checker.check_model(proto)
    onnx.save_model(proto, path)
