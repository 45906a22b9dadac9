"""A wider network that begins with what a narrow one has learned: `python -m model.widen WEIGHTS OUT`.

Function-preserving, as in Net2Net (Chen et al., 2016), but the channels that are added are drawn at random
and nothing that was there before hears them yet (their outgoing weights are 0), so that no two are the same.
"""

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor

from model.config import PRESETS, Config, preset
from model.vretoucher import VRetouchEr
from model.weights import WeightsError, load_weights, save_weights

# K and V of every block, one after the other, are the rows of one convolution.
CHUNKED = "references.project."
QUERY = ".query."
# What else both must have; the tensors do not tell.
ALIKE = ("delta", "fir", "mma", "guided")


class WidenError(ValueError):
    """The network asked for cannot hold the one given; one sentence for a person."""


def widened(narrow: VRetouchEr, config: Config) -> VRetouchEr:
    """A network of `config` that computes what `narrow` does.

    Raises:
        WidenError: some part of it is narrower, or it has other parts.
    """
    wide = VRetouchEr(config)
    had, has = narrow.state_dict(), wide.state_dict()
    if had.keys() != has.keys() or any(getattr(config, n) != getattr(narrow.config, n) for n in ALIKE):
        raise WidenError(
            f"Preset {config.preset} has other parts than {narrow.config.preset}; a wider one has as many "
            "blocks, levels and reference slots."
        )
    with torch.no_grad():
        wide.load_state_dict({name: _grown(name, old, has[name], config) for name, old in had.items()})
        # sigmoid(query * key * scale), and scale goes with the width.
        scaled = (config.mma_channels / narrow.config.mma_channels) ** 0.5
        for name, weight in wide.named_parameters():
            if QUERY in name:
                weight[: len(had[name])] *= scaled
    return wide


def _grown(name: str, old: Tensor, fresh: Tensor, config: Config) -> Tensor:
    """`old` in the first places of `fresh`; its rows hear nothing else."""
    if any(has < had for has, had in zip(fresh.shape, old.shape, strict=True)):
        raise WidenError(
            f"Preset {config.preset} is narrower at {name}: {list(fresh.shape)}, not {list(old.shape)}."
        )
    if old.ndim == 0:
        return old
    grown = fresh.clone()
    chunks = 2 * config.mma_blocks if name.startswith(CHUNKED) else 1
    for into, part in zip(grown.chunk(chunks), old.chunk(chunks), strict=True):
        if old.ndim > 1:
            into[: len(part)] = 0
            into[: len(part), : part.shape[1]] = part
        else:
            into[: len(part)] = part
    return grown


def main(argv: list[str] | None = None) -> int:
    """Run the command line."""
    p = argparse.ArgumentParser(prog="python -m model.widen", description=__doc__)
    p.add_argument("weights", type=Path, help="of the narrow network")
    p.add_argument(
        "out", type=Path, help="where those of the wide one go, to train on from with --start-from"
    )
    p.add_argument("--preset", default="studio", choices=sorted(PRESETS), help="of the wide one")
    p.add_argument("--seed", type=int, default=0, help="of what is added")
    options = p.parse_args(argv)
    torch.manual_seed(options.seed)
    try:
        save_weights(widened(load_weights(options.weights), preset(options.preset)), options.out)
    except (WidenError, WeightsError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
