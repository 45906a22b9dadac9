"""Warp, flow, refinement, attention and losses, each against something worked out by hand."""

import math
from dataclasses import replace

import pytest

from tests.conftest import require

torch = require("torch")

from model.config import PRESETS  # noqa: E402
from model.decoder import gate  # noqa: E402
from model.encoder import activate, leaking  # noqa: E402
from model.fir import FIR, PixelAdaptive  # noqa: E402
from model.localizer import probability  # noqa: E402
from model.losses import (  # noqa: E402
    LEAST_ERROR,
    RARITY,
    USUAL_ERROR,
    LossWeights,
    Truth,
    broad_loss,
    detail_loss,
    frame_terms,
    kept_loss,
    laplacian,
)
from model.mma import MMA, reference_mean  # noqa: E402
from model.optimiser import Optimiser  # noqa: E402
from model.spynet import SpyNet  # noqa: E402
from model.vretoucher import Step, Trace, VRetouchEr  # noqa: E402
from model.warp import warp  # noqa: E402


def test_warp_fetches_from_where_it_was() -> None:
    image = torch.arange(20.0).reshape(1, 1, 4, 5)
    flow = torch.zeros(1, 2, 4, 5)
    flow[:, 0] = 1.0  # one pixel to the right, a frame ago
    moved = warp(image, flow)
    torch.testing.assert_close(moved[..., :-1], image[..., 1:])
    torch.testing.assert_close(moved[..., -1], image[..., -1])  # the border is replicated


def test_warp_by_half_a_pixel_is_the_mean() -> None:
    image = torch.tensor([[[[0.0, 2.0, 4.0]]]])
    flow = torch.tensor([0.5, 0.0]).reshape(1, 2, 1, 1).expand(1, 2, 1, 3)
    torch.testing.assert_close(warp(image, flow)[0, 0, 0], torch.tensor([1.0, 3.0, 4.0]))


def test_an_untrained_flow_is_zero_and_finite() -> None:
    torch.manual_seed(0)
    spynet = SpyNet(PRESETS["tiny"])
    patches = spynet.patches(torch.rand(1, 3, 64, 64))
    flow = spynet(patches, patches)
    assert flow.shape == (1, 2, 8, 8)
    assert not flow.detach().any()


def test_pixel_adaptive_does_not_leak_over_the_guides_edge() -> None:
    theta = PixelAdaptive()
    with torch.no_grad():
        theta.sharpness.fill_(50.0)
        theta.mix.weight.zero_()
        theta.mix.weight[0, :9] = 1.0  # plain sum of the content's neighbours
    content = torch.ones(1, 1, 5, 6)
    guide = torch.zeros(1, 1, 5, 6)
    guide[..., 3:] = 1.0
    fused = theta(content, guide).detach()
    assert float(fused[0, 0, 2, 1]) == pytest.approx(9.0)  # all nine neighbours are alike
    assert float(fused[0, 0, 2, 2]) == pytest.approx(6.0)  # the three beyond the edge do not count


def test_theta_is_the_weighed_sum_over_nine_neighbours() -> None:
    gen = torch.Generator().manual_seed(1)
    theta = PixelAdaptive()
    with torch.no_grad():
        theta.sharpness.fill_(0.7)
        theta.mix.weight.copy_(torch.randn(1, 18, 1, 1, generator=gen))
        theta.mix.bias.fill_(0.3)
    content, guide = torch.randn(2, 1, 1, 6, 7, generator=gen)
    padded = [torch.nn.functional.pad(x[0, 0], (1, 1, 1, 1)) for x in (content, guide)]
    wanted = torch.full((6, 7), 0.3)
    for k in range(9):
        near = [x[k // 3 : k // 3 + 6, k % 3 : k % 3 + 7] for x in padded]
        affinity = torch.exp(-((0.7 * (near[1] - guide[0, 0])) ** 2) / 2)
        weights = theta.mix.weight.flatten()[[k, k + 9]]
        wanted += affinity * (weights[0] * near[0] + weights[1] * near[1])
    torch.testing.assert_close(theta(content, guide)[0, 0], wanted)


def test_fir_stands_on_the_evidence_alone_at_first() -> None:
    torch.manual_seed(0)
    fir, evidence = FIR(), torch.randn(1, 1, 8, 8)
    flow, seen = torch.zeros(1, 2, 8, 8), torch.zeros(1, 1, 1, 1)
    with_zeros = fir(evidence, torch.zeros(1, 1, 8, 8), flow, seen)
    with_ones = fir(evidence, torch.ones(1, 1, 8, 8), flow, seen)
    assert torch.equal(with_zeros, with_ones)
    assert not torch.equal(with_zeros, fir(evidence, torch.ones(1, 1, 8, 8), flow, torch.ones(1, 1, 1, 1)))


def test_fir_carries_the_map_along_the_flow() -> None:
    fir = FIR()
    evidence = torch.zeros(1, 1, 8, 8)
    before = torch.zeros(1, 1, 8, 8)
    before[0, 0, 4, 2] = 1.0
    flow = torch.zeros(1, 2, 8, 8)
    flow[:, 0] = -3.0  # three pixels to the left, a frame ago
    refined = fir(evidence, before, flow, torch.ones(1, 1, 1, 1))
    assert divmod(int(refined.argmax()), 8) == (4, 5)


def test_reference_mean_counts_valid_slots_and_the_present() -> None:
    ring = torch.stack([torch.full((2, 1, 1), v) for v in (3.0, 5.0, 100.0)])[None]
    mean = reference_mean(ring, torch.tensor([[1.0, 1.0, 0.0]]), torch.full((1, 2, 1, 1), 1.0))
    torch.testing.assert_close(mean, torch.full((1, 2, 1, 1), 3.0))


def test_mma_leaves_unmasked_features_to_the_mlp_alone() -> None:
    torch.manual_seed(0)
    block = MMA(PRESETS["tiny"])  # its MLP starts at zero
    features = torch.randn(1, 8, 4, 4)
    key, value = torch.randn(1, 4, 4, 4), torch.randn(1, 4, 4, 4)
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., 0] = 1.0
    retouched = block(features, mask, key, value)
    torch.testing.assert_close(retouched[..., 1:], features[..., 1:])
    assert not torch.allclose(retouched[..., 0], features[..., 0])


def test_the_gate_is_exactly_nought_on_clean_skin() -> None:
    torch.testing.assert_close(
        gate(torch.tensor([-9.0, -2.0, 0.0, 2.0, 9.0])), torch.tensor([0.0, 0.0, 0.5, 1.0, 1.0])
    )


def test_laplacian_of_a_flat_picture_is_nought() -> None:
    assert all(float(band.abs().max()) == 0.0 for band in laplacian(torch.full((1, 3, 16, 16), 0.3)))
    assert float(detail_loss(torch.full((1, 3, 16, 16), 0.3), torch.ones(1, 1, 16, 16))) == 0.0


def test_the_encoder_sees_each_place_against_the_rest_of_the_face() -> None:
    torch.manual_seed(0)
    encoder = VRetouchEr(PRESETS["tiny"]).encoder.eval()
    face = torch.rand(1, 3, 320, 320)
    redder = face.clone()
    redder[..., 288:, 288:] = 1.0  # 1/64: more than 128 pixels away, out of reach of the finer scales
    with torch.no_grad():
        difference = (encoder(face)[0] - encoder(redder)[0]).abs().amax((0, 1))
    assert float(difference[:16, :16].max()) > 0.0


def test_the_broad_loss_sees_what_is_wide_and_not_what_cancels() -> None:
    wide, fine = torch.full((1, 3, 128, 128), 0.01), torch.zeros(1, 3, 128, 128)
    fine[..., ::2], fine[..., 1::2] = 0.01, -0.01
    even = torch.ones(1, 1, 128, 128)
    assert float(broad_loss(wide, even)) == pytest.approx(4 * 0.01)
    assert float(broad_loss(fine, even)) == pytest.approx(0.0, abs=1e-8)
    assert float(broad_loss(wide, 3 * even)) == pytest.approx(12 * 0.01)


def test_a_mole_that_is_lost_costs_more_than_clean_skin() -> None:
    raw = torch.full((1, 3, 64, 64), 0.5)
    none, mole = torch.zeros(1, 1, 64, 64), torch.zeros(1, 1, 64, 64)
    mole[..., 20:24, 20:24] = 1.0
    costs = []
    for keep in (none, mole):
        truth = Truth(raw, raw, none, torch.zeros(1, 2, 64, 64), torch.cat([keep, none], 1))
        step, trace = perfect(truth)
        step = step._replace(residual=0.1 * mole * raw, map=mole)
        terms, _ = frame_terms(step, trace, truth, None, LossWeights())
        costs.append((float(terms.retouch), float(terms.map)))
    (plain, plain_map), (dear, dear_map) = costs
    assert dear == pytest.approx((1 + LossWeights().keep) * plain, rel=1e-5)
    assert dear_map == pytest.approx((1 + RARITY) * plain_map, rel=1e-3)


def test_seeing_a_mole_costs_most_where_there_is_a_freckle_and_nothing_where_there_is_one() -> None:
    raw = torch.full((1, 3, 64, 64), 0.5)
    none, spot = torch.zeros(1, 1, 64, 64), torch.zeros(1, 1, 64, 64)
    spot[..., 20:24, 20:24] = 1.0
    marked = torch.zeros(1, 2, 16, 16)
    marked[:, 0, 5, 5] = 20.0
    flow = torch.zeros(1, 2, 64, 64)
    mole = Truth(raw, raw, none, flow, torch.cat([spot, none], 1))
    freckle = Truth(raw, raw, none, flow, torch.cat([none, spot], 1))
    painted = Truth(raw, raw, spot, flow, torch.cat([none, none], 1))
    clean = Truth(raw, raw, none, flow, torch.cat([none, none], 1))
    costs = [
        float(kept_loss(40.0 * (marked / 20.0) - 20.0, truth)) for truth in (mole, clean, painted, freckle)
    ]
    assert costs[0] < 1e-6 < costs[1] < costs[2] < costs[3]


def test_what_is_learnt_with_weights_comes_out_as_a_probability() -> None:
    """Of what looks alike, a quarter moles and the rest imperfections, the best guess says a quarter."""
    raw, flow = torch.full((1, 3, 64, 64), 0.5), torch.zeros(1, 2, 64, 64)
    moles = torch.zeros(1, 2, 64, 64)
    moles[:, 0, :16] = 1.0
    truth = Truth(raw, raw, 1.0 - moles[:, :1], flow, moles)
    logit = torch.zeros(1, 2, 1, 1, requires_grad=True)
    best = torch.optim.LBFGS([logit], max_iter=200, line_search_fn="strong_wolfe")

    def cost() -> float:
        best.zero_grad()
        loss = kept_loss(logit.expand(1, 2, 16, 16), truth)
        loss.backward()
        return float(loss.detach())

    best.step(cost)
    assert float(probability(logit)[0, 0, 0, 0].detach()) == pytest.approx(0.25, abs=0.01)


def perfect(truth: Truth) -> tuple[Step, Trace]:
    network = VRetouchEr(PRESETS["tiny"])
    logit = torch.where(truth.map > 0.5, 20.0, -20.0)
    logit4 = logit[..., ::4, ::4]
    flow = torch.nn.functional.avg_pool2d(truth.flow, 8) / 8
    kept = torch.where(truth.keep > 0.5, 20.0, -20.0)[..., ::4, ::4]
    residual, state = truth.target - truth.raw, network.fresh_state(truth.raw)
    return Step(residual, truth.map, torch.sigmoid(kept), state), Trace(logit4, logit4, logit, kept, flow)


def test_a_perfect_step_costs_nothing_and_a_lazy_one_something() -> None:
    torch.manual_seed(0)
    raw = torch.rand(1, 3, 64, 64)
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 8:16, 8:16] = 1.0
    truth = Truth(raw, raw + 0.1 * mask, mask, torch.full((1, 2, 64, 64), 1.0), torch.zeros(1, 2, 64, 64))
    step, trace = perfect(truth)
    weights = LossWeights()
    good, _ = frame_terms(step, trace, truth, torch.zeros_like(raw), weights)
    no_gain = replace(weights, gain=0.0)
    lazy, _ = frame_terms(
        step._replace(residual=torch.zeros_like(raw)), trace, truth, torch.zeros_like(raw), weights
    )
    assert float(good.total(no_gain)) == pytest.approx(0.0, abs=1e-4)
    assert float(lazy.gain) == pytest.approx(0.0, abs=1e-5)
    wrong = 0.1 * 64 / 4096
    assert float(good.gain) == pytest.approx(2 * math.log(LEAST_ERROR / (0.1 * 0.125)), rel=1e-2)
    share = USUAL_ERROR / (wrong + LEAST_ERROR)
    assert float(lazy.retouch) == pytest.approx(share * (1 + weights.imperfection) * wrong, rel=1e-4)
    assert float(lazy.temporal) > float(good.temporal)


def test_a_faint_clip_counts_as_much_as_a_strong_one_beside_it() -> None:
    raw = torch.full((2, 3, 64, 64), 0.5)
    mask = torch.zeros(2, 1, 64, 64)
    mask[..., 8:40, 8:40] = 1.0
    much = torch.tensor([0.2, 0.05]).view(2, 1, 1, 1)
    truth = Truth(raw, raw - much * mask, mask, torch.zeros(2, 2, 64, 64), torch.zeros(2, 2, 64, 64))
    step, trace = perfect(truth)
    costs = []
    for left in ((0.5, 0.0), (0.0, 0.5)):
        share = 1.0 - torch.tensor(left).view(2, 1, 1, 1)
        half = step._replace(residual=share * step.residual)
        terms, _ = frame_terms(half, trace, truth, None, LossWeights())
        costs.append((float(terms.retouch), float(terms.broad)))
    assert costs[0] == pytest.approx(costs[1], rel=0.06)
    for left in ((0.5, 0.9), (0.9, 0.5)):
        share = 1.0 - torch.tensor(left).view(2, 1, 1, 1)
        terms, _ = frame_terms(
            step._replace(residual=share * step.residual), trace, truth, None, LossWeights()
        )
        assert float(terms.gain) == pytest.approx(math.log(0.5) + math.log(0.9), rel=0.01)


def test_what_is_done_to_a_faint_clip_costs_the_gain_more_than_the_share_that_is_left() -> None:
    raw = torch.full((1, 3, 64, 64), 0.5)
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 8:40, 8:40] = 1.0
    costs = {}
    for much in (0.0, 0.2):
        truth = Truth(raw, raw - much * mask, mask, torch.zeros(1, 2, 64, 64), torch.zeros(1, 2, 64, 64))
        step, trace = perfect(truth)
        for changed in (0.0, 0.5 / 255):
            tinted = step._replace(residual=torch.full_like(raw, changed))
            terms, _ = frame_terms(tinted, trace, truth, None, LossWeights())
            costs[much, changed] = (float(terms.gain), float(terms.left))
    for much in (0.0, 0.2):
        assert costs[much, 0.0] == pytest.approx((0.0, 0.0), abs=1e-6)
    gain, left = costs[0.0, 0.5 / 255]
    assert gain == pytest.approx(math.log(1 + 0.5**2 / 0.2**2), rel=1e-3)
    assert left == pytest.approx(0.5**2, rel=1e-3)
    half = perfect(truth)[0]
    terms, _ = frame_terms(half._replace(residual=0.5 * half.residual), trace, truth, None, LossWeights())
    assert float(terms.left) == pytest.approx(0.25 - 1, rel=1e-2)


def test_muon_turns_the_kernels_where_they_lie_and_stops_where_it_was_told() -> None:
    torch.manual_seed(0)
    network = VRetouchEr(PRESETS["tiny"])
    optimiser = Optimiser(network, 1e-2)
    kernel = network.encoder.conv8.weight
    before, other = kernel.detach().clone(), network.encoder.conv16.weight.detach().clone()
    optimiser.set_rate(1e-3)
    kernel.grad = before * 0.5 ** torch.arange(float(len(kernel))).view(-1, 1, 1, 1)
    optimiser.step()
    change, gradient = ((x.flatten(1)) for x in (kernel.detach() - before, kernel.grad))
    # An all but orthogonal step: its singular values are alike, where the gradient's are not.
    assert float(torch.linalg.cond(gradient)) > 50.0
    assert float(torch.linalg.cond(change)) < 5.0
    assert 0.1e-3 < float(change.square().mean().sqrt()) < 1e-3
    assert torch.equal(other, network.encoder.conv16.weight)
    assert {group["lr"] for part in (optimiser.muon, optimiser.adamw) for group in part.param_groups} == {
        1e-3
    }
    optimiser.zero_grad()
    assert kernel.grad is None


def test_a_steady_error_costs_no_temporal_loss() -> None:
    raw = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    none = torch.zeros(1, 1, 64, 64)
    truth = Truth(raw, raw, none, torch.zeros(1, 2, 64, 64), torch.zeros(1, 2, 64, 64))
    step, trace = perfect(truth)
    off = step._replace(residual=torch.full_like(raw, 0.05))
    terms, error = frame_terms(off, trace, truth, torch.full_like(raw, 0.05), LossWeights())
    assert float(terms.temporal) == pytest.approx(0.0, abs=1e-6)
    torch.testing.assert_close(error, torch.full_like(raw, 0.05))


def test_a_relu_that_leaks_is_one_whose_dead_features_feel_what_is_wanted() -> None:
    x = torch.tensor([-2.0, -0.5, 0.5, 3.0], requires_grad=True)
    for slope in (0.0, 0.1):
        with leaking(slope):
            y = activate(x)
        (found,) = torch.autograd.grad(y.sum(), x)
        assert torch.equal(y, torch.relu(x))
        torch.testing.assert_close(found, torch.tensor([slope, slope, 1.0, 1.0]))


def test_a_leak_ends_with_its_block_whatever_ends_that() -> None:
    x = torch.tensor([-1.0], requires_grad=True)
    with pytest.raises(ZeroDivisionError), leaking(0.1):
        raise ZeroDivisionError
    assert torch.autograd.grad(activate(x).sum(), x)[0] == 0.0
