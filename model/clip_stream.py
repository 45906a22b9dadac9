"""The clips that a training sees, and those that it is judged by."""

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
    """Endless training clips; the seed holds the step, so that a resumed run does not see the same ones
    again."""

    def __init__(self, options: Options, step: int) -> None:
        Portraits(options.faces, "train")  # what cannot be read is said here, not by the process that draws
        self.options, self.step, self.process = options, step, rank()

    def __iter__(self) -> Iterator[Clip]:
        worker = torch.utils.data.get_worker_info()
        number = worker.id if worker else 0
        torch.set_num_threads(1)
        o = self.options
        seed = o.seed * 1_000_003 + self.step * 64 + number + self.process * APART
        config = ClipConfig(
            size=o.size,
            frames=o.frames,
            density=o.density,
            diffuse=o.diffuse,
            clean_share=o.clean_share,
            camera=CameraConfig(noise_levels=o.noise * CameraConfig.noise_levels),
        )
        sampler = ClipSampler(o.faces, config, split="train", seed=seed)
        waiting: list[Clip] = []
        draw = random.Random(seed)
        while True:
            while len(waiting) < (SHUFFLED if o.takes > 1 else 1):
                waiting += sampler.takes(o.batch, o.takes)
            yield waiting.pop(draw.randrange(len(waiting)))


def validation_clips(options: Options) -> list[Clip]:
    """The same held-out clips every time."""
    config = ClipConfig(size=512, frames=5, clean_share=0.0)
    sampler = ClipSampler(options.faces, config, split="heldout", seed=12345)
    return [sampler.sample(4) for _ in range(2)]
