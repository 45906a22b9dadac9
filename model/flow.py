"""What the imperfection flow S is worth: `python -m model.flow FACES WEIGHTS`.

The same network on the same held-out clips, its maps carried from frame to frame (Eq. 2) by the flow that S
finds, by none, and by the true one. In face coordinates, where the crop follows the face, and before a camera
without alignment. Prints a table; `error_px` is the mean end-point error over the face, in face pixels.
"""

import argparse
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.arguments import positive
from model.data.clips import MOTIONS, Clip, ClipConfig, ClipSampler
from model.data.portraits import FacesError
from model.spynet import SpyNet
from model.validate import Figures, figures, mean_figures, retouch_clip
from model.vretoucher import VRetouchEr
from model.weights import WeightsError, load_weights

CELL_PX = 8
SEED = 99
CLIPS = 4  # at a time


class Told(nn.Module):
    """In the place of S: knows the flow already.

    flows: [B, T, 2, H/8, W/8] in pixels at 1/8 scale, told frame after frame.
    """

    def __init__(self, spynet: SpyNet, flows: Tensor) -> None:
        super().__init__()
        self.patches = spynet.patches
        self._flows = iter(flows.unbind(1))

    def forward(self, earlier: Tensor, now: Tensor) -> Tensor:  # noqa: ARG002
        """The next frame's flow [B, 2, H/8, W/8]."""
        return next(self._flows)


def true_flow(clip: Clip) -> Tensor:
    """What S should find: [B, T, 2, H/8, W/8] in pixels at 1/8 scale."""
    return torch.stack([F.avg_pool2d(flow, CELL_PX) for flow in clip.flow.unbind(1)], 1) / CELL_PX


def found_flow(network: VRetouchEr, clip: Clip) -> Tensor:
    """What S finds, alike; zeros in the first frame."""
    spynet = network.spynet
    patches = [spynet.patches(face) for face in clip.raw.unbind(1)]
    found = [spynet(earlier, now) for earlier, now in pairwise(patches)]
    return torch.stack([torch.zeros_like(true_flow(clip)[:, 0]), *found], 1)


def no_flow(network: VRetouchEr, clip: Clip) -> Tensor:  # noqa: ARG001
    """Nothing moves."""
    return torch.zeros_like(true_flow(clip))


FLOWS: dict[str, Callable[[VRetouchEr, Clip], Tensor]] = {
    "of S": found_flow,
    "none": no_flow,
    "true": lambda _, clip: true_flow(clip),
}


def error_px(flow: Tensor, clip: Clip) -> float:
    """Mean end-point error in face pixels, of all frames but the first."""
    return CELL_PX * float((flow - true_flow(clip))[:, 1:].norm(dim=2).mean())


def judged(network: VRetouchEr, clip: Clip, flow: Tensor) -> Figures:
    """Figures of the network with that flow."""
    spynet = network.spynet
    network.spynet = Told(spynet, flow)  # type: ignore[assignment]
    try:
        return figures(clip, *retouch_clip(network, clip.raw))
    finally:
        network.spynet = spynet


@torch.no_grad()
def rows(network: VRetouchEr, faces: Path, batches: int, frames: int) -> list[tuple[str, ...]]:
    """A row for each motion and flow: both names, error_px, and the figures.

    Raises:
        FacesError: the portraits cannot be read.
    """
    table = []
    for motion in MOTIONS:
        config = ClipConfig(size=512, frames=frames, motion=motion, clean_share=0.0)
        sampler = ClipSampler(faces, config, split="heldout", seed=SEED)
        clips = [sampler.sample(CLIPS) for _ in range(batches)]
        for name, flow_of in FLOWS.items():
            flows = [flow_of(network, clip) for clip in clips]
            off = sum(map(error_px, flows, clips)) / batches
            means = mean_figures([judged(network, *each) for each in zip(clips, flows, strict=True)])
            values = (off, *means.to_dict().values())
            table.append((motion, name, *(f"{value:.3f}" for value in values)))
    return table


def main(argv: list[str] | None = None) -> int:
    """Run the command line."""
    p = argparse.ArgumentParser(
        prog="python -m model.flow", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    p.add_argument("faces", type=Path, help="prepared portraits, made by `python -m stream.portraits`")
    p.add_argument("weights", type=Path, help="of a causal network")
    p.add_argument("--batches", type=positive, default=3, help=f"of {CLIPS} clips, for each motion (3)")
    p.add_argument("--frames", type=positive, default=8, help="of a clip (8)")
    options = p.parse_args(argv)
    try:
        network = load_weights(options.weights).eval()
        found = rows(network, options.faces, options.batches, options.frames)
    except (FacesError, WeightsError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    header = ("motion", "flow", "error_px", *Figures.__dataclass_fields__)
    for cells in (header, ("---",) * len(header), *found):
        print(f"| {' | '.join(cells)} |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
