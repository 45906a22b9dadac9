"""A whole picture of any size through AutoRetouch, as a user runs it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import require

torch = require("torch")

from model.autoretouch import AutoRetouch  # noqa: E402
from model.earlier.picture import main  # noqa: E402
from model.earlier.systems import config_of, network_of  # noqa: E402
from model.earlier.weights import save_earlier  # noqa: E402

WIDTH, HEIGHT = 171, 97


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Of a network that changes what it sees."""
    torch.manual_seed(0)
    network = network_of(config_of("autoretouch", "tiny"))
    assert isinstance(network, AutoRetouch)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.12)
    path = tmp_path / "weights.pt"
    save_earlier("autoretouch", network, path, perceptual=False)
    return path


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "in.png"
    shades = np.random.default_rng(3).integers(60, 200, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    Image.fromarray(shades).save(path)
    return path


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def test_windows_give_the_whole_pictures_result(weights: Path, picture: Path, tmp_path: Path) -> None:
    for window in ("0", "64", "150"):
        assert main([str(weights), str(picture), str(tmp_path / f"{window}.png"), "--window", window]) == 0
    whole = read(tmp_path / "0.png")
    assert whole.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(whole - read(picture)).mean() > 1.0
    for window in ("64", "150"):
        assert np.abs(read(tmp_path / f"{window}.png") - whole).max() <= 1


def test_a_picture_that_lies_on_its_side_comes_out_upright(weights: Path, tmp_path: Path) -> None:
    turned = Image.fromarray(np.full((40, 60, 3), 120, np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif)
    assert main([str(weights), str(tmp_path / "turned.jpg"), str(tmp_path / "out.png")]) == 0
    assert read(tmp_path / "out.png").shape == (60, 40, 3)


def test_a_picture_too_large_to_be_one_is_refused(
    weights: Path,
    picture: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", WIDTH * HEIGHT // 3)
    assert main([str(weights), str(picture), str(tmp_path / "out.png")]) == 2
    assert "cannot be read as a picture" in capsys.readouterr().err


def test_what_cannot_be_done_is_said_and_nothing_is_left(
    weights: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "torn.png").write_bytes(picture.read_bytes()[:200])
    out = tmp_path / "out.png"
    cases = [
        ([weights, tmp_path / "torn.png", out], "cannot be read as a picture"),
        ([weights, tmp_path / "none.png", out], "cannot be read as a picture"),
        ([tmp_path / "none.pt", picture, out], "There are no weights"),
        ([weights, picture, tmp_path / "no" / "out.png"], "give another OUT"),
        ([weights, picture, out, "--window", "8"], "too small for this network"),
    ]
    for arguments, said in cases:
        assert main([str(argument) for argument in arguments]) == 2
        assert said in capsys.readouterr().err
    refused = [
        ([weights, picture, picture], "exists already"),
        ([weights, picture, tmp_path / "out.txt"], "no name of a picture"),
        ([weights, picture, out, "--window", "wide"], "no side in pixels"),
    ]
    for arguments, said in refused:
        with pytest.raises(SystemExit):
            main([str(argument) for argument in arguments])
        assert said in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.png", "torn.png", "weights.pt"]
