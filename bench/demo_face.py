"""Make the demo's picture: `python -m bench.demo_face` writes stream/assets/astronaut-raw.png.

The head of scikit-image's astronaut (NASA, public domain), enlarged, with imperfections painted on her skin
once by the painter that makes the training data. It is shipped, so that the demo needs neither scikit-image
nor torch.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from model.data import imperfections as imp
from model.data.diffuse import paint_diffuse
from model.data.kinds import KINDS
from model.data.portraits import soft_skin
from model.data.stamps import NoiseBank
from stream.crop import invert
from stream.face import FaceModels
from stream.portraits import CANVAS_PX, Located, locate, prepare_one, to_canvas

ASSET = Path(__file__).resolve().parents[1] / "stream" / "assets" / "astronaut-raw.png"
REGION = (45, 0, 405, 270)
"""x0, y0, x1, y1 of the head and shoulders in the 512 x 512 picture."""
ENLARGE = 3
SEED = 12
MARKS = 90
SHARES = {"papule": 7.0, "pustule": 2.5, "erythema": 4.0, "pigment": 2.0, "small mark": 5.0, "scab": 0.7}
"""How often each kind of mark is drawn; those not named, never."""
SHARPEN = 0.5
SOFTEN_PX = 0.9
LIGHT_XY = (-0.35, -0.45)


def enlarged() -> npt.NDArray[np.uint8]:
    """The head, uint8 [810, 1080, 3] RGB: Lanczos, a little unsharp masking, and the grain that enlarging
    took away."""
    from skimage import data

    x0, y0, x1, y1 = REGION
    head: npt.NDArray[np.uint8] = data.astronaut()[y0:y1, x0:x1]
    large: Any = cv2.resize(
        head.astype(np.float32), None, fx=ENLARGE, fy=ENLARGE, interpolation=cv2.INTER_LANCZOS4
    )
    large += SHARPEN * (large - cv2.GaussianBlur(large, (0, 0), 2.0))
    return np.asarray(np.clip(np.rint(large), 0, 255), np.uint8)


def painted(picture_rgb_u8: npt.NDArray[np.uint8], seed: int, marks: int) -> npt.NDArray[np.uint8]:
    """The picture with imperfections on its face: painted on the aligned canvas, carried back as a ratio of
    light."""
    with FaceModels() as models:
        landmarks = locate(models, picture_rgb_u8)
    if landmarks is None:
        raise SystemExit("no face was found in the astronaut; is this scikit-image's own picture?")
    row = dict.fromkeys(("file", "subject", "split", "synthetic", "face_px", "source", "terms"), "0")
    prepared = prepare_one(picture_rgb_u8, Located(row, landmarks))
    ratio = _ratio(prepared.face_rgb_u8, prepared.regions, seed, marks)
    height, width = picture_rgb_u8.shape[:2]
    back = invert(to_canvas(landmarks))
    log_ratio = cv2.warpAffine(np.log(ratio), back, (width, height), flags=cv2.INTER_CUBIC)
    log_ratio = cv2.GaussianBlur(log_ratio, (0, 0), SOFTEN_PX)
    return np.clip(np.rint(picture_rgb_u8 * np.exp(log_ratio)), 0, 255).astype(np.uint8)


def _ratio(
    face_rgb_u8: npt.NDArray[np.uint8], regions: npt.NDArray[np.uint8], seed: int, count: int
) -> npt.NDArray[np.float32]:
    """float32 [640, 640, 3]: painted over clean, on the canvas."""
    gen = torch.Generator().manual_seed(seed)
    base = torch.from_numpy(face_rgb_u8).permute(2, 0, 1)[None].float() / 255.0
    bits = torch.from_numpy(regions)[None]
    paintable, light = soft_skin(bits), torch.tensor([LIGHT_XY])
    noise = NoiseBank(gen)
    shares = [SHARES.get(kind.name, 0.0) for kind in KINDS]
    density = imp.zone_density(bits, paintable, gen)
    marks = imp.draw_marks(density, torch.tensor([count]), torch.tensor([shares]), gen)
    marks = marks.pick(imp.on_skin(marks.places, paintable) & imp.apart(marks))
    layers = imp.Layers.empty(1, CANVAS_PX, CANVAS_PX)
    imp.paint_marks(layers, marks, light, noise, gen)
    paint_diffuse(layers, base, bits, torch.ones(1), gen)
    (raw,) = imp.render([base], layers, paintable, light)
    ratio: Any = (raw.clamp(min=1e-3) / base.clamp(min=1e-3))[0].permute(1, 2, 0).contiguous().numpy()
    return np.asarray(ratio, np.float32)


def main(argv: Sequence[str] | None = None) -> int:
    """Make the asset anew."""
    parser = argparse.ArgumentParser(prog="python -m bench.demo_face", description=__doc__)
    parser.add_argument("--out", type=Path, default=ASSET)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--marks", type=int, default=MARKS)
    options = parser.parse_args(argv)
    picture = painted(enlarged(), options.seed, options.marks)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(options.out), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 9])
    print(f"{options.out}: {picture.shape[1]}x{picture.shape[0]}, seed {options.seed}, {options.marks} marks")
    return 0


if __name__ == "__main__":
    sys.exit(main())
