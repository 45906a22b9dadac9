"""What is done to trained weights before they are published: `python -m model.release WEIGHTS OUT`."""

import argparse
import sys
from pathlib import Path

import torch

from model.arguments import finite
from model.decoder import RESIDUAL_CELLS
from model.vretoucher import VRetouchEr
from model.weights import WeightsError, load_weights, save_weights


@torch.no_grad()
def quieted(network: VRetouchEr, less: float) -> VRetouchEr:
    """The network itself, with a mask whose logit is `less` lower: what is hardly seen is left alone."""
    bias = network.decoder.out.bias
    assert bias is not None
    bias[RESIDUAL_CELLS:] -= less
    return network


def main(argv: list[str] | None = None) -> int:
    """Run the command line."""
    p = argparse.ArgumentParser(prog="python -m model.release", description=__doc__)
    p.add_argument("weights", type=Path, help="trained weights")
    p.add_argument("out", type=Path, help="where the published ones go")
    p.add_argument("--quiet", type=finite, default=0.0, metavar="L", help="taken off the mask's logit")
    options = p.parse_args(argv)
    try:
        save_weights(quieted(load_weights(options.weights), options.quiet), options.out)
    except (WeightsError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
