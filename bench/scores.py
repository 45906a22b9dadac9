"""The paper's metrics (Tables 1, 2 and 4, Figures 5 and 6) of one method's clips: each a value, or a reason.

Over whole frames, as the paper's: not over the face alone, as `bench quality`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench import metrics
from bench.features import AbsentError, Lpips, Vfid
from bench.metrics import Floats, Pixels
from bench.report import BenchError

METRICS = ("psnr_db", "gain_db", "ssim", "lpips", "vfid", "soft_iou", "map_ssim")
LEAST_PX = 11  # the window of SSIM


@dataclass(frozen=True)
class ScoredClip:
    """One clip of T frames as one method left it.

    raw_u8, out_u8, target_u8: uint8 [T, H, W, 3] RGB. map: float32 [T, H, W] in [0, 1], the method's; None if
    it has none. true_map: alike, of raw and target.
    """

    raw_u8: Pixels
    out_u8: Pixels
    target_u8: Pixels
    map: Floats | None
    true_map: Floats

    def __post_init__(self) -> None:
        shape = self.raw_u8.shape
        shapes = [self.out_u8.shape, self.target_u8.shape, (*self.true_map.shape, 3)]
        shapes += [] if self.map is None else [(*self.map.shape, 3)]
        if any(other != shape for other in shapes) or not self.raw_u8.size:
            raise BenchError(f"a clip's raw frames are {shape}, the rest {shapes}; give frames of one size")
        if min(shape[1:3]) < LEAST_PX:
            raise BenchError(f"frames of {shape[2]}x{shape[1]} are too small; give {LEAST_PX} px or more")


@dataclass(frozen=True)
class Score:
    """A metric's value, or None and the reason why there is none."""

    value: float | None
    reason: str = ""


@dataclass(frozen=True)
class Seers:
    """The networks that metrics see through, or the reason why there is none."""

    lpips: Lpips | str
    vfid: Vfid | str


def seers(i3d: Path | None) -> Seers:
    """What can be loaded here; i3d: TorchScript file of I3D."""
    lpips: Lpips | str
    vfid: Vfid | str
    try:
        lpips = Lpips()
    except AbsentError as error:
        lpips = str(error)
    try:
        vfid = Vfid(i3d)
    except AbsentError as error:
        vfid = str(error)
    return Seers(lpips, vfid)


def curve(clip: ScoredClip, name: str) -> list[float]:
    """One of PER_FRAME for every frame of a clip that has what it needs."""
    return [PER_FRAME[name](clip, t) for t in range(len(clip.raw_u8))]


def scores(clips: Sequence[ScoredClip], seen_by: Seers) -> dict[str, Score]:
    """METRICS of one method, means over all frames of all clips but for vfid, which is of clips.

    psnr_db, gain_db (PSNR less that of raw), ssim (Wang et al. 2004), lpips and vfid against the target;
    soft_iou and map_ssim of the maps. PSNR of equal frames counts as metrics.EXACT_DB.

    Raises:
        BenchError: there is no clip.
    """
    if not clips:
        raise BenchError("there is no clip to score; give one or more")
    found = {name: _mean_of(name, clips) for name in PER_FRAME}
    found |= {"lpips": _lpips(clips, seen_by.lpips), "vfid": _vfid(clips, seen_by.vfid)}
    return {name: found[name] for name in METRICS}


def _psnr(clip: ScoredClip, t: int) -> float:
    return _whole_psnr(clip.out_u8[t], clip.target_u8[t])


def _gain(clip: ScoredClip, t: int) -> float:
    return _psnr(clip, t) - _whole_psnr(clip.raw_u8[t], clip.target_u8[t])


def _whole_psnr(frame: Pixels, target: Pixels) -> float:
    return metrics.psnr_db(frame, target, np.ones(frame.shape[:2], np.bool_))


def _ssim(clip: ScoredClip, t: int) -> float:
    return metrics.ssim(clip.out_u8[t], clip.target_u8[t])


def _soft_iou(clip: ScoredClip, t: int) -> float:
    assert clip.map is not None
    return metrics.soft_iou(clip.map[t], clip.true_map[t], np.ones(clip.map[t].shape, np.bool_))


def _map_ssim(clip: ScoredClip, t: int) -> float:
    assert clip.map is not None
    return metrics.ssim(clip.map[t], clip.true_map[t])


PER_FRAME: dict[str, Callable[[ScoredClip, int], float]] = {
    "psnr_db": _psnr,
    "gain_db": _gain,
    "ssim": _ssim,
    "soft_iou": _soft_iou,
    "map_ssim": _map_ssim,
}
OF_MAPS = ("soft_iou", "map_ssim")


def _mean_of(name: str, clips: Sequence[ScoredClip]) -> Score:
    if name in OF_MAPS and any(clip.map is None for clip in clips):
        return Score(None, "the method has no map")
    return Score(float(np.mean([value for clip in clips for value in curve(clip, name)])))


def _lpips(clips: Sequence[ScoredClip], lpips: Lpips | str) -> Score:
    if isinstance(lpips, str):
        return Score(None, lpips)
    try:
        pairs = (
            (out, target) for clip in clips for out, target in zip(clip.out_u8, clip.target_u8, strict=True)
        )
        return Score(float(np.mean([lpips(out, target) for out, target in pairs])))
    except AbsentError as error:
        return Score(None, str(error))


def _vfid(clips: Sequence[ScoredClip], vfid: Vfid | str) -> Score:
    if isinstance(vfid, str):
        return Score(None, vfid)
    try:
        return Score(vfid([clip.out_u8 for clip in clips], [clip.target_u8 for clip in clips]))
    except AbsentError as error:
        return Score(None, str(error))
