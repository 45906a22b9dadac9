"""stream.retoucher: the invariants a user of the library relies on."""

import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

import stream
from stream import Retoucher, VretouchError
from stream.crop import invert, transform
from stream.errors import EngineError, FrameError, OptionError
from stream.results import STAGES
from stream.scene import is_cut
from tests.stream.fakes import PATCH, FakeEngine, FakeFinder, face_at, noise_frame


def retoucher(*faces: np.ndarray, engine: FakeEngine | None = None, **options: object) -> Retoucher:
    return Retoucher(engine=engine or FakeEngine(), finder=FakeFinder(*faces), **options)  # type: ignore[arg-type]


def moving(frames: int) -> list[np.ndarray]:
    return [face_at(300 + 3 * k, 180 + 2 * np.sin(k / 5), 0.5 + 0.002 * k) for k in range(frames)]


def run(r: Retoucher, finder: FakeFinder, faces: list[np.ndarray]) -> list[np.ndarray]:
    outs = []
    for k, face in enumerate(faces):
        finder.faces = [face]
        outs.append(r.process(noise_frame(360, 640, seed=0) + np.uint8(k % 3), pts_s=k / 30))
    return outs


def test_the_public_names() -> None:
    assert set(stream.__all__) >= {"Retoucher", "VretouchError"}


def test_the_patch_is_retouched_and_nothing_else() -> None:
    face, frame = face_at(300, 180, 0.5), noise_frame(360, 640)
    with retoucher(face) as r:
        out = r.process(frame)
        (found,) = r.last.faces
    changed = (out != frame).any(axis=2)
    rows, columns = np.nonzero(changed)
    inside = transform(np.stack([columns, rows], axis=1).astype(float), found.alignment)
    assert rows.size > 150
    x0, y0, x1, y1 = found.changed_px
    assert x0 <= columns.min() <= columns.max() < x1
    assert y0 <= rows.min() <= rows.max() < y1
    assert inside[:, 1].min() >= PATCH[0].start - 2
    assert inside[:, 1].max() <= PATCH[0].stop + 2
    assert inside[:, 0].min() >= PATCH[1].start - 2
    assert inside[:, 0].max() <= PATCH[1].stop + 2
    x, y = transform(np.array([[170.0, 280.0]]), invert(found.alignment))[0].round().astype(int)
    np.testing.assert_array_equal(out[y, x].astype(int) - frame[y, x], [10, 10, 10])


def test_the_map_is_nought_off_the_skin() -> None:
    class Everywhere(FakeEngine):
        def step(self, face_rgb_u8, state):
            residual, seen = super().step(face_rgb_u8, state)
            return residual, np.ones_like(seen)

    with Retoucher(engine=Everywhere(), finder=FakeFinder(face_at(300, 180, 0.5))) as r:
        r.process(noise_frame(360, 640))
        (found,) = r.last.faces
    assert found.map[PATCH].min() == 1.0
    assert found.map[0, 0] == found.map[-1, -1] == 0.0
    assert 0.1 < float((found.map == 0).mean()) < 0.9


def test_the_input_is_neither_changed_nor_returned() -> None:
    frame = noise_frame(360, 640)
    before = frame.copy()
    for faces in ([], [face_at(300, 180)]):
        with retoucher(*faces) as r:
            out = r.process(frame)
        assert not np.shares_memory(out, frame)
        np.testing.assert_array_equal(frame, before)


def test_strength_zero_is_bit_identical() -> None:
    frame = noise_frame(360, 640)
    with retoucher(face_at(300, 180), strength=0.0) as r:
        np.testing.assert_array_equal(r.process(frame), frame)
        assert [face.changed_px for face in r.last.faces] == [None]


def test_strength_scales_the_effect_and_can_change() -> None:
    frame = np.full((360, 640, 3), 100, np.uint8)
    with retoucher(face_at(300, 180), strength=0.5) as r:
        assert r.process(frame).max() == 105
        r.strength = 1
        assert r.process(frame).max() == 111


def test_no_face_passes_the_frame_through() -> None:
    frame = noise_frame(360, 640)
    with retoucher() as r:
        np.testing.assert_array_equal(r.process(frame), frame)
        assert r.last.faces == []


def test_streaming_equals_reset_and_replay() -> None:
    faces, finder = moving(12), FakeFinder()
    with Retoucher(engine=FakeEngine(), finder=finder) as r:
        first = run(r, finder, faces)
        r.reset()
        again = run(r, finder, faces)
    with Retoucher(engine=FakeEngine(), finder=finder) as fresh:
        third = run(fresh, finder, faces)
    for a, b, c in zip(first, again, third, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)
    assert any((a != first[0]).any() for a in first[1:])


def test_a_future_frame_changes_nothing_past() -> None:
    faces, finder = moving(10), FakeFinder()
    with Retoucher(engine=FakeEngine(), finder=finder) as r:
        whole = run(r, finder, faces)
        r.reset()
        part = run(r, finder, faces[:4])
    for a, b in zip(part, whole, strict=False):
        np.testing.assert_array_equal(a, b)


def test_two_retouchers_share_an_engine_without_mixing() -> None:
    engine, finder = FakeEngine(), FakeFinder(face_at(300, 180))
    frame = np.full((360, 640, 3), 100, np.uint8)
    with Retoucher(engine=engine, finder=finder) as a, Retoucher(engine=engine, finder=finder) as b:
        assert [a.process(frame).max() for _ in range(3)] == [110, 111, 112]
        assert [b.process(frame).max() for _ in range(3)] == [110, 111, 112]
        assert a.process(frame).max() == 113


def test_a_leap_starts_the_faces_memory_anew() -> None:
    finder, frame = FakeFinder(face_at(300, 180)), np.full((360, 640, 3), 100, np.uint8)
    with Retoucher(engine=FakeEngine(), finder=finder) as r:
        assert [r.process(frame).max() for _ in range(3)] == [110, 111, 112]
        finder.faces = [face_at(420, 180)]
        assert r.process(frame).max() == 110
        assert [face.id for face in r.last.faces] == [0]


def test_two_threads_share_an_engine() -> None:
    engine, outs = FakeEngine(), {}

    def work(name: int) -> None:
        finder = FakeFinder()
        with Retoucher(engine=engine, finder=finder) as r:
            outs[name] = run(r, finder, moving(8))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for a, b in zip(outs[0], outs[1], strict=True):
        np.testing.assert_array_equal(a, b)


def test_each_face_has_its_own_state() -> None:
    engine = FakeEngine()
    finder = FakeFinder(face_at(150, 180, 0.3), face_at(450, 180, 0.3))
    with Retoucher(engine=engine, finder=finder, max_faces=2) as r:
        for _ in range(3):
            out = r.process(np.full((360, 640, 3), 100, np.uint8))
        assert engine.states_made == 2
        assert [f.id for f in r.last.faces] == [0, 1]
    assert out[:, :300].max() == 112
    assert out[:, 300:].max() == 112


def test_a_scene_cut_gives_a_new_state_at_full_effect() -> None:
    engine, finder = FakeEngine(), FakeFinder(face_at(300, 180))
    dark = np.full((360, 640, 3), 60, np.uint8)
    dark[:180] = 20
    bright = np.full((360, 640, 3), 190, np.uint8)
    bright[:180] = 230
    with Retoucher(engine=engine, finder=finder) as r:
        for k in range(4):
            r.process(dark, k / 30)
            assert r.last.restarted == (k == 0)
        out = r.process(bright, 4 / 30)
        assert r.last.restarted
        assert r.last.faces[0].fade == 1.0
    assert engine.states_made == 2
    assert out[180:].max() == 200


@pytest.mark.parametrize(
    ("pts", "states"),
    [([0.0, 0.4, 0.8], 1), ([0.0, 0.1, 0.7], 2), ([1.0, 1.1, 0.5], 2), ([0.0, 0.0, 0.1], 1)],
)
def test_gaps_and_steps_back_in_time_start_anew(pts: list[float], states: int) -> None:
    engine = FakeEngine()
    with retoucher(face_at(300, 180), engine=engine) as r:
        for pts_s in pts:
            r.process(noise_frame(360, 640), pts_s)
    assert engine.states_made == states


def test_a_face_leaves_and_returns() -> None:
    finder, engine = FakeFinder(face_at(300, 180)), FakeEngine()
    frame = np.full((360, 640, 3), 100, np.uint8)
    with Retoucher(engine=engine, finder=finder) as r:
        tops = []
        for k in range(60):
            finder.faces = [] if 10 <= k < 30 else [face_at(300, 180)]
            tops.append(int(r.process(frame, k / 30).max()))
    assert tops[9] == 113
    assert 100 < tops[12] < tops[10] < 113
    assert tops[20:30] == [100] * 10
    assert 100 < tops[30] < tops[34]
    assert tops[-1] == 113
    assert engine.states_made == 2


def test_a_change_of_frame_size_mid_stream_is_taken() -> None:
    with retoucher(face_at(150, 120, 0.3)) as r:
        for shape in ((360, 640), (480, 480), (241, 333)):
            frame = noise_frame(*shape)
            assert r.process(frame).shape == frame.shape
            assert r.last.restarted
            assert r.last.faces[0].fade == 1.0


@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (17, 31), (1, 400), (4320, 7680)])
def test_any_frame_size(shape: tuple[int, int]) -> None:
    frame = np.zeros((*shape, 3), np.uint8)
    face = face_at(shape[1] / 2, shape[0] / 2, min(shape) / 512)
    with retoucher(face) as r:
        out = r.process(frame)
    assert out.shape == frame.shape
    assert (out != 0).any() == (min(shape) >= 16)


def test_last_describes_the_frame() -> None:
    face = face_at(300, 180, 0.5)
    with retoucher(face) as r:
        r.process(noise_frame(360, 640))
        assert list(r.last.stage_ms) == list(STAGES)
        assert all(ms >= 0 for ms in r.last.stage_ms.values())
        assert r.last.stage_ms["total"] >= r.last.stage_ms["composite"] > 0
        (found,) = r.last.faces
    assert found.map.shape == (512, 512)
    assert found.map.dtype == np.float32
    assert found.map[PATCH].min() == 1.0
    np.testing.assert_array_equal(found.landmarks_px, face)
    np.testing.assert_allclose(found.box_px, [*face.min(axis=0), *face.max(axis=0)])
    assert found.alignment.shape == (2, 3)
    assert (found.id, found.fade) == (0, 1.0)


def test_non_contiguous_and_read_only_frames_are_taken() -> None:
    frame = noise_frame(360, 640)
    mirrored = frame[:, ::-1][:, ::-1]
    frozen = frame.copy()
    frozen.flags.writeable = False
    with retoucher(face_at(300, 180)) as r:
        wanted = r.process(frame)
        for variant in (mirrored, frozen, np.asfortranarray(frame)):
            r.reset()
            np.testing.assert_array_equal(r.process(variant), wanted)


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (np.zeros((8, 8, 3), np.float32), "float32"),
        (np.zeros((8, 8), np.uint8), r"\[8, 8\]"),
        (np.zeros((8, 8, 4), np.uint8), r"\[8, 8, 4\]"),
        (np.zeros((0, 8, 3), np.uint8), "no pixels"),
        ([[1, 2, 3]], "list"),
        (None, "NoneType"),
    ],
)
def test_wrong_frames_are_refused_with_what_was_found_and_wanted(frame: object, said: str) -> None:
    with retoucher() as r:
        with pytest.raises(FrameError, match=said) as caught:
            r.process(frame)  # type: ignore[arg-type]
        assert "uint8" in str(caught.value)
        assert isinstance(caught.value, VretouchError)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("pts_s", [float("nan"), float("inf"), "1.5"])
def test_a_time_that_is_no_time_is_refused(pts_s: float) -> None:
    with retoucher() as r, pytest.raises(FrameError, match="pts_s"):
        r.process(noise_frame(8, 8), pts_s)


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan"), "much", True])
def test_strength_outside_its_range(strength: float) -> None:
    with pytest.raises(OptionError, match="strength must be a number from 0 to 1"):
        retoucher(strength=strength)


@pytest.mark.parametrize("max_faces", [0, -1, 1.5, True, 17, None])
def test_max_faces_outside_its_range(max_faces: int) -> None:
    with pytest.raises(OptionError, match="max_faces must be a whole number from 1 to 16"):
        retoucher(max_faces=max_faces)


def test_numbers_of_numpy_are_numbers() -> None:
    with retoucher(strength=np.float32(0.5), max_faces=np.int64(2)) as r:
        assert r.strength == 0.5
        r.process(noise_frame(8, 8), np.float64(0.1))


@pytest.mark.parametrize("engine", [None, 3])
def test_what_is_no_engine(engine: object) -> None:
    with pytest.raises(EngineError, match="engine must be a name or a loaded engine"):
        Retoucher(engine=engine, finder=FakeFinder())  # type: ignore[arg-type]


def test_unknown_preset() -> None:
    with pytest.raises(EngineError, match="live, studio, paper"):
        retoucher(preset="film")


def test_a_closed_retoucher_says_so() -> None:
    r = retoucher()
    r.close()
    r.close()
    with pytest.raises(VretouchError, match="closed"):
        r.process(noise_frame(8, 8))


def test_a_finder_brought_along_is_not_closed() -> None:
    finder = FakeFinder()
    Retoucher(engine=FakeEngine(), finder=finder).close()
    assert not finder.closed


def test_light_alone_is_no_cut() -> None:
    scene = np.random.default_rng(0).uniform(0, 150, (18, 32)).astype(np.float32)
    other = np.random.default_rng(1).uniform(0, 150, (18, 32)).astype(np.float32)
    assert not is_cut(scene, scene + np.float32(60))
    assert not is_cut(scene, scene * np.float32(0.9) + np.float32(3))
    assert is_cut(scene, other)
    assert is_cut(np.zeros((18, 32), np.float32), np.full((18, 32), 200, np.float32))


def clip_frames(path: Path, count: int) -> list[np.ndarray]:
    """The first frames of a clip, uint8 RGB."""
    capture, frames = cv2.VideoCapture(str(path)), []
    for _ in range(count):
        there, frame = capture.read()
        assert there
        frames.append(np.ascontiguousarray(frame[:, :, ::-1]))
    capture.release()
    return frames


def test_real_clips_are_followed_and_cut_apart(shared_data: Path) -> None:
    names, seen = ("talk-720p.mp4", "talk-480p.mp4", "small-face.mkv"), []
    with Retoucher(engine=FakeEngine()) as r:
        for name in names:
            for frame in clip_frames(shared_data / "clips" / name, 30):
                out = r.process(frame)
                (face,) = r.last.faces
                seen.append((face.id, r.last.restarted, face.fade))
                x0, y0, x1, y1 = face.changed_px
                untouched = out.copy()
                untouched[y0:y1, x0:x1] = frame[y0:y1, x0:x1]
                np.testing.assert_array_equal(untouched, frame)
                assert (out != frame).any()
    assert [face_id for face_id, _, _ in seen] == [0] * 30 + [1] * 30 + [2] * 30
    assert [restarted for _, restarted, _ in seen] == ([True] + [False] * 29) * 3
    assert {fade for _, _, fade in seen} == {1.0}


def test_the_default_finder_is_mediapipe_and_is_closed() -> None:
    with Retoucher(engine=FakeEngine()) as r:
        frame = noise_frame(17, 31)
        np.testing.assert_array_equal(r.process(frame), frame)
    with pytest.raises(VretouchError, match="closed"):
        r.process(frame)
