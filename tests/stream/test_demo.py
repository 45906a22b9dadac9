"""The demo: the clip moves smoothly and is the same each time, its files are made, and the user's own file
works."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

import stream.demo as module
from stream.cli import main
from stream.demo import FPS, HEIGHT, WIDTH, clip_frames, demo, write_clip
from stream.face import FaceModels
from tests.stream.media import Clip, FakeRetoucher, drawn, make_video, rgb_frames


@pytest.fixture(scope="module")
def few() -> list[np.ndarray]:
    return list(clip_frames(4))


def test_the_clip_is_the_same_each_time_and_moves_smoothly(few):
    again = list(clip_frames(4))
    assert all(np.array_equal(a, b) for a, b in zip(few, again, strict=True))
    assert few[0].shape == (HEIGHT, WIDTH, 3)
    steps = [np.abs(b.astype(int) - a).mean() for a, b in pairwise(few)]
    # Camera noise of one level alone makes 1.1 of these.
    assert min(steps) > 1.2
    assert max(steps) < 6.0


def test_the_clip_shows_one_large_face(few):
    with FaceModels() as models:
        found = models.detect(few[0])
    assert len(found) == 1
    x0, y0, x1, y1 = found[0].box_px
    assert 200 < x1 - x0 < 500
    assert x0 > 100
    assert y0 > 60
    assert x1 < WIDTH - 100
    assert y1 < HEIGHT - 60


def test_the_clip_is_written_at_thirty_frames_a_second(tmp_path):
    write_clip(tmp_path / "raw.mp4", frames=3)
    frames = rgb_frames(tmp_path / "raw.mp4")
    assert len(frames) == 3
    assert np.abs(frames[0].astype(int) - next(clip_frames(1))).mean() < 2.5


def test_the_built_in_demo_makes_its_files(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(module, "clip_frames", lambda frames: clip_frames(6))
    assert demo(None, str(tmp_path / "demo"), FakeRetoucher) == 0
    names = sorted(path.name for path in (tmp_path / "demo").iterdir())
    assert names == ["compare.mp4", "compare.png", "raw.mp4", "retouched.mp4"]
    assert len(rgb_frames(tmp_path / "demo" / "retouched.mp4")) == 6
    assert rgb_frames(tmp_path / "demo" / "compare.mp4")[0].shape == (HEIGHT, 2 * WIDTH + 2, 3)
    with Image.open(tmp_path / "demo" / "compare.png") as still:
        assert still.size == (1440, 480)
    said = capsys.readouterr().out
    assert "6 frames, face in 6" in said
    assert "ms a frame: decode" in said
    assert "make demo IN=" in said


def test_the_demo_of_a_file_of_ones_own(tmp_path, capsys):
    source = make_video(tmp_path / "mine.mp4", Clip(rotation=90, audio="aac", frames=6))
    assert main(["demo", str(source), "--out", str(tmp_path / "demo")], FakeRetoucher) == 0
    names = sorted(path.name for path in (tmp_path / "demo").iterdir())
    assert names == ["compare.mp4", "compare.png", "retouched.mp4"]
    assert rgb_frames(tmp_path / "demo" / "compare.mp4")[0].shape == (96, 130, 3)
    assert FPS == 30


def test_the_demo_of_an_image(tmp_path):
    Image.fromarray(drawn(0, 64, 48)).save(tmp_path / "mine.jpg")
    assert demo(str(tmp_path / "mine.jpg"), str(tmp_path / "demo"), FakeRetoucher) == 0
    assert sorted(path.name for path in (tmp_path / "demo").iterdir()) == ["compare.png", "retouched.png"]


def test_no_face_leaves_no_still(tmp_path, capsys):
    source = make_video(tmp_path / "my own.mp4", Clip(frames=3))
    (tmp_path / "compare.png").write_bytes(b"of an earlier run")
    assert demo(str(source), str(tmp_path), lambda: FakeRetoucher(0)) == 0
    assert not (tmp_path / "compare.png").exists()
    said = capsys.readouterr().out
    assert "compare.mp4" in said
    assert "compare.png" not in said
    assert f"vretouch file '{source}' OUT.mp4" in said


def test_a_bad_input_leaves_nothing(tmp_path, capsys):
    (tmp_path / "text.mp4").write_text("hello")
    assert main(["demo", str(tmp_path / "text.mp4"), "--out", str(tmp_path / "demo")], FakeRetoucher) == 2
    assert "is not a video" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()
