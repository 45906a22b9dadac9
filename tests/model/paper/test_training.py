"""The losses by hand, and Algorithm 1: which loss moves which network."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import require

torch = require("torch")

from model.data.clips import Clip  # noqa: E402
from model.data.sequences import PairClips, SequenceConfig  # noqa: E402
from model.paper.config import PRESETS  # noqa: E402
from model.paper.judge import judge, psnr_db, retouched  # noqa: E402
from model.paper.losses import (  # noqa: E402
    PERCEPTUAL_LAYERS,
    flow_loss,
    fooling_loss,
    judging_loss,
    map_loss,
    perceptual_loss,
    pixel_loss,
)
from model.paper.network import PaperVRetouchEr  # noqa: E402
from model.paper.training import PaperTraining  # noqa: E402
from model.perceptual import Perceptual  # noqa: E402
from model.training import LossNotFiniteError, weights_of  # noqa: E402
from tests.model.pairs import write_stills  # noqa: E402

TINY = PRESETS["paper-tiny"]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    folder = write_stills(tmp_path_factory.mktemp("stills"))
    made = PairClips(folder, "train", SequenceConfig(size=64, frames=3, motion="smooth"))
    return [made.batch([n]) for n in range(2)]


def training(**changes: object) -> PaperTraining:
    likeness = Perceptual(None, PERCEPTUAL_LAYERS, seed=1)
    made = PaperTraining(TINY, likeness, **changes)  # type: ignore[arg-type]
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in made.network.parameters():  # nothing may hide behind a zero initialisation
            parameter.add_(0.02 * torch.randn_like(parameter))
    return made


def test_eq_1_is_the_mean_error_after_the_first_frame() -> None:
    truth, flow = torch.zeros(1, 3, 2, 4, 4), torch.zeros(1, 3, 2, 4, 4)
    flow[:, 0] = 100.0
    flow[:, 1, 0] = -2.0
    assert float(flow_loss(flow, truth)) == 0.5
    assert float(flow_loss(flow[:, :1], truth[:, :1])) == 0.0


def test_eq_7_compares_with_the_map_averaged_to_its_size() -> None:
    truth = torch.zeros(1, 1, 1, 16, 16)
    truth[..., :8, :4] = 1.0  # half of the first cell
    shown = torch.zeros(1, 1, 1, 2, 2)
    shown[..., 0, 0], shown[..., 1, 1] = 0.75, -0.25
    assert float(map_loss(shown, truth)) == pytest.approx((0.25 + 0.25) / 4)


def test_eq_9_looks_at_every_frame() -> None:
    image, target = torch.zeros(1, 2, 3, 4, 4), torch.zeros(1, 2, 3, 4, 4)
    image[:, 1] = 0.5
    assert float(pixel_loss(image, target)) == 0.25
    seen = []

    def likeness(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        seen.append((a.shape, b.shape))
        return (a - b).square().mean()

    assert float(perceptual_loss(image, target, likeness)) == 0.125
    assert seen == [((2, 3, 4, 4), (2, 3, 4, 4))]


def test_eq_10_in_logarithms_of_d() -> None:
    of_target, of_image = torch.tensor([[0.3, -1.0]]), torch.tensor([[2.0, 0.5]])
    d_target, d_image = torch.sigmoid(of_target), torch.sigmoid(of_image)
    assert float(fooling_loss(of_image)) == pytest.approx(float(-d_image.log().mean()))
    real = d_target.log().mean() + (1 - d_image).log().mean()
    assert float(judging_loss(of_target, of_image)) == pytest.approx(float(-real))


def test_the_sums_of_eq_8_and_11(clips: list[Clip]) -> None:
    with torch.no_grad():
        losses = training().losses(clips[0])
    terms = losses.terms
    assert float(losses.localize) == pytest.approx(float(terms["flow"] + terms["map"]))
    expected = 10 * terms["pixel"] + terms["perceptual"] + terms["fooling"]
    assert float(losses.retouch) == pytest.approx(float(expected))
    assert float(losses.judge) == pytest.approx(float(terms["judging"]))
    assert all(float(term) > 0 for term in terms.values())


def test_d_sees_what_was_made_and_its_target_once_each(clips: list[Clip]) -> None:
    """Eq. 10 in logarithms, of D's logits on either."""
    made = training()
    with torch.no_grad():
        made.discriminator.out.bias.fill_(0.7)  # as much for either, so that signs tell
        of_image = made.discriminator(made.network.clip(clips[0].raw).image)
        of_target = made.discriminator(clips[0].target)
    assert (of_image - of_target).mean().abs() > 1e-4
    runs = []
    made.discriminator.register_forward_hook(lambda module, inputs, output: runs.append(output.shape))
    terms = made.losses(clips[0]).terms
    assert len(runs) == 2
    d_image, d_target = of_image.sigmoid(), of_target.sigmoid()
    torch.testing.assert_close(terms["fooling"], -d_image.log().mean(), rtol=1e-6, atol=0)
    judging = -(d_target.log().mean() + (1 - d_image).log().mean())
    torch.testing.assert_close(terms["judging"], judging, rtol=1e-6, atol=0)


def test_references_around_and_past_give_other_losses(clips: list[Clip]) -> None:
    found = {}
    for references in ("past", "around"):
        made = training(references=references)
        with torch.no_grad():
            image = made.network.clip(clips[0].raw, references).image
            found[references] = float(made.losses(clips[0]).terms["pixel"])
        assert found[references] == pytest.approx(float(pixel_loss(image, clips[0].target)), rel=1e-6)
    assert found["past"] != pytest.approx(found["around"], rel=3e-6)


def test_without_a_known_flow_or_vgg_their_terms_are_nothing(clips: list[Clip]) -> None:
    made = training()
    made.perceptual = None
    with torch.no_grad():
        terms = made.losses(clips[0], flow_known=False).terms
    assert float(terms["flow"]) == float(terms["perceptual"]) == 0.0 < float(terms["map"])


def test_each_optimiser_follows_its_own_loss_and_owns_its_own_networks(clips: list[Clip]) -> None:
    made = training(rate=0.0)
    made.step([clips[0]])
    turns = {"localize": made.localizing, "retouch": made.retouching, "judge": made.judging}
    for name, optimiser in turns.items():
        weights = weights_of(optimiser)
        loss = getattr(made.losses(clips[0]), name)
        expected = torch.autograd.grad(loss, weights, allow_unused=True)
        for weight, gradient in zip(weights, expected, strict=True):
            got = torch.zeros_like(weight) if weight.grad is None else weight.grad
            gradient = torch.zeros_like(weight) if gradient is None else gradient
            torch.testing.assert_close(got, gradient, rtol=1e-4, atol=1e-7)
    network = made.network
    owners = {
        "localizing": [network.localizer, network.spynet, network.fir, network.show],
        "retouching": [network.encoder, network.transformer, network.decoder],
        "judging": [made.discriminator],
    }
    for name, parts in owners.items():
        owned = {id(p) for part in parts for p in part.parameters()}
        assert {id(p) for p in weights_of(getattr(made, name))} == owned
    every = [id(p) for m in (network, made.discriminator) for p in m.parameters()]
    assert len(every) == sum(len(weights_of(o)) for o in turns.values())


def test_the_encoder_learns_through_the_map_too(clips: list[Clip]) -> None:
    """Line 12 is the whole gradient of L_con + L_adv, of which a path leads through N and FIR."""
    made = training()
    (weight, *_) = made.network.encoder.parameters()
    (whole,) = torch.autograd.grad(made.losses(clips[0]).retouch, weight)
    made.network.localizer.register_forward_hook(lambda module, inputs, output: output.detach())
    (without,) = torch.autograd.grad(made.losses(clips[0]).retouch, weight)
    assert not torch.allclose(whole, without, rtol=1e-3)


def test_one_step_changes_every_network_and_the_average_follows(clips: list[Clip]) -> None:
    made = training(average=0.9)
    before = {k: v.clone() for k, v in made.network.state_dict().items()}
    of_average = {k: v.clone() for k, v in made.averaged.state_dict().items()}
    judge_before = [p.clone() for p in made.discriminator.parameters()]
    made.step([clips[0]])
    now = made.network.state_dict()
    for part in ("encoder", "localizer", "spynet", "fir", "show", "transformer", "decoder"):
        assert any(not torch.equal(before[k], now[k]) for k in now if k.startswith(part)), part
    changed = (
        not torch.equal(a, b) for a, b in zip(judge_before, made.discriminator.parameters(), strict=True)
    )
    assert all(changed)
    share = 1 / 11  # of the first step, before the decay is reached
    for name, value in made.averaged.state_dict().items():
        expected = of_average[name] * share + now[name] * (1 - share)
        torch.testing.assert_close(value, expected)


def test_adam_takes_steps_of_the_papers_rate(clips: list[Clip]) -> None:
    """Adam's first step is the rate, whatever the gradient."""
    made = PaperTraining(TINY, None)
    before = made.network.show.weight.detach().clone()
    made.step([clips[0]])
    moved = (made.network.show.weight.detach() - before).abs()
    assert float(moved.max()) == pytest.approx(2e-4, rel=1e-3)


def test_two_batches_added_up_are_one_of_twice_the_size(clips: list[Clip]) -> None:
    apart, together = training(rate=1e-4), training(rate=1e-4)
    both = replace(
        clips[0],
        **{
            name: torch.cat([getattr(clip, name) for clip in clips])
            for name in ("raw", "target", "map", "flow", "skin", "keep")
        },
    )
    one, two = apart.step(clips), together.step([both])
    assert one == pytest.approx(two, rel=1e-4)
    for a, b in zip(apart.localizing.param_groups, together.localizing.param_groups, strict=True):
        for x, y in zip(a["params"], b["params"], strict=True):
            torch.testing.assert_close(x.grad, y.grad, rtol=1e-3, atol=1e-6)


def test_a_resumed_training_goes_on_to_the_same_curve(clips: list[Clip]) -> None:
    first = training()
    first.step([clips[0]])
    saved = first.state_dict()
    second = PaperTraining(TINY, first.perceptual, seed=7)
    import copy

    second.load_state_dict(copy.deepcopy(saved))
    assert second.steps == 1
    for clip in clips:
        assert first.step([clip]) == second.step([clip])
    for a, b in zip(first.averaged.parameters(), second.averaged.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("place", ["raw", "target"])
def test_a_loss_that_is_no_number_changes_no_weight(place: str, clips: list[Clip]) -> None:
    made = training()
    before = {k: v.clone() for k, v in made.network.state_dict().items()}
    spoilt = replace(clips[0], **{place: getattr(clips[0], place) * math.nan})
    with pytest.raises(LossNotFiniteError):
        made.step([clips[1], spoilt])
    assert made.steps == 0
    assert all(torch.equal(before[k], v) for k, v in made.network.state_dict().items())


def test_a_gradient_that_is_not_finite_changes_no_weight(clips: list[Clip]) -> None:
    made = training()
    made.network.decoder.layers[0].conv.weight.register_hook(lambda gradient: gradient * math.inf)
    before = made.network.encoder.layers[0].conv.weight.detach().clone()
    with pytest.raises(LossNotFiniteError, match="norm"):
        made.step([clips[0]])
    assert torch.equal(made.network.encoder.layers[0].conv.weight, before)


def test_some_steps_on_one_clip_lower_its_losses(clips: list[Clip]) -> None:
    made = training(rate=3e-3)
    terms = [made.step([clips[0]]) for _ in range(25)]
    for name in ("flow", "map", "pixel"):
        assert terms[-1][name] < 0.8 * terms[0][name], name


def test_bfloat16_comes_near(clips: list[Clip]) -> None:
    exact, rounded = training(), training(bf16=True)
    with torch.no_grad():
        one, other = exact.losses(clips[0]), rounded.losses(clips[0])
    assert float(other.terms["pixel"]) == pytest.approx(float(one.terms["pixel"]), rel=0.1)
    assert float(other.terms["pixel"]) != float(one.terms["pixel"])
    assert other.localize.dtype == other.retouch.dtype == torch.float32
    rounded.step([clips[0]])
    assert all(p.dtype == torch.float32 for p in rounded.network.parameters())


def test_psnr_is_the_mean_over_frames() -> None:
    target = torch.zeros(1, 2, 3, 4, 4)
    image = target.clone()
    image[:, 0], image[:, 1] = 0.1, 0.01
    assert psnr_db(image, target) == pytest.approx(30.0)


def test_judging_the_identity_gains_nothing(clips: list[Clip], paper_network: PaperVRetouchEr) -> None:
    class Identity(PaperVRetouchEr):
        def step(self, face: torch.Tensor, state: object) -> object:  # type: ignore[override]
            step = PaperVRetouchEr.forward(self, face, state)  # type: ignore[arg-type]
            return step._replace(residual=torch.zeros_like(face))

    figures = judge(Identity(TINY).eval(), clips)
    assert figures["psnr_db"] == pytest.approx(figures["psnr_raw_db"], abs=0.1)
    assert figures["gain_db"] == pytest.approx(0.0, abs=0.1)
    assert figures["removal"] == pytest.approx(0.0, abs=0.05)
    worse = judge(paper_network, clips)
    assert worse["psnr_db"] < figures["psnr_db"] and 0 <= worse["soft_iou"] <= 1


def test_both_choices_of_references_can_be_judged(clips: list[Clip], paper_network: PaperVRetouchEr) -> None:
    with torch.no_grad():
        past, past_maps = retouched(paper_network, clips[0].raw)
        around, maps = retouched(paper_network, clips[0].raw, "around")
    assert past.shape == around.shape and past_maps.shape == maps.shape
    torch.testing.assert_close(past_maps, maps, atol=1e-4, rtol=0)  # FIR is causal either way
    assert not torch.allclose(past[:, 0], around[:, 0])
    last = clips[0].raw.shape[1] - 1
    torch.testing.assert_close(past[:, last], around[:, last], atol=1.1 / 255, rtol=0)


def test_files_of_weights(tmp_path: Path, paper_network: PaperVRetouchEr) -> None:
    from model.paper.weights import load_paper, save_paper
    from model.weights import WeightsError, load_weights

    save_paper(paper_network, tmp_path / "weights.pt")
    loaded = load_paper(tmp_path / "weights.pt")
    assert loaded.config == paper_network.config and not loaded.training
    for a, b in zip(loaded.parameters(), paper_network.parameters(), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(WeightsError, match=r"weights\.pt"):
        load_weights(tmp_path / "weights.pt")  # the causal network's
    torch.save({"config": {"preset": "live"}, "weights": {}}, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match=r"other\.pt holds no weights of the published network"):
        load_paper(tmp_path / "other.pt")
    with pytest.raises(WeightsError, match=r"no weights at .*none\.pt"):
        load_paper(tmp_path / "none.pt")


def test_the_whole_network_takes_a_step_and_is_judged(tmp_path: Path) -> None:
    """Preset `paper` itself, with the paper's settings but for the crop: two clips of FFHQR's layout."""
    folder = write_stills(tmp_path, count=1)
    config = SequenceConfig(size=32, frames=3, motion="independent")
    train, test = (PairClips(folder, split, config) for split in ("train", "test"))
    made = PaperTraining(PRESETS["paper"], Perceptual(None, PERCEPTUAL_LAYERS, seed=1))
    terms = made.step([train.batch([0])])
    assert all(math.isfinite(value) and value > 0 for value in terms.values())
    clip = test.clip(0, index=0)
    figures = judge(made.averaged, [clip])
    assert all(math.isfinite(value) for value in figures.values())
    with torch.no_grad():  # step after step as the whole clip
        streamed, _ = retouched(made.averaged, clip.raw)
        whole = made.averaged.clip(clip.raw).image.clamp(0, 1)
    torch.testing.assert_close(streamed, whole, atol=1 / 255, rtol=0)
