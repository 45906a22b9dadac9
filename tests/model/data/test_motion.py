"""Motion: the flow is exact, smooth and of the promised size."""

from __future__ import annotations

import pytest

from tests.conftest import require

torch = require("torch")

from model.data import motion as mo  # noqa: E402


@pytest.mark.parametrize("make", [mo.aligned_motion, mo.frame_motion])
def test_flow_leads_to_the_same_canvas_point(make) -> None:
    gen = torch.Generator().manual_seed(0)
    size = 200
    motion = make(6, 8, size, torch.full((6, 2), 150), gen)
    _, flow = mo.grids(motion, size)
    y, x = torch.meshgrid(torch.arange(200.0), torch.arange(200.0), indexing="ij")
    points = torch.stack([x, y], -1).view(1, 1, -1, 2).double().expand(6, 8, -1, -1)
    canvas = motion.to_canvas(points)
    before = points + flow.permute(0, 1, 3, 4, 2).reshape(6, 8, -1, 2)
    # C_{t-1} at the point the flow leads to, against C_t here.
    there = mo._project(motion.homography[:, :-1], before[:, 1:] + motion.bend(before[:, 1:], slice(0, -1)))
    assert float((there - canvas[:, 1:]).norm(dim=-1).max()) < 0.02


@pytest.mark.parametrize("make", [mo.aligned_motion, mo.frame_motion])
def test_grid_is_the_motion(make) -> None:
    gen = torch.Generator().manual_seed(1)
    motion = make(3, 5, 101, torch.full((3, 2), 200), gen)
    grid, _ = mo.grids(motion, 101)
    y, x = torch.meshgrid(torch.arange(101.0), torch.arange(101.0), indexing="ij")
    points = torch.stack([x, y], -1).view(1, 1, -1, 2).double().expand(3, 5, -1, -1)
    exact = motion.to_canvas(points).permute(0, 1, 3, 2).reshape(3, 5, 2, 101, 101)
    assert float((grid - exact).abs().max()) < 0.02


def test_sizes_of_motion() -> None:
    gen = torch.Generator().manual_seed(2)
    origin = torch.full((64, 2), 192)
    _, aligned = mo.grids(mo.aligned_motion(64, 6, 256, origin, gen), 256)
    _, frame = mo.grids(mo.frame_motion(64, 6, 256, origin, gen), 256)
    typical = aligned[:, 1:].norm(dim=2).mean((1, 2, 3))
    assert 0.3 < float(typical.median()) < 3.0
    assert float(typical.min()) < 0.1
    assert float(frame[:, 1:].norm(dim=2).mean()) > float(typical.mean())
    assert float(frame.abs().max()) < 40.0


def test_reach_covers_every_look_beyond_the_crop() -> None:
    gen = torch.Generator().manual_seed(3)
    origin = torch.full((4, 2), 192)
    motion = mo.aligned_motion(4, 6, 256, origin, gen)
    grid, _ = mo.grids(motion, 256)
    margin = mo.reach(motion, 256, origin)
    assert float(grid.min()) >= 192 - margin
    assert float(grid.max()) <= 192 + 255 + margin
