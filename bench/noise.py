"""Clips as a sensor shows them in a room with little light."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from bench.judge import Footage
from bench.metrics import Floats, Pixels


def with_noise(footages: Iterable[Footage], levels: float, seed: int) -> Iterator[Footage]:
    """Each clip with Gaussian noise in raw and target alike, of its own in every frame, pixel and channel.

    levels: its standard deviation, of 255; 0 leaves the clips as they are.
    """
    for number, footage in enumerate(footages):
        if levels == 0.0:
            yield footage
            continue
        rng = np.random.default_rng([seed, number])
        noise = [rng.normal(0.0, levels, frame.shape).astype(np.float32) for frame in footage.raw_u8]
        raw, target = (
            np.stack([_added(frame, n) for frame, n in zip(frames, noise, strict=True)])
            for frames in (footage.raw_u8, footage.target_u8)
        )
        yield replace(footage, raw_u8=raw, target_u8=target)


def _added(frame_u8: Pixels, noise: Floats) -> Pixels:
    noisy: Pixels = np.rint(np.clip(frame_u8 + noise, 0.0, 255.0)).astype(np.uint8)
    return noisy
