"""The page's files: a list made once, and nothing beside it."""

from __future__ import annotations

import pytest

from stream.relay.pages import KINDS, PageError, load_pages, page_folder


def write(folder):
    (folder / "index.html").write_text("publish")
    (folder / "watch.html").write_text("watch")
    return folder


def test_files_of_known_kinds_only(tmp_path):
    (tmp_path / "web").mkdir()
    folder = write(tmp_path / "web")
    (folder / "app.js").write_text("1")
    (folder / "style.css").write_text("p {}")
    (folder / ".hidden.js").write_text("secret")
    (folder / "notes.txt").write_text("secret")
    (folder / "module.py").write_text("secret")
    (folder / "deep.js").mkdir()
    (tmp_path / "outside.js").write_text("secret")
    (folder / "link.js").symlink_to(tmp_path / "outside.js")
    pages = load_pages(folder)
    assert sorted(pages) == ["app.js", "index.html", "style.css", "watch.html"]
    assert pages["app.js"].kind == "text/javascript; charset=utf-8"
    assert pages["index.html"].body == b"publish"
    assert len({page.etag for page in pages.values()}) == 4


def test_what_changes_has_another_etag(tmp_path):
    before = load_pages(write(tmp_path))["watch.html"].etag
    assert load_pages(tmp_path)["watch.html"].etag == before
    (tmp_path / "watch.html").write_text("changed")
    assert load_pages(tmp_path)["watch.html"].etag != before


def test_a_page_that_is_not_there_is_said(tmp_path):
    with pytest.raises(PageError, match=r"cannot be read \(No such file"):
        load_pages(tmp_path / "none")
    with pytest.raises(PageError, match=r"the page's index.html is not in .*; install vretouch again"):
        load_pages(tmp_path)


def test_the_package_brings_its_page():
    pages = load_pages(page_folder())
    assert {"index.html", "watch.html"} < set(pages)
    on_disk = {path.name for path in page_folder().iterdir() if path.is_file()}
    assert set(pages) == {name for name in on_disk if not name.startswith(".")}, (
        f"kinds known: {sorted(KINDS)}"
    )
