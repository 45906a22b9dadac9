"""Where a result goes: written under a temporary name beside its place, and put there only when it is
whole."""

from __future__ import annotations

import errno
import itertools
import os
import tempfile
from pathlib import Path

from stream.errors import VretouchError

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_STEM_CHARACTERS = 40
"""So many of the name stand in the temporary one, which must not grow longer than names may be."""
STANDARD_OUTPUT = "standard output"


class OutputError(VretouchError):
    """An output that may not or cannot be written."""


def check_output(out: str, source: str | None, force: bool) -> None:
    """Raise OutputError unless `out` may be written: not the input, not there already (or force), in a folder
    that is there and writable."""
    try:
        _check_place(Path(out), out, source, force)
    except OSError as error:
        raise write_error(error, out) from error


def _check_place(path: Path, out: str, source: str | None, force: bool) -> None:
    if source is not None and _same(path, source):
        raise OutputError(f"{out} is the input itself; name another output")
    if path.is_dir():
        raise OutputError(f"{out} is a folder; name a file in it")
    if path.exists() and not path.is_file():
        raise OutputError(f"{out} is not an ordinary file; use - to write to a pipe")
    if os.path.lexists(path) and not force:
        raise OutputError(f"{out} is there already; add --force to write over it")
    folder = path.parent
    if not folder.is_dir():
        raise OutputError(f"there is no folder {folder}; make it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"the folder {folder} cannot be written; choose another one")


def _same(path: Path, source: str) -> bool:
    try:
        return path.samefile(source)
    except OSError:
        return False


class OutputFile:
    """A file being made. Write to `part`; then `commit` puts it in its place, `discard` leaves nothing.

    aside: for what cannot be made again; where its name is taken in the end, it gets another, `path`.
    """

    def __init__(
        self, out: str, source: str | None = None, force: bool = False, *, aside: bool = False
    ) -> None:
        check_output(out, source, force)
        self.path = Path(out)
        self._force, self._aside, self._claimed = force, aside, False
        try:
            handle, part = tempfile.mkstemp(
                prefix=f".{self.path.stem[:_STEM_CHARACTERS]}.", suffix=".part", dir=self.path.parent
            )
        except OSError as error:
            raise write_error(error, out) from error
        os.close(handle)
        self.part = Path(part)

    def commit(self) -> None:
        """Put the whole file in its place, in one step."""
        try:
            if not self._force:
                self._claim()
            self.part.chmod(self._mode())
            self.part.replace(self.path)
        except OSError as error:
            self.discard()
            if self._claimed:
                self.path.unlink(missing_ok=True)
            raise write_error(error, str(self.path)) from error

    def _claim(self) -> None:
        """Take the name, or a free one like it, by an empty file, so that nobody else can take it too."""
        wanted = self.path
        for number in itertools.count(2):
            try:
                os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
                self._claimed = True
                return
            except FileExistsError:
                if not self._aside:
                    self.discard()
                    raise OutputError(
                        f"{wanted} appeared while it was being made; add --force to write over it"
                    ) from None
            self.path = wanted.with_name(f"{wanted.stem}-{number}{wanted.suffix}")

    def _mode(self) -> int:
        """The rights of the file written over, or those a new file gets."""
        if self.path.exists():
            return self.path.stat().st_mode & 0o777
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask

    def discard(self) -> None:
        """Remove what was written."""
        self.part.unlink(missing_ok=True)


def write_error(error: BaseException, out: str, done: str = "") -> OutputError:
    """One sentence for an error while writing `out`; `done` says how far it got."""
    code = getattr(error, "errno", None)
    folder = Path(out).parent
    if code in _NO_ROOM:
        place = f"behind {out}" if out == STANDARD_OUTPUT else f"in {folder}"
        return OutputError(f"there is no room left {place}{done}; free some space or write elsewhere")
    if code == errno.EPIPE:
        return OutputError(f"whoever read {out} closed it{done}; nothing more can be written")
    if code in (errno.EACCES, errno.EPERM, errno.EROFS):
        return OutputError(f"the folder {folder} cannot be written; choose another one")
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return OutputError(f"{out} cannot be written{done} ({said}); check the disk and the name")
