"""AutoRetouch: its reach, windows without seams, its loss worked out again, and a training that learns."""

from __future__ import annotations

import copy
import math

import pytest

from tests.conftest import require

torch = require("torch")

from torch.nn import functional as F  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from model.autoretouch import (  # noqa: E402
    AUTORETOUCH,
    CRITIC_RATE,
    PERCEPTUAL_LAYERS,
    RATE,
    WINDOW_PX,
    AutoRetouch,
    AutoRetouchTraining,
)
from model.earlier import Pairs  # noqa: E402
from model.encoder import leaky  # noqa: E402
from model.perceptual import Perceptual  # noqa: E402
from tests.model.pictures import spotted  # noqa: E402

TINY = AUTORETOUCH["tiny"]


def lively(seed: int = 0) -> AutoRetouch:
    """A network whose every layer does something."""
    torch.manual_seed(seed)
    network = AutoRetouch(TINY)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return network.eval()


def training(seed: int = 0) -> AutoRetouchTraining:
    return AutoRetouchTraining(TINY, Perceptual(None, PERCEPTUAL_LAYERS, seed=0), seed)


@pytest.mark.parametrize(("name", "least", "most"), [("live", 1.08, 1.2), ("published", 300.0, 400.0)])
def test_what_a_picture_costs(name: str, least: float, most: float) -> None:
    with torch.device("meta"):
        network, picture = AutoRetouch(AUTORETOUCH[name]), torch.empty(1, 3, 512, 512)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(picture)
    assert least < counter.get_total_flops() / 2e9 < most


def test_only_one_layer_scales_down_and_by_two() -> None:
    strides = [m.stride for m in AutoRetouch(TINY).modules() if isinstance(m, torch.nn.Conv2d)]
    assert sorted(strides)[-2:] == [(1, 1), (2, 2)]


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (2, 1)])
def test_any_size_comes_out_as_it_went_in(size: tuple[int, int]) -> None:
    picture = torch.rand(2, 3, *size)
    out = lively().retouch(picture)
    assert out.shape == picture.shape
    assert float(out.min()) >= 0.0 and float(out.max()) <= 1.0


def test_the_input_and_its_fine_features_are_added_back() -> None:
    network, picture = lively(), torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        for weight in network.up.parameters():
            weight.zero_()
        fine = network.tail(leaky(leaky(network.head(picture))))  # once more after the sum
        torch.testing.assert_close(network(picture), picture + fine)
        assert float(fine.abs().max()) > 0.05


def test_every_weight_gets_a_gradient() -> None:
    torch.manual_seed(0)
    network = AutoRetouch(TINY)
    network(torch.rand(1, 3, 32, 32)).square().sum().backward()
    assert [name for name, p in network.named_parameters() if not p.grad.abs().sum() > 0] == []


def test_nothing_beyond_the_reach_changes_a_pixel_and_something_within_does() -> None:
    network = lively()
    for y in (40, 41):
        picture = torch.rand(1, 3, 81, 81).requires_grad_()
        network(picture)[0, :, y, y].sum().backward()
        touched = picture.grad.abs().sum((0, 1, 3)).nonzero()[:, 0]
        away = int((touched - y).abs().max())
        assert TINY.reach_px - 2 <= away <= TINY.reach_px


@pytest.mark.parametrize(
    ("size", "window_px"), [((97, 70), 64), ((50, 101), 47), ((41, 40), 34), ((20, 34), 64)]
)
def test_windows_give_the_whole_pictures_result_without_seams(size: tuple[int, int], window_px: int) -> None:
    network = lively()
    picture = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(4))
    whole, windows = network.retouch(picture), network.retouch(picture, window_px)
    assert float((whole - picture).abs().max()) > 0.05
    torch.testing.assert_close(windows, whole, rtol=0, atol=2e-6)


def test_the_published_window_fits_every_size_of_network_and_a_smaller_one_is_refused() -> None:
    assert WINDOW_PX == 150
    for config in AUTORETOUCH.values():
        assert 2 * config.reach_px < WINDOW_PX
    with pytest.raises(ValueError, match="window of 33 px is too small for this network; give 34 or more"):
        lively().retouch(torch.rand(1, 3, 64, 64), window_px=33)


def test_the_rates_are_those_decided() -> None:
    made = training()
    assert made.optimiser.param_groups[0]["lr"] == RATE == 2e-4
    assert made.critic_optimiser.param_groups[0]["lr"] == CRITIC_RATE == 1e-4


def test_a_step_is_that_of_the_weighted_terms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model.autoretouch.perturb_colour", lambda pairs, _: pairs)
    monkeypatch.setattr("model.autoretouch.mirror", lambda pairs, _: pairs)
    made = training()
    raw, target = spotted(2)
    before = copy.deepcopy(made.network)
    terms = made.step(Pairs(raw, target))
    out = before(raw)
    perceptual = made.perceptual(out, target)
    assert terms["mse"] == pytest.approx(F.mse_loss(out, target).item())
    assert terms["perceptual"] == pytest.approx(perceptual.item())
    # The critic has had its step when it judges the network; both estimates were empty.
    of_target, of_out = made.critic(target), made.critic(out)
    ragan = F.softplus(of_target.mean() - of_out).mean() + F.softplus(of_target - of_out.mean()).mean()
    assert terms["ragan"] == pytest.approx(ragan.item(), rel=1e-5)
    loss = 1e-3 * ragan + 6e-3 * perceptual + 0.5 * F.mse_loss(out, target)
    assert terms["loss"] == pytest.approx(loss.item(), rel=1e-4)
    loss.backward()
    optimiser = torch.optim.Adam(before.parameters(), lr=2e-4)
    optimiser.step()
    for ours, wanted in zip(made.network.parameters(), before.parameters(), strict=True):
        torch.testing.assert_close(ours, wanted, rtol=1e-4, atol=2e-6)
    assert int(made.of_out.count) == int(made.of_target.count) == 2


def of_colours(red: float, green: float) -> torch.nn.Sequential:
    """A critic that predicts red * (mean of red) + green * (mean of green)."""
    judge = torch.nn.Linear(3, 1, bias=False)
    with torch.no_grad():
        judge.weight.copy_(torch.tensor([[red, green, 0.0]]))
    return torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), judge, torch.nn.Flatten(0))


def against(critic: torch.nn.Module) -> tuple[AutoRetouchTraining, torch.Tensor, torch.Tensor]:
    """A training with that critic and a past of 1 of the targets and of 5 of its own, a red target and a
    green picture of its own."""
    made = AutoRetouchTraining(TINY, None)
    made.critic = critic
    made.critic_optimiser = torch.optim.SGD(critic.parameters(), lr=1.0)
    made.of_target.push(torch.tensor([1.0]))
    made.of_out.push(torch.tensor([5.0]))
    red, green = torch.zeros(2, 1, 3, 4, 4)
    red[:, 0], green[:, 1] = 1.0, 1.0
    return made, red, green


def test_the_critics_step_is_towards_targets_and_away_from_the_networks_own() -> None:
    made, target, out = against(of_colours(3.0, 1.0))
    # Means with the past: of targets (1 + 3) / 2, of its own (5 + 1) / 2.
    loss = math.log(1 + math.exp(3.0 - 3.0)) + math.log(1 + math.exp(1.0 - 2.0))
    assert made._teach_critic(target, out).item() == pytest.approx(loss, rel=1e-6)
    # Derivatives of the loss: s(0) (1/2 g - r) + s(-1) (g - 1/2 r) by the weights r and g.
    here, there = 0.5, 1 / (1 + math.e)
    red, green = 3.0 + here + there / 2, 1.0 - here / 2 - there
    assert made.critic[2].weight[0].tolist() == pytest.approx([red, green, 0.0], rel=1e-6)
    assert int(made.of_target.count) == int(made.of_out.count) == 1


def test_the_networks_term_is_lower_where_the_critic_predicts_more_of_its_own() -> None:
    made, target, out = against(of_colours(3.0, 1.0))
    out.requires_grad_()
    loss = made._fooled(target, out)
    # As above, the other way round: its own shall be above the targets' mean.
    wanted = math.log(1 + math.exp(2.0 - 1.0)) + math.log(1 + math.exp(3.0 - 3.0))
    assert float(loss.detach()) == pytest.approx(wanted, rel=1e-6)
    loss.backward()
    of_own = -1 / (1 + math.exp(-1.0)) - 0.5 / 2
    by_colour = out.grad.sum((0, 2, 3)).tolist()
    assert by_colour == pytest.approx([of_own * 3.0, of_own * 1.0, 0.0], rel=1e-6)
    assert made.of_target.past[-2:].tolist() == [1.0, 3.0]
    assert made.of_out.past[-2:].tolist() == [5.0, 1.0]


def test_training_lowers_the_loss_teaches_the_critic_and_repeats_itself() -> None:
    raw, target = spotted(4)
    first, again = training(), training()
    before = [p.detach().clone() for p in first.critic.parameters()]
    losses = [first.step(Pairs(raw, target)) for _ in range(60)]
    assert sum(x["mse"] for x in losses[-10:]) < 0.8 * sum(x["mse"] for x in losses[:10])
    assert any(not torch.equal(a, b) for a, b in zip(before, first.critic.parameters(), strict=True))
    assert [again.step(Pairs(raw, target)) for _ in range(3)] == losses[:3]
    assert float((first.network.retouch(raw) - target).square().mean()) < float(
        (raw - target).square().mean()
    )


def test_a_resumed_training_goes_on_as_one_that_never_stopped() -> None:
    raw, target = spotted(2)
    whole = training()
    whole.step(Pairs(raw, target))
    saved = copy.deepcopy(whole.state_dict())
    resumed = training(seed=5)
    resumed.load_state_dict(saved)
    for _ in range(2):
        assert whole.step(Pairs(raw, target)) == resumed.step(Pairs(raw, target))


def test_pictures_larger_than_a_window_are_cut_to_one() -> None:
    made = training()
    seen: list[tuple[int, ...]] = []
    made.network.register_forward_pre_hook(lambda _, given: seen.append(tuple(given[0].shape)))
    made.step(Pairs(torch.rand(1, 3, 160, 152), torch.rand(1, 3, 160, 152)))
    assert seen == [(1, 3, 150, 150)]


def test_without_vggs_weights_the_rest_of_the_loss_teaches() -> None:
    made = AutoRetouchTraining(TINY, None)
    terms = made.step(Pairs(*spotted(2)))
    assert terms["perceptual"] == 0.0 and terms["mse"] > 0.0
