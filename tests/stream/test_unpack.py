"""Videos become folders of frames, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from stream.unpack import main, unpack_all
from tests.stream.media import Clip, drawn, make_video


def test_every_video_becomes_a_folder_of_its_frames(tmp_path: Path) -> None:
    clip = Clip(frames=5)
    for side, ending in (("source", "mp4"), ("target", "mkv")):
        (tmp_path / "in/train" / side).mkdir(parents=True)
        make_video(tmp_path / "in/train" / side / f"anna.{ending}", clip)
    (tmp_path / "in/notes.txt").write_text("not a video")
    assert main([str(tmp_path / "in"), str(tmp_path / "out")]) == 0
    for side in ("source", "target"):
        frames = sorted((tmp_path / "out/train" / side / "anna").iterdir())
        assert [path.name for path in frames] == [f"{k:06d}.png" for k in range(5)]
        for k in (0, 4):
            rgb = cv2.cvtColor(cv2.imread(str(frames[k])), cv2.COLOR_BGR2RGB)
            assert abs(rgb.astype(int) - drawn(k, 96, 64)).mean() < 3
    assert not list((tmp_path / "out").rglob("*.part"))


def test_a_repeated_run_leaves_what_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    make_video(tmp_path / "in/a.mp4", Clip(frames=3))
    (tmp_path / "out/.b.part").mkdir(parents=True)  # a run that was killed
    (tmp_path / "out/.b.part/000009.png").write_bytes(b"")
    make_video(tmp_path / "in/b.mp4", Clip(frames=2))
    assert dict(unpack_all(tmp_path / "in", tmp_path / "out")) == {"a.mp4": 3, "b.mp4": 2}
    assert len(list((tmp_path / "out/b").iterdir())) == 2
    (tmp_path / "out/a/000000.png").write_bytes(b"mine")
    assert main([str(tmp_path / "in"), str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out == "a.mp4: there already\nb.mp4: there already\n"
    assert (tmp_path / "out/a/000000.png").read_bytes() == b"mine"


def test_a_video_that_breaks_off_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    (tmp_path / "in").mkdir()
    make_video(tmp_path / "in/b.mp4", Clip(frames=2))
    monkeypatch.setattr("stream.unpack.cv2.imencode", interrupted)
    assert main([str(tmp_path / "in"), str(tmp_path / "out")]) == 130
    assert capsys.readouterr().err == "stopped; nothing half-written is left\n"
    assert not list((tmp_path / "out").iterdir())


def test_a_video_whose_name_ends_in_part_is_a_video_like_others(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    make_video(tmp_path / "in/anna.part.mp4", Clip(frames=1))
    list(unpack_all(tmp_path / "in", tmp_path / "out"))
    make_video(tmp_path / "in/anna.mp4", Clip(frames=2))
    assert dict(unpack_all(tmp_path / "in", tmp_path / "out")) == {"anna.mp4": 2, "anna.part.mp4": 0}


def test_a_video_on_its_side_is_turned_upright(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    make_video(tmp_path / "in/a.mp4", Clip(frames=1, rotation=90))
    list(unpack_all(tmp_path / "in", tmp_path / "out"))
    assert cv2.imread(str(tmp_path / "out/a/000000.png")).shape == (96, 64, 3)


def test_what_cannot_be_unpacked_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out")
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/a.mp4").write_bytes(b"no video at all")
    (tmp_path / "twins").mkdir()
    for name in ("a.mp4", "a.mkv"):
        make_video(tmp_path / "twins" / name, Clip(frames=1))
    for folder, word in (
        ("none", "no folder"),
        ("empty", "no videos"),
        ("broken", "a.mp4"),
        ("twins", "one folder"),
    ):
        assert main([str(tmp_path / folder), out]) == 2
        said = capsys.readouterr().err
        assert word in said and said.count("\n") == 1
    assert not list((tmp_path / "out").iterdir())


def test_a_video_beside_a_folder_of_its_name_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in/anna/old").mkdir(parents=True)
    make_video(tmp_path / "in/anna.mp4", Clip(frames=1))
    make_video(tmp_path / "in/anna/old/more.mp4", Clip(frames=1))
    assert main([str(tmp_path / "in"), str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert f"{tmp_path}/in/anna.mp4 would become the folder in which {tmp_path}/in/anna/old/more.mp4" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_each_video_is_told_when_it_is_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    make_video(tmp_path / "in/a.mp4", Clip(frames=2))
    (tmp_path / "in/b.mp4").write_bytes(b"no video at all")
    assert main([str(tmp_path / "in"), str(tmp_path / "out")]) == 2
    told = capsys.readouterr()
    assert told.out == "a.mp4: 2 frames\n"
    assert "b.mp4" in told.err


def test_pixels_are_kept_to_the_bit(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    make_video(tmp_path / "in/a.mkv", Clip(frames=1, codec="ffv1", pix_fmt="bgr0", options={}))
    list(unpack_all(tmp_path / "in", tmp_path / "out"))
    bgr = cv2.imread(str(tmp_path / "out/a/000000.png"))
    assert np.array_equal(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), drawn(0, 96, 64))
