"""Weights of the published network on disk: config and tensors in one file, written whole or not at all."""

from pathlib import Path

import torch

from model.paper.config import config_of
from model.paper.network import PaperVRetouchEr
from model.systems import PAPER
from model.weights import loading, save_atomic


def save_paper(network: PaperVRetouchEr, path: Path) -> None:
    """Write the network's config, its choice of references and its weights to `path`."""
    content = {
        "system": PAPER,
        "config": network.config.to_dict(),
        "references": network.references,
        "weights": network.state_dict(),
    }
    save_atomic(content, path)


def load_paper(path: Path) -> PaperVRetouchEr:
    """The network saved at `path`, on the CPU, in eval mode.

    Raises:
        WeightsError: the file is missing, unreadable or of another network.
    """
    remedy = "train them with `python -m model.train --preset paper`"
    with loading(path, "weights of the published network", remedy):
        saved = torch.load(path, map_location="cpu", weights_only=True)
        # Files of before the choice was kept name none.
        network = PaperVRetouchEr(config_of(saved["config"]), saved.get("references", "past"))
        network.load_state_dict(saved["weights"])
    return network.eval()
