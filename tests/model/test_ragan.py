"""RaGAN's losses and its running estimates against values worked out by hand."""

from __future__ import annotations

import math

import pytest

from tests.conftest import require

torch = require("torch")

from model.ragan import LENGTH, Critic, RunningEstimate, relativistic  # noqa: E402


def test_the_loss_by_hand() -> None:
    better, worse = torch.tensor([2.0, 0.0]), torch.tensor([-1.0])
    loss = relativistic(better, worse, torch.tensor(1.0), torch.tensor(-1.0))
    s = lambda x: 1 / (1 + math.exp(-x))  # noqa: E731
    wanted = -(math.log(s(2.0 + 1.0)) + math.log(s(0.0 + 1.0))) / 2 - math.log(1 - s(-1.0 - 1.0))
    assert float(loss) == pytest.approx(wanted, rel=1e-6)


def test_the_estimate_is_the_mean_of_the_last_predictions() -> None:
    estimate = RunningEstimate(length=4)
    assert float(estimate(torch.tensor([1.0, 3.0]))) == 2.0
    assert float(estimate(torch.tensor([1.0, 3.0]))) == 2.0  # asking is not remembering
    estimate.push(torch.tensor([1.0, 3.0]))
    assert float(estimate(torch.tensor([5.0]))) == 3.0
    estimate.push(torch.tensor([5.0, 7.0, 9.0]))
    # Of 1 3 5 7 9 the last four are left; with 11 they are 5 7 9 11.
    assert float(estimate(torch.tensor([11.0]))) == 8.0
    assert float(estimate(torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]))) == 3.5


def test_the_estimate_runs_over_300_predictions() -> None:
    estimate = RunningEstimate()
    assert LENGTH == len(estimate.past) == 300
    for _ in range(5):
        estimate.push(torch.full((75,), 2.0))
    assert float(estimate(torch.full((75,), 6.0))) == pytest.approx((225 * 2.0 + 75 * 6.0) / 300)


def test_past_predictions_are_constants_and_survive_a_checkpoint() -> None:
    estimate = RunningEstimate(length=4)
    first = torch.tensor([1.0, 2.0], requires_grad=True)
    estimate.push(first)
    now = torch.tensor([3.0], requires_grad=True)
    estimate(now).backward()
    assert first.grad is None
    assert float(now.grad) == pytest.approx(1 / 3)
    other = RunningEstimate(length=4)
    other.load_state_dict(estimate.state_dict())
    assert float(other(torch.tensor([6.0]))) == 3.0


def test_the_critic_gives_one_number_a_picture_of_any_size() -> None:
    torch.manual_seed(0)
    critic = Critic((4, 8))
    picture = torch.rand(3, 3, 30, 22)
    together = critic(picture)
    assert together.shape == (3,)
    torch.testing.assert_close(together[1], critic(picture[1:2])[0])
    together.sum().backward()
    assert all(bool(p.grad.abs().sum() > 0) for p in critic.parameters())
