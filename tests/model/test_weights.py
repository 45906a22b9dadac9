"""Weights on disk: whole or not at all, and a clear sentence when they are not right."""

from pathlib import Path
from typing import BinaryIO

import pytest

from tests.conftest import require

torch = require("torch")

from model import weights  # noqa: E402
from model.config import PRESETS  # noqa: E402
from model.vretoucher import VRetouchEr  # noqa: E402


def test_weights_come_back_bit_for_bit(tmp_path: Path) -> None:
    network = VRetouchEr(PRESETS["tiny"])
    weights.save_weights(network, tmp_path / "w.pt")
    loaded = weights.load_weights(tmp_path / "w.pt")
    assert loaded.config == network.config
    assert not loaded.training
    for name, value in network.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name])


def test_the_shipped_weights_are_of_the_presets_own_sizes() -> None:
    assert weights.load_preset("live").config == PRESETS["live"]


def test_missing_weights_are_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(weights.WeightsError, match=r"none\.pt; train them with"):
        weights.load_weights(tmp_path / "none.pt")


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    weights.save_weights(VRetouchEr(PRESETS["tiny"]), path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(weights.WeightsError, match=r"w\.pt holds no weights"):
        weights.load_weights(path)


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory")])
def test_want_of_memory_is_not_damage(error: Exception, tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    weights.save_weights(VRetouchEr(PRESETS["tiny"]), path)
    with (
        pytest.raises(type(error)),
        weights.loading(path, "weights", "train them", weights.WeightsError),
    ):
        raise error


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.pt"
    weights.save_weights(VRetouchEr(PRESETS["tiny"]), path)
    before = path.read_bytes()

    def fail(content: object, file: BinaryIO) -> None:
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        weights.save_weights(VRetouchEr(PRESETS["tiny"]), path)
    assert path.read_bytes() == before
