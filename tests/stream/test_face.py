"""stream.face: the mediapipe adapter, on a public-domain portrait and, where at hand, on clips."""

import math
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from stream.crop import alignment, scale_of
from stream.errors import FaceModelError
from stream.face import FaceModels, Roi, _Graph, _landmark_list, box_around, roi_around
from tests.conftest import require
from tests.stream.fakes import face_at, noise_frame


@pytest.fixture(scope="module")
def models() -> FaceModels:
    return FaceModels()


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    """uint8 [512, 512, 3] RGB: NASA's portrait of Eileen Collins, public domain, in scikit-image."""
    require("skimage")
    from skimage.data import astronaut

    return np.ascontiguousarray(astronaut())


def first_landmarks(models: FaceModels, frame: np.ndarray) -> np.ndarray:
    found = models.detect(frame)
    assert found
    landmarks = models.landmarks_px(frame, found[0].roi)
    assert landmarks is not None
    again = models.landmarks_px(frame, roi_around(landmarks))
    assert again is not None
    return again


def test_detects_and_marks_a_face(models: FaceModels, astronaut: np.ndarray) -> None:
    (detection,) = models.detect(astronaut)
    assert 0.5 < detection.score <= 1.0
    marks = first_landmarks(models, astronaut)
    assert marks.shape == (468, 2)
    assert marks.dtype == np.float32
    right_eye, left_eye, chin = marks[[33, 133]].mean(axis=0), marks[[263, 362]].mean(axis=0), marks[152]
    np.testing.assert_allclose(right_eye, (200, 107), atol=8)
    np.testing.assert_allclose(left_eye, (243, 107), atol=10)
    assert chin[1] > left_eye[1] + 40


def test_the_same_question_gets_the_same_answer(models: FaceModels, astronaut: np.ndarray) -> None:
    roi = models.detect(astronaut)[0].roi
    first = models.landmarks_px(astronaut, roi)
    models.landmarks_px(np.ascontiguousarray(astronaut[::-1]), roi)
    np.testing.assert_array_equal(models.landmarks_px(astronaut, roi), first)


def test_landmarks_move_with_the_picture(models: FaceModels, astronaut: np.ndarray) -> None:
    marks = first_landmarks(models, astronaut)
    big = cv2.resize(astronaut, None, fx=2.0, fy=2.0, interpolation=cv2.INTER_CUBIC)
    moved = np.roll(big, (60, 100), (0, 1))
    again = first_landmarks(models, moved)
    assert np.abs(again - (marks * 2 + [100, 60])).mean() < 3


def test_a_turned_face_keeps_its_shape(models: FaceModels, astronaut: np.ndarray) -> None:
    marks = first_landmarks(models, astronaut)
    turn = cv2.getRotationMatrix2D((222.0, 115.0), 35, 1.0)
    turned = cv2.warpAffine(astronaut, turn, (512, 512), borderMode=cv2.BORDER_REPLICATE)
    again = first_landmarks(models, turned)
    assert np.abs(again - (marks @ turn[:, :2].T + turn[:, 2])).mean() < 3


@pytest.mark.parametrize("width", [60, 1920, 7680])
def test_any_scale_of_frame_gives_the_same_face(
    models: FaceModels, astronaut: np.ndarray, width: int
) -> None:
    marks = first_landmarks(models, astronaut)
    head = astronaut[:256, 94:350]
    scaled = cv2.resize(
        head, (width, width), interpolation=cv2.INTER_AREA if width < 256 else cv2.INTER_LINEAR
    )
    again = first_landmarks(models, scaled) * (256 / width) + [94, 0]
    assert np.abs(again - marks).mean() < 4


@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (3, 700), (33, 17)])
def test_tiny_and_odd_frames_hold_no_face(models: FaceModels, shape: tuple[int, int]) -> None:
    frame = noise_frame(*shape)
    assert models.detect(np.full_like(frame, 128)) == []
    models.detect(frame)
    assert models.landmarks_px(frame, Roi(shape[1] / 2, shape[0] / 2, 40.0, 0.0)) is None


@pytest.mark.parametrize("side", [0.0, 1.0, math.nan, math.inf])
def test_a_region_of_no_size_holds_no_face(models: FaceModels, astronaut: np.ndarray, side: float) -> None:
    assert models.landmarks_px(astronaut, Roi(222.0, 115.0, side, 0.0)) is None


def test_a_region_without_a_face_gives_none(models: FaceModels) -> None:
    assert models.landmarks_px(np.full((300, 300, 3), 128, np.uint8), Roi(150, 150, 200, 0.0)) is None


START = """
import numpy as np
from stream.face import FaceModels
with FaceModels() as models:
    models.detect(np.zeros((64, 64, 3), np.uint8))
"""
NO_EXTRAS = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"matplotlib", "jax", "absl", "attr", "flatbuffers", "sounddevice", "scipy"}:
            raise ImportError(name + " is not installed")
sys.meta_path.insert(0, Absent())
"""


@pytest.mark.parametrize("before", ["", NO_EXTRAS])
def test_the_models_start_without_a_word_and_without_mediapipes_extras(before: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", before + START],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_graph_that_cannot_start_says_what_to_install() -> None:
    with pytest.raises(FaceModelError, match="pip install mediapipe") as caught:
        _Graph('input_stream: "image"\noutput_stream: "found"\nnode { calculator: "NoSuchCalculator" }')
    assert "\n" not in str(caught.value)


def test_landmarks_of_an_unknown_layout_are_refused() -> None:
    with pytest.raises(FaceModelError, match="18 bytes"):
        _landmark_list(b"x" * 18)


def test_roi_turns_with_the_eyes_and_holds_the_face() -> None:
    face = face_at(300, 200, 0.5, turn=0.5)
    roi = roi_around(face)
    assert roi.angle == pytest.approx(0.5, abs=0.02)
    window = roi.to_window(192)
    inside = face @ window[:, :2].T + window[:, 2]
    assert inside.min() > 20
    assert inside.max() < 172
    eyes = inside[[33, 263]]
    assert eyes[0, 1] == pytest.approx(eyes[1, 1], abs=1)


def test_box_around_is_tight() -> None:
    face = face_at(300, 200)
    np.testing.assert_array_equal(box_around(face), [*face.min(axis=0), *face.max(axis=0)])


def frames_of(path: Path, count: int) -> list[np.ndarray]:
    capture = cv2.VideoCapture(str(path))
    frames = []
    while len(frames) < count:
        there, frame = capture.read()
        if not there:
            break
        frames.append(np.ascontiguousarray(frame[:, :, ::-1]))
    capture.release()
    return frames


@pytest.mark.parametrize(
    ("clip", "width_px"), [("talk-720p.mp4", 210), ("talk-480p.mp4", 230), ("small-face.mkv", 60)]
)
def test_faces_of_real_clips_are_found_at_once(
    models: FaceModels, shared_data: Path, clip: str, width_px: float
) -> None:
    frame = frames_of(shared_data / "clips" / clip, 1)[0]
    marks = first_landmarks(models, frame)
    width = float(np.ptp(marks[:, 0]))
    assert 0.75 * width_px < width < 1.3 * width_px


def test_a_still_face_with_camera_noise_rests(models: FaceModels, astronaut: np.ndarray) -> None:
    """The alignment of a face that does not move stays within a fraction of a tenth of a pixel."""
    from stream.tracker import Tracker

    big = cv2.resize(astronaut, None, fx=3.0, fy=3.0, interpolation=cv2.INTER_CUBIC)[:720]
    rng, tracker, places = np.random.default_rng(0), Tracker(models, 1), []
    for _ in range(60):
        noisy = np.clip(big + rng.normal(0, 3, big.shape), 0, 255).astype(np.uint8)
        (track,) = tracker.update(noisy, 1 / 30)
        track.align()
        matrix = track.alignment
        linear = np.linalg.inv(matrix[:, :2])
        corners = np.array([[60.0, 60], [450, 60], [60, 450], [450, 450]])
        places.append((corners - matrix[:, 2]) @ linear.T)
    steps = np.diff(np.array(places[20:]), axis=0)
    assert scale_of(alignment(track.landmarks_px)) == pytest.approx(scale_of(track.alignment), rel=0.01)
    assert np.sqrt(np.square(steps).mean()) < 0.03
    assert np.array(places[20:]).std(axis=0).max() < 0.1
