"""Metrics that see through a trained network, LPIPS and VFID: loaded if at hand, else the reason why not.

Nothing is downloaded. LPIPS (Zhang et al., CVPR 2018) is its authors' package on AlexNet; VFID (Wang et al.,
NeurIPS 2018) the Fréchet distance of features of I3D, as the file of TorchScript that video generation
measures by. The paper names neither network.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bench.metrics import Pixels

if TYPE_CHECKING:
    from torch import Tensor

ALEXNET = "alexnet-owt-7be5be79.pth"
I3D = "i3d_torchscript.pt"
I3D_SIDE_PX = 224
I3D_LEAST_FRAMES = 10
ALEXNET_LEAST_PX = 64


class AbsentError(Exception):
    """A metric cannot be had; one sentence that says why."""


class Lpips:
    """LPIPS of two frames, lower is nearer."""

    def __init__(self) -> None:
        """Load the package and AlexNet's weights from torch hub's cache.

        Raises:
            AbsentError: either is not there.
        """
        self._distance = _lpips_network()

    def __call__(self, frame_u8: Pixels, target_u8: Pixels) -> float:
        """Both uint8 [H, W, 3] RGB.

        Raises:
            AbsentError: they are too small for AlexNet.
        """
        import torch

        if min(frame_u8.shape[:2]) < ALEXNET_LEAST_PX:
            raise AbsentError(f"AlexNet needs frames of {ALEXNET_LEAST_PX} px or more")
        with torch.no_grad():
            pair = (_signed(picture[None])[:, :, 0] for picture in (frame_u8, target_u8))
            return float(self._distance(*pair))


def _lpips_network() -> Any:
    import torch

    try:
        import lpips
    except Exception as error:  # a torchvision of another torch raises RuntimeError
        reason = f"the package lpips is not usable ({_first_line(error)})"
        raise AbsentError(f"{reason}; `pip install lpips torchvision`") from error
    weights = Path(torch.hub.get_dir()) / "checkpoints" / ALEXNET
    if not weights.is_file():
        raise AbsentError(f"AlexNet's weights are not at {weights}; put torchvision's {ALEXNET} there")
    try:
        with warnings.catch_warnings(action="ignore"):  # lpips asks torchvision in a way that it deprecates
            return lpips.LPIPS(net="alex", verbose=False)
    except Exception as error:
        raise AbsentError(f"{weights} does not load ({_first_line(error)}); fetch it anew") from error


class Vfid:
    """Fréchet distance between the features of retouched and of target clips, lower is nearer."""

    def __init__(self, weights: Path | None) -> None:
        """Load I3D from TorchScript.

        Raises:
            AbsentError: no file is named, or it does not load.
        """
        import torch

        if weights is None:
            raise AbsentError(f"no I3D is named; give the file {I3D}")
        if not weights.is_file():
            raise AbsentError(f"there is no I3D at {weights}; give the file {I3D}")
        try:
            with warnings.catch_warnings(action="ignore"):  # torch deprecates what the I3D in use is kept in
                self._network = torch.jit.load(weights, map_location="cpu").eval()
        except Exception as error:
            raise AbsentError(f"{weights} is no TorchScript ({_first_line(error)}); give {I3D}") from error

    def __call__(self, clips: Sequence[Pixels], targets: Sequence[Pixels]) -> float:
        """Each clip uint8 [T, H, W, 3] RGB.

        Raises:
            AbsentError: fewer than two clips, clips too short, or the network is not I3D.
        """
        if len(clips) < 2:
            raise AbsentError(f"{len(clips)} clip has no spread to compare; give two or more")
        shortest = min(len(clip) for clip in (*clips, *targets))
        if shortest < I3D_LEAST_FRAMES:
            raise AbsentError(f"a clip has {shortest} frames; I3D needs {I3D_LEAST_FRAMES} or more")
        return frechet(*(np.stack([self._features(clip) for clip in side]) for side in (clips, targets)))

    def _features(self, clip_u8: Pixels) -> npt.NDArray[np.float64]:
        import torch
        import torch.nn.functional as F

        clip = _signed(clip_u8)
        size = (clip.shape[2], I3D_SIDE_PX, I3D_SIDE_PX)
        small = F.interpolate(clip, size, mode="trilinear", align_corners=False)
        try:
            with torch.no_grad():
                seen: Tensor = self._network(small, rescale=False, resize=False, return_features=True)
        except Exception as error:
            raise AbsentError(f"the I3D given does not run ({_first_line(error)}); give {I3D}") from error
        return np.asarray(seen.double().reshape(-1).numpy(), np.float64)


def frechet(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    """Squared Fréchet distance between the Gaussians of two sets of features [N, D] and [M, D].

    |m_a - m_b|^2 + tr(A + B - 2 (A B)^(1/2)), covariances A and B (Heusel et al., NeurIPS 2017). The last
    trace is the sum of the singular values of a b^T, centred and scaled, so that fewer clips than features
    are no matter.
    """
    from_a, from_b = ((x - x.mean(0)) / np.sqrt(len(x) - 1) for x in (a, b))
    shared = np.linalg.svd(from_a @ from_b.T, compute_uv=False).sum()
    apart = np.square(a.mean(0) - b.mean(0)).sum()
    return float(apart + np.square(from_a).sum() + np.square(from_b).sum() - 2 * shared)


def _signed(clip_u8: Pixels) -> Tensor:
    """uint8 [T, H, W, 3] to float32 [1, 3, T, H, W] in [-1, 1]."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(clip_u8.transpose(3, 0, 1, 2)))[None].float() / 127.5 - 1


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
