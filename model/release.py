"""What is done to trained weights before they are published: `python -m model.release WEIGHTS... OUT`.

Of several weights it is their mean that is published, which is for trainings that went on from one another:
they lie in one basin of the loss (Wortsman et al., 2022, model soups).
"""

import argparse
import sys
from collections.abc import Sequence
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


@torch.no_grad()
def mean_of(networks: Sequence[VRetouchEr]) -> VRetouchEr:
    """The first of them, with the mean of the weights of all, which are of one preset."""
    states = [network.state_dict() for network in networks]
    for name, own in states[0].items():
        own.copy_(torch.stack([state[name].double() for state in states]).mean(0))
    return networks[0]


def _of_one_preset(paths: Sequence[Path]) -> list[VRetouchEr]:
    networks = [load_weights(path) for path in paths]
    for path, network in zip(paths, networks, strict=True):
        if network.config != networks[0].config:
            raise WeightsError(
                f"{path} is of preset {network.config.preset!r} and {paths[0]} of "
                f"{networks[0].config.preset!r}; weights of one preset alone have a mean"
            )
    return networks


def main(argv: list[str] | None = None) -> int:
    """Run the command line."""
    p = argparse.ArgumentParser(prog="python -m model.release", description=__doc__)
    p.add_argument("weights", type=Path, nargs="+", help="trained weights; of several their mean")
    p.add_argument("out", type=Path, help="where the published ones go")
    p.add_argument("--quiet", type=finite, default=0.0, metavar="L", help="taken off the mask's logit")
    options = p.parse_args(argv)
    try:
        network = mean_of(_of_one_preset(options.weights))
        save_weights(quieted(network, options.quiet), options.out)
    except (WeightsError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
