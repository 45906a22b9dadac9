"""What `python -m bench kernels` times: each kernel, and the same by plain torch with grid_sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from bench.pipeline import face_box
from model.warp import warp as warp_by_torch
from stream.composite import Placed, placed
from stream.crop import FACE_PX, invert, part_read, scale_of
from stream.kernels import launch
from stream.kernels.launch import UNTAGGED, Launch, Residual, Surface
from stream.planes import rgb_to_yuv

SIZE = (3840, 2160)
# So many pictures that none of them is still in a cache when its turn comes again.
FRAMES = 8
REACH_PX = 4.0
# There and back: pictures that only grew lighter would soon be white, and nothing left to write.
AMOUNTS = (0.9, -0.9)
Matrix = npt.NDArray[np.float64]
Run = Callable[[Launch], None]


@dataclass(frozen=True)
class Case:
    """One kernel on `calls` pictures in turn, and the same by plain torch. bytes: those that one call has to
    read and to write."""

    name: str
    bytes: int
    calls: int
    kernel: Callable[[], None]
    plain: Callable[[], None]


def cases_of(size: tuple[int, int], device: str, dtype: torch.dtype, run: Run) -> list[Case]:
    """Crop, warp and paste on pictures of this size, whose height a face fills. run: starts a launch on the
    device."""
    random = torch.Generator().manual_seed(0)
    shape = (FRAMES, size[1], size[0], 3)
    frames = torch.randint(0, 256, shape, dtype=torch.uint8, generator=random).to(device)
    to_face = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]) * FACE_PX / size[1]
    to_face[0, 2] = FACE_PX / 2 * (1.0 - size[0] / size[1])
    return [
        _crop(frames, to_face, dtype, run),
        _warp(size, device, dtype, run),
        _paste(frames, to_face, dtype, run),
        _paste_nv12(size, to_face, device, dtype, run),
    ]


def surface_of(frame: Tensor) -> Surface:
    """A frame uint8 [H, W, 3] on the device."""
    return Surface("rgb24", frame.shape[1], frame.shape[0], (frame.data_ptr(),), (frame.stride(0),))


def _crop(frames: Tensor, to_face: Matrix, dtype: torch.dtype, run: Run) -> Case:
    face = torch.empty((3, FACE_PX, FACE_PX), dtype=dtype, device=frames.device)
    to_crop = [launch.crop(surface_of(f), to_face, face.data_ptr(), _numpy(dtype)) for f in frames]
    x0, y0, x1, y1 = face_box(to_face, frames.shape[1:3])
    plain = _crop_by_torch(frames, to_face, face)
    moved = 3 * (x1 - x0) * (y1 - y0) + face.nbytes
    return Case("crop", moved, len(frames), lambda: _all(run, to_crop), plain)


def _crop_by_torch(frames: Tensor, to_face: Matrix, face: Tensor) -> Callable[[], None]:
    part = part_read(frames.shape[1:], to_face, (FACE_PX, FACE_PX), 1.0 / scale_of(to_face))
    bottom, right = part.y0 + part.rows * part.block, part.x0 + part.columns * part.block
    grid = _grid(invert(part.matrix), (0, 0, FACE_PX, FACE_PX), (part.columns, part.rows), face)

    def run() -> None:
        for frame in frames:
            seen = frame[part.y0 : bottom, part.x0 : right].permute(2, 0, 1)[None].to(face.dtype)
            cells = F.avg_pool2d(seen, part.block)
            warped = F.grid_sample(cells, grid, padding_mode="border", align_corners=False)
            torch.div(warped[0], 255.0, out=face)

    return run


def _warp(size: tuple[int, int], device: str, dtype: torch.dtype, run: Run) -> Case:
    width, height = size
    random = torch.Generator().manual_seed(1)
    image = torch.rand((1, 3, height, width), generator=random).to(device, dtype)
    # Motion is smooth: a coarse field, enlarged.
    coarse = REACH_PX * torch.randn((1, 2, 9, 16), generator=random)
    flow = F.interpolate(coarse, (height, width), mode="bilinear").to(device, dtype)
    images, flows, out = image.repeat(2, 1, 1, 1), flow.repeat(2, 1, 1, 1), torch.empty_like(image)
    addresses = [(i.data_ptr(), f.data_ptr(), out.data_ptr()) for i, f in zip(images, flows, strict=True)]
    to_warp = [launch.warp(*a, image.shape, _numpy(dtype), _numpy(dtype)) for a in addresses]

    def plain() -> None:
        for one, field in zip(images, flows, strict=True):
            out.copy_(warp_by_torch(one[None], field[None]))

    return Case("warp", 2 * image.nbytes + flow.nbytes, len(images), lambda: _all(run, to_warp), plain)


def _paste(frames: Tensor, to_face: Matrix, dtype: torch.dtype, run: Run) -> Case:
    pasted = _pasted(to_face, frames.shape[1:], frames.device, dtype)
    turns = [*product(AMOUNTS, frames)]
    to_paste = [pasted.launch(surface_of(frame), amount) for amount, frame in turns]
    x0, y0, x1, y1 = pasted.place.box

    def plain() -> None:
        for amount, frame in turns:
            region = frame[y0:y1, x0:x1]
            region.copy_((region + pasted.by_torch(amount).permute(1, 2, 0)).clamp(0.0, 255.0))

    return Case("paste", pasted.bytes(6), len(to_paste), lambda: _all(run, to_paste), plain)


def _paste_nv12(size: tuple[int, int], to_face: Matrix, device: str, dtype: torch.dtype, run: Run) -> Case:
    """Codes so near to grey that no change goes beyond black or white, of which plain torch takes no heed."""
    (width, height), random = size, torch.Generator().manual_seed(3)
    shape = (FRAMES, height * 3 // 2, width)
    frames = torch.randint(112, 144, shape, dtype=torch.uint8, generator=random).to(device)
    pasted = _pasted(to_face, (height, width), frames.device, dtype)
    turns = [*product(AMOUNTS, frames)]
    to_paste = [pasted.launch(_nv12_of(frame), amount) for amount, frame in turns]
    x0, y0, x1, y1 = pasted.place.box
    to_yuv = torch.from_numpy(rgb_to_yuv(UNTAGGED, height)).to(frames.device, dtype)

    def plain() -> None:
        for amount, frame in turns:
            luma, chroma = frame[y0:y1, x0:x1], frame[height + y0 // 2 : height + y1 // 2, x0:x1]
            change = torch.einsum("oi,ihw->ohw", to_yuv, pasted.by_torch(amount))
            luma.copy_((luma + torch.round(change[0])).clamp(0.0, 255.0))
            shared = torch.round(F.avg_pool2d(change[1:], 2)).permute(1, 2, 0).flatten(1)
            chroma.copy_((chroma + shared).clamp(0.0, 255.0))

    return Case("paste_nv12", pasted.bytes(3), len(to_paste), lambda: _all(run, to_paste), plain)


def _nv12_of(frame: Tensor) -> Surface:
    """A frame uint8 [H * 3 / 2, W] on the device: Y, and below it U and V by turns."""
    height, pitch = frame.shape[0] * 2 // 3, frame.stride(0)
    addresses = (frame.data_ptr(), frame.data_ptr() + height * pitch)
    return Surface("nv12", frame.shape[1], height, addresses, (pitch, pitch))


@dataclass(frozen=True)
class _Pasted:
    """A residual [3, 512, 512] and a guard uint8 [512, 512] on the device, and where they fall."""

    residual: Tensor
    guard: Tensor
    place: Placed

    def launch(self, surface: Surface, amount: float) -> Launch:
        layer = Residual(self.residual.data_ptr(), _numpy(self.residual.dtype))
        return launch.paste(surface, layer, self.guard.data_ptr(), self.place, amount)

    def bytes(self, per_pixel: int) -> int:
        """Those to be moved, where a pixel's samples, read and written, are so many."""
        x0, y0, x1, y1 = self.place.box
        return per_pixel * (x1 - x0) * (y1 - y0) + self.residual.nbytes + self.guard.nbytes

    def by_torch(self, amount: float) -> Tensor:
        """The whole levels [3, h, w] that RGB gains."""
        left, top, right, bottom = self.place.part
        soft = self.guard.to(self.residual.dtype) / 255.0
        layers = torch.cat([self.residual, soft[None]])[None, :, top:bottom, left:right]
        seen = F.grid_sample(layers, self._grid, padding_mode="zeros", align_corners=False)[0]
        return torch.round(seen[:3] * seen[3:] * amount)

    @cached_property
    def _grid(self) -> Tensor:
        left, top, right, bottom = self.place.part
        return _grid(self.place.inward, self.place.box, (right - left, bottom - top), self.residual)


def _pasted(to_face: Matrix, shape: tuple[int, ...], device: torch.device, dtype: torch.dtype) -> _Pasted:
    random = torch.Generator().manual_seed(2)
    # So much on every pixel that every byte has to be read and written.
    residual = (6.0 + 4.0 * torch.rand((3, FACE_PX, FACE_PX), generator=random)).to(device, dtype)
    guard = np.full((FACE_PX, FACE_PX), 255, np.uint8)
    place = placed(guard, to_face, shape)
    assert place is not None
    return _Pasted(residual, torch.from_numpy(guard).to(device), place)


def _grid(inward: Matrix, box: tuple[int, int, int, int], cells: tuple[int, int], like: Tensor) -> Tensor:
    """grid_sample's grid [1, h, w, 2] for a box of the destination over so many cells of the source."""
    ys, xs = np.mgrid[box[1] : box[3], box[0] : box[2]].astype(np.float64)
    places = np.stack([xs, ys], axis=2) @ inward[:, :2].T + inward[:, 2]
    return torch.from_numpy((2.0 * places + 1.0) / cells - 1.0)[None].to(like)


def _numpy(dtype: torch.dtype) -> str:
    return "float16" if dtype == torch.float16 else "float32"


def _all(run: Run, launches: list[Launch]) -> None:
    for one in launches:
        run(one)
