"""The page's own files, read once at the start: what is not in the list is not there."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from stream.errors import VretouchError

PUBLISH_PAGE = "index.html"
WATCH_PAGE = "watch.html"
KINDS = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}


class PageError(VretouchError):
    """The page's files are not where they were installed."""


@dataclass(frozen=True)
class Page:
    """One file: its bytes, its Content-Type, and its ETag (quotes included)."""

    body: bytes
    kind: str
    etag: str


def page_folder() -> Path:
    """Where the installed package keeps the page."""
    return Path(str(resources.files("stream"))) / "web"


def load_pages(folder: Path) -> dict[str, Page]:
    """The folder's plain files of a kind in KINDS, by name. Folders in it, links and hidden files are left
    out."""
    try:
        paths = sorted(path for path in folder.iterdir() if path.is_file() and not path.is_symlink())
        pages = {
            path.name: _page(path.read_bytes(), KINDS[path.suffix])
            for path in paths
            if path.suffix in KINDS and not path.name.startswith(".")
        }
    except OSError as error:
        raise PageError(
            f"the page in {folder} cannot be read ({error.strerror}); install vretouch again"
        ) from error
    if missing := [name for name in (PUBLISH_PAGE, WATCH_PAGE) if name not in pages]:
        raise PageError(f"the page's {missing[0]} is not in {folder}; install vretouch again")
    return pages


def _page(body: bytes, kind: str) -> Page:
    return Page(body, kind, f'"{hashlib.sha256(body).hexdigest()[:32]}"')
