"""Sizes of the published network, one frozen dataclass, with its presets as data."""

from dataclasses import asdict, dataclass
from typing import Any

from model.config import UnknownPresetError


@dataclass(frozen=True)
class PaperConfig:
    """Sizes of VRetouchEr as published; the defaults are Tables 1-4.

    Decided: Table 2's window of 6x6x16 is frames x rows x columns, as video transformers write it, since the
    first number is then delta, the best number of references (Section 4.5). delta counts the frame itself,
    because delta = 1 is said to be "single-image retouching" there.

    Attributes:
        preset: name, saved beside the weights.
        channels: feature channels at 1, 1/2, 1/4 and 1/8 of the face's side.
        blocks: number of MMA blocks.
        delta: frames whose K and V are summed in Eq. 5: the present one and delta - 1 others.
        window: rows and columns of a window of the attention.
        heads: heads of the attention.
        mlp_ratio: hidden width of a block's MLP over its channels.
        flow_channels: hidden channels of each level of SpyNet.
        judge_channels: channels of D, layer by layer.
        flow_levels: levels of SpyNet; the coarsest is 1 / 2^(flow_levels - 1) of the face's side.
        fir: refine the map along the imperfection flow (Eq. 3); without, T gets the map of N.
        mma: the MMA blocks (Eq. 4-6); without, G gets the features of E.
    """

    preset: str = "paper"
    channels: tuple[int, int, int, int] = (64, 128, 256, 512)
    blocks: int = 5
    delta: int = 6
    window: tuple[int, int] = (6, 16)
    heads: int = 8
    mlp_ratio: float = 2.0
    flow_channels: tuple[int, int, int, int] = (32, 64, 32, 16)
    flow_levels: int = 6
    judge_channels: tuple[int, ...] = (64, 128, 256, 256)
    fir: bool = True
    mma: bool = True

    @property
    def multiple(self) -> int:
        """What a face's sides must be a multiple of, in pixels."""
        return max(8, 1 << (self.flow_levels - 1))

    def wrong_side(self, side: int) -> str:
        """Why a face cannot have sides of so many pixels, a sentence; empty where it can."""
        if side % self.multiple == 0:
            return ""
        return f"A size of {side} is no multiple of {self.multiple}; preset {self.preset} needs one."

    def to_dict(self) -> dict[str, Any]:
        """The config as plain values, for JSON."""
        return asdict(self)


def config_of(saved: dict[str, Any]) -> PaperConfig:
    """The config that `to_dict` gave."""
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in saved.items()}
    return PaperConfig(**values)


PRESETS: dict[str, PaperConfig] = {
    "paper": PaperConfig(),
    "paper-tiny": PaperConfig(
        preset="paper-tiny",
        channels=(4, 6, 8, 16),
        blocks=2,
        delta=3,
        window=(3, 4),
        heads=2,
        flow_channels=(4, 6, 4, 4),
        flow_levels=4,
        judge_channels=(4, 4),
    ),
}


def preset(name: str) -> PaperConfig:
    """The preset `name`.

    Raises:
        UnknownPresetError: there is none of that name.
    """
    if name not in PRESETS:
        raise UnknownPresetError(
            f"There is no published preset {name!r}; choose one of {', '.join(sorted(PRESETS))}."
        )
    return PRESETS[name]
