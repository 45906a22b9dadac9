"""Weights of the earlier systems on disk: system, config and tensors in one file, written whole or not at
all."""

from dataclasses import asdict
from pathlib import Path

import torch

from model.autoretouch import AutoRetouchConfig
from model.bpfre import BPFReConfig
from model.earlier.systems import Earlier, network_of
from model.weights import WeightsError, loading, save_atomic, system_of


def save_earlier(system: str, network: Earlier, path: Path, *, perceptual: bool) -> None:
    """Write the network to `path`; `perceptual`: whether it was trained with that term of its loss."""
    content = {"config": asdict(network.config), "weights": network.state_dict(), "perceptual": perceptual}
    save_atomic({"system": system, **content}, path)


def load_earlier(system: str, path: Path) -> Earlier:
    """The network of `system` saved at `path`, on the CPU, in eval mode.

    Raises:
        WeightsError: the file is missing, unreadable or of another system.
    """
    remedy = f"train them with `python -m model.train --system {system}`"
    with loading(path, f"whole weights of {system}", remedy):
        saved = torch.load(path, map_location="cpu", weights_only=True)
        found = system_of(saved)
        if found != system:
            raise WeightsError(
                f"{path} holds weights of {found}, not of {system}; give other ones, or {remedy}."
            )
        config = AutoRetouchConfig if system == "autoretouch" else BPFReConfig
        network = network_of(config(**saved["config"]))
        network.load_state_dict(saved["weights"])
    return network.eval()
