"""Muon: orthogonal steps, as torch's own takes them, in either precision."""

import pytest

from tests.conftest import require

torch = require("torch")

from torch import nn  # noqa: E402

from model.optimiser import Muon, Optimiser, orthogonal  # noqa: E402


def test_an_update_has_singular_values_about_one() -> None:
    torch.manual_seed(0)
    for shape in ((16, 144), (96, 32), (8, 8)):
        values = torch.linalg.svdvals(orthogonal(torch.randn(shape)))
        assert float(values.min()) > 0.3
        assert float(values.max()) < 1.3


@pytest.mark.parametrize("bf16", [False, True])
def test_it_goes_where_torchs_own_goes(bf16: bool) -> None:
    torch.manual_seed(1)
    ours, theirs = (nn.Parameter(torch.zeros(16, 72)) for _ in range(2))
    muon = Muon([ours], lr=0.01, bf16=bf16)
    torchs = torch.optim.Muon([theirs], lr=0.01, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        ours.grad = torch.randn(16, 72)
        theirs.grad = ours.grad.clone()
        muon.step()
        torchs.step()
        assert muon.state[ours]["momentum_buffer"].dtype == ours.dtype == torch.float32
    away = (ours - theirs).detach().norm() / theirs.detach().norm()
    assert float(away) < 0.03


def test_a_checkpoint_of_torchs_muon_goes_on() -> None:
    torch.manual_seed(3)
    network = nn.Conv2d(8, 16, 3)
    optimiser = Optimiser(network, 0.01)
    network(torch.rand(2, 8, 5, 5)).sum().backward()
    optimiser.step()
    saved = optimiser.state_dict()
    saved["muon"]["state"][0]["momentum_buffer"] = saved["muon"]["state"][0]["momentum_buffer"].view(16, -1)
    other = Optimiser(network, 0.01)
    other.load_state_dict(saved)
    other.step()
    assert other.muon.state[network.weight]["momentum_buffer"].shape == network.weight.shape


def test_kernels_are_seen_as_matrices_and_the_rest_is_left_to_adamw() -> None:
    torch.manual_seed(2)
    network = nn.Sequential(nn.Conv2d(8, 16, 3), nn.Conv2d(16, 1, 1))
    optimiser = Optimiser(network, 0.01)
    assert [tuple(p.shape) for group in optimiser.muon.param_groups for p in group["params"]] == [
        (16, 8, 3, 3)
    ]
    before = [p.detach().clone() for p in network.parameters()]
    network(torch.rand(2, 8, 5, 5)).square().sum().backward()
    optimiser.step()
    assert all(not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
