"""A file is there whole, or what was there before is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from model.whole import part_of, write_whole


def test_what_was_there_stays_until_the_new_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "history.json"
    write_whole("old", path)
    with part_of(path) as part:
        part.write_text("new")
        assert path.read_text() == "old" and part.suffix == path.suffix
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_a_writing_that_fails_leaves_what_was_there_and_no_half(tmp_path: Path) -> None:
    path = tmp_path / "curves.png"
    path.write_bytes(b"old")

    def halfway() -> None:
        with part_of(path) as part:
            part.write_bytes(b"ne")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        halfway()
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_whole("text", tmp_path / "nowhere/file.md")


def test_a_pipe_is_written_to_and_a_link_followed(tmp_path: Path) -> None:
    pipe, link, target = (tmp_path / name for name in ("pipe", "link.md", "target.md"))
    os.mkfifo(pipe)
    end = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_whole("text", pipe)
        assert os.read(end, 99) == b"text" and pipe.is_fifo()
    finally:
        os.close(end)
    target.write_text("old")
    link.symlink_to(target)
    write_whole("new", link)
    assert link.is_symlink() and target.read_text() == "new"
