"""Clips of the second generator: a held-out face, what is laid on it, how it moves, how it is filmed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from bench.footage import through_h264
from bench.judge import Footage
from bench.report import BenchError
from bench.second import head as motion
from bench.second import marks
from bench.second.marks import Canvas, Floats, within
from stream.portraits import CANVAS_PX, MARGIN_PX, tone_of
from stream.regions import CHEEKS, FOREHEAD, NOSE, OVAL, SKIN, UNDER_EYE

Bytes = npt.NDArray[np.uint8]

MAP_FULL = 0.08
EYES_APART_MM = 63.0
# Corners of the eyes in the face mesh: outer and inner of the right eye, inner and outer of the left.
EYES = ((33, 133), (362, 263))
# Chance, fewest and most marks.
CONDITIONS = ((0.4, 3, 12), (0.4, 12, 45), (0.2, 45, 130))
OWN_RED, OWN_DARK, OWN_MOLE, OWN_MOST_MM = 1.6, 3.0, 12.0, 6.0
CODED = 0.6
CODED_AROUND_PX, CODED_NOISE = 4.0, 0.5 / 255
# ITU-R BT.601: RGB to Y, Cb and Cr.
YCC = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32)


@dataclass(frozen=True)
class Face:
    """A prepared portrait: picture uint8 [S, S, 3] RGB, regions uint8 [S, S], mm_px pixels of a mm."""

    name: str
    picture: Bytes
    bits: Bytes
    mm_px: float


@dataclass(frozen=True)
class Scene:
    """The same face with and without what is to go, float32 [S, S, 3] RGB in [0, 1]; keep float32 [S, S]."""

    raw: Floats
    target: Floats
    keep: Floats


class SecondClips:
    """Draws clips of held-out subjects one at a time; the same for the same seed and portraits.

    aligned_only: 512 px faces as smoothed alignment leaves them, for the network alone; else 640 px frames.
    painted: with imperfections; without, raw and target are the same.
    """

    def __init__(
        self, faces_dir: Path, frames: int, seed: int, aligned_only: bool, painted: bool = True
    ) -> None:
        rows = json.loads((faces_dir / "index.json").read_text(encoding="utf-8"))
        self._rows = [(k, str(row["file"])) for k, row in enumerate(rows) if row["split"] == "heldout"]
        if not self._rows:
            raise BenchError(f"{faces_dir} holds no held-out face; prepare portraits that have one")
        self._pixels = np.load(faces_dir / "faces.npy", mmap_mode="r")
        self._bits = np.load(faces_dir / "regions.npy", mmap_mode="r")
        self._landmarks = np.load(faces_dir / "landmarks.npy")
        self._frames, self._seed, self._aligned, self._painted = frames, seed, aligned_only, painted

    def __call__(self, count: int) -> Iterator[Footage]:
        """The next `count` clips."""
        order = np.random.default_rng(self._seed).permutation(len(self._rows))
        for number in range(count):
            row, name = self._rows[order[number % len(order)]]
            eyes = [self._landmarks[row, list(pair)].mean(0) for pair in EYES]
            mm_px = float(np.linalg.norm(eyes[1] - eyes[0])) / EYES_APART_MM
            face = Face(name, np.array(self._pixels[row]), np.array(self._bits[row]), mm_px)
            rng = np.random.default_rng((self._seed, number))
            scene = stage(face, rng)
            if not self._painted:
                scene = replace(scene, raw=scene.target)
            yield film(face, scene, self._frames, self._aligned, rng)


def to_lab(rgb: Floats) -> Floats:
    """CIE L*a*b* float32 of sRGB float32 [S, S, 3] in [0, 1]."""
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2Lab), np.float32)


def from_lab(lab: Floats) -> Floats:
    """sRGB float32 in [0, 1] of CIE L*a*b*."""
    return np.clip(np.asarray(cv2.cvtColor(lab, cv2.COLOR_Lab2RGB), np.float32), 0.0, 1.0)


def stage(face: Face, rng: np.random.Generator) -> Scene:
    """Take the portrait's own marks away, lay moles and freckles on it, and, on raw alone,
    imperfections."""
    base = to_lab(without_own_marks(face))
    soft = cv2.GaussianBlur((face.bits & SKIN).astype(np.float32), (0, 0), 1.5)[..., None]
    lightness = float(np.median(base[..., 0][(face.bits & SKIN) > 0]))
    angle = rng.uniform(-np.pi, 0.0)
    light_xy = np.array([np.cos(angle), np.sin(angle)], np.float32)
    stay, go = Canvas.empty(CANVAS_PX), Canvas.empty(CANVAS_PX)
    _lay_marks(stay, {"mole": marks.MOLE}, rng.poisson(2.5), face, lightness, light_xy, rng)
    keep = stay.cover.copy()
    if rng.random() < 0.25:
        count = int(rng.integers(20, 90))
        _lay_marks(stay, {"freckle": marks.FRECKLE}, count, face, lightness, light_xy, rng)
    _, fewest, most = CONDITIONS[rng.choice(len(CONDITIONS), p=[c[0] for c in CONDITIONS])]
    count = int(rng.integers(fewest, most))
    _lay_marks(go, marks.IMPERFECTIONS, count, face, lightness, light_xy, rng)
    target = base + stay.shift * soft
    raw = target + (go.shift + _broad(face, base, rng)) * soft
    return Scene(from_lab(raw), from_lab(target), keep * soft[..., 0] * (go.cover < 0.1))


def _lay_marks(
    canvas: Canvas,
    sorts: dict[str, marks.Sort],
    count: int,
    face: Face,
    lightness: float,
    light_xy: Floats,
    rng: np.random.Generator,
) -> None:
    often = np.array([sort.often for sort in sorts.values()])
    shares = rng.multinomial(count, rng.dirichlet(2.0 * often))
    for sort, some in zip(sorts.values(), shares, strict=True):
        for centre in marks.places(face.bits, sort.zone, int(some), 0.4, rng):
            marks.lay(canvas, sort, centre, face.mm_px, lightness, light_xy, rng)


def without_own_marks(face: Face) -> Floats:
    """The portrait with its own compact marks painted over (Telea), float32 [S, S, 3] RGB in [0, 1]: what is
    left unlabelled would count as an error either way. Marks are redder than their surroundings, or darker
    and yet no mole."""
    lab = to_lab(face.picture.astype(np.float32) / 255.0)
    inner = cv2.erode(face.bits & SKIN, np.ones((7, 7), np.uint8)) > 0
    darker = -_above_surroundings(lab[..., 0], face)
    redder = _above_surroundings(lab[..., 1], face)
    mole = cv2.dilate((darker > OWN_MOLE).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    spots = inner & ~mole & ((redder > OWN_RED) | (darker > OWN_DARK))
    mask = cv2.dilate(_compact(spots, OWN_MOST_MM * face.mm_px), _DISC)
    return np.asarray(cv2.inpaint(face.picture, mask, 3, cv2.INPAINT_TELEA), np.float32) / 255.0


_DISC = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))


def _above_surroundings(channel: Floats, face: Face) -> Floats:
    """A channel's mean over half a millimetre less its mean over seven, float32 [S, S]."""
    fine, wide = (cv2.GaussianBlur(channel, (0, 0), mm * face.mm_px) for mm in (0.4, 3.5))
    return np.asarray(fine - wide, np.float32)


def _compact(spots: npt.NDArray[np.bool_], most_px: float) -> Bytes:
    """Of the connected parts of spots [S, S] those that are small and round, uint8 0 or 1."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(spots.astype(np.uint8))
    width, height, area = (stats[:, k] for k in (cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT, cv2.CC_STAT_AREA))
    longest, shortest = np.maximum(width, height), np.minimum(width, height)
    chosen = (longest < most_px) & (longest < 2 * shortest) & (area > 0.4 * width * height)
    chosen[0] = False
    return np.asarray(chosen[labels], np.uint8)


def _noise(cell_px: float, rng: np.random.Generator) -> Floats:
    """Smooth noise float32 [S, S] of standard deviation about 1, made of blurred points."""
    small = max(4, round(CANVAS_PX / cell_px))
    field = cv2.resize(
        rng.normal(size=(small, small)).astype(np.float32),
        (CANVAS_PX, CANVAS_PX),
        interpolation=cv2.INTER_CUBIC,
    )
    return np.asarray(field / field.std(), np.float32)


def _area(face: Face, regions: int, blur_mm: float) -> Floats:
    here = ((face.bits & regions) != 0).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(here, (0, 0), blur_mm * face.mm_px), np.float32)


def _broad(face: Face, base: Floats, rng: np.random.Generator) -> Floats:
    """What has no border, as a shift float32 [S, S, 3] in L*a*b*: flush, patches, dark eyes, oil."""
    shift = np.zeros_like(base)
    on = rng.random(4) < (0.12, 0.12, 0.15, 0.10)
    if on[0]:
        field = _area(face, CHEEKS | NOSE, 4.0) * np.clip(0.8 + 0.3 * _noise(60.0, rng), 0.0, 1.6)
        shift += field[..., None] * np.array(
            [within((-3, -1), rng), within((5, 11), rng), within((0, 2), rng)], np.float32
        )
    if on[1]:
        field = np.clip(_noise(35.0, rng) - 0.6, 0.0, 1.0) * _area(face, marks.ANYWHERE, 2.0)
        shift += field[..., None] * np.array(
            [within((-5, -1), rng), within((5, 12), rng), within((0, 3), rng)], np.float32
        )
    if on[2]:
        field = _area(face, UNDER_EYE, 2.0)
        shift += field[..., None] * np.array(
            [within((-9, -4), rng), within((-1, 3), rng), within((-5, -1), rng)], np.float32
        )
    if on[3]:
        light = cv2.GaussianBlur(base[..., 0], (0, 0), 2.0 * face.mm_px)
        lit = np.clip((light - np.percentile(light[(face.bits & SKIN) > 0], 70)) / 12.0, 0.0, 1.0)
        field = (
            lit
            * _area(face, FOREHEAD | NOSE | CHEEKS, 2.0)
            * np.clip(1.0 + 0.25 * _noise(3.0, rng), 0.3, 2.0)
        )
        shift += field[..., None] * np.array([within((4, 9), rng), -2.0, -3.0], np.float32)
    return shift


def film(face: Face, scene: Scene, frames: int, aligned: bool, rng: np.random.Generator) -> Footage:
    """The scene in motion before a camera. The target is raw as the camera shows it, less what was laid on as
    far as a codec lets it be seen."""
    corner, side = (MARGIN_PX, CANVAS_PX - 2 * MARGIN_PX) if aligned else (0, CANVAS_PX)
    oval = np.where(face.bits & OVAL, np.uint8(255), np.uint8(0))
    x, y, width, height = cv2.boundingRect(oval)
    centre = np.array([x + width / 2.0, y + height / 2.0])
    sway = motion.ALIGNED if aligned else motion.BEFORE_A_CAMERA
    grids, flows = motion.frame_grids(
        motion.moving_head(centre, width / 2.0, frames, sway, rng), side, corner
    )
    seen = _optics(np.dstack([scene.raw, scene.target]), rng)
    light = _light(frames, rng)
    both = np.stack([_sample(seen, grid) for grid in grids]) * np.tile(light, 2)[:, None, None]
    both = np.clip(_resolution(np.clip(both, 0.0, 1.0), rng), 0.0, 1.0)
    painted = both[..., 3:] - both[..., :3]
    raw_u8 = _sensor(both[..., :3], rng)
    if rng.random() < CODED:
        raw_u8, painted = _coded(raw_u8, painted, int(rng.integers(16, 29)))
    target_u8 = np.clip(np.rint(raw_u8 + 255.0 * painted), 0, 255).astype(np.uint8)
    skin = np.stack([_sample((face.bits & SKIN).astype(np.float32), grid) > 0.5 for grid in grids])
    return Footage(
        name=face.name,
        monk=tone_of(target_u8[0], skin[0])[1],
        raw_u8=raw_u8,
        target_u8=target_u8,
        map=_map_of(raw_u8, painted),
        skin=skin,
        keep=np.stack([np.clip(_sample(scene.keep, grid), 0.0, 1.0) for grid in grids]),
        flow=flows,
        to_canvas=grids,
        oval=oval,
    )


def _map_of(raw_u8: Bytes, painted: Floats) -> Floats:
    """float32 [T, H, W] in [0, 1]: what was painted, as far as raw less it is still a colour."""
    raw = raw_u8 / np.float32(255.0)
    shown = np.clip(raw + painted, 0.0, 1.0) - raw
    return np.asarray(np.minimum(np.abs(shown).mean(-1) / MAP_FULL, 1.0), np.float32)


def _sample(picture: Floats, grid: Floats) -> Floats:
    x, y = np.ascontiguousarray(grid[..., 0]), np.ascontiguousarray(grid[..., 1])
    channels = [picture] if picture.ndim == 2 else np.split(picture, max(1, picture.shape[2] // 3), axis=2)
    parts = [
        cv2.remap(np.ascontiguousarray(c), x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
        for c in channels
    ]
    return np.asarray(parts[0] if len(parts) == 1 else np.dstack(parts), np.float32)


def _optics(picture: Floats, rng: np.random.Generator) -> Floats:
    """Out of focus by a disc of up to 1.4 px, half of the time."""
    if rng.random() < 0.5:
        return picture
    y, x = np.mgrid[-2:3, -2:3]
    disc = np.clip(rng.uniform(0.6, 1.4) + 0.5 - np.hypot(x, y), 0.0, 1.0)
    parts = [cv2.filter2D(part, -1, disc / disc.sum()) for part in np.split(picture, 2, axis=2)]
    return np.asarray(np.dstack(parts), np.float32)


def _light(frames: int, rng: np.random.Generator) -> Floats:
    """Gains float32 [T, 3]: an exposure that settles, a white balance that drifts."""
    t = np.linspace(0.0, 1.0, frames)[:, None]
    exposure = rng.normal(0.0, 0.05) * (1.0 - np.exp(-3.0 * t)) + rng.normal(0.0, 0.06)
    return np.exp(exposure + rng.normal(0.0, 0.02, 3) * t).astype(np.float32)


def _resolution(frames: Floats, rng: np.random.Generator) -> Floats:
    """Some clips as a smaller picture enlarged."""
    if rng.random() < 0.7:
        return frames
    side = frames.shape[1]
    small = round(side * rng.uniform(0.45, 0.9))
    return np.stack(
        [_resized(_resized(frame, small, cv2.INTER_AREA), side, cv2.INTER_CUBIC) for frame in frames]
    )


def _resized(picture: Floats, side: int, how: int) -> Floats:
    parts = [cv2.resize(part, (side, side), interpolation=how) for part in np.split(picture, 2, axis=2)]
    return np.asarray(np.dstack(parts), np.float32)


def _sensor(frames: Floats, rng: np.random.Generator) -> Bytes:
    """Photon and read noise in linear light: uint8 [T, H, W, 3]."""
    photons, read = rng.uniform(0.0, 0.0004), rng.uniform(0.0, 0.004)
    linear = np.square(frames)
    noisy = linear + np.sqrt(photons * linear + read**2) * rng.normal(size=frames.shape).astype(np.float32)
    return np.asarray(np.rint(255.0 * np.sqrt(np.clip(noisy, 0.0, 1.0))), np.uint8)


def _coded(raw_u8: Bytes, painted: Floats, crf: int) -> tuple[Bytes, Floats]:
    """Raw uint8 [T, H, W, 3] after x264, and what takes the painted off it, float32 alike.

    A codec leaves a half to three quarters of the red of a small mark. The clean face goes through it too,
    and where the two differ by less than was painted (least squares around each pixel, in luma and chroma),
    less is taken off.
    """
    shown = through_h264(raw_u8, crf)
    clean = through_h264(np.clip(np.rint(raw_u8 + 255.0 * painted), 0, 255).astype(np.uint8), crf)
    left = (clean.astype(np.float32) - shown) / 255.0
    return shown, np.stack([_survived(*pair) for pair in zip(painted, left, strict=True)])


def _survived(painted: Floats, left: Floats) -> Floats:
    """The part of what was painted that is found in what is left of it, float32 [H, W, 3] RGB."""
    before, after = _ycc(painted), _ycc(left)

    def around(picture: Floats) -> Floats:
        return np.asarray(cv2.GaussianBlur(picture, (0, 0), CODED_AROUND_PX), np.float32) + CODED_NOISE**2

    share = np.clip(around(before * after) / around(before * before), 0.0, 1.0)
    return np.asarray((share * before) @ np.linalg.inv(YCC).T.astype(np.float32), np.float32)


def _ycc(difference: Floats) -> Floats:
    """Y, Cb and Cr of a difference of pictures, chroma as 4:2:0 has it, float32 [H, W, 3]."""
    ycc = np.asarray(difference @ YCC.T, np.float32)
    size = (ycc.shape[1], ycc.shape[0])
    half = cv2.resize(ycc[..., 1:], (size[0] // 2, size[1] // 2), interpolation=cv2.INTER_AREA)
    ycc[..., 1:] = cv2.resize(half, size, interpolation=cv2.INTER_LINEAR)
    return ycc
