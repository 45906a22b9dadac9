"""Flow truth where the motion is not known: a pretrained network on the difference maps (Section 3.2)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.paper.spynet import load_spynet
from model.weights import WeightsError

Teacher = Callable[[Tensor, Tensor], Tensor]
RAFT = "raft"
RAFT_LEAST_PX = 128


def open_teacher(name: str, device: str = "cpu") -> Teacher:
    """What gives the backward flow of an earlier and a present picture [B, 3, H, W] in [0, 1].

    Args:
        name: path of a pretrained SpyNet (`load_spynet`), or "raft" for torchvision's RAFT (large) with the
            weights in torch hub's cache; nothing is downloaded.
        device: where it runs.

    Raises:
        WeightsError: the weights, or torchvision, are not there.
    """
    return _raft(device) if name == RAFT else load_spynet(Path(name)).to(device)


def _raft(device: str) -> Teacher:
    try:
        from torchvision.models import optical_flow
    except (ImportError, RuntimeError) as error:  # RuntimeError: a torchvision of another torch
        said = str(error).partition("\n")[0]
        raise WeightsError(
            f"torchvision, of which RAFT is a part, cannot be imported ({said}); install the one that goes "
            "with your torch, or give the path of a pretrained SpyNet."
        ) from error
    file = optical_flow.Raft_Large_Weights.DEFAULT.url.rpartition("/")[2]
    path = Path(torch.hub.get_dir()) / "checkpoints" / file
    if not path.is_file():
        raise WeightsError(f"There are no weights of RAFT at {path}; put torchvision's {file} there.")
    network: Any = optical_flow.raft_large(weights=None)
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    network.eval().requires_grad_(False).to(device)

    def flow(earlier: Tensor, now: Tensor) -> Tensor:
        if min(now.shape[-2:]) < RAFT_LEAST_PX:
            raise WeightsError(
                f"RAFT needs pictures of {RAFT_LEAST_PX} pixels at least; give a larger --size."
            )
        estimates: list[Tensor] = network(2 * now - 1, 2 * earlier - 1)
        return estimates[-1]

    return flow


@torch.no_grad()
def taught_flow(teacher: Teacher, maps: Tensor) -> Tensor:
    """O_gt [B, T, 2, H, W] in pixels, backward, zeros in frame 0, of the maps M_gt [B, T, 1, H, W]."""
    flow = torch.zeros_like(maps).repeat(1, 1, 2, 1, 1)
    pictures = maps.expand(-1, -1, 3, -1, -1)
    for t in range(1, maps.shape[1]):
        flow[:, t] = teacher(pictures[:, t - 1], pictures[:, t])
    return flow
