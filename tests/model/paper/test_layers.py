"""The published network's parts, each against something worked out by hand."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import require

torch = require("torch")

from torch import nn  # noqa: E402

from model.paper.config import PRESETS, PaperConfig  # noqa: E402
from model.paper.discriminator import Discriminator  # noqa: E402
from model.paper.fir import FIR, PixelAdaptive  # noqa: E402
from model.paper.mma import MMA, Masked, Transformer, reference_sum, unite, windows  # noqa: E402
from model.paper.networks import AdaIN, ConvBlk  # noqa: E402
from model.paper.spynet import SpyNet, load_spynet  # noqa: E402
from model.weights import WeightsError  # noqa: E402

TINY = PRESETS["paper-tiny"]


def test_adain_gives_each_channel_the_styles_mean_and_deviation() -> None:
    norm = AdaIN(2, 3)
    with torch.no_grad():
        norm.affine.weight.zero_()
        norm.affine.weight[0, 0] = 1.0  # the style's first number widens channel 0
        norm.affine.bias.copy_(torch.tensor([0.0, 0.0, 0.5, -2.0]))
        x = norm(5 + 3 * torch.randn(1, 2, 32, 32), torch.tensor([[1.5, 0.0, 0.0]]))
    torch.testing.assert_close(x.mean((2, 3)), torch.tensor([[0.5, -2.0]]), atol=1e-4, rtol=0)
    torch.testing.assert_close(x.std((2, 3)), torch.tensor([[2.5, 1.0]]), atol=0.01, rtol=0)


def test_a_block_halves_doubles_and_leaks() -> None:
    x = torch.randn(1, 2, 8, 8)
    with torch.no_grad():
        assert ConvBlk(2, 5, stride=2)(x).shape == (1, 5, 4, 4)
        assert ConvBlk(2, 5, grow=True)(x).shape == (1, 5, 16, 16)
        same = ConvBlk(2, 2)
        nn.init.dirac_(same.conv.weight)
        torch.testing.assert_close(same(x), torch.where(x > 0, x, 0.2 * x))


def test_pixel_adaptive_weighs_neighbours_by_the_guide() -> None:
    """A mean over 3x3 of a step; the guide has a step of its own elsewhere, over which nothing leaks."""
    theta = PixelAdaptive(2)
    with torch.no_grad():
        theta.weight.zero_()
        theta.weight[0, 0] = 1.0
        theta.weight[1, 1] = 2.0
        theta.bias.copy_(torch.tensor([0.0, 10.0]))
        content, guide = torch.ones(1, 2, 5, 6), torch.zeros(1, 2, 5, 6)
        plain = theta(content, guide)
        guide[..., 3:] = 2.0
        fused = theta(content, guide)
    assert float(plain[0, 0, 2, 2]) == 9.0 and float(plain[0, 1, 2, 2]) == 28.0
    assert float(plain[0, 0, 0, 0]) == 4.0  # zeros beyond the border
    across = math.exp(-0.5 * 2.0**2)  # the mean over two channels of a square of 4, not their sum
    assert float(fused[0, 0, 2, 2]) == pytest.approx(6 + 3 * across)
    assert float(fused[0, 0, 2, 1]) == 9.0


def test_fir_fetches_the_earlier_map_along_the_flow_and_not_on_the_first_frame() -> None:
    fir = FIR(1)
    with torch.no_grad():
        fir.fuse.weight.fill_(1.0)  # the sum of the neighbours that the guide lets in
        found, earlier = torch.zeros(1, 1, 5, 5), torch.zeros(1, 1, 5, 5)
        found[..., 2, 1] = 1.0
        earlier[..., 2, 3] = 40.0
        flow = torch.zeros(1, 2, 5, 5)
        flow[:, 0] = 1.0  # what is at x now was at x + 1
        seen = fir(found, earlier, flow, torch.ones(1, 1, 1, 1))
        alone = fir(found, earlier, flow, torch.zeros(1, 1, 1, 1))
        unmoved = fir(found, earlier, 0 * flow, torch.ones(1, 1, 1, 1))
    assert float(seen[0, 0, 2, 2]) == pytest.approx(0.0)  # a guide of 40 lets no neighbour in
    assert float(unmoved[0, 0, 2, 2]) == pytest.approx(1.0)
    assert float(alone[0, 0, 2, 2]) == pytest.approx(math.exp(-0.5))


def test_the_bias_of_eq_4_stands_inside() -> None:
    masked = Masked(4)
    with torch.no_grad():
        masked.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 2.0]))
        got = masked(torch.randn(3, 4), torch.zeros(3, 4))
        torch.testing.assert_close(got, masked.project(masked.bias).expand(3, 4))


def test_sums_count_who_counts_and_are_as_large_while_few() -> None:
    references = torch.tensor([1.0, 10.0, 100.0]).reshape(1, 3, 1, 1)
    counts = torch.tensor([[[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [1.0, 1.0, 1.0]]])
    assert reference_sum(references, counts, 3).flatten().tolist() == pytest.approx([3.0, 16.5, 111.0])


def test_windows_hold_neighbours_and_go_back_into_place() -> None:
    tokens = torch.arange(5 * 7.0).reshape(1, 5, 7, 1)
    parts = windows(tokens, (2, 4))
    assert parts.shape == (1, 3, 2, 8, 1)
    assert parts[0, 0, 0, :, 0].tolist() == [0, 1, 2, 3, 7, 8, 9, 10]
    assert parts[0, 2, 1, :, 0].tolist() == [32, 33, 34, 0, 0, 0, 0, 0]
    assert torch.equal(unite(parts, (2, 4), 5, 7), tokens)


def attended_by_hand(block: MMA, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Eq. 5, token by token, for windows of 3x4 and two heads of 8 channels."""
    _, height, width, _ = q.shape
    out = torch.zeros_like(q)
    for y in range(height):
        for x in range(width):
            top, left = y // 3 * 3, x // 4 * 4
            for head in (slice(0, 8), slice(8, 16)):
                keys = k[0, top : top + 3, left : left + 4, head].reshape(-1, 8)
                values = v[0, top : top + 3, left : left + 4, head].reshape(-1, 8)
                share = torch.softmax(keys @ q[0, y, x, head] / 16**0.5, dim=0)
                out[0, y, x, head] = share @ values
    return out


def test_attention_is_within_windows_and_heads_and_padding_is_no_key() -> None:
    torch.manual_seed(0)
    block = MMA(TINY)
    q, k, v = torch.randn(3, 1, 4, 6, 16)
    torch.testing.assert_close(block.attend(q, k, v), attended_by_hand(block, q, k, v))


def test_a_block_leaves_clean_skin_and_replaces_an_imperfection() -> None:
    torch.manual_seed(0)
    block = MMA(TINY)
    features, sums = torch.randn(1, 4, 4, 16), torch.randn(1, 2, 4, 4, 16)
    mask = torch.zeros(1, 4, 4, 16)
    mask[:, 1, 2] = 1.0
    with torch.no_grad():
        out, other = block(features, mask, sums), block(features, mask, sums + 1)
        found = block.out(block.attend(block.query(block.norm(features), mask), sums[:, 0], sums[:, 1]))
        change = found + block.mlp(found)
    changed = (out != features).any(-1)[0]
    assert changed.nonzero().tolist() == [[1, 2]]
    assert not torch.equal(out[0, 1, 2], other[0, 1, 2])
    torch.testing.assert_close(out[0, 1, 2], change[0, 1, 2])


def test_imperfect_skin_of_a_reference_is_not_looked_at() -> None:
    """Where a reference's map is one, K and V know the bias alone; each block has its own."""
    torch.manual_seed(0)
    transformer = Transformer(TINY)
    features, mask = torch.randn(1, 4, 4, 16), torch.zeros(1, 4, 4, 16)
    mask[:, 0, 0] = 1.0
    other = features.clone()
    other[:, 0, 0] = -7.0
    with torch.no_grad():
        one, two = transformer.references(features, mask), transformer.references(other, mask)
    assert one.shape == (1, TINY.blocks, 2, 4, 4, 16)
    assert torch.equal(one[..., 0, 0, :], two[..., 0, 0, :])
    assert not torch.equal(one[:, 0], one[:, 1]) and not torch.equal(one[:, :, 0], one[:, :, 1])


def test_an_untrained_flow_is_none() -> None:
    pictures = torch.rand(2, 1, 3, 64, 32)
    with torch.no_grad():
        flow = SpyNet(TINY)(pictures[0], pictures[1])
    assert flow.shape == (1, 2, 64, 32) and not flow.any()


def test_the_flow_of_a_coarse_level_grows_with_the_picture() -> None:
    spynet = SpyNet(TINY)
    with torch.no_grad():
        spynet.levels[0][-1].bias.copy_(torch.tensor([1.0, -0.5]))  # pixels at 1/8
        flow = spynet(torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32))
    torch.testing.assert_close(flow.mean((0, 2, 3)), torch.tensor([8.0, -4.0]))


def test_a_level_sees_the_present_and_the_earlier_picture_fetched_along_the_flow() -> None:
    spynet = SpyNet(TINY)
    seen: list[torch.Tensor] = []
    spynet.levels[-1].register_forward_hook(lambda level, inputs, output: seen.append(inputs[0]))
    earlier, now = torch.rand(2, 1, 3, 32, 32)
    with torch.no_grad():
        spynet.levels[-2][-1].bias.copy_(torch.tensor([2.0, 0.0]))  # four pixels to the right, a frame ago
        spynet(earlier, now)
    present, fetched = (x * spynet.deviation + spynet.mean for x in (seen[0][:, :3], seen[0][:, 3:6]))
    torch.testing.assert_close(present, now)
    torch.testing.assert_close(fetched[..., :-4], earlier[..., 4:])


def saved_spynet(path: Path, wrap: str = "", rename: str = "basic_module.{}.basic_module.{}") -> SpyNet:
    torch.manual_seed(5)
    network = SpyNet(PaperConfig())
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    state = {}
    for key, value in network.state_dict().items():
        _, level, layer, kind = key.split(".")
        state[f"{rename.format(level, layer)}.{kind}"] = value
    torch.save({wrap: {**state, "mean": torch.zeros(3)}} if wrap else state, path)
    return network


@pytest.mark.parametrize(
    ("wrap", "rename"), [("", "moduleBasic.{}.moduleBasic.{}"), ("params", "basic_module.{}.basic_module.{}")]
)
def test_a_spynet_file_is_taken_whatever_its_names(wrap: str, rename: str, tmp_path: Path) -> None:
    network = saved_spynet(tmp_path / "spynet.pth", wrap, rename)
    loaded = load_spynet(tmp_path / "spynet.pth")
    for one, other in zip(network.parameters(), loaded.parameters(), strict=True):
        assert torch.equal(one, other) and not other.requires_grad


def test_what_is_no_spynet_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no SpyNet at .*none\.pth"):
        load_spynet(tmp_path / "none.pth")
    torch.save(SpyNet(TINY).state_dict(), tmp_path / "small.pth")
    (tmp_path / "text.pth").write_text("not torch")
    for name in ("small.pth", "text.pth"):
        with pytest.raises(WeightsError, match=name) as raised:
            load_spynet(tmp_path / name)
        assert "\n" not in str(raised.value)


def test_the_discriminator_judges_patches_of_a_sequence_each_clip_by_itself() -> None:
    torch.manual_seed(0)
    judge = Discriminator(replace(TINY, judge_channels=(4, 4, 4, 4)))
    clips = torch.rand(2, 3, 3, 64, 32)
    with torch.no_grad():
        logits = judge(clips)
        assert logits.shape == (2, 3, 4, 2)
        torch.testing.assert_close(judge(clips[1:]), logits[1:])
        other = clips.clone()
        other[:, 2] = 0.0
        assert not torch.equal(judge(other)[:, 1], logits[:, 1])  # it looks across frames


def test_the_scale_of_eq_5_is_the_features_channels() -> None:
    assert MMA(replace(TINY, heads=4)).scale == MMA(TINY).scale == 0.25
