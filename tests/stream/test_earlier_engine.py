"""The earlier systems as engines: through the whole frame path, and what is said where they cannot run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stream import engine as engine_module
from stream.cli import main
from stream.crop import FACE_PX
from stream.engine import load_earlier
from stream.errors import EngineError, WeightsError
from stream.retoucher import Retoucher
from tests.conftest import require
from tests.stream.fakes import FakeFinder, face_at, noise_frame

torch = require("torch")

from model.earlier.systems import Earlier, config_of, network_of  # noqa: E402
from model.earlier.weights import save_earlier  # noqa: E402
from model.systems import EARLIER  # noqa: E402

SYSTEMS = pytest.mark.parametrize("system", EARLIER)
ASTRONAUT = Path(engine_module.__file__).parent / "assets" / "astronaut-raw.png"


def network(system: str) -> Earlier:
    """A tiny network that changes what it sees by some levels."""
    torch.manual_seed(1)
    made = network_of(config_of(system, "tiny")).eval()
    if system == "autoretouch":
        torch.nn.init.constant_(made.tail.bias, 0.02)
    return made


@pytest.fixture
def weights(tmp_path: Path) -> dict[str, Path]:
    paths = {system: tmp_path / f"{system}.pt" for system in EARLIER}
    for system, path in paths.items():
        save_earlier(system, network(system), path, perceptual=False)
    return paths


@SYSTEMS
def test_a_step_is_the_networks_picture_less_the_face_in_levels(
    system: str, weights: dict[str, Path]
) -> None:
    engine = load_earlier(system, weights[system], threads=1)
    face = noise_frame(FACE_PX, FACE_PX, 3)
    seen = engine.step(face, engine.new_state())
    picture = torch.from_numpy(face).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        made = network(system)(picture)
    retouched = (made.refined if system == "bpfre" else made).clamp(0, 1)
    wanted = retouched[0].permute(1, 2, 0).numpy() * 255 - face
    np.testing.assert_allclose(seen.residual, wanted, atol=1e-3)
    assert np.abs(wanted).mean() > 1 and seen.residual.dtype == seen.map.dtype == np.float32
    assert seen.map.shape == (FACE_PX, FACE_PX) and 0.0 <= seen.map.min() < seen.map.max() <= 1.0
    assert seen.kept is None
    if system == "bpfre":
        np.testing.assert_allclose(seen.map, made.map_coarse[0, 0], atol=1e-6)
    else:
        np.testing.assert_allclose(seen.map, np.abs(wanted).mean(2).clip(max=20.4) / 20.4, atol=1e-4)


@SYSTEMS
def test_the_frame_path_guards_what_is_not_skin(system: str, weights: dict[str, Path]) -> None:
    frame = noise_frame(360, 480, 5)
    finder = FakeFinder(face_at(240, 180, 0.5))
    engine = load_earlier(system, weights[system], threads=1)
    with Retoucher(engine=engine, finder=finder) as retoucher:
        out = retoucher.process(frame)
    changed = (out != frame).any(2)
    assert changed[150:220, 200:280].mean() > 0.2
    assert not changed[:60].any() and not changed[:, :100].any() and not changed[:, 380:].any()
    with Retoucher(engine=engine, finder=finder, strength=0.0) as nothing:
        np.testing.assert_array_equal(nothing.process(frame), frame)


@SYSTEMS
def test_the_command_retouches_a_picture(
    system: str, weights: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.png"
    words = ["file", str(ASTRONAUT), str(out), "--system", system, "--weights", str(weights[system])]
    assert main(words) == 0
    assert capsys.readouterr().err.endswith("1080x810, 1 face\n")
    raw, made = (np.asarray(Image.open(path).convert("RGB")) for path in (ASTRONAUT, out))
    changed = (raw != made).any(2)
    assert 0.005 < changed.mean() < 0.5 and not changed[0].any()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--system", "bpfre"], "needs --weights FILE"),
        (["--weights", "x.pt"], "--weights is for --system autoretouch or bpfre"),
        (["--system", "bpfre", "--weights", "none.pt"], "no weights at none.pt"),
        (
            ["--system", "bpfre", "--weights", "x.pt", "--engine", "onnx-cpu"],
            "bpfre does not run on onnx-cpu",
        ),
        (
            ["--system", "bpfre", "--weights", "x.pt", "--preset", "studio"],
            "--preset is not for --system bpfre",
        ),
        (["--system", "gpen"], "'gpen'"),
    ],
)
def test_what_is_asked_wrongly_is_a_sentence(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.png"
    try:
        code = main(["file", str(ASTRONAUT), str(out), *words])
    except SystemExit as leaving:
        code = leaving.code
    error = capsys.readouterr().err
    assert code == 2 and said in error and error.count("\n") == 1
    assert not out.exists()


def test_weights_of_another_system_and_a_missing_torch_are_said(
    weights: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(WeightsError, match="weights of bpfre, not of autoretouch"):
        load_earlier("autoretouch", weights["bpfre"], threads=1)
    assert engine_module.EARLIER_SYSTEMS == EARLIER
    with pytest.raises(EngineError, match="no system 'live'"):
        load_earlier("live", weights["bpfre"])
    if not torch.cuda.is_available():
        with pytest.raises(EngineError, match="choose torch-cpu"):
            load_earlier("bpfre", weights["bpfre"], "torch-cuda")
    monkeypatch.setattr(engine_module, "has_torch", lambda: False)
    with pytest.raises(EngineError, match=r"bpfre needs torch.*pip install vretouch\[train\]"):
        load_earlier("bpfre", weights["bpfre"])
