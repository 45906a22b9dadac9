"""What is published of a training: the mean of several weights, a quieter mask."""

from pathlib import Path

import pytest

from tests.conftest import require

torch = require("torch")

from model.config import preset  # noqa: E402
from model.release import main  # noqa: E402
from model.vretoucher import VRetouchEr  # noqa: E402
from model.weights import load_weights, save_weights  # noqa: E402


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    torch.manual_seed(6)
    save_weights(VRetouchEr(preset("tiny")), tmp_path / "weights.pt")
    return tmp_path / "weights.pt"


@torch.no_grad()
def test_the_mask_is_quieter_and_the_rest_as_it_was(trained: Path, tmp_path: Path) -> None:
    assert main([str(trained), str(tmp_path / "out.pt"), "--quiet", "0.25"]) == 0
    before, after = load_weights(trained), load_weights(tmp_path / "out.pt")
    face = torch.rand(1, 3, 64, 64)
    r, _, _, trace = before.look(face, before.fresh_state(face))
    r_after, _, _, trace_after = after.look(face, after.fresh_state(face))
    assert torch.equal(r, r_after)
    torch.testing.assert_close(trace_after.full, trace.full - 0.25)


def test_of_several_weights_the_mean_is_published(trained: Path, tmp_path: Path) -> None:
    other, out = tmp_path / "other.pt", tmp_path / "out.pt"
    save_weights(VRetouchEr(preset("tiny")), other)
    assert main([str(trained), str(other), str(out)]) == 0
    first, second, mean = (load_weights(path).state_dict() for path in (trained, other, out))
    assert any(not torch.equal(first[name], second[name]) for name in mean)
    for name in mean:
        torch.testing.assert_close(mean[name], (first[name] + second[name]) / 2)


def test_weights_of_two_presets_have_no_mean(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other, out = tmp_path / "other.pt", tmp_path / "out.pt"
    save_weights(VRetouchEr(preset("live")), other)
    assert main([str(trained), str(other), str(out)]) == 2
    assert f"{other} is of preset 'live' and {trained} of 'tiny'" in capsys.readouterr().err
    assert not out.exists()


def test_what_is_no_weights_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "no.pt").write_bytes(b"no weights")
    assert main([str(tmp_path / "no.pt"), str(tmp_path / "out.pt")]) == 2
    assert str(tmp_path / "no.pt") in capsys.readouterr().err
    assert not (tmp_path / "out.pt").exists()


def test_no_number_is_refused_and_a_folder_that_is_a_file_is_said(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([str(trained), str(tmp_path / "out.pt"), "--quiet", "nan"])
    assert "'nan' is not a number" in capsys.readouterr().err
    assert main([str(trained), str(trained / "out.pt")]) == 2
    assert str(trained) in capsys.readouterr().err
