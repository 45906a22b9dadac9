"""A wider network that computes what a narrow one does, and learns on."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import require

torch = require("torch")

from model.config import preset  # noqa: E402
from model.vretoucher import VRetouchEr  # noqa: E402
from model.weights import load_weights, save_weights  # noqa: E402
from model.widen import WidenError, main, widened  # noqa: E402

TINY = preset("tiny")
WIDE = replace(TINY, channels=(16, 20, 24, 24), mma_channels=8)


def narrow() -> VRetouchEr:
    """One whose every weight matters."""
    torch.manual_seed(4)
    network = VRetouchEr(TINY).eval()
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
        network.decoder.out.bias[12:] += 2.0  # a mask that is not 0
    return network


def test_it_computes_the_same_frame_after_frame() -> None:
    before = narrow()
    after = widened(before, WIDE).eval()
    assert after.config == WIDE
    faces = torch.rand(4, 2, 3, 64, 64)
    state, wide_state = before.fresh_state(faces[0]), after.fresh_state(faces[0])
    with torch.no_grad():
        for face in faces:
            step, wide_step = before.step(face, state), after.step(face, wide_state)
            state, wide_state = step.state, wide_step.state
            assert float(step.residual.abs().max()) > 0.01
            for one, other in zip(step[:3], wide_step[:3], strict=True):
                torch.testing.assert_close(one, other)


def test_what_is_added_learns() -> None:
    after = widened(narrow(), WIDE)
    face = torch.rand(1, 3, 64, 64)
    for _ in range(2):  # at first nothing hears what is added, so that it has no gradient
        step = after.step(face, after.fresh_state(face))
        after.zero_grad()
        step.residual.square().sum().backward()
        with torch.no_grad():
            for weight in after.parameters():
                if weight.grad is not None:
                    weight -= 1e-6 * weight.grad
    added = after.decoder.up2.weight.grad[TINY.channels[0] :]
    assert float(added.abs().max()) > 0


def test_a_narrower_one_or_one_with_other_parts_is_refused() -> None:
    with pytest.raises(WidenError, match=r"narrower at encoder\.down2"):
        widened(narrow(), replace(WIDE, channels=(3, 20, 24, 24)))
    with pytest.raises(WidenError, match="other parts"):
        widened(narrow(), replace(WIDE, mma_blocks=2))
    with pytest.raises(WidenError, match="other parts"):
        widened(narrow(), replace(WIDE, fir=False))


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_weights(VRetouchEr(preset("live")), tmp_path / "live.pt")
    assert main([str(tmp_path / "live.pt"), str(tmp_path / "studio.pt")]) == 0
    assert load_weights(tmp_path / "studio.pt").config == preset("studio")
    assert main([str(tmp_path / "none.pt"), str(tmp_path / "other.pt")]) == 2
    assert main([str(tmp_path / "studio.pt"), str(tmp_path / "other.pt"), "--preset", "live"]) == 2
    missing, narrower = capsys.readouterr().err.splitlines()
    assert "no weights at" in missing
    assert "live is narrower at encoder.down2" in narrower
    assert not (tmp_path / "other.pt").exists()
