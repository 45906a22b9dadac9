"""Tables 1-4 of the network as it is built: `python -m model.paper`."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from model.config import FACE_PX
from model.paper.config import PRESETS, PaperConfig
from model.paper.discriminator import Discriminator
from model.paper.mma import MMA
from model.paper.network import PaperVRetouchEr
from model.paper.networks import ConvBlk, Localizer


class Row(NamedTuple):
    """One layer: the part it is of, its kind, what a table says beside it, and its output's size, H x W x
    C."""

    part: str
    layer: str
    notes: str
    size: tuple[int, ...]


def _notes(layer: nn.Module) -> str:
    if isinstance(layer, MMA):
        return f"{layer.heads} heads"
    norm = "AdaIN, " if isinstance(layer, ConvBlk) and layer.norm is not None else ""
    return f"{norm}Leaky ReLU"


def rows(config: PaperConfig, side: int = FACE_PX) -> list[Row]:
    """The layers of E, N, T and G in the order in which one step runs them, for a face of `side` pixels.
    Nothing is computed."""
    found: list[Row] = []
    with torch.device("meta"):
        network = PaperVRetouchEr(config)
        face = torch.zeros(1, 3, side, side)

    def noted(part: str, name: str) -> Any:
        def note(layer: nn.Module, _: Any, output: Tensor) -> None:
            shape = output.shape
            size = tuple(shape[1:]) if isinstance(layer, MMA) else (*shape[2:], shape[1])
            found.append(Row(part, name, _notes(layer), size))

        return note

    for part in (network.encoder, network.localizer, network.transformer, network.decoder):
        name = type(part).__name__
        for layer in part.modules():
            if isinstance(layer, ConvBlk | MMA):
                layer.register_forward_hook(noted(name, type(layer).__name__))
        if isinstance(part, Localizer):  # its last layer joins picture and features
            part.register_forward_hook(noted(name, "ConvBlk"))
    with torch.no_grad():
        network.step(face, network.fresh_state(face))
    return found


def weights(config: PaperConfig) -> dict[str, int]:
    """Number of weights of each part, D among them."""
    with torch.device("meta"):
        network = PaperVRetouchEr(config)
        parts = {**dict(network.named_children()), "discriminator": Discriminator(config)}
    return {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}


def gmac(config: PaperConfig, side: int = FACE_PX) -> float:
    """Billions of multiplications and additions of one step."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
        network = PaperVRetouchEr(config)
        face = torch.zeros(1, 3, side, side)
        network.step(face, network.fresh_state(face))
    return float(counter.get_total_flops() / 2e9)


def describe(config: PaperConfig) -> str:
    """The tables as text."""
    lines, last = [], ""
    for row in rows(config):
        lines += [row.part] if row.part != last else []
        lines.append(f"  {row.layer:<8} {row.notes:<18} {' x '.join(map(str, row.size))}")
        last = row.part
    window = "x".join(map(str, (config.delta, *config.window)))
    lines.append(f"MMA: windows {window}, {config.heads} heads, LayerNorm, MLP ratio {config.mlp_ratio}")
    lines += [f"weights of {name}: {count:,}" for name, count in weights(config).items()]
    lines.append(f"one step: {gmac(config):,.0f} GMAC")
    return "\n".join(lines)


def main() -> int:
    """Print the tables of the preset `paper`."""
    print(describe(PRESETS["paper"]))
    return 0
