"""The teacher of the flow gets the difference maps in the right order, and says what it lacks."""

import sys
from pathlib import Path

import pytest

from tests.conftest import require

torch = require("torch")

from model.paper.config import PaperConfig  # noqa: E402
from model.paper.spynet import SpyNet  # noqa: E402
from model.paper.teacher import open_teacher, taught_flow  # noqa: E402
from model.weights import WeightsError  # noqa: E402


def test_each_frame_is_compared_with_the_one_before() -> None:
    maps = torch.rand(2, 3, 1, 8, 8)
    pairs = []

    def teacher(earlier: torch.Tensor, now: torch.Tensor) -> torch.Tensor:
        pairs.append((earlier, now))
        return torch.full((2, 2, 8, 8), float(len(pairs)))

    flow = taught_flow(teacher, maps)
    assert flow.shape == (2, 3, 2, 8, 8)
    assert [float(flow[:, t].mean()) for t in range(3)] == [0.0, 1.0, 2.0]
    for t, (earlier, now) in enumerate(pairs, start=1):
        assert torch.equal(earlier, maps[:, t - 1].expand(-1, 3, -1, -1))
        assert torch.equal(now, maps[:, t].expand(-1, 3, -1, -1))


def test_a_spynet_is_opened_by_its_path(tmp_path: Path) -> None:
    network = SpyNet(PaperConfig())
    with torch.no_grad():
        network.levels[-1][-1].bias.copy_(torch.tensor([1.0, -2.0]))
    torch.save(network.state_dict(), tmp_path / "spynet.pth")
    teacher = open_teacher(str(tmp_path / "spynet.pth"))
    flow = taught_flow(teacher, torch.rand(1, 2, 1, 32, 32))
    assert flow[0, 1].mean((1, 2)).tolist() == [1.0, -2.0] and not flow.requires_grad


def test_raft_without_torchvision_or_weights_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    with pytest.raises(WeightsError, match=r"torchvision.*cannot be imported.*SpyNet") as raised:
        open_teacher("raft")
    assert "\n" not in str(raised.value)


def test_raft_finds_the_way_back_of_a_picture_that_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random weights: that it can be called at all, in its own order, with flow of the pictures' size."""
    optical_flow = pytest.importorskip("torchvision.models").optical_flow  # no part of any extra
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match=r"no weights of RAFT at .*raft_large.*\.pth"):
        open_teacher("raft")
    torch.manual_seed(0)
    network = optical_flow.raft_large(weights=None).eval()
    folder = tmp_path / "hub/checkpoints"
    folder.mkdir(parents=True)
    name = optical_flow.Raft_Large_Weights.DEFAULT.url.rpartition("/")[2]
    torch.save(network.state_dict(), folder / name)
    teacher = open_teacher("raft")
    earlier, now = torch.rand(2, 1, 3, 128, 128)
    with torch.no_grad():
        expected = network(2 * now - 1, 2 * earlier - 1)[-1]
    torch.testing.assert_close(teacher(earlier, now), expected)
    with pytest.raises(WeightsError, match="128 pixels"):
        teacher(earlier[..., :64, :64], now[..., :64, :64])
