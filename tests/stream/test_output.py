"""The place of a result: checked first, filled in one step, left as it was after a failure."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from stream.output import OutputError, OutputFile, check_output, write_error


def test_what_may_not_be_written(tmp_path, monkeypatch):
    there = tmp_path / "there.mp4"
    there.write_bytes(b"old")
    link = tmp_path / "link.mp4"
    link.symlink_to(there)
    os.mkfifo(tmp_path / "pipe")
    cases = [
        (there, None, "is there already; add --force"),
        (there, there, "is the input itself"),
        (link, there, "is the input itself"),
        (tmp_path, None, "is a folder"),
        (tmp_path / "no" / "a.mp4", None, "there is no folder"),
        (tmp_path / "pipe", None, "is not an ordinary file"),
    ]
    for out, source, words in cases:
        with pytest.raises(OutputError, match=words):
            check_output(str(out), source and str(source), force=False)
    with pytest.raises(OutputError, match="is the input itself"):
        check_output(str(link), str(there), force=True)
    check_output(str(there), None, force=True)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(OutputError, match="cannot be written; choose another"):
        check_output(str(tmp_path / "new.mp4"), None, force=False)


def test_the_longest_name_there_can_be(tmp_path):
    for letter in ("a", "é"):
        name = letter * (251 // len(letter.encode())) + ".mp4"
        file = OutputFile(str(tmp_path / name))
        file.part.write_bytes(b"whole")
        file.commit()
        assert (tmp_path / name).read_bytes() == b"whole"
    with pytest.raises(OutputError, match="too long"):
        check_output(str(tmp_path / ("a" * 300 + ".mp4")), None, force=False)


def test_a_folder_that_may_not_be_looked_into(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(OutputError, match="cannot be written; choose another"):
        check_output(str(tmp_path / "new.mp4"), None, force=False)


def test_committing_puts_the_whole_file_in_place(tmp_path):
    file = OutputFile(str(tmp_path / "a.mp4"))
    file.part.write_bytes(b"whole")
    assert not (tmp_path / "a.mp4").exists()
    assert file.part.parent == tmp_path
    file.commit()
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    mask = os.umask(0)
    os.umask(mask)
    assert (tmp_path / "a.mp4").stat().st_mode & 0o777 == 0o666 & ~mask


def test_writing_over_keeps_the_rights(tmp_path):
    old = tmp_path / "a.mp4"
    old.write_bytes(b"old")
    old.chmod(0o640)
    file = OutputFile(str(old), force=True)
    file.part.write_bytes(b"new")
    assert old.read_bytes() == b"old"
    file.commit()
    assert old.read_bytes() == b"new"
    assert old.stat().st_mode & 0o777 == 0o640


def test_discarding_leaves_what_was_there(tmp_path):
    old = tmp_path / "a.mp4"
    old.write_bytes(b"old")
    file = OutputFile(str(old), force=True)
    file.part.write_bytes(b"half")
    file.discard()
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    assert old.read_bytes() == b"old"


def test_a_file_that_appears_meanwhile_is_not_written_over(tmp_path):
    file = OutputFile(str(tmp_path / "a.mp4"))
    (tmp_path / "a.mp4").write_bytes(b"another's")
    with pytest.raises(OutputError, match="appeared while it was being made"):
        file.commit()
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    assert (tmp_path / "a.mp4").read_bytes() == b"another's"


def test_what_cannot_be_made_again_gets_another_name_where_its_own_is_taken(tmp_path):
    files = [OutputFile(str(tmp_path / "a.mp4"), aside=True) for _ in range(3)]
    for number, file in enumerate(files):
        file.part.write_bytes(b"%d" % number)
        file.commit()
    assert [file.path.name for file in files] == ["a.mp4", "a-2.mp4", "a-3.mp4"]
    assert sorted(path.read_bytes() for path in tmp_path.iterdir()) == [b"0", b"1", b"2"]
    for number, file in enumerate(files):
        assert file.path.read_bytes() == b"%d" % number


def test_a_link_to_nothing_is_there_too(tmp_path):
    (tmp_path / "a.mp4").symlink_to(tmp_path / "none")
    with pytest.raises(OutputError, match="is there already"):
        check_output(str(tmp_path / "a.mp4"), None, force=False)


def test_a_name_whose_file_cannot_be_put_there_is_free_again(tmp_path, monkeypatch):
    file = OutputFile(str(tmp_path / "a.mp4"))

    def fails(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "replace", fails)
    with pytest.raises(OutputError, match="Input/output error"):
        file.commit()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "there is no room left in /films after 3 frames"),
        (errno.EPIPE, "whoever read /films/a.mp4 closed it"),
        (errno.EROFS, "the folder /films cannot be written"),
        (errno.EIO, r"/films/a.mp4 cannot be written after 3 frames \(Input/output error\)"),
    ],
)
def test_errors_while_writing_become_sentences(code, words):
    error = write_error(OSError(code, os.strerror(code)), "/films/a.mp4", " after 3 frames")
    with pytest.raises(OutputError, match=words):
        raise error
