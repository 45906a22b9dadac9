"""The camera: a true DCT, blind to what it films, and 8 bits at the end."""

from __future__ import annotations

import pytest

from tests.conftest import require

torch = require("torch")

from model.data import camera as cam  # noqa: E402


def _smooth(n: int = 2, side: int = 48) -> object:
    gen = torch.Generator().manual_seed(0)
    coarse = torch.rand(n, 3, 5, 5, generator=gen)
    return torch.nn.functional.interpolate(coarse, size=(side, side), mode="bilinear")


def test_dct_is_orthonormal() -> None:
    matrix = cam.dct_matrix()
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(8), rtol=0, atol=1e-6)


def test_unquantised_blocks_come_back() -> None:
    gen = torch.Generator().manual_seed(1)
    plane = 255.0 * torch.rand(2, 24, 40, generator=gen)
    back = cam._quantise_blocks(plane, torch.full((8, 8), 1e-3))
    torch.testing.assert_close(back, plane, rtol=0, atol=0.01)


def test_a_flat_block_costs_only_its_mean() -> None:
    plane = torch.full((1, 8, 8), 37.3)
    # The DC coefficient of a flat block is 8 times its value: a step of 16 rounds to even levels.
    back = cam._quantise_blocks(plane, cam.table(cam.LUMA_TABLE, 50))
    torch.testing.assert_close(back, torch.full((1, 8, 8), 38.0), rtol=0, atol=1e-3)


@pytest.mark.parametrize(("quality", "most"), [(95, 3.0), (60, 9.0)])
def test_compression_loses_more_at_lower_quality(quality: int, most: float) -> None:
    picture = _smooth()
    error = (cam.dct_compress(picture, quality) - picture).abs().mean() * 255.0
    assert 0.0 < float(error) < most
    assert float(error) < float((cam.dct_compress(picture, 15) - picture).abs().mean() * 255.0)


def test_sides_need_not_be_multiples_of_sixteen() -> None:
    picture = _smooth(1, 45)
    assert cam.dct_compress(picture, 80).shape == picture.shape


def test_table_at_quality_50_is_the_standards_own() -> None:
    assert torch.equal(cam.table(cam.LUMA_TABLE, 50), torch.tensor(cam.LUMA_TABLE).float())
    assert float(cam.table(cam.LUMA_TABLE, 100).max()) == 1.0


def test_raw_and_target_get_the_same_camera() -> None:
    gen = torch.Generator().manual_seed(2)
    camera = cam.Camera(cam.CameraConfig(1.0, 1.0, 1.0, 1.0, 1.0), 48, gen, torch.device("cpu"))
    one = _smooth(2).unsqueeze(1).repeat(1, 3, 2, 1, 1)
    seen = camera.defocus(one.flatten(1, 2), gen).view_as(one).clone()
    for stage in (camera.light, camera.resolve, camera.sense, camera.compress):
        before = seen.clone()
        stage(seen, gen)
        assert not torch.equal(before, seen)
    cam.quantise(seen)
    assert torch.equal(seen[:, :, :3], seen[:, :, 3:])
    assert torch.equal((seen * 255.0).round() / 255.0, seen)


def test_noise_is_as_strong_as_told_and_new_in_each_frame() -> None:
    gen = torch.Generator().manual_seed(3)
    config = cam.CameraConfig(0.0, 0.0, 0.0, 1.0, 0.0, noise_levels=5.0)
    camera = cam.Camera(config, 64, gen, torch.device("cpu"))
    grey = torch.full((12, 4, 6, 64, 64), 0.5)
    camera.sense(grey, gen)
    levels = (grey - 0.5).std((2, 3, 4)) * 255.0
    assert float(levels.min()) > 0.05
    assert float(levels.max()) < 5.5
    assert not torch.equal(grey[:, 0], grey[:, 1])
