"""Pairs and what is done to them: raw and target alike, the same for the same seed."""

from __future__ import annotations

import pytest

from tests.conftest import require

torch = require("torch")

from model.earlier import Pairs, crop, descend, mirror, perturb_colour  # noqa: E402
from model.earlier.pairs import to_device  # noqa: E402
from model.training import LossNotFiniteError  # noqa: E402


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pairs(count: int = 8, height: int = 6, width: int = 8) -> Pairs:
    raw = 0.3 + 0.4 * torch.rand(count, 3, height, width, generator=seeded(1))
    return Pairs(raw, raw - 0.05)


def test_the_mirror_turns_half_of_the_pairs_and_both_of_a_pair() -> None:
    before = pairs(64)
    after = mirror(before, seeded())
    turned = torch.tensor([torch.equal(a, b.flip(-1)) for a, b in zip(after.raw, before.raw, strict=True)])
    kept = torch.tensor([torch.equal(a, b) for a, b in zip(after.raw, before.raw, strict=True)])
    assert torch.equal(turned, ~kept)
    assert 16 < int(turned.sum()) < 48
    torch.testing.assert_close(after.target, after.raw - 0.05)


def test_colours_move_alike_in_raw_and_target_and_each_channel_by_itself() -> None:
    before = pairs()
    after = perturb_colour(before, seeded())
    ratio = (after.raw - after.target) / (before.raw - before.target)
    per_channel = ratio[:, :, :1, :1]
    torch.testing.assert_close(ratio, per_channel.expand_as(ratio), rtol=1e-3, atol=1e-3)
    assert 0.9 <= float(ratio.min()) < 0.95 and 1.05 < float(ratio.max()) <= 1.1
    shift = after.raw - per_channel * before.raw
    assert 0.02 < float(shift.abs().max()) <= 0.05 + 1e-4
    assert len(ratio[:, :, 0, 0].round(decimals=3).unique()) > 12


def test_colours_stay_within_their_range() -> None:
    white = Pairs(torch.ones(16, 3, 2, 2), torch.zeros(16, 3, 2, 2))
    after = perturb_colour(white, seeded())
    assert float(after.raw.max()) == 1.0 and float(after.target.min()) == 0.0


def test_a_window_is_one_place_of_the_pair_and_elsewhere_in_the_next() -> None:
    before = pairs(16, 40, 50)
    after = crop(before, 10, seeded())
    assert after.raw.shape == (16, 3, 10, 10)
    torch.testing.assert_close(after.target, after.raw - 0.05)
    places = set()
    for window, whole in zip(after.raw, before.raw, strict=True):
        where = (whole.unfold(1, 10, 1).unfold(2, 10, 1) == window[:, None, None]).all(4).all(3).all(0)
        assert int(where.sum()) == 1
        places.add(tuple(where.nonzero()[0].tolist()))
    assert len(places) > 12
    assert crop(before, 45, seeded()).raw.shape == (16, 3, 40, 45)


def test_the_same_seed_gives_the_same() -> None:
    for change in (mirror, perturb_colour, lambda p, g: crop(p, 4, g)):
        first, again = change(pairs(), seeded(3)), change(pairs(), seeded(3))
        assert torch.equal(first.raw, again.raw)


def test_what_does_not_belong_together_is_refused() -> None:
    a, b = torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 5)
    with pytest.raises(ValueError, match="pairs of one size"):
        Pairs(a, b)
    with pytest.raises(ValueError, match="give raw and retouched"):
        Pairs(a, a, unpaired_raw=a)
    with pytest.raises(ValueError, match="as many of one size"):
        Pairs(a, a, unpaired_raw=a, unpaired_target=b)


def test_all_of_a_batch_goes_to_the_device() -> None:
    paired, unpaired = torch.zeros(1, 3, 4, 4), torch.zeros(2, 3, 4, 4)
    moved = to_device(Pairs(paired, paired, unpaired, unpaired), "meta")
    assert [pictures.device.type for pictures in vars(moved).values()] == ["meta"] * 4
    assert to_device(Pairs(paired, paired), "meta").unpaired_raw is None


def test_a_step_changes_what_its_optimiser_owns_and_leaves_no_gradient_elsewhere() -> None:
    owned, other = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    before = owned.weight.detach().clone()
    descend(torch.optim.SGD(owned.parameters(), lr=0.1), other(owned(torch.ones(1, 1))).sum())
    torch.testing.assert_close(owned.weight, before - 0.1 * other.weight)
    assert other.weight.grad is None


def test_a_loss_or_a_gradient_that_is_not_finite_changes_nothing() -> None:
    owned = torch.nn.Linear(1, 1)
    before = owned.weight.detach().clone()
    optimiser = torch.optim.SGD(owned.parameters(), lr=0.1)
    made = owned(torch.ones(1, 1)).sum()
    with pytest.raises(LossNotFiniteError, match="loss nan"):
        descend(optimiser, made * float("nan"))
    with pytest.raises(LossNotFiniteError, match="norm of the gradients"):
        descend(optimiser, (made * 0.0).sqrt())  # 0, but infinitely steep
    assert torch.equal(owned.weight, before)
