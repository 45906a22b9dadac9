"""The clips that a training sees, and those that it is judged by."""

import itertools
import random
from collections.abc import Iterator

import torch
from torch.utils.data import IterableDataset

from model.data.camera import CameraConfig
from model.data.clips import Clip, ClipConfig, ClipSampler
from model.data.portraits import Portraits
from model.distributed import rank
from model.options import Options

# Batches that wait to be drawn: so far apart, on average, are two takes of one face.
SHUFFLED = 8
# Between the seeds of processes that share a training.
APART = 7_368_787


class ClipStream(IterableDataset[Clip]):
    """Endless training clips. Batch n is the same whether the training was stopped before it or not; for a
    DataLoader of one worker."""

    def __init__(self, options: Options, step: int) -> None:
        """step: how many batches a training has had of it."""
        Portraits(options.faces, "train")  # what cannot be read is said here, not by the process that draws
        self.options, self.step, self.process = options, step, rank()

    def __iter__(self) -> Iterator[Clip]:
        torch.set_num_threads(1)
        o = self.options
        seed = o.seed * 1_000_003 + self.process * APART
        config = ClipConfig(
            size=o.size,
            frames=o.frames,
            density=o.density,
            diffuse=o.diffuse,
            clean_share=o.clean_share,
            camera=CameraConfig(noise_levels=o.noise * CameraConfig.noise_levels),
        )
        sampler = ClipSampler(o.faces, config, split="train", seed=seed)
        filmed: dict[int, list[Clip]] = {}
        for call, take, last in itertools.islice(takes_in_turn(seed, o.takes), self.step, None):
            if call not in filmed:
                sampler.calls = call
                filmed[call] = sampler.takes(o.batch, o.takes)
            yield filmed[call][take]
            if last:
                del filmed[call]


def takes_in_turn(seed: int, takes: int) -> Iterator[tuple[int, int, bool]]:
    """Without end: whose turn it is, as painted batch, take of it, and whether none of the batch is left.
    Each take comes once, those of one batch apart."""
    draw, calls = random.Random(seed), itertools.count()
    waiting: list[tuple[int, int]] = []
    while True:
        while len(waiting) < (SHUFFLED if takes > 1 else 1):
            call = next(calls)
            waiting += [(call, take) for take in range(takes)]
        call, take = waiting.pop(draw.randrange(len(waiting)))
        yield call, take, all(other != call for other, _ in waiting)


def validation_clips(options: Options) -> list[Clip]:
    """The same held-out clips every time."""
    config = ClipConfig(size=512, frames=5, clean_share=0.0)
    sampler = ClipSampler(options.faces, config, split="heldout", seed=12345)
    return [sampler.sample(4) for _ in range(2)]
