"""Data-parallel training with torchrun: processes that differ only in the clips they see.

Each process works out the gradients of its own clips, and before an optimiser's step the processes take the
mean of them (`model.together`), so that all make the same step. That is what DistributedDataParallel does;
done by hand it also fits several losses, each with respect to weights of its own, out of one forward pass.
"""

import os

import torch
import torch.distributed as dist
from torch import Tensor


def rank() -> int:
    """Number of this process, 0 where there is but one; it is the one that writes and prints."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def launched() -> int:
    """Number of processes that torchrun has started, 1 without it; whether or not they have met."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def join(device: str) -> str:
    """Meet the other processes that torchrun has started, if it has; this process's device.

    On GPUs, one for each process of a machine, by NCCL; on the CPU by gloo.
    """
    if launched() == 1 or dist.is_initialized():
        return device
    if device == "cuda":
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    return device


def wait() -> None:
    """Until all processes have come here."""
    if world() > 1:
        dist.barrier()


def leave() -> None:
    """Part from the others at the end."""
    if dist.is_initialized():
        dist.destroy_process_group()


def gathered(own: Tensor) -> Tensor:
    """`own` [B] of every process, [world B] in their order; the gradient goes through this process's part.

    Of a loss on all of it each process has the gradient by its own part alone, and the sum of them is the
    loss's: `world()` times the loss is what `average_gradients` makes that sum of (`model.together`).
    """
    if world() == 1:
        return own
    parts = [torch.empty_like(own) for _ in range(world())]
    dist.all_gather(parts, own.detach())
    parts[rank()] = own
    return torch.cat(parts)


def share_of(count: int) -> slice:
    """This process's part where each draws `count` of `count` times world(), the same in all."""
    return slice(rank() * count, (rank() + 1) * count)


def mean(values: Tensor) -> Tensor:
    """`values`, changed in place to the mean over the processes."""
    if world() > 1:
        dist.all_reduce(values)
        values /= world()
    return values
