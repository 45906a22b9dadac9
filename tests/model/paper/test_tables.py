"""The network's layers are those of the supplement's Tables 1-4, size by size."""

import pytest

from tests.conftest import require

torch = require("torch")

from model.paper.config import PRESETS  # noqa: E402
from model.paper.mma import MMA  # noqa: E402
from model.paper.network import PaperVRetouchEr  # noqa: E402
from model.paper.tables import main, rows, weights  # noqa: E402

PAPER = PRESETS["paper"]
DOWN = [(512, 512, 64), (256, 256, 128), (128, 128, 256), (64, 64, 512)]
PRINTED = {
    "Encoder": [*DOWN, (64, 64, 512), (64, 64, 512)],  # Table 1
    "Transformer": [(64, 64, 512)] * 5,  # Table 2
    "Decoder": [(64, 64, 512)] * 3 + [(128, 128, 256), (256, 256, 128), (512, 512, 64), (512, 512, 3)],
    "Localizer": DOWN,  # Table 4
}


@pytest.fixture(scope="module")
def built() -> list:
    return rows(PAPER)


@pytest.mark.parametrize("part", PRINTED)
def test_output_sizes_are_the_printed_ones(part: str, built: list) -> None:
    assert [row.size for row in built if row.part == part] == PRINTED[part]


def test_activations_and_norms_are_the_printed_ones(built: list) -> None:
    assert {row.notes for row in built if row.part in ("Encoder", "Localizer")} == {"Leaky ReLU"}
    assert {row.notes for row in built if row.part == "Decoder"} == {"AdaIN, Leaky ReLU"}


def test_the_blocks_are_those_of_table_2() -> None:
    with torch.device("meta"):
        blocks = list(PaperVRetouchEr(PAPER).transformer.blocks)
    assert len(blocks) == 5 and PAPER.delta == 6
    for block in blocks:
        assert isinstance(block, MMA)
        assert (PAPER.delta, *block.window) == (6, 6, 16)
        assert block.heads == 8
        assert isinstance(block.norm, torch.nn.LayerNorm)
        assert block.mlp[1].out_features == 2.0 * 512
        assert block.scale == 512**-0.5


def test_weights_add_up_layer_by_layer() -> None:
    """3x3 kernels and biases by hand; SpyNet's 1.44 M are the published number."""

    def kernels(*widths: tuple[int, int]) -> int:
        return sum(9 * a * b + b for a, b in widths)

    found = weights(PAPER)
    ends = [(3, 64), (64, 128), (128, 256), (256, 512)]
    assert found["encoder"] == kernels(*ends, (512, 512), (512, 512))
    assert found["localizer"] == kernels(*ends, (512, 512))
    decoder = [*[(512, 512)] * 3, (512, 256), (256, 128), (128, 64), (64, 3)]
    styles = sum(513 * 2 * outputs for _, outputs in decoder)
    assert found["decoder"] == kernels(*decoder) + styles
    assert found["fir"] == 2 * kernels((512, 512)) + 2
    assert found["spynet"] == 1_440_300
    linear = 512 * 512
    attention = 3 * (linear + 512) + linear + 512 + 2 * 1024  # Q, K, V, out, two LayerNorms
    mlp = 1024 + 512 * 1024 + 1024 + 1024 * 512 + 512
    assert found["transformer"] == 5 * (attention + mlp)


def test_the_tables_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main() == 0
    text = capsys.readouterr().out
    assert "512 x 512 x 64" in text and "windows 6x6x16, 8 heads, LayerNorm, MLP ratio 2.0" in text
    assert "weights of spynet: 1,440,300" in text and "GMAC" in text
