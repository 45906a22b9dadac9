"""The camera: a true DCT, and 8 bits at the end."""

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
    back, _ = cam._quantise_blocks(plane, plane, torch.full((8, 8), 1e-3))
    torch.testing.assert_close(back, plane, rtol=0, atol=0.01)


def test_a_flat_block_costs_only_its_mean() -> None:
    plane = torch.full((1, 8, 8), 37.3)
    # The DC coefficient of a flat block is 8 times its value: a step of 16 rounds to even levels.
    back, _ = cam._quantise_blocks(plane, plane, cam.table(cam.LUMA_TABLE, 50))
    torch.testing.assert_close(back, torch.full((1, 8, 8), 38.0), rtol=0, atol=1e-3)


@pytest.mark.parametrize(("quality", "most"), [(95, 3.0), (60, 9.0)])
def test_compression_loses_more_at_lower_quality(quality: int, most: float) -> None:
    picture = _smooth()
    error = (cam.dct_compress(picture, picture, quality)[0] - picture).abs().mean() * 255.0
    assert 0.0 < float(error) < most
    assert float(error) < float((cam.dct_compress(picture, picture, 15)[0] - picture).abs().mean() * 255.0)


def test_sides_need_not_be_multiples_of_sixteen() -> None:
    picture = _smooth(1, 45)
    assert cam.dct_compress(picture, picture, 80)[1].shape == picture.shape


def test_table_at_quality_50_is_the_standards_own() -> None:
    assert torch.equal(cam.table(cam.LUMA_TABLE, 50), torch.tensor(cam.LUMA_TABLE).float())
    assert float(cam.table(cam.LUMA_TABLE, 100).max()) == 1.0


def test_every_stage_changes_the_picture_and_the_last_leaves_eight_bits() -> None:
    gen = torch.Generator().manual_seed(2)
    camera = cam.Camera(cam.CameraConfig(1.0, 1.0, 1.0, 1.0, 1.0), 48, gen, torch.device("cpu"))
    seen = _smooth(2).unsqueeze(1).repeat(1, 3, 1, 1, 1)
    sharp = seen.clone()
    camera.defocus(seen.flatten(1, 2), gen)
    assert not torch.equal(sharp, seen)
    for stage in (camera.light, camera.resolve, camera.sense):
        before = seen.clone()
        stage(seen, gen)
        assert not torch.equal(before, seen)
    before, other = seen.clone(), seen.clone()
    camera.compress(seen, other, gen)
    assert not torch.equal(before, seen)
    assert torch.equal(other, seen)
    cam.quantise(seen)
    assert torch.equal((seen * 255.0).round() / 255.0, seen)


def test_defocus_is_a_gaussian_that_keeps_the_light() -> None:
    config = cam.CameraConfig(0.0, 1.0, 0.0, 0.0, 0.0)
    camera = cam.Camera(config, 48, torch.Generator(), torch.device("cpu"))
    pictures = torch.zeros(2, 3, 33, 33)
    pictures[0] = 0.5
    pictures[1, :, 16, 16] = 1.0
    camera.defocus(pictures, torch.Generator().manual_seed(0))
    assert torch.allclose(pictures[0], torch.full((3, 33, 33), 0.5), atol=1e-6)
    spot = pictures[1, 0]
    assert float(spot.sum()) == pytest.approx(1.0, abs=1e-5)
    assert torch.allclose(spot, spot.T, atol=1e-6)
    across, corner, centre = float(spot[16, 17]), float(spot[17, 17]), float(spot[16, 16])
    assert 0.0 < across < centre
    assert corner * centre == pytest.approx(across**2, rel=1e-4)


def test_where_the_codec_loses_a_marks_colour_the_target_has_no_colour_of_its_own() -> None:
    skin = torch.tensor((0.75, 0.58, 0.50)).view(1, 3, 1, 1).expand(1, 3, 48, 48)
    raw = skin.clone()
    raw[:, 1:, 23:25, 23:25] *= 0.5
    shown, target = cam.dct_compress(raw, skin.clone(), 45)
    mark, ghost = (255.0 * (x - skin)[0, :, 23, 23] for x in (shown, target))
    assert float(mark.max()) < -20.0  # grey: what is left of the red is darker in red, too
    assert float(ghost.abs().max()) < 2.0


def test_of_the_target_the_codec_leaves_raws_own_noise() -> None:
    gen = torch.Generator().manual_seed(4)
    raw = (0.5 + 0.1 * torch.randn(1, 3, 48, 48, generator=gen)).clamp(0.0, 1.0)
    faint = raw + 0.002 * torch.randn(raw.shape, generator=gen)
    shown, target = cam.dct_compress(raw, faint, 60)
    alone, _ = cam.dct_compress(faint, faint, 60)
    assert float((target - shown).abs().mean()) < 0.5 * float((alone - shown).abs().mean())
    assert torch.equal(*cam.dct_compress(raw, raw.clone(), 60))


def test_noise_is_as_strong_as_told_and_new_in_each_frame() -> None:
    gen = torch.Generator().manual_seed(3)
    config = cam.CameraConfig(0.0, 0.0, 0.0, 1.0, 0.0, noise_levels=5.0)
    camera = cam.Camera(config, 64, gen, torch.device("cpu"))
    grey = torch.full((12, 4, 3, 64, 64), 0.5)
    camera.sense(grey, gen)
    levels = (grey - 0.5).std((2, 3, 4)) * 255.0
    assert float(levels.min()) > 0.05
    assert float(levels.max()) < 5.5
    assert not torch.equal(grey[:, 0], grey[:, 1])
