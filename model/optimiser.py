"""Muon for the convolutions, AdamW for the rest, as one optimiser."""

from typing import Any

import torch
from torch import Tensor, nn

# Keller Jordan's quintic: five steps bring singular values between 1e-3 and 1 to about 1.
QUINTIC = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 5


def orthogonal(matrix: Tensor) -> Tensor:
    """About U V^T of `matrix` [m, n] = U S V^T, by Newton-Schulz steps in its own precision.

    torch's Muon takes them in bfloat16 always, which on a processor without that arithmetic costs more than
    the network's own backward pass.
    """
    a, b, c = QUINTIC
    turned = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if turned else matrix
    x = x / x.norm().clamp_min(1e-7)
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    found: Tensor = x.T if turned else x
    return found


class Muon(torch.optim.Optimizer):
    """Muon (Jordan et al., 2024): Nesterov momentum, made orthogonal, at AdamW's root mean square (Liu et
    al., 2025), so that one rate serves both.

    bf16: turn the momentum in bfloat16, where the chip has that arithmetic; it is kept in float32.
    """

    def __init__(
        self, kernels: list[nn.Parameter], lr: float, momentum: float = 0.95, bf16: bool = False
    ) -> None:
        super().__init__(kernels, {"lr": lr, "momentum": momentum})
        self.precision = torch.bfloat16 if bf16 else torch.float32

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Change every kernel [outputs, ...], seen as a matrix, by its gradient."""
        for group in self.param_groups:
            for kernel in group["params"]:
                if kernel.grad is not None:
                    self._turn(kernel, group["lr"], group["momentum"])

    def _turn(self, kernel: nn.Parameter, rate: float, keep: float) -> None:
        assert kernel.grad is not None
        state = self.state[kernel]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(kernel)
        mean = state["momentum_buffer"].lerp_(kernel.grad, 1 - keep)
        matrix = kernel.grad.lerp(mean, keep).reshape(len(kernel), -1)
        size = 0.2 * max(matrix.shape) ** 0.5
        turned = orthogonal(matrix.to(self.precision)).float()
        kernel.sub_(turned.view_as(kernel), alpha=rate * size)


class Optimiser:
    """Muon on every convolution's kernel; AdamW on biases, single numbers and kernels too thin to turn."""

    def __init__(self, network: nn.Module, rate: float, bf16: bool = False) -> None:
        kernels, others = _parted(network)
        self.muon = Muon(kernels, rate, bf16=bf16)
        self.adamw = torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.99), weight_decay=1e-4)

    def set_rate(self, rate: float) -> None:
        """The learning rate of the next steps."""
        for group in (*self.muon.param_groups, *self.adamw.param_groups):
            group["lr"] = rate

    def zero_grad(self) -> None:
        """Forget the gradients."""
        self.muon.zero_grad(set_to_none=True)
        self.adamw.zero_grad(set_to_none=True)

    def step(self) -> None:
        """Change the network by its gradients."""
        self.muon.step()
        self.adamw.step()

    def state_dict(self) -> dict[str, Any]:
        """Both optimisers' states, for a checkpoint."""
        return {"muon": self.muon.state_dict(), "adamw": self.adamw.state_dict()}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.muon.load_state_dict(saved["muon"])
        for kernel, state in self.muon.state.items():
            # torch's own Muon, which earlier checkpoints are of, keeps matrices.
            state["momentum_buffer"] = state["momentum_buffer"].view_as(kernel)
        self.adamw.load_state_dict(saved["adamw"])


def _parted(network: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Kernels for Muon, and what is left."""
    kernels = [p for p in network.parameters() if p.ndim > 1 and min(len(p), _width(p)) > 4]
    chosen = {id(p) for p in kernels}
    return kernels, [p for p in network.parameters() if id(p) not in chosen]


def _width(kernel: Tensor) -> int:
    return kernel.numel() // len(kernel)
