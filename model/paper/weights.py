"""Weights of the published network on disk: config and tensors in one file, written whole or not at all."""

from pathlib import Path

import torch

from model.paper.config import config_of
from model.paper.network import PaperVRetouchEr
from model.weights import WeightsError, save_atomic

SYSTEM = "paper"


def save_paper(network: PaperVRetouchEr, path: Path) -> None:
    """Write the network's config and weights to `path`."""
    save_atomic({"system": SYSTEM, "config": network.config.to_dict(), "weights": network.state_dict()}, path)


def load_paper(path: Path) -> PaperVRetouchEr:
    """The network saved at `path`, on the CPU, in eval mode.

    Raises:
        WeightsError: the file is missing, unreadable or of another network.
    """
    if not path.is_file():
        raise WeightsError(
            f"There are no weights at {path}; train them with `python -m model.train --preset paper`."
        )
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        network = PaperVRetouchEr(config_of(saved["config"]))
        network.load_state_dict(saved["weights"])
    except Exception as error:
        said = str(error).partition("\n")[0]
        raise WeightsError(
            f"{path} holds no weights of the published network ({said}); restore it or train anew."
        ) from error
    return network.eval()
