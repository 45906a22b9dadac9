"""What the way from frame to frame is compared with: the same network between a crop and a paste in plain
torch, and a matting network that is spared both."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from bench.device import Device
from bench.matting import seeded_matting
from bench.metrics import Pixels
from bench.operations import operations, step_operations
from bench.pipeline import Shot, crop_work, paste_work
from bench.project import Place, Work
from model.vretoucher import VRetouchEr
from stream.composite import skin_guard
from stream.crop import FACE_PX, invert
from stream.device import GuardedFace
from stream.results import LocatedFace

LEVELS = 255.0
# The scale at which the matting network sees a frame so high, after its authors' advice.
_SCALES = {360: 0.5, 720: 0.375, 1080: 0.25, 2160: 0.125}


class GridSample:
    """Crop and paste by torch's affine_grid and grid_sample over whole frames, the network as it is.

    The crop is not antialiased. Faces step together.
    """

    name, key = "torch, grid_sample", "grid_sample"

    def __init__(self, network: VRetouchEr, device: Device, faces: int) -> None:
        self.places: dict[str, Place] = {
            "upload": "link",
            "crop": "device",
            "step": "device",
            "paste": "device",
            "download": "link",
        }
        self._device, self._dtype, self._faces = torch.device(device.kind), device.dtype, faces
        self._network = copy.deepcopy(network).to(self._device, self._dtype)
        face = torch.zeros((faces, 3, FACE_PX, FACE_PX), device=self._device, dtype=self._dtype)
        self._state = self._network.fresh_state(face)

    @torch.inference_mode()
    def frame(self, shot: Shot, mark: Callable[[str], None]) -> Pixels:
        """uint8 [H, W, 3] RGB."""
        alignments = [face.alignment for face in shot.located.faces]
        frame = torch.from_numpy(shot.frame_u8).to(self._device)
        mark("upload")
        pixels = frame.permute(2, 0, 1)[None].float()  # [1, 3, H, W]
        faces = self.crop(pixels, alignments)
        mark("crop")
        step = self._network.step(faces.to(self._dtype) / LEVELS, self._state)
        self._state = step.state
        mark("step")
        guards = np.stack([_guard_of(face) for face in shot.located.faces])
        out = self.paste(pixels, step.residual.float() * LEVELS, guards, alignments)
        mark("paste")
        retouched = out.cpu().numpy()
        mark("download")
        return retouched

    def crop(self, pixels: Tensor, alignments: list[npt.NDArray[np.float64]]) -> Tensor:
        """Faces [F, 3, 512, 512] of the frame [1, 3, H, W]; alignments: frame to face px."""
        height, width = pixels.shape[2:]
        size = (FACE_PX, FACE_PX)
        thetas = [theta(invert(matrix), size, (width, height)) for matrix in alignments]
        grid = self._grid(thetas, FACE_PX, FACE_PX)
        frames = pixels.expand(len(thetas), -1, -1, -1)
        return F.grid_sample(frames, grid, padding_mode="border", align_corners=False)

    def paste(
        self,
        pixels: Tensor,
        residuals: Tensor,
        guards: npt.NDArray[np.uint8],
        alignments: list[npt.NDArray[np.float64]],
    ) -> Tensor:
        """The retouched frame uint8 [H, W, 3]. pixels: [1, 3, H, W]; residuals: [F, 3, 512, 512] in levels;
        guards: uint8 [F, 512, 512]."""
        height, width = pixels.shape[2:]
        soft = torch.from_numpy(guards).to(self._device).float()[:, None] / 255.0
        for number, matrix in enumerate(alignments):
            layers = torch.cat([residuals[number], soft[number]])[None]  # [1, 4, 512, 512]
            grid = self._grid([theta(matrix, (width, height), (FACE_PX, FACE_PX))], height, width)
            seen = F.grid_sample(layers, grid, padding_mode="zeros", align_corners=False)
            pixels = pixels + (seen[:, :3] * seen[:, 3:]).round()
        return pixels[0].clamp(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous()

    def works(self, shot: Shot) -> Mapping[str, tuple[Work, ...]]:
        """What there is to do, however it is done."""
        step = step_operations(self._network, self._dtype, self._faces)
        return {"crop": crop_work(shot), "step": tuple(step), "paste": paste_work(shot, 4)}

    def _grid(self, thetas: list[npt.NDArray[np.float64]], height: int, width: int) -> Tensor:
        given = torch.from_numpy(np.stack(thetas)).float().to(self._device)
        return F.affine_grid(given, [len(thetas), 1, height, width], align_corners=False)


def _guard_of(face: LocatedFace) -> npt.NDArray[np.uint8]:
    """uint8 [512, 512]; the one made beforehand where ours has it too."""
    return face.skin if isinstance(face, GuardedFace) else skin_guard(face.face_landmarks_px)


def theta(
    matrix: npt.NDArray[np.float64], size: tuple[int, int], source_size: tuple[int, int]
) -> npt.NDArray[np.float64]:
    """What affine_grid takes, float64 [2, 3], for a matrix [2, 3] from destination to source pixels; sizes
    are width and height."""
    whole = np.vstack([matrix, [0.0, 0.0, 1.0]])
    return np.asarray((_from_pixels(source_size) @ whole @ np.linalg.inv(_from_pixels(size)))[:2])


def _from_pixels(size: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Pixels to grid_sample's units, from -1 at the outer edge of the first one to 1 at that of the last."""
    width, height = size
    return np.array(
        [[2.0 / width, 0.0, 1.0 / width - 1.0], [0.0, 2.0 / height, 1.0 / height - 1.0], [0.0, 0.0, 1.0]]
    )


class MattingTensors:
    """A matting network from tensors to tensors on the device: no frame comes or goes, no face is found."""

    name, key = "matting, tensors only", "matting"

    def __init__(self, device: Device, size: tuple[int, int]) -> None:
        self.places: dict[str, Place] = {"step": "device"}
        scale = _SCALES[size[1]]
        network = seeded_matting().to(device.kind, device.dtype)
        frame = torch.rand((1, 3, size[1], size[0])).to(device.kind, device.dtype)
        layout = torch.contiguous_format if device.kind == "cpu" else torch.channels_last
        for weights in network.parameters():
            if weights.dim() == 4:
                weights.data = weights.data.contiguous(memory_format=layout)
        self._frame = frame.contiguous(memory_format=layout)
        self.memory = network.fresh_memory(self._frame, scale)

        def run() -> None:
            matted = network(self._frame, self.memory, scale)
            for kept, now in zip(self.memory, matted.memory, strict=True):
                kept.copy_(now)

        with torch.inference_mode():
            self._run = device.recorded(run)
        self._count = lambda: network(self._frame, self.memory, scale)

    @torch.inference_mode()
    def frame(self, shot: Shot, mark: Callable[[str], None]) -> None:
        """One step; the shot is not looked at."""
        del shot
        self._run()
        mark("step")

    def works(self, shot: Shot) -> Mapping[str, tuple[Work, ...]]:
        """The operations of a step."""
        del shot
        return {"step": tuple(operations(self._count))}
