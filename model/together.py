"""What each process of a training does by itself, such as the work on its own clips, and how all of them stop
where one cannot go on."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import Event

import torch
import torch.distributed as dist
from torch import nn

from model.distributed import mean, rank, wait, world
from model.training import TrainingError

_stopped = Event()


class ElsewhereError(TrainingError):
    """Another process cannot go on, and says why."""


@contextmanager
def together(device: str) -> Iterator[None]:
    """Work of this process by itself; after it all go on, or none.

    Args:
        device: of this process.

    Raises:
        ElsewhereError: another process failed; the first of those that did raises what it met.
    """
    if world() == 1:
        yield
        return
    first = torch.tensor(world(), device=device)  # made before the work, which may use up the memory
    met: Exception | None = None
    try:
        yield
    except Exception as error:
        met = error
        first.fill_(rank())
    dist.all_reduce(first, dist.ReduceOp.MIN)
    failed = int(first)
    if failed == world():
        return
    _stopped.set()
    if met is not None and failed == rank():
        raise met
    raise ElsewhereError(f"Process {failed + 1} of {world()} cannot go on, and says why.") from met


def average_gradients(weights: Iterable[nn.Parameter]) -> None:
    """Each weight's gradient becomes the mean over the processes, in one message.

    Raises:
        ElsewhereError: another process has no memory for it.
    """
    if world() == 1:
        return
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    if not gradients:
        return
    with together(str(gradients[0].device)):
        flat = torch.cat([gradient.flatten() for gradient in gradients])
    mean(flat)
    at = 0
    for gradient in gradients:
        gradient.copy_(flat[at : at + gradient.numel()].view_as(gradient))
        at += gradient.numel()


def say(error: Exception) -> None:
    """Print why the training stops: where all stop together, in the process that failed alone, for which the
    others wait, as torchrun ends them all with the first that ends."""
    if not isinstance(error, ElsewhereError):
        print(error, file=sys.stderr, flush=True)
    if _stopped.is_set():
        wait()
