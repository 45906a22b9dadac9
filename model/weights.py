"""Weights on disk: the config and the tensors in one file, written whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from model.config import Config, preset
from model.vretoucher import VRetouchEr
from model.whole import part_of


class WeightsError(ValueError):
    """The weights are missing, damaged or of another network."""


def save_atomic(content: dict[str, Any], path: Path) -> None:
    """Write `content` to `path` whole or not at all: a killed writer leaves the old file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        part_of(path) as part,
        part.open("wb") as file,
    ):  # torch's own writer says what is wrong in no OSError
        torch.save(content, file)


@contextmanager
def loading(path: Path, what: str, remedy: str, told: type[Exception] = WeightsError) -> Iterator[None]:
    """The loading of a file: whatever is wrong with it is said in one sentence.

    Args:
        path: of the file.
        what: it should hold, such as "weights of this network".
        remedy: what else can be done, such as "train them with ...".
        told: what is raised within and says all itself.

    Raises:
        WeightsError: there is no such file, or what is done within fails, but for want of memory.
    """
    if not path.is_file():
        raise WeightsError(f"There are no weights at {path}; {remedy}.")
    try:
        yield
    except told:
        raise
    except Exception as error:
        if out_of_memory(error):
            raise
        said = f"{type(error).__name__}: {error}".partition("\n")[0].removesuffix(":")
        raise WeightsError(f"{path} holds no {what} ({said}); restore it, or {remedy}.") from error


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, the machine's or a GPU's, is out."""
    said = str(error).lower()
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in said


def system_of(saved: Any) -> str:
    """Which system a file's content is of, in a word for a person."""
    if not isinstance(saved, dict) or not saved.keys() & {"system", "config", "network"}:
        return "no system"
    return str(saved.get("system", "live"))  # the causal network's files name none


def config_of(saved: dict[str, Any]) -> Config:
    """The config saved beside weights."""
    return Config(**{**saved, "channels": tuple(saved["channels"])})


def save_weights(network: VRetouchEr, path: Path) -> None:
    """Write the network's config and weights to `path`."""
    save_atomic({"config": network.config.to_dict(), "weights": network.state_dict()}, path)


def load_weights(path: Path) -> VRetouchEr:
    """The network saved at `path`, on the CPU, in eval mode.

    Raises:
        WeightsError: the file is missing, unreadable or does not fit.
    """
    with loading(path, "weights of this network", "train them with `python -m model.train`"):
        saved = torch.load(path, map_location="cpu", weights_only=True)
        network = VRetouchEr(config_of(saved["config"]))
        network.load_state_dict(saved["weights"])
    return network.eval()


def preset_path(name: str) -> Path:
    """Where the weights of the preset `name` are kept."""
    return Path(str(files("model"))) / "pretrained" / f"{preset(name).preset}.pt"


def load_preset(name: str) -> VRetouchEr:
    """The trained network of the preset `name`, on the CPU, in eval mode."""
    return load_weights(preset_path(name))


def untrained_network(name: str) -> VRetouchEr:
    """The network of the preset `name` as it is before its training, the same every time: what it costs does
    not depend on its weights."""
    torch.manual_seed(0)
    return VRetouchEr(preset(name)).eval()
