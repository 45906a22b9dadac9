"""A tiny ONNX file that follows the streaming contract, and the same network in NumPy.

residual = map * 255 * (0.1 * face + mean(total) + 0.01 * sum(past))
map = clip(mean over RGB of face + mean(valid)); kept = mean(map)
total_out = 0.5 * total_in + mean(face)  (plain)      past_out = mean(face), valid_out = 1  (rings of three)
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.conftest import require

DELTA = 3
CHANNELS = {"residual": 3, "map": 1}
STATES: list[dict[str, Any]] = [
    {"name": "total", "kind": "plain", "shape": [1, 1, 4, 4], "slot_axis": None},
    {"name": "past", "kind": "ring", "shape": [1, DELTA, 2, 4], "slot_axis": 1},
    {"name": "valid", "kind": "ring", "shape": [1, DELTA], "slot_axis": 1},
]
CONTRACT: dict[str, Any] = {"preset": "live", "version": 5, "face_px": 512, "delta": DELTA, "states": STATES}


def write_tiny(folder: Path, contract: dict[str, Any] | str | None = None, preset: str = "live") -> Path:
    """Write PRESET.onnx and its card PRESET.json into the folder; the path of the ONNX file."""
    onnx = require("onnx")
    model = onnx.helper.make_model(
        _graph(onnx), opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9
    )
    text = contract if isinstance(contract, str) else json.dumps(CONTRACT if contract is None else contract)
    if text:
        onnx.helper.set_model_props(model, {"vretouch": text})
    path = folder / f"{preset}.onnx"
    onnx.save(model, str(path))
    seal(path)
    return path


def seal(path: Path) -> None:
    """Write the card with the file's present hash."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_suffix(".json").write_text(json.dumps({"preset": path.stem, "sha256": digest}))


def _graph(onnx: Any) -> Any:
    node, tensor = onnx.helper.make_node, onnx.helper.make_tensor
    real, whole = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64

    def value(name: str, shape: list[int]) -> Any:
        return onnx.helper.make_tensor_value_info(name, real, shape)

    constants = [
        tensor(n, real, [], [v])
        for n, v in (("c01", 25.5), ("c255", 255.0), ("c001", 2.55), ("c05", 0.5), ("one", 1.0))
    ]
    constants += [tensor("zero", real, [], [0.0]), tensor("rgb", whole, [1], [1])]
    constants += [tensor("s_total", whole, [4], [1, 1, 4, 4]), tensor("s_past", whole, [4], [1, 1, 2, 4])]
    constants += [tensor("s_valid", whole, [2], [1, 1])]
    constants += [tensor("s_kept", whole, [4], [1, 2, 128, 128])]
    nodes = [
        node("ReduceMean", ["face"], ["mean"], keepdims=0),
        node("Mul", ["face", "c01"], ["a"]),
        node("ReduceMean", ["total_in"], ["b"], keepdims=0),
        node("ReduceSum", ["past_in"], ["c"], keepdims=0),
        node("Mul", ["c", "c001"], ["d"]),
        node("Mul", ["b", "c255"], ["b_levels"]),
        node("Add", ["a", "b_levels"], ["e"]),
        node("Add", ["e", "d"], ["residual"]),
        *_cells(node, "residual"),
        node("ReduceMean", ["face", "rgb"], ["f"], keepdims=1),
        node("ReduceMean", ["valid_in"], ["g"], keepdims=0),
        node("Add", ["f", "g"], ["h"]),
        node("Clip", ["h", "zero", "one"], ["map"]),
        *_cells(node, "map"),
        node("ReduceMean", ["map"], ["j"], keepdims=0),
        node("Expand", ["j", "s_kept"], ["kept"]),
        node("Mul", ["total_in", "c05"], ["i"]),
        node("Add", ["i", "mean"], ["total_out"]),
        node("Expand", ["mean", "s_past"], ["past_out"]),
        node("Expand", ["one", "s_valid"], ["valid_out"]),
    ]
    ins = [value("face", [1, 3, 512, 512])] + [value(f"{s['name']}_in", s["shape"]) for s in STATES]
    constants += [tensor(f"{n}_in_cells", whole, [6], [1, c, 256, 2, 256, 2]) for n, c in CHANNELS.items()]
    constants += [tensor(f"{n}_as_cells", whole, [4], [1, 4 * c, 256, 256]) for n, c in CHANNELS.items()]
    outs = [value(f"{n}_cells", [1, 4 * c, 256, 256]) for n, c in CHANNELS.items()]
    outs += [value("kept", [1, 2, 128, 128])]
    outs += [value("total_out", [1, 1, 4, 4]), value("past_out", [1, 1, 2, 4]), value("valid_out", [1, 1])]
    return onnx.helper.make_graph(nodes, "tiny", ins, outs, constants)


def _cells(node: Any, name: str) -> list[Any]:
    """[1, C, 512, 512] to its cells [1, 4 C, 256, 256]."""
    return [
        node("Reshape", [name, f"{name}_in_cells"], [f"{name}_6"]),
        node("Transpose", [f"{name}_6"], [f"{name}_turned"], perm=[0, 1, 3, 5, 2, 4]),
        node("Reshape", [f"{name}_turned", f"{name}_as_cells"], [f"{name}_cells"]),
    ]


class TinyReference:
    """The same network in NumPy, with the ring as a list."""

    def __init__(self) -> None:
        self.total = 0.0
        self.past: list[float] = []

    def step(self, face_rgb_u8: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """(residual [512, 512, 3] in 8-bit levels, map [512, 512])."""
        face = face_rgb_u8.astype(np.float64) / 255
        recent = self.past[-DELTA:]
        residual = 0.1 * face + self.total + 0.01 * 8 * sum(recent)
        seen = np.clip(face.mean(axis=2) + len(recent) / DELTA, 0, 1)
        self.total = 0.5 * self.total + float(face.mean())
        self.past.append(float(face.mean()))
        return seen[..., None] * residual * 255, seen
