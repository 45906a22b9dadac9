"""BPFRe: its maps, what they keep from being passed on, its losses by hand, and a training that learns."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest

from tests.conftest import require

torch = require("torch")

from torch.nn import functional as F  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from model.bpfre import (  # noqa: E402
    BPFRE,
    BlemishAware,
    BPFRe,
    Discriminator,
    Modulated,
    Retouched,
    blended,
)
from model.bpfre_training import (  # noqa: E402
    PERCEPTUAL_LAYERS,
    BPFReTraining,
    blemishes,
    discriminator_loss,
    map_distance,
    synthesis_loss,
)
from model.earlier import Pairs  # noqa: E402
from model.perceptual import Perceptual  # noqa: E402
from tests.model.pictures import spotted  # noqa: E402

TINY = BPFRE["tiny"]


def network(seed: int = 0) -> BPFRe:
    torch.manual_seed(seed)
    return BPFRe(TINY)


def training(seed: int = 0) -> BPFReTraining:
    return BPFReTraining(TINY, Perceptual(None, PERCEPTUAL_LAYERS, F.l1_loss, seed=0), seed)


def unpaired(count: int = 2) -> Pairs:
    raw, target = spotted(4)
    return Pairs(raw[:count], target[:count], raw[count:], target[count:].flip(-1))


@pytest.mark.parametrize(("name", "least", "most"), [("live", 1.08, 1.25), ("published", 300.0, 400.0)])
def test_what_a_picture_costs(name: str, least: float, most: float) -> None:
    with torch.device("meta"):
        made, picture = BPFRe(BPFRE[name]), torch.empty(1, 3, 512, 512)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        made(picture)
    assert least < counter.get_total_flops() / 2e9 < most


@pytest.mark.parametrize("name", ["tiny", "live"])
def test_shapes_and_maps_within_0_and_1(name: str) -> None:
    torch.manual_seed(0)
    config = BPFRE[name]
    picture = torch.rand(2, 3, 2 * config.multiple_px, config.multiple_px)
    with torch.no_grad():
        made = BPFRe(config)(picture)
    assert made.coarse.shape == made.refined.shape == picture.shape
    for mask in (made.map_coarse, made.map_refined):
        assert mask.shape == (2, 1, *picture.shape[-2:])
        assert float(mask.min()) >= 0.0 and float(mask.max()) <= 1.0
        assert float(mask.std()) > 0.0
    assert not torch.equal(made.map_coarse, made.map_refined)


def test_extreme_features_keep_the_map_within_0_and_1() -> None:
    torch.manual_seed(0)
    attention = BlemishAware(TINY)
    features = [1e3 * torch.randn(1, c, s, s) for c, s in zip(TINY.channels, (16, 8, 4), strict=True)]
    with torch.no_grad():
        mask, _ = attention(features)
    assert float(mask.min()) == 0.0 and float(mask.max()) == 1.0


@pytest.mark.parametrize(("logit", "left"), [(40.0, 0.0), (-40.0, 1.0), (0.0, 0.5)])
def test_blemishes_are_taken_out_of_the_features_of_every_scale(logit: float, left: float) -> None:
    torch.manual_seed(0)
    attention = BlemishAware(TINY)
    with torch.no_grad():
        attention.infer.weight.zero_()
        attention.infer.bias.fill_(logit)
    features = [torch.randn(1, c, s, s) for c, s in zip(TINY.channels, (16, 8, 4), strict=True)]
    mask, weighed = attention(features)
    torch.testing.assert_close(mask, torch.full((1, 1, 16, 16), 1.0 - left))
    for before, after in zip(features, weighed, strict=True):
        torch.testing.assert_close(after, left * before)


def test_where_the_maps_are_0_the_input_goes_through_and_where_1_what_is_rendered() -> None:
    made = network()
    picture = torch.rand(1, 3, 16, 16)
    for attention in (made.encoder_to_decoder, made.decoder_to_generator):
        torch.nn.init.constant_(attention.infer.bias, -200.0)
    clean = made(picture)
    assert torch.equal(clean.coarse, picture) and torch.equal(clean.refined, picture)
    torch.nn.init.constant_(made.encoder_to_decoder.infer.bias, 200.0)
    with torch.no_grad():
        assert float((made(picture).coarse - picture).abs().mean()) > 0.05
    a, b = torch.full((1, 3, 1, 1), 4.0), torch.full((1, 3, 1, 1), 8.0)
    assert float(blended(a, b, torch.full((1, 1, 1, 1), 0.25)).mean()) == 5.0


@torch.no_grad()
def test_what_is_all_blemish_is_passed_on_to_neither_stage() -> None:
    made, pictures = network(), torch.rand(2, 3, 16, 16)
    stages = {"refined": made.decoder_to_generator, "coarse": made.encoder_to_decoder}
    for stage, attention in stages.items():
        torch.nn.init.zeros_(attention.infer.weight)
        torch.nn.init.constant_(attention.infer.bias, 200.0)
        first, second = getattr(made(pictures), stage)
        torch.testing.assert_close(first, second)


@torch.no_grad()
def test_what_renders_is_told_the_map() -> None:
    render, features = network().render_coarse, torch.rand(1, TINY.channels[0], 8, 8)
    none, one = torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8)
    one[..., 4, 4] = 1.0
    changed = (render(features, one) != render(features, none)).any(1)[0]
    assert changed.nonzero().tolist() == [[y, x] for y in (3, 4, 5) for x in (3, 4, 5)]


def test_every_weight_gets_a_gradient() -> None:
    made = network()
    # Two pictures, so that the style differs.
    made(torch.rand(2, 3, 32, 32)).refined.square().sum().backward()
    assert [name for name, p in made.named_parameters() if not p.grad.abs().sum() > 0] == []
    judge = Discriminator(TINY)
    judge(torch.rand(1, 3, 16, 16)).sum().backward()
    assert [name for name, p in judge.named_parameters() if not p.grad.abs().sum() > 0] == []


def test_a_modulated_convolution_by_hand() -> None:
    torch.manual_seed(0)
    layer = Modulated(2, 3, 4)
    torch.nn.init.normal_(layer.bias)
    x, style = torch.randn(2, 2, 5, 5), torch.randn(2, 4)
    wanted = []
    for picture, s in zip(x, layer.scale(style), strict=True):
        kernel = layer.weight * s[None, :, None, None]
        kernel = kernel / kernel.square().sum((1, 2, 3), keepdim=True).sqrt()
        wanted.append(F.leaky_relu(F.conv2d(picture[None], kernel, layer.bias, padding=1), 0.2))
    torch.testing.assert_close(layer(x, style), torch.cat(wanted))


def test_the_generator_follows_its_style_and_every_scale_of_the_decoder() -> None:
    made = network().generator
    rising = [torch.randn(1, c, s, s) for c, s in zip(TINY.channels[::-1], (4, 8, 16), strict=True)]
    before = made(rising)
    for scale in range(3):
        changed = [x + (k == scale) for k, x in enumerate(rising)]
        assert not torch.allclose(made(changed), before)
    torch.nn.init.normal_(made.mapping[2].bias)
    assert not torch.allclose(made(rising), before)


def test_the_discriminator_judges_every_pixel_of_any_size() -> None:
    torch.manual_seed(0)
    judge = Discriminator(TINY)
    picture = torch.rand(1, 3, 33, 22)
    before = judge(picture)
    assert before.shape == (1, 1, 33, 22)
    picture[..., 30, 20] = 0.0
    changed = (judge(picture) != before)[0, 0]
    assert bool(changed[30, 20]) and not bool(changed[:20].any())


def test_a_discriminator_that_works_on_cells_still_judges_every_pixel() -> None:
    torch.manual_seed(0)
    judge = Discriminator(replace(TINY, cell=2))
    logits = judge(torch.rand(1, 3, 32, 24))
    assert logits.shape == (1, 1, 32, 24)
    assert len(torch.unique(logits)) == logits.numel()


def test_delta_is_full_from_eight_per_cent_on() -> None:
    target = torch.full((1, 3, 1, 3), 0.5)
    picture = target.clone().requires_grad_()
    moved = picture + torch.tensor([0.0, 0.02, 0.3]) * torch.tensor([1.0, -1.0, 1.0]).reshape(1, 3, 1, 1)
    delta = blemishes(moved, target)
    torch.testing.assert_close(delta, torch.tensor([[[[0.0, 0.25, 1.0]]]]))
    assert not delta.requires_grad


def test_the_adversarial_losses_by_hand() -> None:
    raw, out, target = (torch.tensor([x, 9.0]).reshape(1, 1, 1, 2) for x in (-2.0, 0.5, 1.0))
    mask = torch.tensor([0.5, 0.0]).reshape(1, 1, 1, 2)
    d = lambda x: 1 / (1 + math.exp(-x))  # noqa: E731
    # Only the first of two pixels is masked in, by half.
    wanted = 0.25 * -(math.log(1 - d(-2.0)) + math.log(1 - d(0.5)) + math.log(d(1.0)))
    assert float(discriminator_loss(raw, out, target, mask)) == pytest.approx(wanted, rel=1e-5)
    assert float(synthesis_loss(out, mask)) == pytest.approx(0.25 * math.log(1 - d(0.5)), rel=1e-5)


def test_the_discriminators_step_is_towards_targets_and_away_from_all_else_where_the_map_is() -> None:
    made = BPFReTraining(TINY, None)
    made.discriminator = torch.nn.Conv2d(3, 1, 1, bias=False)
    judge = made.discriminator.weight
    torch.nn.init.zeros_(judge)
    made.discriminator_optimiser = torch.optim.SGD([judge], lr=1.0)
    # Raw pictures are red, its own green, targets blue; the map covers half of one of two pixels.
    raw, refined, target = torch.eye(3).reshape(3, 1, 3, 1, 1).expand(3, 1, 3, 1, 2)
    mask = torch.tensor([0.5, 0.0]).reshape(1, 1, 1, 2)
    seen = Retouched(raw, refined, torch.ones_like(mask), mask)
    assert made._teach_discriminator(raw, target, seen).item() == pytest.approx(
        0.25 * 3 * math.log(2), rel=1e-6
    )
    # Each logit is 0, where the slope is a half.
    assert judge.flatten().tolist() == pytest.approx([-0.125, -0.125, 0.125], rel=1e-6)


def test_a_step_is_that_of_the_posters_terms() -> None:
    made, pairs = training(), unpaired()
    before = copy.deepcopy(made.network)
    terms = made.step(pairs)
    raw, target = torch.cat([pairs.raw, pairs.unpaired_raw]), torch.cat([pairs.target, pairs.unpaired_target])
    out, clean = before(raw), before.coarse(target).picture

    def of_map(seen: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
        entropy = -(true * seen.log() + (1 - true) * (1 - seen).log()).mean()
        return (seen - true).abs().mean() + entropy

    def consistency(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a - b).abs().mean() + made.perceptual(a, b)

    wanted = {
        "blemish_coarse": of_map(out.map_coarse[:2], blemishes(pairs.raw, pairs.target)),
        "blemish_refined": of_map(out.map_refined[:2], blemishes(out.coarse[:2], pairs.target)),
        "coarse": consistency(out.coarse[:2], pairs.target) + consistency(clean, target),
        "refined": consistency(out.refined[:2], pairs.target),
        # The discriminator has had its step when it judges the network.
        "synthesis": synthesis_loss(made.discriminator(out.refined), out.map_refined.detach()),
    }
    wanted["loss"] = sum(wanted.values()) - 0.9 * wanted["synthesis"]
    assert {k: v for k, v in terms.items() if k != "discriminator"} == {
        name: pytest.approx(term.item(), rel=1e-4) for name, term in wanted.items()
    }
    wanted["loss"].backward()
    torch.optim.Adam(before.parameters(), lr=2e-4).step()
    for ours, theirs in zip(made.network.parameters(), before.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


def test_unpaired_pictures_teach_what_pairs_do_not_reach() -> None:
    pairs = unpaired()
    with_them, without = training(), training()
    seen = with_them.step(pairs)
    alone = without.step(Pairs(pairs.raw, pairs.target))
    assert seen["refined"] == pytest.approx(alone["refined"])
    assert seen["coarse"] != pytest.approx(alone["coarse"])
    assert seen["synthesis"] != pytest.approx(alone["synthesis"])


def test_a_map_that_has_fallen_to_nothing_still_learns_where_blemishes_are() -> None:
    logit = torch.full((1, 1, 2, 2), -12.0, requires_grad=True)
    truth = torch.tensor([[1.0, 0.0], [0.0, 0.0]]).reshape(1, 1, 2, 2)
    map_distance(torch.sigmoid(logit), truth).backward()
    assert logit.grad[0, 0, 0, 0] == pytest.approx(-0.25, rel=1e-3)
    assert float(logit.grad[0, 0].flatten()[1:].abs().max()) < 1e-4


def test_training_lowers_the_loss_finds_blemishes_and_repeats_itself() -> None:
    pairs = unpaired()
    made, again = training(), training()
    for either in (made, again):  # so that few steps will do
        either.optimiser.param_groups[0]["lr"] = 2e-3
    losses = [made.step(pairs) for _ in range(60)]
    for name in ("blemish_coarse", "coarse", "refined"):
        assert sum(x[name] for x in losses[-5:]) < 0.8 * sum(x[name] for x in losses[:5]), name
    assert losses[-1]["discriminator"] < losses[0]["discriminator"]
    assert [again.step(pairs) for _ in range(2)] == losses[:2]


def test_a_resumed_training_goes_on_as_one_that_never_stopped() -> None:
    whole, pairs = training(), unpaired()
    whole.step(pairs)
    saved = copy.deepcopy(whole.state_dict())
    resumed = training(seed=5)
    resumed.load_state_dict(saved)
    for _ in range(2):
        assert whole.step(pairs) == resumed.step(pairs)


def test_without_vggs_weights_pixels_alone_are_consistent() -> None:
    made, (raw, target) = BPFReTraining(TINY, None), spotted(2)
    out = copy.deepcopy(made.network)(raw)
    wanted = (out.refined - target).abs().mean().item()
    assert made.step(Pairs(raw, target))["refined"] == pytest.approx(wanted)
