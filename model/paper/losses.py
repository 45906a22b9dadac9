"""The losses of Section 3.4.

Decided: every norm is a mean, so that neither the batch nor the picture's size has a say, as the weights of
Eq. 8, 9 and 11 presume.
"""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

ZETA = 10.0
# Decided, as V's layer is not printed: the deepest whose cells, 4 px, are as fine as the imperfections.
PERCEPTUAL_LAYERS = ("relu3_4",)
Perceptual = Callable[[Tensor, Tensor], Tensor]


def flow_loss(flow: Tensor, truth: Tensor) -> Tensor:
    """Eq. 1: L1 of the imperfection flow [B, T, 2, H, W], pixels. Frame 0 has no frame before it."""
    if flow.shape[1] < 2:
        return flow.float().sum() * 0
    return F.l1_loss(flow[:, 1:].float(), truth[:, 1:])


def map_loss(shown: Tensor, truth: Tensor) -> Tensor:
    """Eq. 7: L1 of I(M) [B, T, 1, h, w] and M_gt [B, T, 1, H, W], which is averaged to the map's size, as
    I changes the number of channels only."""
    scale = truth.shape[-1] // shown.shape[-1]
    return F.l1_loss(shown.flatten(0, 1).float(), F.avg_pool2d(truth.flatten(0, 1), scale))


def pixel_loss(image: Tensor, target: Tensor) -> Tensor:
    """The first term of Eq. 9, without zeta: L1 of retouched and target frames [B, T, 3, H, W]."""
    return F.l1_loss(image.float(), target)


def perceptual_loss(image: Tensor, target: Tensor, perceptual: Perceptual) -> Tensor:
    """The second term of Eq. 9: squared difference of VGG-19's features, frame by frame."""
    return perceptual(image.flatten(0, 1), target.flatten(0, 1))


def fooling_loss(of_image: Tensor) -> Tensor:
    """L_adv^syn of Eq. 10-11, of D's logits on the retouched sequences.

    Decided: -log D(Y^). As printed, E, T and G would minimise log D(Y^) and so strive to be told apart.
    """
    return F.softplus(-of_image.float()).mean()


def judging_loss(of_target: Tensor, of_image: Tensor) -> Tensor:
    """-L_adv^real of Eq. 10-11, of D's logits.

    Decided: log D(Y) + log(1 - D(Y^)), as the text has D tell retouched frames from synthesized ones; Eq. 10
    prints D(X) in the second place, with which D would never see what it judges.
    """
    return F.softplus(-of_target.float()).mean() + F.softplus(of_image.float()).mean()
