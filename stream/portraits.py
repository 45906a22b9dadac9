"""Prepare portraits for training and benches: `python -m stream.portraits DATA_DIR OUT_DIR`.

Reads DATA_DIR/portraits.csv and DATA_DIR/portraits/, and writes aligned faces, region bits, landmarks and an
index (see `prepare`). Everything is written into a temporary folder first and renamed when whole.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import shutil
import sys
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from stream.crop import FACE_PX, alignment, scale_of, transform, warp
from stream.errors import VretouchError
from stream.face import Detection, FaceModels, roi_around
from stream.regions import CHEEKS, FOREHEAD, JAW, NOSE, OVAL, SKIN, UPPER_LIP, region_bits, skin_mask

MARGIN_PX = 64
CANVAS_PX = FACE_PX + 2 * MARGIN_PX
MAX_SCALE = 2.6

# The ten tones of the Monk Skin Tone scale, as published (skintone.google, CC BY 4.0), lightest first, sRGB.
MONK_HEX = (
    "f6ede4", "f3e7db", "f7ead0", "eadaba", "d7bd96", "a07e56", "825c43", "604134", "3a312a", "292420",
)  # fmt: skip


class PortraitsError(VretouchError):
    """The portraits or their table cannot be read, or the output folder cannot be written."""


@dataclass(frozen=True)
class Portrait:
    """One entry of index.json; the four arrays' rows are in the same order.

    scale: canvas pixels per pixel of the file. ita: individual typology angle of the median skin, degrees.
    monk: 1 (lightest) to 10, the nearest tone by distance in CIE L*a*b*.
    """

    file: str
    subject: str
    split: str
    synthetic: bool
    scale: float
    face_px: int
    source: str
    ita: float
    monk: int
    terms: str


@dataclass(frozen=True)
class Located:
    """A portrait's row of the table and its landmarks float32 [468, 2] in pixels of the file."""

    row: dict[str, str]
    landmarks_px: npt.NDArray[np.float32]


def read_table(data_dir: Path) -> list[dict[str, str]]:
    """The rows of DATA_DIR/portraits.csv."""
    table = data_dir / "portraits.csv"
    try:
        with table.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise PortraitsError(
            f"{table} cannot be read ({error.strerror}); give the folder with portraits.csv and portraits/"
        ) from error
    missing = {"file", "subject", "split", "face_px", "synthetic", "terms"} - set(rows[0] if rows else ())
    if missing:
        raise PortraitsError(f"{table} lacks the columns {sorted(missing)}; give the folder of the portraits")
    return rows


def read_rgb(path: Path) -> npt.NDArray[np.uint8]:
    """A picture file as uint8 [H, W, 3] RGB."""
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise PortraitsError(
            f"{path} is missing or not a picture; restore the file or take its row out of the table"
        )
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


def locate(models: FaceModels, picture_rgb_u8: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32] | None:
    """Landmarks float32 [468, 2] of the largest face, in pixels, or None.

    The mesh looks twice: the second look starts from the first's landmarks, as it does in tracking.
    """
    found = models.detect(picture_rgb_u8)
    if not found:
        return None
    first = models.landmarks_px(picture_rgb_u8, max(found, key=_side).roi)
    if first is None:
        return None
    return models.landmarks_px(picture_rgb_u8, roi_around(first))


def _side(detection: Detection) -> float:
    return detection.roi.side_px


def to_canvas(landmarks_px: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """float64 [2, 3] taking file pixels to the canvas: the face crop with MARGIN_PX on every side."""
    matrix = alignment(landmarks_px)
    matrix[:, 2] += MARGIN_PX
    return matrix


def srgb_to_lab(rgb: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """CIE L*a*b* (D65) float32 [..., 3] of sRGB [..., 3] in [0, 1]."""
    flat = np.ascontiguousarray(rgb, np.float32).reshape(1, -1, 3)
    return np.asarray(cv2.cvtColor(flat, cv2.COLOR_RGB2Lab), np.float32).reshape(np.shape(rgb))


def tone_of(face_rgb_u8: npt.NDArray[np.uint8], skin: npt.NDArray[np.bool_]) -> tuple[float, int]:
    """(ita in degrees, monk 1..10) of the median colour of face_rgb_u8 [H, W, 3] where skin [H, W].

    ITA = atan((L* - 50) / b*) (Chardon et al. 1991), as a full angle so that b* <= 0 stays defined.
    """
    colours = face_rgb_u8[skin] if skin.any() else face_rgb_u8.reshape(-1, 3)
    lab = srgb_to_lab(np.median(colours, axis=0) / 255.0)
    ita = math.degrees(math.atan2(float(lab[0]) - 50.0, float(lab[2])))
    tones = np.array([list(bytes.fromhex(tone)) for tone in MONK_HEX]) / 255.0
    nearest = int(np.argmin(np.linalg.norm(srgb_to_lab(tones) - lab, axis=1)))
    return ita, nearest + 1


# Absorbance is -log of sRGB; these are in its natural-log units.
_MUCH_DARKER, _DARKER, _BRIGHTER = 1.0, 0.40, 0.60
_NOT_RED, _LESS_RED, _TOO_RED, _BLUISH = 0.26, 0.09, 0.50, 0.50
_HAIRY, _HAIRY_AND_DARKER, _HAIRY_BEARD, _DETAIL_CAP = 0.085, 0.06, 0.06, 0.15
_MIN_PATCH_PX, _MIN_EXTENT_PX, _GROW_PX = 250, 34, 4


def skin_like(
    face_rgb_u8: npt.NDArray[np.uint8], bits: npt.NDArray[np.uint8], skin: npt.NDArray[np.uint8]
) -> npt.NDArray[np.bool_]:
    """bool [H, W]: the pixels of `skin` uint8 [H, W] (geometric, > 0) that look like this face's skin.

    Each pixel's absorbance is compared with a quadratic surface fitted robustly to the face's own skin, which
    follows its shading. Hair, frames, lenses and dark beard differ over an area or along a line; moles, spots
    and freckles differ too, but are small and compact, so they stay skin. A shadow is as red as skin or
    redder; hair is less red.
    """
    absorbance = -np.log((cv2.GaussianBlur(face_rgb_u8, (0, 0), 1.2).astype(np.float32) + 4.0) / 259.0)
    residual = absorbance - _shading(absorbance, bits, skin > 0)
    darker = residual.mean(axis=2)
    redder = residual[..., 1] - residual[..., 0]
    texture = _texture(face_rgb_u8, skin)
    # Hard light and deep skin spread further in logarithms, so the face's own spread sets what is far.
    darker /= np.clip(np.median(np.abs(darker[skin > 0])) / 0.15, 1.0, 1.6) if np.any(skin) else 1.0
    odd = (darker > _MUCH_DARKER) | (darker < -_BRIGHTER)
    odd |= (redder < -_NOT_RED) | (redder > _TOO_RED) | (residual[..., 2] - residual[..., 1] < -_BLUISH)
    odd |= (darker > _DARKER) & ((redder < -_LESS_RED) | (texture > _HAIRY_AND_DARKER))
    odd |= (texture > _HAIRY) | ((texture > _HAIRY_BEARD) & (bits & (JAW | UPPER_LIP) > 0))
    odd &= bits & OVAL > 0
    return (skin > 0) & ~_large_patches(odd)


def _shading(
    absorbance: npt.NDArray[np.float32], bits: npt.NDArray[np.uint8], skin: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float32]:
    """Quadratic surface [H, W, 3] through the skin's absorbance: least squares with Tukey's weights."""
    height, width = skin.shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    x, y = x / width * 2 - 1, y / height * 2 - 1
    basis = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=2)
    sure = skin & (bits & (CHEEKS | NOSE | FOREHEAD) > 0)
    picked = np.flatnonzero(sure)[::17] if sure.sum() > 6000 else np.flatnonzero(skin)[::5]
    rows, seen = basis.reshape(-1, 6)[picked], absorbance.reshape(-1, 3)[picked]
    weight = np.ones(len(picked), np.float32)
    centre = np.median(seen, axis=0)
    off = np.abs(seen - centre).mean(axis=1)
    for _ in range(8):
        reach = max(4.0 * float(np.median(off)), 0.12)
        weight = np.clip(1.0 - (off / reach) ** 2, 0.0, None) ** 2
        left = rows * weight[:, None]
        ridge = np.diag([1e-6, 1.0, 1.0, 4.0, 4.0, 4.0]) * 0.02 * weight.sum()
        fit = np.linalg.solve(left.T @ rows + ridge, left.T @ seen)
        off = np.abs(seen - rows @ fit).mean(axis=1)
    return np.asarray(basis @ fit.astype(np.float32), np.float32)


def _texture(face_rgb_u8: npt.NDArray[np.uint8], skin: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Local mean of fine detail in log luminance [H, W]: hair and beard have much, skin has little.

    Detail is capped, so that one dark mole weighs no more than its area. All averages are over the skin
    alone, so that the rims of eyes, lips and nostrils do not count as texture.
    """
    grey = np.log(cv2.cvtColor(face_rgb_u8, cv2.COLOR_RGB2GRAY).astype(np.float32) + 12.0)
    weight = (cv2.erode(skin, np.ones((5, 5), np.uint8)) > 0).astype(np.float32)
    fine = np.abs(grey - _average(grey, weight, 3.0))
    return _average(np.minimum(fine, np.float32(_DETAIL_CAP)), weight, 6.0)


def _average(
    values: npt.NDArray[np.float32], weight: npt.NDArray[np.float32], sigma_px: float
) -> npt.NDArray[np.float32]:
    """Gaussian average of values [H, W] weighted by weight [H, W]."""
    total = cv2.GaussianBlur(values * weight, (0, 0), sigma_px)
    return np.asarray(total / np.maximum(cv2.GaussianBlur(weight, (0, 0), sigma_px), 1e-3), np.float32)


def _large_patches(odd: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The connected patches of `odd` that are large or long, grown a little."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(odd.astype(np.uint8), connectivity=8)
    extent = np.maximum(stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_HEIGHT])
    large = (stats[:, cv2.CC_STAT_AREA] >= _MIN_PATCH_PX) | (extent >= _MIN_EXTENT_PX)
    large[0] = False
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _GROW_PX + 1, 2 * _GROW_PX + 1))
    return np.asarray(cv2.dilate(large[labels].astype(np.uint8), kernel) > 0)


@dataclass(frozen=True)
class Prepared:
    """One portrait on its canvas.

    face_rgb_u8: uint8 [640, 640, 3] RGB. regions: uint8 [640, 640]. landmarks_px: float32 [468, 2] in canvas
    pixels. entry: its place in the index.
    """

    face_rgb_u8: npt.NDArray[np.uint8]
    regions: npt.NDArray[np.uint8]
    landmarks_px: npt.NDArray[np.float32]
    entry: Portrait


def inside_picture(shape: tuple[int, ...], matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Which canvas pixels, bool [CANVAS_PX, CANVAS_PX], show the picture of `shape` and not its drawn-out
    border."""
    everywhere = np.full(shape, 255, np.uint8)
    seen = cv2.warpAffine(everywhere, matrix, (CANVAS_PX, CANVAS_PX), borderMode=cv2.BORDER_CONSTANT)
    whole: npt.NDArray[np.bool_] = cv2.erode(seen, np.ones((5, 5), np.uint8)) == 255
    return whole


def prepare_one(picture_rgb_u8: npt.NDArray[np.uint8], located: Located) -> Prepared:
    """Align one portrait and mark its regions."""
    matrix = to_canvas(located.landmarks_px)
    size = (CANVAS_PX, CANVAS_PX)
    face = warp(picture_rgb_u8, matrix, size, enlarge=cv2.INTER_CUBIC)
    landmarks = transform(located.landmarks_px, matrix)
    bits = region_bits(landmarks, size)
    skin = skin_like(face, bits, skin_mask(landmarks, size)) & inside_picture(
        picture_rgb_u8.shape[:2], matrix
    )
    bits[skin] |= np.uint8(SKIN)
    tone = tone_of(face, skin & (bits & (CHEEKS | FOREHEAD | NOSE) > 0))
    return Prepared(face, bits, landmarks, _entry(located.row, scale_of(matrix), tone))


def _entry(row: dict[str, str], scale: float, tone: tuple[float, int]) -> Portrait:
    return Portrait(
        file=row["file"],
        subject=row["subject"],
        split=row["split"],
        synthetic=row["synthetic"] not in ("", "0", "False", "false"),
        scale=round(scale, 4),
        face_px=int(float(row["face_px"])),
        source=row["file"].split("/")[0],
        ita=round(tone[0], 2),
        monk=tone[1],
        terms=row["terms"],
    )


def locate_all(data_dir: Path, rows: list[dict[str, str]]) -> tuple[list[Located], Counter[str]]:
    """The portraits that can be used, in the table's order, and how many were left out for which reason."""
    usable: list[Located] = []
    left_out: Counter[str] = Counter()
    with FaceModels() as models:
        for number, row in enumerate(rows, 1):
            landmarks = locate(models, read_rgb(data_dir / "portraits" / row["file"]))
            if landmarks is None:
                left_out["no face found"] += 1
            elif scale_of(alignment(landmarks)) > MAX_SCALE:
                left_out[f"face too small (scale > {MAX_SCALE})"] += 1
            else:
                usable.append(Located(row, landmarks))
            _progress("finding faces", number, len(rows))
    return usable, left_out


def prepare(data_dir: Path, out_dir: Path) -> tuple[int, Counter[str]]:
    """Write OUT_DIR/faces.npy uint8 [N, 640, 640, 3] RGB, regions.npy uint8 [N, 640, 640] (bit field of
    stream.regions), landmarks.npy float32 [N, 468, 2] in canvas pixels, index.json (list of Portrait).

    Returns N and the counts of what was left out. An earlier run's OUT_DIR is replaced at the end.
    """
    rows = read_table(data_dir)
    usable, left_out = locate_all(data_dir, rows)
    if not usable:
        raise PortraitsError(
            f"no usable face in the {len(rows)} portraits of {data_dir}; give other portraits"
        )
    try:
        out_dir.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{out_dir.name}-", dir=out_dir.parent))
        try:
            _write(made, data_dir, usable)
            _publish(made, out_dir)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    except OSError as error:
        raise PortraitsError(
            f"{out_dir} cannot be written ({error.strerror}); give a folder with room and rights"
        ) from error
    return len(usable), left_out


def _array(path: Path, kind: type[np.generic], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    return np.lib.format.open_memmap(path, mode="w+", dtype=kind, shape=shape)


def _write(folder: Path, data_dir: Path, usable: list[Located]) -> None:
    count = len(usable)
    faces = _array(folder / "faces.npy", np.uint8, (count, CANVAS_PX, CANVAS_PX, 3))
    regions = _array(folder / "regions.npy", np.uint8, (count, CANVAS_PX, CANVAS_PX))
    landmarks = _array(folder / "landmarks.npy", np.float32, (count, *usable[0].landmarks_px.shape))
    index: list[dict[str, Any]] = []
    for row, located in enumerate(usable):
        made = prepare_one(read_rgb(data_dir / "portraits" / located.row["file"]), located)
        faces[row], regions[row], landmarks[row] = made.face_rgb_u8, made.regions, made.landmarks_px
        index.append(asdict(made.entry))
        _progress("aligning", row + 1, count)
    (folder / "index.json").write_text(json.dumps(index, indent=1), encoding="utf-8")


def _publish(made: Path, out_dir: Path) -> None:
    """Put the finished folder in place; an earlier one is set aside first, as it cannot be replaced."""
    made.chmod(0o755)
    if not out_dir.exists():
        made.rename(out_dir)
        return
    if not (out_dir / "index.json").is_file() and any(out_dir.iterdir()):
        raise PortraitsError(f"{out_dir} holds other things than prepared portraits; give another folder")
    old = Path(tempfile.mkdtemp(prefix=f".{out_dir.name}-old-", dir=out_dir.parent))
    out_dir.rename(old / "set")
    made.rename(out_dir)
    shutil.rmtree(old, ignore_errors=True)


def _progress(what: str, done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{what}: {done}/{total}", end="\n" if done == total else "", file=sys.stderr, flush=True)
    elif done == total or done % 200 == 0:
        print(f"{what}: {done}/{total}", file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m stream.portraits", description=__doc__)
    parser.add_argument("data_dir", type=Path, help="folder with portraits.csv and portraits/")
    parser.add_argument("out_dir", type=Path, help="folder to make")
    options = parser.parse_args(arguments)
    try:
        count, left_out = prepare(options.data_dir, options.out_dir)
    except VretouchError as error:
        print(error, file=sys.stderr)
        return 2
    reasons = ", ".join(f"{number} {reason}" for reason, number in left_out.items()) or "none"
    print(f"{count} portraits in {options.out_dir}; left out: {reasons}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
