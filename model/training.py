"""What the trainers share: what stops a training and how that is said, going on from a checkpoint, the rate,
and the average of the weights while it is young."""

import hashlib
import math
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from model.data.clips import Clip
from model.distributed import join
from model.weights import loading, out_of_memory, system_of

F = TypeVar("F", bound=Callable[..., Any])


class TrainingError(ValueError):
    """The training cannot start or go on; one sentence for a person."""


class LossNotFiniteError(ArithmeticError):
    """A loss or a gradient is infinite or no number; the weights have not been changed by it."""


def fused(function: F) -> F:
    """The function as torch.compile makes it, for one shape."""
    # Without FIR and MMA torch 2.13 made a kernel that reads a buffer before there is one; it costs nothing.
    return cast(F, torch.compile(function, dynamic=False, options={"inplace_buffers": False}))


def weights_of(optimiser: torch.optim.Optimizer) -> list[nn.Parameter]:
    """The weights that an optimiser changes."""
    return [weight for group in optimiser.param_groups for weight in group["params"]]


def to_device(clip: Clip, device: str) -> Clip:
    """The clip's pictures on `device`."""
    moved = {k: v.to(device, non_blocking=True) for k, v in vars(clip).items() if isinstance(v, Tensor)}
    return Clip(**{**vars(clip), **moved})


def learning_rate(share: float, peak: float) -> float:
    """Linear warm-up over the first 2 % of the budget, then a cosine down to 2 % of the peak."""
    warm = min(1.0, share / 0.02 + 0.02)
    return peak * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * share)))


def mean_terms(many: list[dict[str, float]]) -> dict[str, float]:
    """Mean of each term over the steps since the last report."""
    return {k: sum(terms[k] for terms in many) / len(many) for k in many[0]}


def warm_average(average: float, step: int) -> float:
    """Decay of the moving average of the weights after step `step`, from 1: the first steps soon leave it."""
    return min(average, step / (step + 10))


@torch.no_grad()
def average_into(averaged: nn.Module, network: nn.Module, decay: float) -> None:
    """Moving average of the weights (Polyak), in place."""
    pairs = zip(averaged.parameters(), network.parameters(), strict=True)
    for mean, new in pairs:
        mean.lerp_(new, 1 - decay)


def demand_gpu(device: str) -> None:
    """Where the device is "cuda", there is a GPU for this process.

    Raises:
        TrainingError: there is none.
    """
    local, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if device != "cuda" or local < count:
        return
    if count == 0:
        raise TrainingError("torch can use no GPU here; give --device cpu, or install a torch that can.")
    raise TrainingError(
        f"torch can use {count} GPUs, so process {local + 1} is one too many; lower --nproc-per-node, or "
        "give --device cpu."
    )


def joined(device: str) -> str:
    """Meet the other processes that torchrun has started, if it has (model.distributed.join).

    Raises:
        TrainingError: there is no GPU for this process.
    """
    demand_gpu(device)
    return join(device)


def found_checkpoint(out: Path, resume: bool) -> bool:
    """Whether there is a checkpoint to go on from.

    Raises:
        TrainingError: there is one, and it is not to be resumed.
    """
    found = (out / "checkpoint.pt").is_file()
    if found and not resume:
        raise TrainingError(f"{out} holds a training already; go on with --resume, or give another folder.")
    return found


def names_hash(names: Iterable[str]) -> str:
    """What tells files from others: a hash of their names, in whatever order they come."""
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()[:16]


@contextmanager
def resuming(
    path: Path, system: str, settings: dict[str, Any], learnt_from: dict[str, str]
) -> Iterator[dict[str, Any]]:
    """The content of the checkpoint at `path`, to be taken over within.

    Args:
        path: of the checkpoint.
        system: which one is trained.
        settings: what must be as it was.
        learnt_from: `names_hash` of the pictures, by the argument that names their folder; must be as it was
            too, where the checkpoint has it, as those of earlier versions do not.

    Raises:
        TrainingError: it is of another system, of other settings or of other pictures.
        WeightsError: it is damaged, or what is within does not fit.
    """
    with loading(path, "whole checkpoint of this training", "begin in another folder", TrainingError):
        saved = torch.load(path, map_location="cpu", weights_only=True)
        found = system_of(saved)
        if found != system:
            raise TrainingError(f"{path} is of {found}, not of {system}; give another folder for OUT.")
        check_same(path, saved["settings"], settings)
        _check_learnt_from(path, saved.get("learnt_from", {}), learnt_from)
        yield saved


def _check_learnt_from(path: Path, then: dict[str, str], now: dict[str, str]) -> None:
    other = [argument for argument, names in now.items() if then.get(argument, names) != names]
    if other:
        raise TrainingError(
            f"{path} is of a training on other pictures (the names in {' and '.join(other)} differ); resume "
            "with those, or give another folder for OUT."
        )


def check_same(path: Path, then: dict[str, Any], now: dict[str, Any]) -> None:
    """The settings of the checkpoint at `path` are those of now.

    Raises:
        TrainingError: some differ.
    """
    changed = [f"{k} was {then.get(k)}, not {value}" for k, value in now.items() if then.get(k) != value]
    if changed:
        raise TrainingError(
            f"{path} is of a training with other settings ({'; '.join(changed)}); resume with those, or give "
            "another folder for OUT."
        )


def not_finite(step: int, error: LossNotFiniteError, saved: int | None, path: Path, remedy: str) -> str:
    """What to say of step `step` that went astray, where the checkpoint at `path` is of step `saved`."""
    kept = (
        "nothing was saved yet, begin anew" if saved is None else f"{path} is of step {saved}, go on from it"
    )
    return f"Step {step} is not finite ({error}); {kept} {remedy}."


@contextmanager
def memory_said(batch: int, frames: int, size: int, remedy: str) -> Iterator[None]:
    """A training's work; where the memory is out, what to do is said.

    Raises:
        TrainingError: the memory does not suffice.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise TrainingError(
            f"The memory does not suffice for {batch} clips of {frames} frames of {size} pixels; {remedy}."
        ) from error
