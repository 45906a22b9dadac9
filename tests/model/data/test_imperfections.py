"""Painting in absorbance: colours, sizes, relief and bounds."""

from __future__ import annotations

import pytest

from tests.conftest import require

torch = require("torch")

from model.data import imperfections as imp  # noqa: E402
from model.data import kinds  # noqa: E402
from model.data.clips import Rendering  # noqa: E402
from model.data.portraits import HAEMOGLOBIN, MELANIN, SKIN, soft_skin  # noqa: E402
from model.data.stamps import NoiseBank, Places, splat, stamps  # noqa: E402

FLAT_LIGHT = torch.tensor([[0.0, -0.5]])
LIGHT_SKIN, DARK_SKIN = (0.88, 0.70, 0.62), (0.31, 0.20, 0.16)


def as_camera(absorb: object, gen: object) -> object:
    return Rendering.draw(len(absorb), gen).of(absorb)


def _skin(tone: tuple[float, float, float], side: int = 41) -> object:
    return torch.tensor(tone).view(1, 3, 1, 1).expand(1, 3, side, side).clone()


def _one(name: str, radius: float, depth: float, **properties: float) -> imp.Marks:
    values = {p: torch.zeros(1) for p in kinds.PROPERTIES} | {"edge": torch.full((1,), 2.0)}
    values |= {"halo_size": torch.ones(1), "head_size": torch.full((1,), 0.5)}
    values |= {p: torch.full((1,), v) for p, v in properties.items()}
    places = Places(torch.zeros(1, dtype=torch.long), torch.full((1,), 20.0), torch.full((1,), 20.0))
    return imp.Marks(
        places, torch.tensor([kinds.NAMES.index(name)]), torch.tensor([radius]), torch.tensor([depth]), values
    )


def _painted(tone: tuple[float, float, float], marks: imp.Marks) -> object:
    gen = torch.Generator().manual_seed(0)
    layers = imp.Layers.empty(1, 41, 41)
    imp.paint_marks(layers, marks, FLAT_LIGHT, NoiseBank(gen, 8), gen)
    return imp.render([_skin(tone)], layers, torch.ones(1, 1, 41, 41), FLAT_LIGHT)[0]


@pytest.mark.parametrize("tone", [LIGHT_SKIN, DARK_SKIN])
@pytest.mark.parametrize(("melanin", "pigment"), [(0.0, HAEMOGLOBIN), (1.0, MELANIN)])
def test_middle_of_a_mark_has_the_pigments_log_ratio(
    tone: tuple[float, float, float], melanin: float, pigment: tuple[float, float, float]
) -> None:
    raw = _painted(tone, _one("erythema", 5.0, 0.3, melanin=melanin))
    ratio = -torch.log(raw[0, :, 20, 20] / torch.tensor(tone))
    torch.testing.assert_close(ratio, 0.3 * torch.tensor(pigment), rtol=0.02, atol=0.002)


@pytest.mark.parametrize("tone", [LIGHT_SKIN, DARK_SKIN])
def test_blood_reddens_and_melanin_darkens(tone: tuple[float, float, float]) -> None:
    skin = torch.tensor(tone)
    red = _painted(tone, _one("erythema", 5.0, 0.3, melanin=0.0))[0, :, 20, 20] / skin
    brown = _painted(tone, _one("pigment", 5.0, 0.3, melanin=1.0))[0, :, 20, 20] / skin
    assert float(red[1]) < float(red[0]) < 1.0
    assert float(brown[0]) < float(red[0]) - 0.05


def test_half_depth_lies_at_the_radius() -> None:
    raw = _painted(LIGHT_SKIN, _one("erythema", 6.0, 0.4, edge=3.0))
    depth = -torch.log(raw[0, 1] / LIGHT_SKIN[1])
    area = float((depth > 0.2).sum())
    assert area == pytest.approx(3.14159 * 36.0, rel=0.08)


def test_head_is_paler_than_its_base() -> None:
    raw = _painted(LIGHT_SKIN, _one("pustule", 5.0, 0.35, head=1.0, head_size=0.4))
    assert float(raw[0, 1, 20, 20]) > float(raw[0, 1, 20, 24]) + 0.05


def test_relief_is_lit_from_where_the_light_is() -> None:
    y, x = torch.meshgrid(torch.arange(41.0), torch.arange(41.0), indexing="ij")
    bump = (2.0 * torch.exp(-((x - 20) ** 2 + (y - 20) ** 2) / 32.0)).view(1, 1, 41, 41)
    from_left = imp.shading(bump, torch.tensor([[-0.7, 0.0]]))[0, 0]
    assert float(from_left[20, 16]) > 0.05
    assert float(from_left[20, 24]) < -0.05
    assert float(imp.shading(-bump, torch.tensor([[-0.7, 0.0]]))[0, 0, 20, 16]) < -0.05
    assert float(imp.shading(torch.zeros(1, 1, 9, 9), torch.tensor([[-0.7, 0.2]])).abs().max()) == 0.0


def test_where_paintable_is_zero_nothing_changes() -> None:
    layers = imp.Layers(torch.ones(1, 3, 9, 9), torch.rand(1, 1, 9, 9), torch.ones(1, 1, 9, 9))
    paintable = torch.zeros(1, 1, 9, 9)
    paintable[..., :4] = 1.0
    skin = _skin(LIGHT_SKIN, 9)
    out = imp.render([skin], layers, paintable, FLAT_LIGHT)[0]
    assert torch.equal(out[..., 4:], skin[..., 4:])
    assert bool((out[..., :3] != skin[..., :3]).any())


def test_splat_drops_what_lies_outside_and_adds_what_meets() -> None:
    places = Places(torch.tensor([0, 1, 1]), torch.tensor([0.0, 5.0, 5.0]), torch.tensor([0.0, 5.0, 5.0]))
    picture = torch.zeros(2, 1, 11, 11)
    (stamp,) = list(stamps(places, torch.full((3,), 2.0)))
    splat(picture, places.clip, stamp, torch.ones(3, 1, stamp.side, stamp.side))
    assert float(picture[0].sum()) == (stamp.side // 2 + 1) ** 2
    assert float(picture[1, 0, 5, 5]) == 2.0
    assert float(picture[1].sum()) == 2.0 * stamp.side**2


def test_drawn_marks_have_measured_sizes_and_depths() -> None:
    gen = torch.Generator().manual_seed(0)
    shares = torch.zeros(1, len(kinds.KINDS))
    shares[0, kinds.NAMES.index("small mark")] = 1.0
    marks = imp.draw_marks(torch.ones(1, len(kinds.ZONES), 20, 20), torch.tensor([3000]), shares, gen)
    # Sigma 3.1 per mille of a 290 px face at the median, 1.18 sigma to half depth.
    assert float(marks.radius.median()) == pytest.approx(0.0031 * 290 * 1.18, rel=0.15)
    assert float(marks.depth.median()) == pytest.approx(0.20, rel=0.1)


def test_densities_follow_skin_and_zones() -> None:
    bits = torch.zeros(1, 64, 64, dtype=torch.uint8)
    bits[:, :32] = 1 | 4
    bits[:, 32:48] = 1 | 16
    density = imp.zone_density(bits, torch.ones(1, 1, 64, 64), torch.Generator().manual_seed(0))
    assert float(density[:, :, 12:].sum()) == 0.0
    assert float(density[0, kinds.BEARD, :8].sum()) == 0.0 < float(density[0, kinds.BEARD, 8:12].sum())


def test_no_mark_takes_as_much_red_as_green() -> None:
    absorb = torch.tensor([0.5, 0.4, 0.1]).view(1, 3, 1, 1).repeat(64, 1, 1, 1)
    seen = as_camera(absorb, torch.Generator().manual_seed(0))
    assert bool((seen[:, 0] <= 0.901 * seen[:, 1]).all())
    assert bool((seen[:, 2] >= 0.699 * seen[:, 1]).all())


def test_some_cameras_show_blood_redder_than_it_is_dark_and_leave_black_black() -> None:
    for pigment, least in ((HAEMOGLOBIN, -0.6), (imp.PLUG_ABSORBANCE, 0.25)):
        absorb = 0.4 * torch.tensor(pigment).view(1, 3, 1, 1).repeat(256, 1, 1, 1)
        seen = as_camera(absorb, torch.Generator().manual_seed(0))
        ratio = seen[:, 0] / seen[:, 1]
        assert float(ratio.min()) > least
        assert float(ratio.median()) > 0.75 or pigment == HAEMOGLOBIN
        assert (float(ratio.min()) < 0.0) == (pigment == HAEMOGLOBIN)


def test_no_seam_where_green_becomes_positive() -> None:
    green = torch.linspace(-0.02, 0.02, 81)
    absorb = torch.stack([-0.10 + 0 * green, green, 0.05 + 0 * green]).view(1, 3, 1, -1).repeat(32, 1, 1, 1)
    seen = as_camera(absorb, torch.Generator().manual_seed(0))
    assert float(seen.diff(dim=-1).abs().max()) < 0.003


def test_conditions_are_chances_and_the_share_of_pastable_marks_follows_from_them() -> None:
    assert sum(row[1] for row in kinds.CONDITIONS) == pytest.approx(1.0)
    assert all(len(row[4]) == len(kinds.KINDS) for row in kinds.CONDITIONS)
    assert 0.4 < kinds.PASTABLE_SHARE < 0.8


def test_a_plug_is_dark_and_hardly_coloured() -> None:
    ratio = _painted(LIGHT_SKIN, _one("open comedone", 3.0, 0.0, plug=0.3))[0, :, 20, 20] / torch.tensor(
        LIGHT_SKIN
    )
    assert float(ratio.max()) < 0.82
    assert float(ratio.max() - ratio.min()) < 0.06


def test_a_scratch_is_longer_than_wide() -> None:
    dark = 1.0 - _painted(LIGHT_SKIN, _one("scratch", 3.0, 0.3, slim=0.85))[0, 1] / LIGHT_SKIN[1]
    y, x = torch.nonzero(dark > 0.1, as_tuple=True)
    spread = torch.linalg.eigvalsh(torch.cov(torch.stack([y, x]).float())).sqrt()
    assert float(spread[1] / spread[0]) > 3.0


def test_marks_do_not_lie_upon_each_other() -> None:
    gen = torch.Generator().manual_seed(0)
    shares = torch.ones(2, len(kinds.KINDS))
    marks = imp.draw_marks(torch.ones(2, len(kinds.ZONES), 20, 20), torch.tensor([60, 60]), shares, gen)
    kept = marks.pick(imp.apart(marks))
    assert 20 < len(kept) < len(marks)
    x, y, clip = kept.places.x, kept.places.y, kept.places.clip
    gap = torch.hypot(x[:, None] - x, y[:, None] - y) / (kept.radius[:, None] + kept.radius)
    gap[clip[:, None] != clip] = 9.0
    assert float(gap.fill_diagonal_(9.0).min()) >= 0.75


@pytest.mark.parametrize("border", [16, 17, 18, 19])
def test_marks_may_lie_close_to_skins_border_and_not_beyond(border: int) -> None:
    bits = torch.zeros(1, 64, 64, dtype=torch.uint8)
    bits[..., border:] = SKIN
    paintable = soft_skin(bits)[0, 0]
    assert not paintable[:, :border].any()
    assert float(paintable[:, border + 2].min()) > 0.6
    assert float(paintable[:, border].max()) < 1.0
