"""Weights of the earlier systems on disk: system, config and tensors in one file, written whole or not at
all."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from model.autoretouch import AutoRetouchConfig
from model.bpfre import BPFReConfig
from model.earlier.systems import SYSTEMS, Earlier, EarlierConfig, network_of
from model.weights import WeightsError, save_atomic


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
    if not path.is_file():
        raise WeightsError(f"There are no weights at {path}; {remedy}.")
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise WeightsError(f"{path} cannot be read as weights ({type(error).__name__}); {remedy}.") from error
    found = system_of(saved)
    if found != system:
        raise WeightsError(f"{path} holds weights of {found}, not of {system}; give other ones, or {remedy}.")
    try:
        network = network_of(_config(system, saved["config"]))
        network.load_state_dict(saved["weights"])
    except Exception as error:
        said = str(error).partition("\n")[0]
        raise WeightsError(f"{path} holds no whole weights of {system} ({said}); {remedy}.") from error
    return network.eval()


def system_of(saved: Any) -> str:
    """Which system a file's content is of, in a word for a person."""
    if not isinstance(saved, dict) or not saved.keys() & {"system", "config", "network"}:
        return "no system"
    return str(saved.get("system", "live"))  # the causal network's files name none


def _config(system: str, saved: dict[str, Any]) -> EarlierConfig:
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in saved.items()}
    assert system in SYSTEMS
    return AutoRetouchConfig(**values) if system == "autoretouch" else BPFReConfig(**values)
