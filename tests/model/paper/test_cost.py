"""What a step costs, counted without content, is what a step that is run costs."""

from __future__ import annotations

import pytest

from tests.conftest import require

torch = require("torch")

from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from model.data.clips import Clip  # noqa: E402
from model.paper.config import preset  # noqa: E402
from model.paper.cost import count, main  # noqa: E402
from model.paper.losses import PERCEPTUAL_LAYERS  # noqa: E402
from model.paper.training import PaperTraining  # noqa: E402
from model.perceptual import Perceptual, Vgg19  # noqa: E402


def test_a_steps_arithmetic_is_that_of_one_that_is_run() -> None:
    perceptual = Perceptual(None, PERCEPTUAL_LAYERS, seed=0)
    perceptual.vgg = Vgg19(perceptual.vgg.layers[-1])
    perceptual.vgg.draw(0)
    training = PaperTraining(preset("paper-tiny"), perceptual)
    parts = {"raw": 3, "target": 3, "map": 1, "flow": 2, "skin": 1, "keep": 2}
    drawn = {name: torch.rand(1, 2, channels, 32, 32) for name, channels in parts.items()}
    with FlopCounterMode(display=False) as counter:
        training.step([Clip(**drawn, to_canvas=None, face_index=[0])])
    # A kernel of the CPU spares some gradients of inputs.
    assert count("paper-tiny", 2, 32).tflop == pytest.approx(counter.get_total_flops() / 1e12, rel=1e-3)


def test_memory_grows_with_the_clip_and_weights_do_not() -> None:
    one, four = count("paper-tiny", 2, 32), count("paper-tiny", 2, 64)
    assert four.kept_gb == pytest.approx(4 * one.kept_gb, rel=0.1) and one.kept_gb > 0
    assert four.weights_gb == one.weights_gb
    training = PaperTraining(preset("paper-tiny"), None)
    taught = sum(p.numel() for part in (training.network, training.discriminator) for p in part.parameters())
    averaged = sum(p.numel() for p in training.averaged.parameters())
    vgg = Vgg19(Perceptual(None, PERCEPTUAL_LAYERS, seed=0).vgg.layers[-1])
    seen_by = sum(p.numel() for p in vgg.parameters())
    assert one.weights_gb == pytest.approx((4 * taught + averaged + seen_by) * 4 / 1e9)


def test_the_hours_follow_from_the_arithmetic(capsys: pytest.CaptureFixture[str]) -> None:
    cost = count("paper-tiny", 2, 32)
    assert cost.hours(3600, cost.tflop, 0.5) == pytest.approx(2.0)
    assert main(["--preset", "paper-tiny", "--frames", "2", "--size", "32"]) == 0
    assert "paper-tiny, 2 frames of 32 px" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("preset", "size", "said"),
    [
        ("paper", "20", "20 is no multiple of 32"),
        ("paper-tiny", "20", "20 is no multiple of 8"),
        ("paper-tiny", "8", "give --size 32 or more"),
    ],
)
def test_a_size_that_cannot_be_is_a_sentence(
    preset: str, size: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--preset", preset, "--size", size]) == 2
    found = capsys.readouterr().err
    assert said in found and found.count("\n") == 1
