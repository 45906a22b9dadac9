"""A whole picture of any size through AutoRetouch: `python -m model.earlier.picture WEIGHTS PICTURE OUT`.

As published, in windows of 150 px that overlap, so that only one window's features are in memory at a time;
they give what the whole picture at once would (`--window 0`). `vretouch file --system autoretouch`
retouches the faces of a video instead.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from model.autoretouch import WINDOW_PX, AutoRetouch
from model.data.pairs import IMAGES, PairsError, read_whole
from model.earlier.weights import load_earlier
from model.weights import WeightsError, out_of_memory
from model.whole import part_of


class PictureError(Exception):
    """A picture that cannot be made or kept."""


def window(text: str) -> int | None:
    """The side of a window in pixels; None for 0, the whole picture."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(
            f"{text!r} is no side in pixels; give a whole number, 0 for no windows"
        )
    return int(text) or None


@torch.inference_mode()
def retouched(network: AutoRetouch, rgb_u8: np.ndarray, window_px: int | None) -> np.ndarray:
    """uint8 RGB [H, W, 3] of the picture, alike, at its own size.

    Raises:
        PictureError: the windows are too small for the network, or memory is out.
    """
    whole = torch.from_numpy(rgb_u8.copy()).permute(2, 0, 1)[None].float() / 255
    try:
        made = network.retouch(whole, window_px)
    except ValueError as error:
        raise PictureError(str(error)) from error
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        raise PictureError(
            f"Memory is out at {whole.shape[-1]}x{whole.shape[-2]}; lower --window."
        ) from error
    return (made[0].permute(1, 2, 0) * 255).round().byte().numpy()


def write(rgb_u8: np.ndarray, path: Path) -> None:
    """A picture, whole or not at all.

    Raises:
        PictureError: the folder is missing, or nothing can be written there.
    """
    try:
        with part_of(path) as part:
            Image.fromarray(rgb_u8).save(part)
    except OSError as error:
        raise PictureError(
            f"{path} cannot be written ({error.strerror or error}); give another OUT."
        ) from error


def main(argv: list[str] | None = None) -> int:
    """Run the command line."""
    p = argparse.ArgumentParser(
        prog="python -m model.earlier.picture",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    p.add_argument(
        "weights", type=Path, help="of AutoRetouch, made by `python -m model.train --system autoretouch`"
    )
    p.add_argument("picture", type=Path, help="to retouch")
    p.add_argument("out", type=Path, help=f"a new file: {', '.join(IMAGES)}")
    p.add_argument(
        "--window",
        type=window,
        default=WINDOW_PX,
        metavar="PX",
        help=f"side of the windows ({WINDOW_PX}), 0: none",
    )
    options = p.parse_args(argv)
    if options.out.suffix.lower() not in IMAGES:
        p.error(f"{options.out} is no name of a picture; end it with {', '.join(IMAGES)}")
    if options.out.exists():
        p.error(f"{options.out} exists already; give a new name")
    try:
        network = load_earlier("autoretouch", options.weights)
        assert isinstance(network, AutoRetouch)
        write(retouched(network, read_whole(options.picture), options.window), options.out)
    except (PairsError, PictureError, WeightsError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
