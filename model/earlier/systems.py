"""The two earlier systems by name, and either of them as a causal network that remembers nothing."""

from typing import NamedTuple, TypeAlias

import torch.nn.functional as F
from torch import Tensor, nn

from model.autoretouch import AUTORETOUCH, AutoRetouch, AutoRetouchConfig, AutoRetouchTraining
from model.autoretouch import PERCEPTUAL_LAYERS as AUTORETOUCH_LAYERS
from model.bpfre import BPFRE, BPFRe, BPFReConfig
from model.bpfre_training import PERCEPTUAL_LAYERS as BPFRE_LAYERS
from model.bpfre_training import BPFReTraining
from model.config import UnknownPresetError
from model.data.clips import imperfections
from model.earlier import PairTraining
from model.perceptual import Distance

EarlierConfig: TypeAlias = AutoRetouchConfig | BPFReConfig
Earlier: TypeAlias = AutoRetouch | BPFRe


class Seen(NamedTuple):
    """What a system makes of one face.

    Attributes:
        residual: [B, 3, H, W], retouched = face + residual.
        map: [B, 1, H, W] in [0, 1], what it takes for imperfections.
        state: nothing.
    """

    residual: Tensor
    map: Tensor
    state: None = None


def config_of(system: str, preset: str) -> EarlierConfig:
    """The sizes of `system` that are called `preset`.

    Raises:
        UnknownPresetError: there are none.
    """
    presets: dict[str, EarlierConfig] = {**(AUTORETOUCH if system == "autoretouch" else BPFRE)}
    if preset not in presets:
        raise UnknownPresetError(f"{system} has no preset {preset!r}; choose one of {', '.join(presets)}.")
    return presets[preset]


def network_of(config: EarlierConfig) -> Earlier:
    """A network of these sizes with the weights it begins with."""
    return AutoRetouch(config) if isinstance(config, AutoRetouchConfig) else BPFRe(config)


def training_of(config: EarlierConfig, perceptual: nn.Module | None, seed: int, device: str) -> PairTraining:
    """A training of a network of these sizes."""
    if isinstance(config, AutoRetouchConfig):
        return AutoRetouchTraining(config, perceptual, seed, device)
    return BPFReTraining(config, perceptual, seed, device)


def perceptual_of(system: str) -> tuple[tuple[str, ...], Distance]:
    """VGG-19's layers that the system's perceptual term compares, and how."""
    return (AUTORETOUCH_LAYERS, F.mse_loss) if system == "autoretouch" else (BPFRE_LAYERS, F.l1_loss)


class FrameByFrame:
    """An earlier system in the place of a causal network: each frame is a picture of its own.

    BPFRe's map is M^E2D, the blemishes of the picture. AutoRetouch infers none; what it changes stands for
    it, on the scale of the true maps.
    """

    def __init__(self, network: Earlier) -> None:
        self.network = network

    def fresh_state(self, face: Tensor) -> None:
        """Nothing."""

    def step(self, face: Tensor, state: None = None) -> Seen:  # noqa: ARG002
        """RGB [B, 3, H, W] in [0, 1], sides multiples of what the network asks for, as 512 is."""
        if isinstance(self.network, BPFRe):
            made = self.network(face)
            return Seen(made.refined.clamp(0, 1) - face, made.map_coarse)
        retouched = self.network(face).clamp(0, 1)
        return Seen(retouched - face, imperfections(face, retouched))
