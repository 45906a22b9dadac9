"""Losses of flow, map and retouching (Eq. 1, 7, 9), the gain, what is left of the error, and a temporal one
in face coordinates along the known flow."""

from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from model.config import KEPT_RARITY, PAINTED_RARITY
from model.vretoucher import Step, Trace
from model.warp import warp

RARITY = 3.0
BROAD_LEVELS = (8, 16, 32, 64)
USUAL_ERROR, LEAST_ERROR = 0.45 / 255, 0.2 / 255
SEEN_ERROR = 1 / 255


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms; `imperfection` and `keep` are what an imperfection and a mole or freckle count
    beyond clean skin's 1."""

    retouch: float = 40.0
    detail: float = 15.0
    broad: float = 20.0
    map: float = 0.15
    kept: float = 0.1
    flow: float = 0.1
    temporal: float = 60.0
    gain: float = 0.2
    left: float = 0.0
    imperfection: float = 1.0
    keep: float = 4.0


# For a network that cannot tell marks yet: the L1 terms are least where nothing is changed, and the gain
# punishes what is done to faint clips most; the share of the error that is left does neither.
ERROR_LED = LossWeights(retouch=0.0, detail=0.0, broad=0.0, temporal=12.0, gain=0.0, left=1.0)


@dataclass(frozen=True)
class Truth:
    """One frame's truth.

    Attributes:
        raw, target: [B, 3, H, W] in [0, 1].
        map: [B, 1, H, W] in [0, 1].
        flow: [B, 2, H, W] pixels, backward.
        keep: [B, 2, H, W] in [0, 1], moles and freckles that must survive.
    """

    raw: Tensor
    target: Tensor
    map: Tensor
    flow: Tensor
    keep: Tensor


@dataclass(frozen=True)
class Terms:
    """The terms of one frame, unweighted, each a scalar."""

    retouch: Tensor
    detail: Tensor
    broad: Tensor
    map: Tensor
    kept: Tensor
    flow: Tensor
    temporal: Tensor
    gain: Tensor
    left: Tensor

    def total(self, weights: LossWeights) -> Tensor:
        """Their weighted sum."""
        return torch.stack([getattr(weights, f.name) * getattr(self, f.name) for f in fields(self)]).sum()


def weighted_l1(difference: Tensor, weight: Tensor) -> Tensor:
    """Mean of |difference| [B, C, H, W] under `weight` [B, 1, H, W]."""
    return (difference.abs() * weight).mean()


def laplacian(image: Tensor, levels: int = 3) -> list[Tensor]:
    """Band-pass pictures of `image` [B, C, H, W], fine to coarse (Burt and Adelson, 1983)."""
    bands = []
    for _ in range(levels):
        smaller = F.avg_pool2d(image, 2)
        bands.append(image - F.interpolate(smaller, scale_factor=2.0, mode="bilinear", align_corners=False))
        image = smaller
    return bands


def detail_loss(error: Tensor, weight: Tensor) -> Tensor:
    """Perceptual term that needs no download: L1 over the bands of the error, so that texture and edges
    count."""
    total = error.new_zeros(())
    for level, band in enumerate(laplacian(error)):
        total = total + weighted_l1(band, F.avg_pool2d(weight, 2**level) if level else weight)
    return total


def broad_loss(error: Tensor, weight: Tensor) -> Tensor:
    """L1 of the error's means over ever larger cells: redness, shine and shadow are faint in every pixel and
    yet most of what is wrong."""
    total = error.new_zeros(())
    error, weight, side = F.avg_pool2d(error, 4), F.avg_pool2d(weight, 4), 4
    for level in BROAD_LEVELS:
        error, weight = F.avg_pool2d(error, level // side), F.avg_pool2d(weight, level // side)
        side = level
        total = total + weighted_l1(error, weight)
    return total


def clip_weight(truth: Truth) -> Tensor:
    """Weight of each clip [B, 1, 1, 1]: about one over how wrong its raw face is.

    Gain and removal are ratios, so faint clips (dark faces, a few marks) count as much as strong ones.
    """
    wrong = (truth.raw - truth.target).abs().mean((1, 2, 3), keepdim=True)
    return USUAL_ERROR / (wrong + LEAST_ERROR)


def gain_loss(error: Tensor, truth: Truth) -> Tensor:
    """Mean over clips of the log of the squared error over that of the raw face: the gain but for sign and
    unit."""
    return torch.log(_left(error, truth, LEAST_ERROR)).mean()


def left_loss(error: Tensor, truth: Truth) -> Tensor:
    """Mean over clips of the squared error as part of the raw face's, less 1: 0 where nothing is changed.

    Beside the gain it forgives what is done to a face with next to nothing to do, which the gain's logarithm
    makes most of: a network that cannot tell marks yet learns from the gain to leave all faces alone.
    """
    return _left(error, truth, SEEN_ERROR).mean() - 1


def _left(error: Tensor, truth: Truth, least: float) -> Tensor:
    """Of each clip, mean squared error over that of the raw face [B], both plus the square of `least`."""
    left, before = (x.square().mean((1, 2, 3)) + least**2 for x in (error, truth.raw - truth.target))
    return left / before


def map_loss(trace: Trace, mask: Tensor, truth: Tensor, keep: Tensor) -> Tensor:
    """Eq. 7 at every scale: L1 of M_full, and cross-entropy of the logits, which teaches where the mask is
    0 or 1.

    Imperfections cover a percent of the skin, moles less, so they weigh more: unweighted, an empty map is all
    but right.
    """
    weight = 1 + RARITY * torch.maximum(truth, keep)
    truth4, weight4 = quarter(truth), quarter(weight)
    logits = (
        (trace.evidence, truth4, weight4),
        (trace.refined, truth4, weight4),
        (trace.full, truth, weight),
    )
    entropy = [
        F.binary_cross_entropy_with_logits(logit.float(), wanted, weight=much)
        for logit, wanted, much in logits
    ]
    return weighted_l1(mask.float() - truth, weight) + torch.stack(entropy).sum()


def quarter(truth: Tensor) -> Tensor:
    """A map [B, C, H, W] as the localizer has it [B, C, H/4, W/4]; what is small is not lost."""
    return F.max_pool2d(F.avg_pool2d(truth, 2), 2)


def kept_loss(kept: Tensor, truth: Truth) -> Tensor:
    """Cross-entropy of the classes that stay, of logits [B, 2, H/4, W/4]; imperfections, which they are taken
    for, count more than clean skin."""
    wanted, painted = quarter(truth.keep), quarter(truth.map)
    weight = 1 + KEPT_RARITY * wanted + PAINTED_RARITY * painted
    return F.binary_cross_entropy_with_logits(kept.float(), wanted, weight=weight)


def flow_loss(flow: Tensor, truth: Truth, seen: bool) -> Tensor:
    """Eq. 1, in pixels at 1/8 scale; imperfections count most, the rest a little."""
    if not seen:
        return flow.float().sum() * 0
    wanted = F.avg_pool2d(truth.flow, 8) / 8
    weight = 0.2 + F.max_pool2d(truth.map, 8)
    return weighted_l1(flow.float() - wanted, weight)


def frame_terms(
    step: Step, trace: Trace, truth: Truth, error_prev: Tensor | None, weights: LossWeights
) -> tuple[Terms, Tensor]:
    """The terms of one frame.

    Args:
        step, trace: what the network made of `truth.raw`.
        truth: the frame's truth.
        error_prev: retouched - target of the frame before [B, 3, H, W], or None for the first.
        weights: for the weight of imperfect pixels.

    Returns:
        The terms, and this frame's error for the next one.
    """
    error = truth.raw + step.residual.float() - truth.target
    keep = truth.keep.amax(1, keepdim=True)
    weight = clip_weight(truth) * (1 + weights.imperfection * truth.map + weights.keep * keep)
    terms = Terms(
        retouch=weighted_l1(error, weight),
        detail=detail_loss(error, weight),
        broad=broad_loss(error, weight),
        map=map_loss(trace, step.map, truth.map, keep),
        kept=kept_loss(trace.kept, truth),
        flow=flow_loss(trace.flow, truth, error_prev is not None),
        temporal=error.sum() * 0
        if error_prev is None
        else weighted_l1(error - warp(error_prev.detach(), truth.flow), weight),
        gain=gain_loss(error, truth),
        left=left_loss(error, truth),
    )
    return terms, error
