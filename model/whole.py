"""Files that are written whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def part_of(path: Path) -> Iterator[Path]:
    """A file beside `path` to write to, which becomes `path` at the end and goes if the writing fails, so
    that what was there stays until then. What is no file or leads elsewhere, such as a pipe, a link or
    /dev/stdout, is written to as it is.

    Raises:
        OSError: the folder is missing, or nothing can be written there.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        yield path
        return
    part = path.with_name(f"{path.stem}.part{path.suffix}")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_whole(text: str, path: Path) -> None:
    """Write `text` to `path` as UTF-8.

    Raises:
        OSError: as `part_of`.
    """
    with part_of(path) as part:
        part.write_text(text, encoding="utf-8")
