"""Raw and retouched faces that no pair exists of, for the losses that need none.

FOLDER/source/*.png    raw pictures
FOLDER/target/*.png    retouched pictures, of other faces and as many as there are
"""

import hashlib
from pathlib import Path

import torch
from torch import Tensor

from model.config import FACE_PX
from model.data.pairs import SIDES, pictures_in, size_of
from model.data.sequences import as_tensor


class UnpairedPictures:
    """The pictures of a folder, drawn from a number: the same number gives the same ones.

    Raises:
        PairsError: there is no such folder, no picture on one side, or one that cannot be read or is cut.
    """

    def __init__(self, folder: Path, size: int, seed: int = 0) -> None:
        """size: side of the window that is drawn out of the whole face at FACE_PX."""
        self.size, self.seed = size, seed
        self.raw, self.target = (pictures_in(folder / side) for side in SIDES)
        for path in (*self.raw, *self.target):
            size_of(path)

    def drawn(self, number: int) -> tuple[Tensor, Tensor]:
        """A raw and a retouched one, float32 RGB [1, 3, size, size] in [0, 1] each.

        Raises:
            PairsError: a picture cannot be read.
        """
        key = hashlib.sha256(f"unpaired/{self.seed}/{number}".encode()).digest()
        gen = torch.Generator().manual_seed(int.from_bytes(key[:7], "little"))
        return self._window(self.raw, gen), self._window(self.target, gen)

    def _window(self, side: list[Path], gen: torch.Generator) -> Tensor:
        path = side[int(torch.randint(len(side), (), generator=gen))]
        top, left = (int(v) for v in torch.randint(FACE_PX - self.size + 1, (2,), generator=gen))
        face = as_tensor([path], FACE_PX)[..., top : top + self.size, left : left + self.size]
        return face.flip(-1) if bool(torch.rand((), generator=gen) < 0.5) else face
