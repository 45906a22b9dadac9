"""The exported file streams like the network, and says how."""

import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import require

torch = require("torch")
onnx = require("onnx")

from export import verify as verification  # noqa: E402
from export.__main__ import export, main, multiply_adds  # noqa: E402
from export.contract import METADATA_KEY, state_specs  # noqa: E402
from model.config import PRESETS  # noqa: E402
from model.vretoucher import VRetouchEr  # noqa: E402

pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning"
)


def seeded(seed: int = 0) -> VRetouchEr:
    torch.manual_seed(seed)
    network = VRetouchEr(PRESETS["tiny"]).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    folder = tmp_path_factory.mktemp("weights")
    return folder, export(seeded(), folder)


def test_the_file_equals_the_network_over_two_rings_and_one(exported: tuple[Path, dict[str, object]]) -> None:
    folder, _ = exported
    parity = verification.measure_parity(seeded(), folder / "tiny.onnx", 512)
    assert parity.frames == 2 * PRESETS["tiny"].delta + 1
    assert parity.residual_levels < 0.01
    assert parity.map < 1e-4
    assert parity.kept < 1e-4
    assert parity.largest_levels > 1


def test_another_networks_file_is_refused(exported: tuple[Path, dict[str, object]]) -> None:
    folder, _ = exported
    with pytest.raises(verification.ParityError, match="do not ship it"):
        verification.verify(seeded(1), folder / "tiny.onnx", 512)


def test_a_file_that_sees_other_moles_is_refused(exported: tuple[Path, dict[str, object]]) -> None:
    folder, _ = exported
    network = seeded()
    with torch.no_grad():
        network.localizer.evidence.bias[1:] += 1.0
    with pytest.raises(verification.ParityError, match="in what is to be kept"):
        verification.verify(network, folder / "tiny.onnx", 512)


def test_the_card_and_the_metadata_tell_the_truth(exported: tuple[Path, dict[str, object]]) -> None:
    folder, described = exported
    content = (folder / "tiny.onnx").read_bytes()
    assert json.loads((folder / "tiny.json").read_text()) == described
    assert described["sha256"] == hashlib.sha256(content).hexdigest()
    proto = onnx.load_from_string(content)
    contract = json.loads({p.key: p.value for p in proto.metadata_props}[METADATA_KEY])
    shapes = {i.name: [d.dim_value for d in i.type.tensor_type.shape.dim] for i in proto.graph.input}
    for state in contract["states"]:
        assert shapes[f"{state['name']}_in"] == state["shape"]
    outs = {o.name: [d.dim_value for d in o.type.tensor_type.shape.dim] for o in proto.graph.output}
    for state in contract["states"]:
        expected = list(state["shape"])
        if state["kind"] == "ring":
            expected[state["slot_axis"]] = 1
        assert outs[f"{state['name']}_out"] == expected


def test_nothing_half_written_is_left(exported: tuple[Path, dict[str, object]]) -> None:
    assert sorted(p.name for p in exported[0].iterdir()) == ["tiny.json", "tiny.onnx"]


def test_the_specs_follow_the_state() -> None:
    config = PRESETS["live"]
    state = VRetouchEr(config).fresh_state(torch.zeros(1, 3, 512, 512))
    for spec in state_specs(config):
        assert getattr(state, spec.name).numel() == math.prod(spec.shape)
        assert spec.slot_axis is None or spec.shape[spec.slot_axis] == config.delta
    assert state_specs(replace(config, delta=1))[2].shape[0] == 1


def test_missing_weights_exit_with_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--weights", str(tmp_path / "none.pt"), "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "none.pt" in error and "Traceback" not in error


def test_untrained_weights_are_marked_and_no_engine_retouches_with_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from stream.engine import find_weights
    from stream.errors import WeightsError

    wanted = ["--preset", "tiny", "--untrained"]
    assert main(wanted) == 2
    assert "--out" in capsys.readouterr().err
    assert main([*wanted, "--out", str(tmp_path)]) == 0
    assert json.loads((tmp_path / "tiny.json").read_text())["untrained"] is True
    (tmp_path / "tiny.onnx").rename(tmp_path / "studio.onnx")
    (tmp_path / "tiny.json").rename(tmp_path / "studio.json")
    with pytest.raises(WeightsError, match=r"untrained weights.*model\.train"):
        find_weights("studio", tmp_path)


@pytest.mark.parametrize(("preset", "gmac", "mb"), [("live", 1.2, 1.2), ("studio", 7.0, 5.0)])
def test_a_step_stays_within_its_arithmetic(preset: str, gmac: float, mb: float) -> None:
    network = VRetouchEr(PRESETS[preset])
    assert multiply_adds(network) <= gmac
    # As half floats.
    assert sum(2 * parameter.numel() for parameter in network.parameters()) <= mb * 1e6
