"""What a step costs, counted without content, is what a step that is run costs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.conftest import require

torch = require("torch")

from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from model.cost import Step, _Memory, count, main  # noqa: E402
from model.data.clips import Clip  # noqa: E402
from model.earlier import Pairs  # noqa: E402
from model.earlier.systems import config_of, perceptual_of, training_of  # noqa: E402
from model.paper.config import preset  # noqa: E402
from model.paper.losses import PERCEPTUAL_LAYERS  # noqa: E402
from model.paper.training import PaperTraining  # noqa: E402
from model.perceptual import Perceptual, Vgg19  # noqa: E402

PAPER = Step("paper", "paper-tiny", 1, 2, 32)
EARLIER = [Step("autoretouch", "tiny", 3, 1, 32), Step("bpfre", "tiny", 3, 1, 32)]
NAMES = [step.system for step in (PAPER, *EARLIER)]


def test_a_steps_arithmetic_is_that_of_one_that_is_run() -> None:
    training = PaperTraining(preset("paper-tiny"), whole(Perceptual(None, PERCEPTUAL_LAYERS, seed=0)))
    parts = {"raw": 3, "target": 3, "map": 1, "flow": 2, "skin": 1, "keep": 2}
    drawn = {name: torch.rand(1, 2, channels, 32, 32) for name, channels in parts.items()}
    with FlopCounterMode(display=False) as counter:
        training.step([Clip(**drawn, to_canvas=None, face_index=[0])])
    # A kernel of the CPU spares some gradients of inputs.
    assert count(PAPER).tflop == pytest.approx(counter.get_total_flops() / 1e12, rel=1e-3)


@pytest.mark.parametrize("step", EARLIER, ids=NAMES[1:])
def test_an_earlier_systems_arithmetic_is_that_of_a_step_that_is_run(step: Step) -> None:
    layers, distance = perceptual_of(step.system)
    perceptual = whole(Perceptual(None, layers, distance, seed=0))
    training = training_of(config_of(step.system, "tiny"), perceptual, 0, "cpu")
    with FlopCounterMode(display=False) as counter:
        training.step(Pairs(torch.rand(3, 3, 32, 32), torch.rand(3, 3, 32, 32)))
    assert count(step).tflop == pytest.approx(counter.get_total_flops() / 1e12, rel=1e-3)


def whole(perceptual: Perceptual) -> Perceptual:
    """With VGG-19's own channels."""
    perceptual.vgg = Vgg19(perceptual.vgg.layers[-1])
    perceptual.vgg.draw(0)
    return perceptual


@pytest.mark.parametrize("step", [PAPER, *EARLIER], ids=NAMES)
def test_memory_grows_with_the_clip_and_weights_do_not(step: Step) -> None:
    one, four = count(step), count(replace(step, size=64))
    assert four.kept_gb == pytest.approx(4 * one.kept_gb, rel=0.1) and one.kept_gb > 0
    assert four.weights_gb == one.weights_gb


def test_clips_after_one_another_need_no_more_memory_and_pairs_at_once_do() -> None:
    one, three = count(PAPER), count(replace(PAPER, batch=3))
    assert three.kept_gb == one.kept_gb and three.tflop == pytest.approx(3 * one.tflop)
    step = EARLIER[0]
    assert count(replace(step, batch=6)).kept_gb == pytest.approx(2 * count(step).kept_gb, rel=0.01)


def test_memory_is_what_a_step_that_is_run_keeps() -> None:
    """The most at a time, and not the sum over the critic's turn and the network's."""
    weight = torch.nn.Parameter(torch.rand(8, 3, 3, 3))
    memory = _Memory({weight.untyped_storage()._cdata})
    with torch.autograd.graph.saved_tensors_hooks(memory.keep, lambda kept: kept.tensor):
        for _ in range(3):
            image = torch.rand(1, 3, 16, 16)
            torch.nn.functional.conv2d(image, weight).sum().backward()
    assert memory.most == image.untyped_storage().nbytes() and memory.now == 0


def test_weights_are_counted_with_their_gradients_moments_and_average() -> None:
    training = PaperTraining(preset("paper-tiny"), None)
    taught = sum(p.numel() for part in (training.network, training.discriminator) for p in part.parameters())
    averaged = sum(p.numel() for p in training.averaged.parameters())
    vgg = Vgg19(Perceptual(None, PERCEPTUAL_LAYERS, seed=0).vgg.layers[-1])
    seen_by = sum(p.numel() for p in vgg.parameters())
    assert count(PAPER).weights_gb == pytest.approx((4 * taught + averaged + seen_by) * 4 / 1e9)


def test_the_hours_follow_from_the_arithmetic(capsys: pytest.CaptureFixture[str]) -> None:
    cost = count(PAPER)
    assert cost.hours(3600, cost.tflop, 0.5) == pytest.approx(2.0)
    assert main(["--preset", "paper-tiny", "--frames", "2", "--size", "32"]) == 0
    assert "paper-tiny, 1 x 2 frames of 32 px" in capsys.readouterr().out


@pytest.mark.parametrize("system", NAMES[1:])
def test_an_earlier_systems_cost_is_told(system: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--system", system, "--preset", "tiny", "--batch", "2", "--size", "64", "--steps", "9"]) == 0
    assert f"{system}, preset tiny, 2 x 1 frames of 64 px" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("system", "preset", "size", "said"),
    [
        ("paper", "paper", "20", "20 is no multiple of 32"),
        ("paper", "paper-tiny", "20", "20 is no multiple of 8"),
        ("paper", "paper-tiny", "8", "give --size 32 or more"),
        ("paper", "large", "64", "large"),
        ("bpfre", "published", "100", "100 is no multiple of 64"),
        ("autoretouch", "tiny", "30", "give --size 32 or more"),
        ("bpfre", "paper", "64", "bpfre has no preset 'paper'"),
    ],
)
def test_what_cannot_be_is_a_sentence(
    system: str, preset: str, size: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--system", system, "--preset", preset, "--size", size]) == 2
    found = capsys.readouterr().err
    assert said in found and found.count("\n") == 1
