"""Time as the benches take it: monotonic nanoseconds, warm-up first, candidates in turn so that drift hits
all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

now_ns = time.perf_counter_ns


@dataclass(frozen=True)
class Spread:
    """Durations in ms: how many, the least, percentiles, the most. Percentiles interpolate between
    neighbours."""

    count: int
    min: float
    p50: float
    p95: float
    p99: float
    max: float


def spread(samples_ms: Sequence[float]) -> Spread:
    """The spread of one or more durations."""
    if not samples_ms:
        raise ValueError("no durations were taken; measure one or more")
    p50, p95, p99 = (float(v) for v in np.percentile(np.asarray(samples_ms), [50, 95, 99]))
    return Spread(len(samples_ms), float(min(samples_ms)), p50, p95, p99, float(max(samples_ms)))


def take_turns(
    candidates: Mapping[str, Callable[[], object]],
    rounds: int,
    per_round: int,
    warm_up: int = 3,
    clock: Callable[[], int] = now_ns,
) -> dict[str, list[float]]:
    """Durations in ms of every candidate, rounds x per_round of each, measured in turns.

    Each candidate first runs warm_up times untimed. Every round begins with another candidate, so that none
    always follows the same one.
    """
    names = list(candidates)
    for name in names:
        for _ in range(warm_up):
            candidates[name]()
    taken: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        start = number % len(names)
        for name in names[start:] + names[:start]:
            run = candidates[name]
            # The first one after a change of candidate finds cold caches, which is the change's fault.
            run()
            for _ in range(per_round):
                began = clock()
                run()
                taken[name].append((clock() - began) / 1e6)
    return taken


def median_ratio(numerator: Sequence[float], denominator: Sequence[float], per_round: int) -> float:
    """Median over rounds of the ratio of the two candidates' medians within the round."""
    above = np.median(np.reshape(numerator, (-1, per_round)), axis=1)
    below = np.median(np.reshape(denominator, (-1, per_round)), axis=1)
    return float(np.median(above / below))
