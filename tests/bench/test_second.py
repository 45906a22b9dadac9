"""The second generator: marks of the promised size and colour, a head that turns, a codec that is real."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.footage import through_h264
from bench.report import BenchError
from bench.second import clips, head, marks
from bench.second.clips import Face, SecondClips, from_lab, stage, to_lab, without_own_marks
from bench.second.marks import IMPERFECTIONS, Canvas
from stream.portraits import CANVAS_PX
from stream.regions import CHEEKS, FOREHEAD, OVAL, SKIN

LIGHT = np.array([0.0, -1.0], np.float32)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def plain_face(skin: tuple[int, int, int] = (200, 160, 140)) -> Face:
    """A disc of even skin on grey, its upper half forehead, its lower half cheeks."""
    y, x = np.mgrid[0:CANVAS_PX, 0:CANVAS_PX]
    inside = (x - 320) ** 2 + (y - 320) ** 2 < 200**2
    bits = np.where(inside, SKIN | OVAL, 0) + np.where(inside, np.where(y < 320, FOREHEAD, CHEEKS), 0)
    picture = np.where(inside[..., None], np.array(skin), 128)
    return Face("plain", picture.astype(np.uint8), bits.astype(np.uint8), 2.6)


def laid(name: str, lightness: float = 65.0, seed: int = 0) -> Canvas:
    canvas = Canvas.empty(64)
    centre = np.array([32.0, 32.0], np.float32)
    marks.lay(canvas, IMPERFECTIONS[name], centre, 2.6, lightness, LIGHT, rng(seed))
    return canvas


def test_a_papule_is_red_and_as_wide_as_dermatology_says() -> None:
    for seed in range(20):
        canvas = laid("papule", seed=seed)
        assert canvas.shift[..., 1].max() > 4.0
        across_mm = 2.0 * np.sqrt((canvas.cover > 0.5).sum() / np.pi) / 2.6
        assert 0.8 < across_mm < 6.5
        assert canvas.cover[0].max() == canvas.cover[:, 0].max() == 0.0


def test_a_pustule_is_pale_in_the_middle_and_a_comedone_dark() -> None:
    assert laid("pustule").shift[32, 32, 0] > 0.0
    assert laid("open comedone").shift[32, 32, 0] < -4.0


def test_a_scar_is_a_pit_that_is_lit_from_below() -> None:
    light = np.mean([laid("ice-pick scar", seed=seed).shift[..., 0] for seed in range(12)], axis=0)
    assert light[33:40].mean() > light[25:32].mean()


def test_dark_skin_shows_red_less_and_brown_more() -> None:
    dark, pale = laid("brown mark", 30.0), laid("brown mark", 75.0)
    assert np.abs(dark.shift[..., 1]).max() < np.abs(pale.shift[..., 1]).max()
    assert dark.shift[..., 0].min() < pale.shift[..., 0].min()


def test_where_marks_meet_the_stronger_one_is_seen() -> None:
    canvas = laid("papule")
    once = np.abs(canvas.shift).sum(-1).max()
    for seed in range(6):
        centre = np.array([32.0, 32.0], np.float32)
        marks.lay(canvas, IMPERFECTIONS["papule"], centre, 2.6, 65.0, LIGHT, rng(seed))
    assert np.abs(canvas.shift).sum(-1).max() < 3.0 * once


def test_places_lie_in_their_zone_and_cluster() -> None:
    bits = plain_face().bits
    found = marks.places(bits, CHEEKS, 200, 0.4, rng())
    assert len(found) > 100
    x, y = found.astype(int).T
    assert ((bits[y, x] & CHEEKS) > 0).all()
    near = [np.sort(np.hypot(*(p - points).T))[1] for points in (found,) for p in points]
    even = marks.places(bits, CHEEKS, 200, 0.0, rng())
    near_even = [np.sort(np.hypot(*(p - even).T))[1] for p in even]
    assert np.median(near) < np.median(near_even)
    assert len(marks.places(np.zeros_like(bits), CHEEKS, 5, 0.4, rng())) == 0


def test_the_head_turns_and_its_grid_is_the_inverse_of_where_it_is_shown() -> None:
    moving = head.moving_head(np.array([320.0, 330.0]), 190.0, 6, head.BEFORE_A_CAMERA, rng(3))
    grids, flows = head.frame_grids(moving, 640, 0)
    y, x = np.mgrid[0:640, 0:640].astype(np.float64)
    for t in range(6):
        back = moving.shown_at(grids[t].astype(np.float64), t)
        assert np.abs(back - np.dstack([x, y])).max() < 0.02
    assert not flows[0].any()
    assert 0.2 < np.abs(flows[1:]).max() < 40.0
    # A solid: the nose moves by another way than the rim of the face.
    assert np.abs(flows[3, 330, 320] - flows[3, 330, 140]).max() > 0.1


def test_the_portraits_own_red_spots_are_gone_and_nothing_else() -> None:
    face = plain_face()
    spotted = Face(face.name, face.picture.copy(), face.bits, face.mm_px)
    spotted.picture[400:406, 300:306] = (210, 120, 110)
    cleaned = np.rint(255.0 * without_own_marks(spotted))
    assert np.abs(cleaned[402, 302] - face.picture[402, 302]).max() <= 3
    away = np.ones(face.bits.shape, bool)
    away[390:416, 290:316] = False
    assert np.array_equal(cleaned[away], spotted.picture[away])


def test_a_dark_spot_of_the_portrait_goes_and_a_mole_stays() -> None:
    face = plain_face()
    spotted = Face(face.name, face.picture.copy(), face.bits, face.mm_px)
    spotted.picture[400:406, 300:306] = (170, 134, 116)
    spotted.picture[400:408, 360:368] = (80, 55, 45)
    cleaned = np.rint(255.0 * without_own_marks(spotted))
    assert np.abs(cleaned[402, 302] - face.picture[402, 302]).max() <= 3
    assert np.array_equal(cleaned[396:412, 356:372], spotted.picture[396:412, 356:372])


def test_a_crease_of_the_portrait_stays() -> None:
    face = plain_face()
    lined = Face(face.name, face.picture.copy(), face.bits, face.mm_px)
    lined.picture[400:403, 280:360] = (160, 125, 108)
    assert np.array_equal(np.rint(255.0 * without_own_marks(lined)), lined.picture)


def test_what_stays_is_on_both_and_what_goes_on_raw_alone() -> None:
    face = plain_face()
    changed = moles = 0
    for seed in range(8):
        scene = stage(face, rng(seed))
        difference = np.abs(scene.raw - scene.target).max(-1)
        outside = (face.bits & SKIN) == 0
        assert difference[outside & (scene.keep == 0)][:100].max() < 0.02
        assert difference[scene.keep > 0.5].max(initial=0.0) < 0.12
        changed += int((difference > 0.02).any())
        moles += int((scene.keep > 0.5).any())
    assert changed == 8
    assert moles >= 4


def test_lab_goes_there_and_back() -> None:
    picture = rng().random((16, 16, 3)).astype(np.float32)
    assert np.abs(from_lab(to_lab(picture)) - picture).max() < 4e-3


def test_h264_keeps_the_frames_and_loses_more_at_a_higher_factor() -> None:
    ramp = np.linspace(40, 200, 128)[None, None, :, None]
    frames = np.rint(ramp + 12.0 * rng().normal(size=(4, 96, 128, 3))).clip(0, 255).astype(np.uint8)
    fine, coarse = (through_h264(frames, crf) for crf in (16, 34))
    assert fine.shape == coarse.shape == frames.shape
    errors = [np.abs(f.astype(int) - frames).mean() for f in (fine, coarse)]
    assert 0.0 < errors[0] < errors[1]


def test_the_same_seed_gives_the_same_clip(tmp_path: Path) -> None:
    face = plain_face()
    np.save(tmp_path / "faces.npy", face.picture[None])
    np.save(tmp_path / "regions.npy", face.bits[None])
    landmarks = np.zeros((1, 468, 2), np.float32)
    landmarks[:, [33, 133]], landmarks[:, [362, 263]] = (250, 290), (400, 290)
    np.save(tmp_path / "landmarks.npy", landmarks)
    (tmp_path / "index.json").write_text('[{"file": "plain.png", "split": "heldout"}]')
    first, again, other = (next(SecondClips(tmp_path, 2, seed, True)(1)) for seed in (5, 5, 6))
    assert np.array_equal(first.raw_u8, again.raw_u8)
    assert not np.array_equal(first.raw_u8, other.raw_u8)
    assert first.raw_u8.shape == (2, 512, 512, 3)


def test_a_folder_without_held_out_faces_is_refused(tmp_path: Path) -> None:
    (tmp_path / "index.json").write_text('[{"file": "a.png", "split": "train"}]')
    with pytest.raises(BenchError, match="held-out"):
        SecondClips(tmp_path, 2, 0, True)


def test_colour_alone_loses_its_resolution() -> None:
    grey = np.zeros((8, 8, 3), np.float32)
    grey[3, 3] = -0.2
    assert np.abs(clips._ycc(grey)[..., 1:]).max() < 1e-6
    assert clips._ycc(grey)[3, 3, 0] == pytest.approx(-0.2)
    red = np.zeros((8, 8, 3), np.float32)
    red[3, 3, 0] = 0.2
    assert 0.0 < clips._ycc(red)[3, 3, 2] < 0.05


def test_only_what_the_codec_left_of_a_mark_is_taken_off() -> None:
    painted = np.zeros((64, 64, 3), np.float32)
    painted[20:28, 20:28] = (-0.02, 0.12, 0.12)
    inside = (slice(20, 28), slice(20, 28))
    for share in (0.0, 0.5, 1.0, 1.4):
        found = clips._survived(painted, share * painted)[inside].mean((0, 1))
        assert found == pytest.approx(min(share, 1.0) * painted[inside].mean((0, 1)), abs=0.012)
    assert not clips._survived(np.zeros_like(painted), painted).any()


def test_the_target_of_a_coded_clip_is_no_greener_than_clean_skin() -> None:
    """Small red spots, of which x264 loses much of the colour."""
    spotted = np.full((2, 128, 128, 3), (200, 160, 140), np.uint8)
    painted = np.zeros(spotted.shape, np.float32)
    for x in range(20, 120, 18):
        spotted[:, x : x + 4, x : x + 4] = (205, 130, 115)
        painted[:, x : x + 4, x : x + 4] = np.array([-5, 30, 25], np.float32) / 255.0
    shown, less = clips._coded(spotted, painted, 28)
    target = shown + 255.0 * less
    clean = through_h264(np.full_like(spotted, (200, 160, 140)), 28)
    assert np.abs(target - clean)[:, 16:116, 16:116].mean((0, 1, 2)).max() < 1.0
    spots = painted[..., 1] > 0
    assert np.abs((target - clean)[spots].mean(0)).max() < 6.0
    assert np.abs((shown - clean)[spots].mean(0)).max() > 10.0


def test_what_a_codec_does_not_show_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    face = plain_face()
    scene = stage(face, rng(1))
    monkeypatch.setattr(clips, "through_h264", lambda frames, _: np.full_like(frames, 128))
    for coded, seen in ((0.0, True), (1.0, False)):
        monkeypatch.setattr(clips, "CODED", coded)
        footage = clips.film(face, scene, 2, True, rng(1))
        assert (footage.map > 0.1).any() == seen
        assert (np.abs(footage.raw_u8.astype(int) - footage.target_u8) > 3).any() == seen
