"""Boxes float32 [4] (x0, y0, x1, y1) in frame pixels: how far they share a place."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Box = npt.NDArray[np.float32]


def area(box: Box) -> float:
    """Square pixels."""
    x0, y0, x1, y1 = box.tolist()
    return float((x1 - x0) * (y1 - y0))


def shared(one: Box, other: Box) -> float:
    """Square pixels that are in both."""
    x0, y0, x1, y1 = one.tolist()
    u0, v0, u1, v1 = other.tolist()
    return float(max(0.0, min(x1, u1) - max(x0, u0)) * max(0.0, min(y1, v1) - max(y0, v0)))


def overlap(one: Box, other: Box) -> float:
    """Intersection over union."""
    both = shared(one, other)
    total = area(one) + area(other) - both
    return both / total if total > 0.0 else 0.0


def covers(one: Box, other: Box) -> bool:
    """The boxes share most of the smaller one: a detector's box and a mesh's differ in size."""
    return shared(one, other) > 0.5 * min(area(one), area(other))


def grown(box: Box, margin: float) -> Box:
    """The box with a margin on every side, as a share of its longer side."""
    more = margin * (box[2:] - box[:2]).max()
    return np.concatenate([box[:2] - more, box[2:] + more]).astype(np.float32)


def around_both(one: Box, other: Box) -> Box:
    """The least box that holds both."""
    return np.concatenate([np.minimum(one[:2], other[:2]), np.maximum(one[2:], other[2:])])
