"""The streaming contract: names, kinds and shapes of the states, written into the ONNX file's metadata.

Two kinds of state, both all zeros before the first frame, float32:

- `plain`: `<state>_out` has the shape of `<state>_in` and is the next step's `<state>_in`.
- `ring`: `<state>_out` is one slot (length 1 along `slot_axis`) that overwrites the oldest slot of
  `<state>_in` (index t mod delta), so a runtime copies one slot and never the ring. The order of the slots
  has no meaning.

The pictures come out as the 2x2 pixels of cells, and as two factors: with [0, 4 c + 2 i + j, y, x] laid out
as channel c at (2 y + i, 2 x + j), retouched = face + map * residual. ONNX Runtime takes a tenth of the step
to multiply them and put them in place; a runtime does both in passing. What is to be kept comes out as it is,
at a quarter of the side; nothing is done with it in the graph.
"""

import json
from dataclasses import asdict, dataclass
from typing import Literal

from model.config import FACE_PX, KEPT, PATCH_CHANNELS, Config

VERSION = 5
LEVELS = 255.0
METADATA_KEY = "vretouch"
FACE = "face"
RESIDUAL = "residual_cells"
MAP = "map_cells"
KEPT_OUT = "kept"


@dataclass(frozen=True)
class StateSpec:
    """One state of the contract.

    Attributes:
        name: `<name>_in` and `<name>_out` in the graph.
        kind: `plain` or `ring`.
        shape: shape of `<name>_in`.
        slot_axis: axis of a ring's slots.
    """

    name: str
    kind: Literal["plain", "ring"]
    shape: tuple[int, ...]
    slot_axis: int | None = None


def state_specs(config: Config, face_px: int = FACE_PX) -> tuple[StateSpec, ...]:
    """States of a network of this config, in the order of `model.state.State`."""
    side4, side8 = face_px // 4, face_px // 8
    return (
        StateSpec("patches_prev", "plain", (1, PATCH_CHANNELS, side8, side8)),
        StateSpec("map_prev", "plain", (1, 1, side4, side4)),
        StateSpec("references", "ring", (config.delta, config.reference_channels, side8, side8), slot_axis=0),
        StateSpec("valid", "ring", (1, config.delta), slot_axis=1),
    )


def metadata(config: Config, face_px: int = FACE_PX) -> str:
    """The contract as JSON, the value of `METADATA_KEY` in the ONNX file."""
    return json.dumps(
        {
            "preset": config.preset,
            "version": VERSION,
            "face_px": face_px,
            "delta": config.delta,
            "face": {
                "name": FACE,
                "shape": [1, 3, face_px, face_px],
                "range": [0, 1],
                "colour": "RGB, sRGB-encoded",
            },
            "outputs": {
                RESIDUAL: "[1, 3 * 4, H/2, W/2], cells of [1, 3, H, W] in 8-bit levels",
                MAP: "[1, 1 * 4, H/2, W/2], cells of [1, 1, H, W] in [0, 1], clean skin 0",
                "retouched": "face + map * residual",
                KEPT_OUT: f"[1, {len(KEPT)}, H/4, W/4] in [0, 1]: how likely {' and '.join(KEPT)} are there",
            },
            "states": [asdict(spec) for spec in state_specs(config, face_px)],
        }
    )
