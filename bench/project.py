"""The roofline (Williams, Waterman and Patterson, 2009): how fast work can be done at most, and what another
device would make of a time that was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Roof:
    """What a device reaches at most. matrix_gflops: products of large matrices in the dtype that networks run
    in. copy_gbs: a copy in its own memory, bytes read and bytes written. link_gbs: from the host to it; None
    where there is no way to go."""

    matrix_gflops: float
    copy_gbs: float
    link_gbs: float | None = None

    def best(self, other: Roof) -> Roof:
        """The higher of both, one by one: a neighbour can only lower what is seen."""
        links = [link for link in (self.link_gbs, other.link_gbs) if link is not None]
        return Roof(
            max(self.matrix_gflops, other.matrix_gflops),
            max(self.copy_gbs, other.copy_gbs),
            max(links) if links else None,
        )


# Where a stage takes its time: on the device, on the way between it and the host, or on the host.
Place = Literal["device", "link", "host"]


@dataclass(frozen=True)
class Work:
    """flops: floating-point operations. bytes: read and written."""

    flops: float
    bytes: float


@dataclass(frozen=True)
class Target:
    """A device that is not at hand, by its maker's figures. group: one of bench.device.CLASSES."""

    name: str
    group: str
    roof: Roof


# Half floats with sums in single ones; GDDR6X; PCI Express 4.0 x16.
TARGETS = {"rtx3090": Target("NVIDIA GeForce RTX 3090", "consumer", Roof(71_000.0, 936.0, 31.5))}


@dataclass(frozen=True)
class Stage:
    """What a part of a frame took, in ms, where it did so, and the work there was to do."""

    name: str
    ms: float
    place: Place
    works: tuple[Work, ...]


@dataclass(frozen=True)
class Projected:
    """A stage on the target. side: what bounds it there."""

    name: str
    measured_ms: float
    ms: float
    side: str


def roofline_ms(works: Sequence[Work], roof: Roof) -> float:
    """The least time in which the device can do the works one after another: each is bound by its arithmetic
    or by the bytes it moves, whichever takes longer."""
    return sum(max(_arithmetic_ms(work, roof), _moving_ms(work, roof)) for work in works)


def bounded_by(works: Sequence[Work], roof: Roof) -> str:
    """Which side of the roofline takes more of `roofline_ms`."""
    arithmetic = [work for work in works if _arithmetic_ms(work, roof) > _moving_ms(work, roof)]
    return "arithmetic" if 2.0 * roofline_ms(arithmetic, roof) > roofline_ms(works, roof) else "bandwidth"


def project(stage: Stage, measured: Roof, target: Roof) -> Projected:
    """The stage as it would be if the target came as near to its own roofline. What the host does stays as it
    is, and so does the way to the device where its rate is not known."""
    if stage.place == "host":
        return Projected(stage.name, stage.ms, stage.ms, "host")
    if stage.place == "link":
        factor = measured.link_gbs / target.link_gbs if measured.link_gbs and target.link_gbs else 1.0
        return Projected(stage.name, stage.ms, stage.ms * factor, "link")
    least = roofline_ms(stage.works, measured)
    factor = roofline_ms(stage.works, target) / least if least > 0.0 else 1.0
    return Projected(stage.name, stage.ms, stage.ms * factor, bounded_by(stage.works, target))


def _arithmetic_ms(work: Work, roof: Roof) -> float:
    return work.flops / roof.matrix_gflops / 1e6


def _moving_ms(work: Work, roof: Roof) -> float:
    return work.bytes / roof.copy_gbs / 1e6
