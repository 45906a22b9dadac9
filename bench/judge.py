"""Judging one clip: the truth of each frame once, and the figures of every method that retouched it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from bench import metrics
from bench.facecoords import CanvasView, from_canvas, view_of
from bench.metrics import Floats, Mask, Pixels

_HEAD_MARGIN_PX = 16
_LEAST_PAINTED_PX = 20.0


@dataclass(frozen=True)
class Footage:
    """One clip of T frames with its truth, and where it came from.

    raw_u8, target_u8: uint8 [T, H, W, 3] RGB; target is raw less what was painted, as far as a codec shows
    it. map: float32 [T, H, W] in [0, 1]. skin: bool [T, H, W]. keep: float32 [T, H, W] in [0, 1]. flow:
    float32 [T, H, W, 2] px, backward. to_canvas: float32 [T, H, W, 2], canvas px. oval: uint8 [S, S], 255
    inside the face oval of the canvas. monk: tone of the clip's own skin, 1-10.
    """

    name: str
    monk: int
    raw_u8: Pixels
    target_u8: Pixels
    map: Floats
    skin: Mask
    keep: Floats
    flow: Floats
    to_canvas: Floats
    oval: Pixels

    def __len__(self) -> int:
        return len(self.raw_u8)


@dataclass(frozen=True)
class FrameTruth:
    """What is known of one frame; masks bool [H, W]. raw_psnr_db and raw_error: of raw against target.

    on_canvas: target float32 [S, S, 3] in face coordinates.
    """

    raw: Pixels
    target: Pixels
    map: Floats
    face: Mask
    outside_head: Mask
    imperfect: Mask
    clean: Mask
    flow: Floats
    canvas: CanvasView
    on_canvas: Floats
    raw_psnr_db: float
    raw_error: float


def truth_of(footage: Footage, t: int) -> FrameTruth:
    """The truth of frame t. `clean`: skin away from imperfections. The head is the oval and a margin about
    it."""
    grid, true_map = footage.to_canvas[t], footage.map[t]
    face = from_canvas(footage.oval, grid) > 0
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _HEAD_MARGIN_PX + 1,) * 2)
    head = cv2.dilate(face.astype(np.uint8), kernel) > 0
    raw, target, canvas = footage.raw_u8[t], footage.target_u8[t], view_of(grid, len(footage.oval))
    imperfect = face & (true_map > metrics.IMPERFECT_FROM)
    return FrameTruth(
        raw=raw,
        target=target,
        map=true_map,
        face=face,
        outside_head=~head,
        imperfect=imperfect,
        clean=footage.skin[t] & face & (true_map < metrics.CLEAN_BELOW),
        flow=footage.flow[t],
        canvas=canvas,
        on_canvas=canvas.take(target.astype(np.float32)),
        raw_psnr_db=metrics.psnr_db(raw, target, face),
        raw_error=metrics.absolute_error(raw, target, imperfect),
    )


@dataclass(frozen=True)
class ClipFigures:
    """One method on one clip. nan where a clip has nothing to measure a figure by, or a method gives no map.

    gain_db: mean over frames of PSNR(out, target) - PSNR(raw, target), over the face. removal, drift
    (levels), soft_iou, map_ssim, flicker (levels), e_warp (mean square, RGB in [0, 1]), d_light (L*), d_hue
    (degrees): see `bench.metrics`. false_alarm: share of the clean skin changed by more than two levels.
    kept of marks: moles and freckles. found: share of the frames where a face was found. moved_px: mean
    distance of the face mesh's points from where they were in raw, in one frame; nan where nobody looked.
    """

    clip: str
    monk: int
    gain_db: float
    psnr_db: float
    removal: float
    drift: float
    false_alarm: float
    soft_iou: float
    map_ssim: float
    flicker: float
    e_warp: float
    d_light: float
    d_hue: float
    kept: int
    marks: int
    bytes_outside_head: int
    found: float
    moved_px: float = math.nan


class Ground:
    """A clip's target, marks to keep and imperfections on the canvas, averaged over the frames."""

    def __init__(self, footage: Footage) -> None:
        side = len(footage.oval)
        self.oval: Mask = cv2.erode(footage.oval, np.ones((5, 5), np.uint8)) > 0
        self.frames = 0
        self._target = np.zeros((side, side, 3))
        self._layers = np.zeros((side, side, 2))
        self._seen: Mask = np.ones((side, side), np.bool_)

    def add(self, truth: FrameTruth, keep: Floats) -> None:
        """One more frame."""
        self.frames += 1
        self._target += truth.on_canvas
        self._layers += truth.canvas.take(np.dstack([keep, truth.map]))
        self._seen &= truth.canvas.seen

    def identity(self, out_sum: npt.NDArray[np.float64]) -> metrics.Kept:
        """Marks kept in a method's frames, summed on the canvas as out_sum [S, S, 3]."""
        keep, imperfect = (self._layers[..., k] / self.frames for k in (0, 1))
        inside = self._seen & self.oval
        return metrics.identity_kept(
            (out_sum / self.frames).astype(np.float32),
            (self._target / self.frames).astype(np.float32),
            np.asarray((keep > 0.5) & inside),
            np.asarray((imperfect > metrics.IMPERFECT_FROM) | ~inside),
        )


class ClipJudge:
    """Takes one method's frames of a clip in order, then gives its figures."""

    def __init__(self, footage: Footage) -> None:
        side = len(footage.oval)
        self._footage = footage
        self._frames: list[_FrameFigures] = []
        self._error = metrics.TemporalDeviation((side, side, 3))
        self._sum = np.zeros((side, side, 3))
        self._before: Pixels | None = None

    def add(self, truth: FrameTruth, out_u8: Pixels, seen_map: Floats | None, found: bool = True) -> None:
        """One more frame: uint8 [H, W, 3] RGB, and the map float32 [H, W] in frame pixels if the method has
        one."""
        on_canvas = truth.canvas.take(out_u8.astype(np.float32))
        self._error.add(on_canvas - truth.on_canvas, truth.canvas.seen)
        self._sum += on_canvas
        before, self._before = self._before, out_u8
        self._frames.append(_judge_frame(truth, out_u8, before, seen_map, found))

    def result(self, ground: Ground) -> ClipFigures:
        """The figures of all frames so far."""
        frames, count = self._frames, len(self._frames)
        kept = ground.identity(self._sum)
        painted = sum(f.painted_px for f in frames) >= _LEAST_PAINTED_PX * count
        whole = sum(f.raw_error for f in frames)
        clean = sum(f.clean_px for f in frames)
        return ClipFigures(
            clip=self._footage.name,
            monk=self._footage.monk,
            gain_db=_mean([f.psnr_db - f.raw_psnr_db for f in frames]) if painted else math.nan,
            psnr_db=_mean([f.psnr_db for f in frames]),
            removal=1.0 - sum(f.out_error for f in frames) / whole if painted and whole else math.nan,
            drift=sum(f.drift for f in frames) / (3 * clean) if clean else math.nan,
            false_alarm=_mean([f.false_alarm for f in frames]),
            soft_iou=_mean([f.soft_iou for f in frames]) if painted else math.nan,
            map_ssim=_mean([f.map_ssim for f in frames]),
            flicker=self._error.mean_deviation(ground.oval, count),
            e_warp=_mean([f.e_warp for f in frames]),
            d_light=_mean([f.d_light for f in frames]),
            d_hue=_mean([f.d_hue for f in frames]),
            kept=kept.survived,
            marks=kept.marks,
            bytes_outside_head=sum(f.bytes_outside_head for f in frames),
            found=_mean([float(f.found) for f in frames]),
        )


@dataclass(frozen=True)
class _FrameFigures:
    """Sums and values of one frame, of which ClipFigures are made."""

    psnr_db: float
    raw_psnr_db: float
    out_error: float
    raw_error: float
    painted_px: int
    drift: float
    clean_px: int
    false_alarm: float
    soft_iou: float
    map_ssim: float
    e_warp: float
    d_light: float
    d_hue: float
    bytes_outside_head: int
    found: bool


def _judge_frame(
    truth: FrameTruth, out: Pixels, before: Pixels | None, seen_map: Floats | None, found: bool
) -> _FrameFigures:
    light, hue = metrics.lab_shift(out, truth.raw, truth.clean) if truth.clean.any() else (math.nan,) * 2
    return _FrameFigures(
        psnr_db=metrics.psnr_db(out, truth.target, truth.face),
        raw_psnr_db=truth.raw_psnr_db,
        out_error=metrics.absolute_error(out, truth.target, truth.imperfect),
        raw_error=truth.raw_error,
        painted_px=int(truth.imperfect.sum()),
        drift=metrics.absolute_error(out, truth.raw, truth.clean),
        clean_px=int(truth.clean.sum()),
        false_alarm=metrics.changed_share(out, truth.raw, truth.clean, metrics.FALSE_ALARM_LEVELS),
        soft_iou=math.nan if seen_map is None else metrics.soft_iou(seen_map, truth.map, truth.face),
        map_ssim=math.nan if seen_map is None else _ssim_about_face(seen_map, truth),
        e_warp=math.nan if before is None else metrics.warp_error(out, before, truth.flow, truth.face),
        d_light=light,
        d_hue=hue,
        bytes_outside_head=metrics.changed_bytes(out, truth.raw, truth.outside_head),
        found=found,
    )


def _ssim_about_face(seen_map: Floats, truth: FrameTruth) -> float:
    """SSIM of the maps over the face's bounding box; nan where that is smaller than SSIM's window."""
    x, y, width, height = cv2.boundingRect(truth.face.astype(np.uint8))
    if min(width, height) < 16:
        return math.nan
    part = slice(y, y + height), slice(x, x + width)
    return metrics.ssim(seen_map[part], truth.map[part])


def _mean(values: list[float]) -> float:
    """Mean of the values that are numbers; nan if none is."""
    numbers = [value for value in values if not math.isnan(value)]
    return sum(numbers) / len(numbers) if numbers else math.nan
