"""A file is there whole, or what was there before is."""

from __future__ import annotations

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


def test_what_is_no_file_is_written_to_as_it_is() -> None:
    write_whole("text", Path("/dev/null"))
    assert not Path("/dev/null").is_file()
