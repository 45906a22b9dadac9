"""The rivals do what they stand for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stream.composite import add_residual, skin_guard
from stream.crop import FACE_PX, alignment, crop_face, transform
from stream.device import GuardedFace, guarded
from stream.retoucher import Retoucher
from tests.conftest import require
from tests.stream.fakes import FakeEngine, FakeFinder, face_at, noise_frame

torch = require("torch")

from bench import networks, pipeline  # noqa: E402
from bench.device import Cpu  # noqa: E402
from bench.matting import seeded_matting  # noqa: E402
from bench.operations import operations, step_operations  # noqa: E402
from bench.rivals import GridSample, MattingTensors, theta  # noqa: E402

LANDMARKS = face_at(300.0, 190.0, 0.9, 0.2)
TO_FACE = alignment(LANDMARKS)


@pytest.fixture(scope="module")
def plain() -> GridSample:
    return GridSample(networks.network_of("tiny"), Cpu(1), 1)


@pytest.fixture(scope="module")
def frame() -> np.ndarray:
    """Smooth, so that what differs is not the interpolation's last bit."""
    small = noise_frame(12, 20).astype(np.float32)
    ups = torch.nn.functional.interpolate(
        torch.from_numpy(small).permute(2, 0, 1)[None], size=(360, 600), mode="bicubic"
    )
    return ups[0].permute(1, 2, 0).clamp(0, 255).to(torch.uint8).numpy()


def test_the_plain_crop_is_ours_to_a_level(plain: GridSample, frame: np.ndarray) -> None:
    pixels = torch.from_numpy(frame).permute(2, 0, 1)[None].float()
    got = plain.crop(pixels, [TO_FACE])[0].permute(1, 2, 0).numpy()
    assert np.abs(got - crop_face(frame, TO_FACE)).max() <= 2.0


def test_the_plain_paste_is_ours_to_a_level(plain: GridSample, frame: np.ndarray) -> None:
    residual = np.zeros((FACE_PX, FACE_PX, 3), np.float32)
    residual[200:330, 150:380] = (12.0, -9.0, 5.0)
    guard = skin_guard(transform(LANDMARKS, TO_FACE))
    wanted = frame.copy()
    add_residual(wanted, residual, guard, TO_FACE, 1.0)
    pixels = torch.from_numpy(frame).permute(2, 0, 1)[None].float()
    planes = torch.from_numpy(residual).permute(2, 0, 1)[None]
    got = plain.paste(pixels, planes, guard[None], [TO_FACE]).numpy()
    assert np.abs(wanted.astype(int) - frame).max() >= 9
    assert np.abs(got.astype(int) - wanted).max() <= 1


def test_pixel_centres_fall_on_pixel_centres() -> None:
    every_other = np.array([[2.0, 0.0, 3.0], [0.0, 2.0, 5.0]])
    picture = torch.arange(20 * 10, dtype=torch.float32).reshape(1, 1, 10, 20)
    given = torch.from_numpy(theta(every_other, (4, 2), (20, 10))).float()[None]
    grid = torch.nn.functional.affine_grid(given, [1, 1, 2, 4], align_corners=False)
    seen = torch.nn.functional.grid_sample(picture, grid, align_corners=False)
    assert torch.allclose(seen[0, 0], picture[0, 0, 5:8:2, 3:10:2], atol=1e-3)


def test_the_plain_way_goes_from_frame_to_frame_with_several_faces() -> None:
    finder = FakeFinder(face_at(200, 180, 0.3), face_at(450, 180, 0.3))
    with Retoucher(engine=FakeEngine(), finder=finder, max_faces=2) as retoucher:
        shots = pipeline.shots_of(noise_frame(90, 160), (640, 360), 2, retoucher)
    way, marks = GridSample(networks.network_of("tiny"), Cpu(1), 2), []
    out = way.frame(shots[0], marks.append)
    assert marks == list(way.places)
    assert out.dtype == np.uint8
    changed = (out != shots[0].frame_u8).any(axis=2)
    assert changed[:, :320].any()
    assert changed[:, 320:].any()
    assert not changed[:, :100].any()
    one = step_operations(networks.network_of("tiny"), torch.float32)
    two = way.works(shots[0])["step"]
    assert sum(w.flops for w in two) == pytest.approx(2.0 * sum(w.flops for w in one))


def test_the_plain_way_takes_the_guards_that_were_made_beforehand() -> None:
    finder = FakeFinder(face_at(200, 180, 0.3))
    with Retoucher(engine=FakeEngine(), finder=finder) as retoucher:
        shot = pipeline.shots_of(noise_frame(90, 160), (640, 360), 1, retoucher)[0]
    ready = guarded(shot.located, shot.frame_u8.shape)
    (face,) = ready.faces
    assert isinstance(face, GuardedFace)
    shut = replace(ready, faces=(replace(face, skin=np.zeros_like(face.skin)),))
    found, made, none = (
        GridSample(networks.network_of("tiny"), Cpu(1), 1).frame(replace(shot, located=each), lambda _: None)
        for each in (shot.located, ready, shut)
    )
    assert (found != shot.frame_u8).any()
    np.testing.assert_array_equal(made, found)
    np.testing.assert_array_equal(none, shot.frame_u8)


def test_the_matting_network_is_as_large_as_its_model_and_remembers() -> None:
    network = seeded_matting()
    frame = torch.rand((1, 3, 90, 160))
    memory = network.fresh_memory(frame, 0.5)
    first = network(frame, memory, 0.5)
    assert first.foreground.shape == (1, 3, 90, 160)
    assert first.alpha.shape == (1, 1, 90, 160)
    assert [m.shape for m in first.memory] == [m.shape for m in memory]
    second = network(frame, first.memory, 0.5)
    assert float((second.alpha - first.alpha).abs().max()) > 1e-5
    again = seeded_matting()(frame, memory, 0.5)
    assert torch.equal(again.alpha, first.alpha)
    # RobustVideoMatting with MobileNetV3 has 3.75 million weights.
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(3.75e6, rel=0.01)


def test_the_matting_network_costs_at_1080p_about_what_its_model_does() -> None:
    network = seeded_matting().to("meta")
    frame = torch.zeros((1, 3, 1080, 1920), device="meta")
    memory = network.fresh_memory(frame, 0.25)
    flops = sum(work.flops for work in operations(lambda: network(frame, memory, 0.25)))
    assert 3.5 < flops / 2e9 < 5.0


def test_the_matting_network_is_timed_as_a_pipeline() -> None:
    device = Cpu(1)
    way, marks = MattingTensors(device, (640, 360)), []
    kept = [m.clone() for m in way.memory]
    way.frame(None, marks.append)
    assert marks == ["step"]
    assert not any(torch.equal(a, b) for a, b in zip(kept, way.memory, strict=True))
    assert sum(work.flops for work in way.works(None)["step"]) > 1e9
