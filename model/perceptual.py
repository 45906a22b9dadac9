"""Perceptual distance on features of VGG-19 (Simonyan and Zisserman, ICLR 2015; Johnson et al., ECCV 2016).

The weights are torchvision's, learnt on ImageNet: a file, or the one in torch hub's cache. Nothing is
downloaded.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.weights import WeightsError

# Channels and number of convolutions of each block; a pooling stands between two.
BLOCKS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))
# Where each convolution stands in torchvision's `features`: a ReLU follows each, a pooling each block.
PLACES = {
    f"relu{block + 1}_{n + 1}": 2 * (sum(count for _, count in BLOCKS[:block]) + n) + block
    for block, (_, count) in enumerate(BLOCKS)
    for n in range(count)
}
LAYERS = tuple(PLACES)
CACHED = "vgg19-dcbb9e9d.pth"
SEEDED_NARROWER = 8
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Distance = Callable[[Tensor, Tensor], Tensor]


def cached_path() -> Path:
    """Where torch hub keeps VGG-19 of torchvision once somebody has fetched it."""
    return Path(torch.hub.get_dir()) / "checkpoints" / CACHED


def _channels(layer: str) -> int:
    return BLOCKS[int(layer[4]) - 1][0]


class Vgg19(nn.Module):
    """VGG-19's convolutions up to the layer `last`, their channels divided by `narrower`; never trained."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, last: str, narrower: int = 1) -> None:
        super().__init__()
        self.layers = LAYERS[: LAYERS.index(last) + 1]
        widths = [3, *(_channels(layer) // narrower for layer in self.layers)]
        self.convs = nn.ModuleList(
            nn.Conv2d(widths[k], widths[k + 1], 3, padding=1, device="meta") for k in range(len(self.layers))
        ).to_empty(device="cpu")
        self.register_buffer("mean", torch.tensor(MEAN).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(DEVIATION).reshape(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)

    def load(self, path: Path) -> None:
        """Take the weights of torchvision's VGG-19 at `path`, of which only those up to `last` need be there.

        Raises:
            WeightsError: the file is unreadable or of another network.
        """
        try:
            saved = torch.load(path, map_location="cpu", weights_only=True)
            for layer, conv in zip(self.layers, self.convs, strict=True):
                prefix = f"features.{PLACES[layer]}."
                conv.load_state_dict({name: saved[prefix + name] for name in ("weight", "bias")})
        except Exception as error:
            said = str(error).partition("\n")[0]
            raise WeightsError(
                f"{path} holds no weights of torchvision's VGG-19 ({said}); give the file {CACHED}"
            ) from error

    def draw(self, seed: int) -> None:
        """He-initialised weights from `seed`, whatever torch's own generator has drawn before."""
        generator = torch.Generator().manual_seed(seed)
        for conv in self.convs:
            assert isinstance(conv, nn.Conv2d) and conv.bias is not None
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu", generator=generator)
            nn.init.zeros_(conv.bias)

    def forward(self, image: Tensor) -> Iterator[tuple[str, Tensor]]:
        """RGB [B, 3, H, W] in [0, 1] to the name and the output [B, C, h, w], after its ReLU, of each
        layer."""
        x = (image - self.mean) / self.deviation
        for layer, conv in zip(self.layers, self.convs, strict=True):
            if layer.endswith("_1") and layer != LAYERS[0]:
                x = F.max_pool2d(x, 2)
            x = F.relu(conv(x))
            yield layer, x


class Perceptual(nn.Module):
    """Distance between two pictures in features of VGG-19, the mean over `layers`."""

    def __init__(
        self,
        weights: Path | None,
        layers: Sequence[str],
        distance: Distance = F.mse_loss,
        *,
        seed: int | None = None,
    ) -> None:
        """Load the features.

        Args:
            weights: file of torchvision's VGG-19; None for the one in torch hub's cache.
            layers: names of LAYERS, such as `relu5_2`: the second convolution of the fifth block, after ReLU.
            distance: mean over all features of two tensors, such as `F.mse_loss` or `F.l1_loss`.
            seed: for tests: random weights drawn from it instead, of an eighth of the channels.

        Raises:
            WeightsError: the weights are not there or do not fit.
            ValueError: there is no such layer.
        """
        super().__init__()
        unknown = [layer for layer in layers if layer not in LAYERS]
        if unknown or not layers:
            raise ValueError(f"VGG-19 has no layers {unknown}; choose one or more of {', '.join(LAYERS)}.")
        self.wanted = frozenset(layers)
        self.distance = distance
        last = max(layers, key=LAYERS.index)
        self.vgg = Vgg19(last, 1 if seed is None else SEEDED_NARROWER)
        if seed is None:
            self.vgg.load(_found(weights))
        else:
            self.vgg.draw(seed)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """RGB [B, 3, H, W] in [0, 1], a side at least 16 for the fifth block, to one number >= 0."""
        pairs = zip(self.vgg(a), self.vgg(b), strict=True)
        distances = [
            self.distance(of_a.float(), of_b.float()) for (n, of_a), (_, of_b) in pairs if n in self.wanted
        ]
        return torch.stack(distances).mean()


def _found(weights: Path | None) -> Path:
    """The file to load.

    Raises:
        WeightsError: there is none.
    """
    path = cached_path() if weights is None else weights
    if not path.is_file():
        raise WeightsError(
            f"There are no weights of VGG-19 at {path}, which the perceptual loss needs and nothing here "
            f"downloads; put torchvision's {CACHED} there, or name the file you have."
        )
    return path
