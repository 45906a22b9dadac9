"""BPFRe's losses, with and without pairs, and its training (Xie et al., CVPR 2023; see `model.bpfre`).

The poster leaves out, or prints otherwise, what follows, which is decided here:
- Delta is the mean over RGB of |a - b|, full at 0.08, as all maps here: a map that is to weigh must reach 1,
  and differences in [0, 1] never do. Delta is a constant: no gradient goes through x~.
- Beside the L1 of a map stands its cross-entropy. Blemishes cover few pixels, so that by L1 alone an empty
  map is all but right: on painted faces M fell to 1e-8 in 80 steps, where a sigmoid learns no more, and a
  stage whose M is 0 changes nothing.
- The discriminator's term on retouched pictures is printed as log(1 - D), as on raw ones; it is log D here,
  or there would be nothing to tell apart.
- M in the adversarial terms is a constant, and that of the raw picture at the same place of the batch where
  the picture is a retouched one: a clean face has a map of its own that is 0, and would not count.
- VGG's layers are Pix2PixHD's; the terms count alike, the adversarial one a tenth.
- Adam at 2e-4 for both, as VRetouchEr's. Nothing is recoloured; pictures from disk, with and without
  partners, are mirrored half the time (`model.data.sequences`, `model.earlier.unpaired`), painted clips not.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.bpfre import BPFRe, BPFReConfig, Discriminator, Retouched
from model.data.clips import imperfections
from model.earlier import Pairs, PairTraining, descend
from model.together import together

PERCEPTUAL_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
RATE = 2e-4
LEAST = 1e-6
ADVERSARIAL = 0.1  # weight of the adversarial term; the others count alike


def blemishes(picture: Tensor, target: Tensor) -> Tensor:
    """Delta [B, 1, H, W] in [0, 1] of RGB [B, 3, H, W], a constant."""
    return imperfections(picture.detach(), target)


def map_distance(mask: Tensor, truth: Tensor) -> Tensor:
    """L_blem of M and Delta, both [B, 1, H, W] in [0, 1]: L1 and cross-entropy."""
    held = mask.clamp(LEAST, 1 - LEAST)
    distance: Tensor = F.l1_loss(mask, truth) + F.binary_cross_entropy(held, truth)
    return distance


def discriminator_loss(of_raw: Tensor, of_out: Tensor, of_target: Tensor, mask: Tensor) -> Tensor:
    """-L_adv^disc of logits and M, all [B, 1, H, W]: M (log(1 - D(raw)) + log(1 - D(x^)) + log D(target))."""
    told_apart = F.softplus(of_raw) + F.softplus(of_out) + F.softplus(-of_target)
    return (mask * told_apart).mean()


def synthesis_loss(of_out: Tensor, mask: Tensor) -> Tensor:
    """L_adv^synt of logits and M, both [B, 1, H, W]: M log(1 - D(x^)), which the network lowers."""
    return -(mask * F.softplus(of_out)).mean()


class BPFReTraining(PairTraining):
    """BPFRe, its discriminator, and their optimisers."""

    network: BPFRe

    def __init__(
        self,
        config: BPFReConfig,
        perceptual: nn.Module | None,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        """perceptual: mean absolute distance on PERCEPTUAL_LAYERS (`model.perceptual`); None: without."""
        torch.manual_seed(seed)
        self.device = device
        self.network = BPFRe(config).to(device)
        self.discriminator = Discriminator(config).to(device)
        self.perceptual = perceptual.to(device) if perceptual else None
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=RATE)
        self.discriminator_optimiser = torch.optim.Adam(self.discriminator.parameters(), lr=RATE)

    def parts(self) -> dict[str, Any]:
        """What has a `state_dict`, by name."""
        return {
            "network": self.network,
            "discriminator": self.discriminator,
            "optimiser": self.optimiser,
            "discriminator_optimiser": self.discriminator_optimiser,
        }

    def step(self, pairs: Pairs) -> dict[str, float]:
        """One step of the discriminator, then one of the network, on pairs and, if given, on unpaired
        pictures."""
        with together(self.device):
            raw = _joined(pairs.raw, pairs.unpaired_raw)
            target = _joined(pairs.target, pairs.unpaired_target)
            made = self.network(raw)
            clean = self.network.coarse(target)
        discriminator = self._teach_discriminator(raw, target, made)
        with together(self.device):
            terms = self.supervised(made, pairs)
            terms["coarse"] = terms["coarse"] + self.consistency(clean.picture, target)
            synthesis = synthesis_loss(self.discriminator(made.refined), made.map_refined.detach())
        loss = torch.stack([*terms.values()]).sum() + ADVERSARIAL * synthesis
        descend(self.optimiser, loss)
        named = {"loss": loss, **terms, "synthesis": synthesis, "discriminator": discriminator}
        return {name: float(term.detach()) for name, term in named.items()}

    def supervised(self, made: Retouched, pairs: Pairs) -> dict[str, Tensor]:
        """The terms that need pairs, of the part of `made` that is theirs."""
        theirs = Retouched(*(part[: len(pairs.raw)] for part in made))
        target = pairs.target
        return {
            "blemish_coarse": map_distance(theirs.map_coarse, blemishes(pairs.raw, target)),
            "blemish_refined": map_distance(theirs.map_refined, blemishes(theirs.coarse, target)),
            "coarse": self.consistency(theirs.coarse, target),
            "refined": self.consistency(theirs.refined, target),
        }

    def consistency(self, picture: Tensor, target: Tensor) -> Tensor:
        """L_cons of one stage: L1 of pixels and of VGG's features."""
        distance = F.l1_loss(picture, target)
        return distance + self.perceptual(picture, target) if self.perceptual else distance

    def _teach_discriminator(self, raw: Tensor, target: Tensor, made: Retouched) -> Tensor:
        pictures = (raw, made.refined.detach(), target)
        with together(self.device):
            of_raw, of_out, of_target = (self.discriminator(picture) for picture in pictures)
            loss = discriminator_loss(of_raw, of_out, of_target, made.map_refined.detach())
        descend(self.discriminator_optimiser, loss)
        return loss


def _joined(paired: Tensor, unpaired: Tensor | None) -> Tensor:
    return paired if unpaired is None else torch.cat([paired, unpaired])
