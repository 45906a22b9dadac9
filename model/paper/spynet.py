"""Imperfection flow S of Eq. 1: SpyNet (Ranjan and Black, CVPR 2017), also the teacher of its own truth."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.paper.config import PaperConfig
from model.perceptual import DEVIATION, MEAN
from model.warp import warp
from model.weights import WeightsError


def level(channels: Sequence[int]) -> nn.Sequential:
    """One level: five 7x7 convolutions from both pictures and the flow (3 + 3 + 2 channels) to a
    correction of the flow, at first none."""
    widths = (8, *channels, 2)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Conv2d(inputs, outputs, 7, padding=3), nn.ReLU()]
    last = layers[-2]
    assert isinstance(last, nn.Conv2d) and last.bias is not None
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*layers[:-1])


class SpyNet(nn.Module):
    """Flow between two pictures, coarse to fine.

    Decided: Eq. 1's O_{i->j} is kept as the backward flow from j to i, the only direction in which W of
    Eq. 2 can fetch.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, config: PaperConfig) -> None:
        super().__init__()
        self.levels = nn.ModuleList(level(config.flow_channels) for _ in range(config.flow_levels))
        self.register_buffer("mean", torch.tensor(MEAN).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(DEVIATION).reshape(1, 3, 1, 1), persistent=False)

    def forward(self, earlier: Tensor, now: Tensor) -> Tensor:
        """Pictures [B, 3, H, W] RGB in [0, 1], H and W multiples of 2^(levels - 1), to the flow
        [B, 2, H, W] in pixels (x, y): what is at x in `now` was at x + flow in `earlier`."""
        pyramid = [((now - self.mean) / self.deviation, (earlier - self.mean) / self.deviation)]
        for _ in range(len(self.levels) - 1):
            pyramid.append((F.avg_pool2d(pyramid[-1][0], 2), F.avg_pool2d(pyramid[-1][1], 2)))
        flow = torch.zeros_like(pyramid[-1][0][:, :2])
        for correct, (first, second) in zip(self.levels, reversed(pyramid), strict=True):
            if flow.shape != first[:, :2].shape:
                # Corners aligned, as published weights were trained.
                flow = 2 * F.interpolate(flow, scale_factor=2.0, mode="bilinear", align_corners=True)
            flow = flow + correct(torch.cat([first, warp(second, flow), flow], dim=1))
        return flow


def load_spynet(path: Path) -> SpyNet:
    """A pretrained SpyNet, frozen: the tensors of the file's kernels and biases, level by level from the
    coarsest, whatever their names; that is the order of every published port.

    Raises:
        WeightsError: the file is missing, unreadable or of another network.
    """
    if not path.is_file():
        raise WeightsError(f"There is no SpyNet at {path}; give the file of a pretrained one.")
    network = SpyNet(PaperConfig())
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        for key in ("params", "state_dict", "weights"):
            saved = saved.get(key, saved)
        tensors = [v for k, v in saved.items() if k.endswith(("weight", "bias"))]
        network.load_state_dict(dict(zip(network.state_dict(), tensors, strict=True)))
    except Exception as error:
        said = str(error).partition("\n")[0]
        raise WeightsError(f"{path} is no SpyNet of six levels ({said}); give the file of one.") from error
    return network.eval().requires_grad_(False)
