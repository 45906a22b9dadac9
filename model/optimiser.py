"""Muon for the convolutions, AdamW for the rest, as one optimiser."""

from typing import Any

import torch
from torch import Tensor, nn


class Optimiser:
    """Muon (Jordan et al., 2024) on every convolution's kernel, seen as a matrix [outputs, the rest]; AdamW
    on biases, single numbers and kernels too thin to turn.

    Muon's steps are scaled to AdamW's (Liu et al., 2025), so that one rate serves both.
    """

    def __init__(self, network: nn.Module, rate: float) -> None:
        self.kernels, others = _parted(network)
        # The same memory, other shape: torch's Muon takes matrices alone.
        self.matrices = [nn.Parameter(kernel.detach().view(len(kernel), -1)) for kernel in self.kernels]
        self.muon = torch.optim.Muon(self.matrices, lr=rate, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
        self.adamw = torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.99), weight_decay=1e-4)

    def set_rate(self, rate: float) -> None:
        """The learning rate of the next steps."""
        for group in (*self.muon.param_groups, *self.adamw.param_groups):
            group["lr"] = rate

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for kernel in self.kernels:
            kernel.grad = None
        self.adamw.zero_grad(set_to_none=True)

    def step(self) -> None:
        """Change the network by its gradients."""
        for matrix, kernel in zip(self.matrices, self.kernels, strict=True):
            matrix.grad = None if kernel.grad is None else kernel.grad.view_as(matrix)
        self.muon.step()  # type: ignore[no-untyped-call]
        self.adamw.step()

    def state_dict(self) -> dict[str, Any]:
        """Both optimisers' states, for a checkpoint."""
        return {"muon": self.muon.state_dict(), "adamw": self.adamw.state_dict()}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.muon.load_state_dict(saved["muon"])
        self.adamw.load_state_dict(saved["adamw"])


def _parted(network: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Kernels for Muon, and what is left."""
    kernels = [p for p in network.parameters() if p.ndim > 1 and min(len(p), _width(p)) > 4]
    chosen = {id(p) for p in kernels}
    return kernels, [p for p in network.parameters() if id(p) not in chosen]


def _width(kernel: Tensor) -> int:
    return kernel.numel() // len(kernel)
