"""The perceptual distance: its layers, its weights by path or cache, and its value worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import require

torch = require("torch")

from torch.nn import functional as F  # noqa: E402

from model.perceptual import CACHED, LAYERS, PLACES, Perceptual, Vgg19  # noqa: E402
from model.weights import WeightsError  # noqa: E402


def saved(path: Path, layers: int = 2) -> Path:
    """Weights in torchvision's layout: the first convolution passes red on in its first channel, the second
    adds 1 to that and doubles it."""
    content = {}
    for layer, inputs in zip(LAYERS[:layers], (3, 64), strict=False):
        weight = torch.zeros(64, inputs, 3, 3)
        weight[0, 0, 1, 1] = 1.0 if inputs == 3 else 2.0
        content[f"features.{PLACES[layer]}.weight"] = weight
        bias = torch.zeros(64)
        bias[0] = 0.0 if inputs == 3 else 2.0
        content[f"features.{PLACES[layer]}.bias"] = bias
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return path


def red(level: float) -> torch.Tensor:
    picture = torch.zeros(2, 3, 8, 8)
    picture[:, 0] = level
    return picture


def test_the_layers_stand_where_torchvision_has_them() -> None:
    # torchvision's vgg19().features: conv1_1 0, conv2_1 5, conv3_3 14, conv4_4 25, conv5_2 30, conv5_4 34.
    names = ("relu1_1", "relu2_1", "relu3_3", "relu4_4", "relu5_2", "relu5_4")
    assert [PLACES[name] for name in names] == [0, 5, 14, 25, 30, 34]
    assert LAYERS[13] == "relu5_2"  # the 14th of the 16 convolutions
    assert len(LAYERS) == 16


def test_shapes_of_vgg_19() -> None:
    vgg = Vgg19("relu5_4")
    assert [conv.weight.shape[0] for conv in vgg.convs] == [64] * 2 + [128] * 2 + [256] * 4 + [512] * 8
    with torch.no_grad():
        seen = {layer: tuple(x.shape[1:]) for layer, x in vgg(torch.rand(1, 3, 32, 32))}
    assert seen["relu1_2"] == (64, 32, 32)
    assert seen["relu3_4"] == (256, 8, 8)
    assert seen["relu5_1"] == (512, 2, 2)


def test_the_distance_by_hand(tmp_path: Path) -> None:
    path = saved(tmp_path / "vgg.pth")
    # Red 0.714 and 0.943 are 1.0 and 2.0 deviations above the mean; the other 63 channels are 0.
    a, b = red(0.485 + 0.229), red(0.485 + 2 * 0.229)
    first = Perceptual(path, ["relu1_1"])(a, b)
    assert float(first) == pytest.approx(1.0 / 64)
    second = Perceptual(path, ["relu1_2"], F.l1_loss)(a, b)
    assert float(second) == pytest.approx(2.0 / 64)
    both = Perceptual(path, ["relu1_2", "relu1_1"])(a, b)
    assert float(both) == pytest.approx((1.0 + 4.0) / 64 / 2)
    # Below the mean the ReLU shows nothing.
    assert float(Perceptual(path, ["relu1_1"])(red(0.1), red(0.4))) == 0.0


def test_the_weights_come_from_the_path_or_from_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match=f"no weights of VGG-19 at .*{CACHED}, .* nothing here downloads"):
        Perceptual(None, ["relu1_2"])
    saved(tmp_path / "hub" / "checkpoints" / CACHED)
    Perceptual(None, ["relu1_2"])
    with pytest.raises(WeightsError, match="elsewhere"):
        Perceptual(tmp_path / "elsewhere.pth", ["relu1_2"])


def test_files_of_something_else_are_refused_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "vgg.pth"
    path.write_bytes(b"no weights")
    with pytest.raises(WeightsError, match="holds no weights of torchvision's VGG-19"):
        Perceptual(path, ["relu1_1"])
    with pytest.raises(WeightsError, match=r"features\.2\.weight"):
        Perceptual(saved(path, layers=1), ["relu1_2"])


@pytest.mark.parametrize("layers", [["relu6_1"], []])
def test_layers_that_are_not_there_are_refused(layers: list[str]) -> None:
    with pytest.raises(ValueError, match="choose one or more of relu1_1"):
        Perceptual(None, layers, seed=0)


def test_the_seeded_one_is_the_same_for_the_same_seed_and_leaves_torchs_generator_alone() -> None:
    torch.manual_seed(7)
    a, b = torch.rand(2, 1, 3, 32, 32)
    state = torch.get_rng_state()
    loss = Perceptual(None, ["relu5_2"], seed=3)(a, b)
    other = Perceptual(None, ["relu5_2"], seed=4)(a, b)
    assert torch.equal(torch.get_rng_state(), state)
    assert float(loss) == float(Perceptual(None, ["relu5_2"], seed=3)(a, b))
    assert float(other) not in (0.0, float(loss))


def test_the_gradient_reaches_the_picture_and_no_weight() -> None:
    perceptual = Perceptual(None, ["relu2_2", "relu5_2"], seed=0)
    a, b = torch.rand(2, 1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    a.requires_grad_()
    torch.autograd.backward(perceptual(a, b))
    assert a.grad is not None and bool(a.grad.abs().sum() > 0)
    assert not any(p.requires_grad for p in perceptual.parameters())
    assert float(perceptual(a, a).detach()) == 0.0
