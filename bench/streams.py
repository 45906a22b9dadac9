"""Many streams on one device: a frame of each arrives at once, and all must be out before the next come."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch

from bench.clock import Spread
from bench.device import Device, Stopwatch
from bench.metrics import Pixels
from bench.pipeline import Shot
from stream.crop import FACE_PX, crop_face
from stream.engine import Engine, Seen
from stream.engines.torch_ import UNRECORDED_STEPS, TorchEngine
from stream.face import Detection, Roi
from stream.results import Located, Stepped, SteppedFace
from stream.retoucher import Retoucher

UNTIMED_TICKS = UNRECORDED_STEPS + 2
# As CUDA, cuBLAS, cuDNN and ONNX Runtime say it.
_TOO_LITTLE_MEMORY = re.compile("out ?of ?memory|alloc_failed|failed to allocate", re.IGNORECASE)


class NoFinder:
    """Face models of a stream whose faces are known."""

    def detect(self, frame_rgb_u8: Pixels) -> list[Detection]:
        """None."""
        del frame_rgb_u8
        return []

    def landmarks_px(self, frame_rgb_u8: Pixels, roi: Roi) -> None:
        """None."""

    def close(self) -> None:
        """Nothing to close."""


class Way(Protocol):
    """How so many streams are carried from frame to frame."""

    def tick(self, shots: Sequence[Shot], mark: Callable[[str], None]) -> list[Pixels]:
        """A frame of each stream, one face in each; `mark` is called where a stage ends."""
        ...


class OneByOne:
    """The engine steps one stream after the other; crop and composite are the host's."""

    def __init__(self, engine: Engine, streams: int) -> None:
        self._retouchers = [Retoucher(engine=engine, finder=NoFinder()) for _ in range(streams)]

    def tick(self, shots: Sequence[Shot], mark: Callable[[str], None]) -> list[Pixels]:
        """The retouched frames."""
        cropped = [_cropped(shot) for shot in shots]
        mark("crop")
        stepped = [r.step(located) for r, located in zip(self._retouchers, cropped, strict=True)]
        mark("step")
        out = [
            retoucher.composite(shot.frame_u8, result)
            for retoucher, shot, result in zip(self._retouchers, shots, stepped, strict=True)
        ]
        mark("paste")
        return out


class Batched:
    """All streams step at once: their faces, and what is remembered of them, lie side by side; crop and
    composite are the host's."""

    def __init__(self, engine: TorchEngine, streams: int) -> None:
        self._engine, self._state = engine, engine.new_state(streams)
        self._retoucher = Retoucher(engine=engine, finder=NoFinder())
        self._faces = torch.empty(
            (streams, FACE_PX, FACE_PX, 3), dtype=torch.uint8, pin_memory=engine.device.type == "cuda"
        )

    def tick(self, shots: Sequence[Shot], mark: Callable[[str], None]) -> list[Pixels]:
        """The retouched frames."""
        for place, shot in zip(self._faces.numpy(), shots, strict=True):
            place[:] = crop_face(shot.frame_u8, shot.located.faces[0].alignment)
        mark("crop")
        with torch.inference_mode():
            self._state.faces_u8.copy_(self._faces, non_blocking=True)
            self._engine.run(self._state)
            seen = [
                part.float().cpu() for part in (self._state.residuals, self._state.maps, self._state.kepts)
            ]
        mark("step")
        out = [
            self._retoucher.composite(shot.frame_u8, _stepped(shot, [part[n] for part in seen]))
            for n, shot in enumerate(shots)
        ]
        mark("paste")
        return out


def _cropped(shot: Shot) -> Located:
    (face,) = shot.located.faces
    cropped = crop_face(shot.frame_u8, face.alignment)
    return replace(shot.located, faces=(replace(face, face_u8=cropped),))


def _stepped(shot: Shot, seen: Sequence[torch.Tensor]) -> Stepped:
    residual, shown, kept = seen
    result = Seen(residual.permute(1, 2, 0).numpy(), shown.numpy(), kept.numpy())
    face = SteppedFace(shot.located.faces[0], result)
    return Stepped((face,), shot.located.stage_ms, shot.located.restarted, shot.located.found, 1, math.nan)


@dataclass(frozen=True)
class Trial:
    """So many streams. ticks, stages: spreads in ms, of ticks by the host's clock; None where the device has
    too little memory. kept: p99 is within the budget."""

    way: str
    streams: int
    ticks: Spread | None
    stages: Mapping[str, Spread] | None
    kept: bool


def try_streams(
    name: str,
    make: Callable[[int], Way],
    streams: int,
    device: Device,
    shots: Sequence[Shot],
    ticks: int,
    budget_ms: float,
) -> Trial:
    """So many ticks as fast as they go; fewer once p99 cannot be within the budget any more."""
    watch, untimed = Stopwatch(device), Stopwatch(device)
    late = number = 0
    try:
        way = make(streams)
        while number < UNTIMED_TICKS + ticks and late < too_late(ticks):
            used = untimed if number < UNTIMED_TICKS else watch
            frames = [shots[(number + stream) % len(shots)] for stream in range(streams)]
            with used.frame():
                way.tick(frames, used.mark)
            late += used is watch and watch.last_ms > budget_ms
            number += 1
    except Exception as error:
        if not ran_out_of_memory(error):
            raise
        return Trial(name, streams, None, None, False)
    spent = watch.wall()
    return Trial(name, streams, spent, watch.stages(), spent.p99 <= budget_ms)


def ran_out_of_memory(error: BaseException | None) -> bool:
    """Whether the error, or one during which it came up, is a library's for too little memory."""
    while error is not None:
        known = isinstance(error, (MemoryError, torch.OutOfMemoryError))
        if known or _TOO_LITTLE_MEMORY.search(str(error)):
            return True
        error = error.__context__
    return False


def too_late(ticks: int) -> int:
    """So many of `ticks` durations over a bound, and their 99th percentile is over it as well."""
    return ticks - math.floor(0.99 * (ticks - 1))
