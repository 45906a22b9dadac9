"""`python -m export`: write a preset as ONNX with the streaming contract, verified, with its hash beside
it."""

import argparse
import hashlib
import json
import sys
import tempfile
from pathlib import Path

from torch.utils.flop_counter import FlopCounterMode

from export.onnx import export_onnx
from export.verify import Parity, ParityError, verify
from model.config import FACE_PX, PRESETS
from model.vretoucher import VRetouchEr
from model.weights import WeightsError, load_preset, load_weights, untrained_network
from model.whole import write_whole

DEFAULT_FOLDER = Path(__file__).resolve().parent.parent / "stream" / "weights"


def multiply_adds(network: VRetouchEr, face_px: int = FACE_PX) -> float:
    """Billions of multiply-adds of one step, counted."""
    import torch

    face = torch.zeros(1, 3, face_px, face_px)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.step(face, network.fresh_state(face))
    return float(counter.get_total_flops()) / 2e9


def card(network: VRetouchEr, path: Path, parity: Parity, untrained: bool = False) -> dict[str, object]:
    """What stands beside the file: its hash, which the engine checks, and what was measured."""
    return ({"untrained": True} if untrained else {}) | {
        "preset": network.config.preset,
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "gmac": round(multiply_adds(network), 3),
        "parameters": sum(p.numel() for p in network.parameters()),
        "delta": network.config.delta,
        "parity_levels": parity.residual_levels,
        "parity_frames": parity.frames,
        "parity_largest_residual_levels": parity.largest_levels,
    }


def export(network: VRetouchEr, folder: Path, untrained: bool = False) -> dict[str, object]:
    """Export, verify and only then put the file and its card into `folder`. untrained: the card says so, and
    no engine retouches with it."""
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / f"{network.config.preset}.onnx"
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        path = Path(temporary) / final.name
        export_onnx(network, path)
        described = card(network, path, verify(network, path, FACE_PX), untrained)
        path.replace(final)
    write_whole(json.dumps(described, indent=1) + "\n", final.with_suffix(".json"))
    return described


def network_of(arguments: argparse.Namespace) -> VRetouchEr:
    """The network that is asked for."""
    if arguments.untrained:
        if arguments.out.resolve() == DEFAULT_FOLDER:
            raise WeightsError("untrained weights are for timing alone; name a folder for them with --out")
        return untrained_network(arguments.preset)
    return load_weights(arguments.weights) if arguments.weights else load_preset(arguments.preset)


def main(argv: list[str] | None = None) -> int:
    """Run the command line."""
    p = argparse.ArgumentParser(prog="python -m export", description=__doc__)
    p.add_argument("--preset", default="live", choices=sorted(PRESETS))
    p.add_argument("--weights", type=Path, help="weights to export; by default those of the preset")
    p.add_argument("--untrained", action="store_true", help="seeded weights, to be timed and not to be used")
    p.add_argument("--out", type=Path, default=DEFAULT_FOLDER, help="folder for the file and its card")
    arguments = p.parse_args(argv)
    try:
        described = export(network_of(arguments), arguments.out, arguments.untrained)
    except (WeightsError, ParityError) as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(described, indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
