"""The paper's metrics: each value by hand, and a reason where a network is absent."""

from __future__ import annotations

import sys
import types
import warnings
from pathlib import Path

import numpy as np
import pytest

from bench.features import ALEXNET, AbsentError, Lpips, Vfid, frechet
from bench.report import BenchError
from bench.scores import METRICS, ScoredClip, Seers, curve, scores, seers
from tests.conftest import require

require("skimage")
torch = require("torch")

NONE = Seers("no lpips", "no vfid")


def clip(out: int = 110, frames: int = 2, side: int = 16, **changed: object) -> ScoredClip:
    """Raw 120, target 100; the true map is half full."""
    shape = (frames, side, side)
    flat = {"raw_u8": 120, "out_u8": out, "target_u8": 100}
    arrays: dict[str, object] = {k: np.full((*shape, 3), v, np.uint8) for k, v in flat.items()}
    true_map = np.zeros(shape, np.float32)
    true_map[:, : side // 2] = 0.5
    return ScoredClip(**{**arrays, "map": true_map.copy(), "true_map": true_map, **changed})


def test_every_metric_has_a_value_or_a_reason_in_the_tables_order() -> None:
    found = scores([clip()], NONE)
    assert tuple(found) == METRICS
    for name, score in found.items():
        assert (score.value is None) == bool(score.reason), name
    assert found["lpips"].reason == "no lpips" and found["vfid"].reason == "no vfid"


def test_psnr_and_gain_by_hand() -> None:
    found = scores([clip(), clip(105, frames=4)], NONE)
    # 10 log10(255^2 / 100) = 28.1308 in 2 frames, of 25 = 34.1514 in 4; raw is 20 levels off: 22.1102.
    mean = (2 * 28.1308 + 4 * 34.1514) / 6
    assert found["psnr_db"].value == pytest.approx(mean, abs=1e-3)
    assert found["gain_db"].value == pytest.approx(mean - 22.1102, abs=1e-3)


def test_ssim_by_hand_and_of_equal_frames() -> None:
    # Of two flat pictures only the luminance term is left: (2 a b + c) / (a^2 + b^2 + c), c = (0.01 * 255)^2.
    c = 2.55**2
    assert scores([clip()], NONE)["ssim"].value == pytest.approx((2 * 110 * 100 + c) / (110**2 + 100**2 + c))
    assert scores([clip(100)], NONE)["ssim"].value == pytest.approx(1.0)


def test_the_maps_by_hand() -> None:
    true_map = clip().true_map
    assert scores([clip()], NONE)["soft_iou"].value == pytest.approx(1.0)
    assert scores([clip(map=true_map / 2)], NONE)["soft_iou"].value == pytest.approx(0.5)
    near, far = (scores([clip(map=m)], NONE)["map_ssim"].value for m in (true_map / 2, 1 - true_map))
    assert near is not None and far is not None and far < near < 1.0


def test_a_method_without_a_map_says_so_and_keeps_the_rest() -> None:
    found = scores([clip(), clip(map=None)], NONE)
    assert found["soft_iou"] == found["map_ssim"]
    assert found["soft_iou"].value is None and found["soft_iou"].reason == "the method has no map"
    assert found["psnr_db"].value == pytest.approx(28.1308, abs=1e-3)


def test_a_curve_has_every_frames_value() -> None:
    out = np.full((2, 16, 16, 3), 110, np.uint8)
    out[1] = 105
    assert curve(clip(out_u8=out), "psnr_db") == pytest.approx([28.1308, 34.1514], abs=1e-3)


@pytest.mark.parametrize(
    "changed",
    [
        {"out_u8": np.zeros((2, 16, 17, 3), np.uint8)},
        {"true_map": np.zeros((1, 16, 16), np.float32)},
        {"map": np.zeros((2, 16, 15), np.float32)},
    ],
)
def test_clips_that_do_not_fit_are_refused(changed: dict[str, object]) -> None:
    with pytest.raises(BenchError, match="give frames of one size"):
        clip(**changed)


def test_nothing_to_score_is_refused() -> None:
    with pytest.raises(BenchError, match="there is no clip to score"):
        scores([], NONE)
    with pytest.raises(BenchError, match="8x8 are too small"):
        clip(side=8)
    with pytest.raises(BenchError, match="frames of one size"):
        clip(frames=0)


def test_what_cannot_be_loaded_gives_reasons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lpips", None)
    absent = seers(None)
    assert isinstance(absent.lpips, str) and "pip install lpips torchvision" in absent.lpips
    assert absent.vfid == "no I3D is named; give the file i3d_torchscript.pt"
    with pytest.raises(AbsentError, match=r"no I3D at .*away"):
        Vfid(tmp_path / "away.pt")
    damaged = tmp_path / "damaged.pt"
    damaged.write_bytes(b"no network")
    with pytest.raises(AbsentError, match=r"damaged\.pt is no TorchScript"):
        Vfid(damaged)


class MeanError(torch.nn.Module):
    """Stands where LPIPS's network does: mean squared difference, of what is within -1 and 1."""

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        self.seen = float(a.mean()), float(b.mean())
        return (a - b).square().mean()


MEAN_ERROR = MeanError()


def with_lpips(monkeypatch: pytest.MonkeyPatch, hub: Path) -> None:
    package = types.ModuleType("lpips")
    package.LPIPS = lambda net, verbose: MEAN_ERROR  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lpips", package)
    monkeypatch.setenv("TORCH_HOME", str(hub))


def test_lpips_needs_alexnets_weights_and_never_fetches_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_lpips(monkeypatch, tmp_path)
    with pytest.raises(AbsentError, match=f"AlexNet's weights are not at .*{ALEXNET}; put torchvision's"):
        Lpips()


def test_lpips_sees_every_frame_and_its_target_between_minus_1_and_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_lpips(monkeypatch, tmp_path)
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    (tmp_path / "hub" / "checkpoints" / ALEXNET).write_bytes(b"")
    lpips = Lpips()
    found = scores([clip(side=64), clip(100, side=64)], Seers(lpips, "no vfid"))["lpips"]
    # 10 of 255 levels are 20 of 255 in [-1, 1]; the other clip is right.
    assert found.value == pytest.approx((20 / 255) ** 2 / 2, rel=1e-4)
    black, white = (np.full((64, 64, 3), level, np.uint8) for level in (0, 255))
    assert lpips(black, white) == pytest.approx(4.0)
    assert MEAN_ERROR.seen == (-1.0, 1.0)
    assert scores([clip()], Seers(lpips, ""))["lpips"].reason == "AlexNet needs frames of 64 px or more"


def test_the_frechet_distance_is_that_of_the_matrix_root() -> None:
    linalg = require("scipy.linalg")
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(40, 3)), rng.normal(1.0, 2.0, (30, 3))
    covariances = np.cov(a.T), np.cov(b.T)
    root = linalg.sqrtm(covariances[0] @ covariances[1]).real
    wanted = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(covariances[0] + covariances[1] - 2 * root)
    assert frechet(a, b) == pytest.approx(wanted)
    assert frechet(a, a) == pytest.approx(0.0, abs=1e-9)
    # One feature: (m_a - m_b)^2 + (s_a - s_b)^2, also with fewer clips than features.
    one, other = np.array([[0.0, 5.0], [2.0, 5.0]]), np.array([[4.0, 5.0], [10.0, 5.0]])
    assert frechet(one, other) == pytest.approx((1 - 7) ** 2 + (np.sqrt(2) - np.sqrt(18)) ** 2)


class MeanColour(torch.nn.Module):
    """Stands where I3D does and takes what it takes: the mean colour, of 224 px and [-1, 1] only."""

    def forward(
        self, x: torch.Tensor, rescale: bool = True, resize: bool = True, return_features: bool = False
    ) -> torch.Tensor:
        assert not rescale and not resize and return_features
        assert x.shape[3] == 224 and x.shape[4] == 224
        return x.mean(dim=[2, 3, 4])


@pytest.fixture
def i3d(tmp_path: Path) -> Path:
    path = tmp_path / "i3d.pt"
    with warnings.catch_warnings(action="ignore"):
        torch.jit.script(MeanColour()).save(path)
    return path


def test_vfid_compares_the_clips_with_the_targets(i3d: Path) -> None:
    vfid = seers(i3d).vfid
    assert isinstance(vfid, Vfid)
    near, far = (
        scores([clip(100 + off, 10), clip(100 + 2 * off, 12)], Seers("", vfid))["vfid"].value
        for off in (0, 30)
    )
    assert near == pytest.approx(0.0, abs=1e-9)
    # Means 145 against 100 in three channels, and a spread of 30 / sqrt(2), in units of 127.5 levels.
    assert far == pytest.approx(3 * (45**2 + 30**2 / 2) / 127.5**2, rel=1e-3)


def test_vfid_says_what_it_lacks(i3d: Path, tmp_path: Path) -> None:
    vfid = Vfid(i3d)
    assert "give two or more" in scores([clip(frames=10)], Seers("", vfid))["vfid"].reason
    short = scores([clip(frames=9), clip(frames=10)], Seers("", vfid))["vfid"]
    assert short.value is None and short.reason == "a clip has 9 frames; I3D needs 10 or more"
    other = tmp_path / "other.pt"
    with warnings.catch_warnings(action="ignore"):
        torch.jit.script(torch.nn.Linear(2, 2)).save(other)
    reason = scores([clip(frames=10)] * 2, Seers("", Vfid(other)))["vfid"].reason
    assert reason.startswith("the I3D given does not run (")
