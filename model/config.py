"""Sizes of the network, one frozen dataclass, with the named presets as data."""

from dataclasses import asdict, dataclass
from typing import Any

FACE_PX = 512
PATCH_CHANNELS = 4
# What a person is known by, each a class of the localizer of its own.
KEPT = ("moles", "freckles")
# How much more a pixel of theirs, and one of an imperfection, counts than clean skin where the localizer
# learns them: a face has a few moles, and unweighted none anywhere is all but right.
KEPT_RARITY, PAINTED_RARITY = 200.0, 8.0


class UnknownPresetError(ValueError):
    """The preset asked for does not exist."""


@dataclass(frozen=True)
class Config:
    """Sizes of a causal VRetouchEr.

    Attributes:
        preset: name, saved beside the weights.
        channels: feature channels at 1/2, 1/4, 1/8 and 1/16 of the face's side.
        mma_blocks: number of MMA blocks (paper, Table 2: five).
        mma_channels: Lambda of Eq. 5, channels of Q, K and V of one block.
        mlp_ratio: hidden width of a block's MLP over its channels (Table 2: 2).
        delta: number of reference slots in the ring (paper: 6).
        flow_channels: hidden channels of each level of the flow pyramid S.
        flow_levels: levels of the pyramid; the finest is 1/8 of the face's side.
        fir: refine the map by the one before (Eq. 3); without, this frame's evidence stands alone.
        mma: the MMA blocks (Eq. 4-6); without, the features go to the decoder as they are.
        guided: the refined map masks Q, K and V (Eq. 4); without, every place counts half.
    """

    preset: str
    channels: tuple[int, int, int, int]
    mma_blocks: int
    mma_channels: int
    mlp_ratio: int = 2
    delta: int = 6
    flow_channels: int = 16
    flow_levels: int = 3
    fir: bool = True
    mma: bool = True
    guided: bool = True

    @property
    def reference_channels(self) -> int:
        """Channels of one ring slot: K and V of every block."""
        return 2 * self.mma_blocks * self.mma_channels

    def to_dict(self) -> dict[str, Any]:
        """The config as plain values, for JSON."""
        return asdict(self)


PRESETS: dict[str, Config] = {
    "live": Config(preset="live", channels=(16, 32, 64, 96), mma_blocks=2, mma_channels=8),
    "studio": Config(preset="studio", channels=(48, 96, 128, 192), mma_blocks=2, mma_channels=32),
    "tiny": Config(
        preset="tiny", channels=(4, 6, 8, 8), mma_blocks=1, mma_channels=4, delta=2, flow_channels=4
    ),
}


def preset(name: str) -> Config:
    """The preset `name`.

    Raises:
        UnknownPresetError: there is none of that name.
    """
    if name not in PRESETS:
        raise UnknownPresetError(f"There is no preset {name!r}; choose one of {', '.join(sorted(PRESETS))}.")
    return PRESETS[name]
