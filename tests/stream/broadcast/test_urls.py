"""Live addresses: which they are, and what of them may be printed."""

from __future__ import annotations

import pytest

from stream.broadcast.urls import (
    is_live,
    listens,
    muxer_for,
    reading_address,
    reading_options,
    sending_options,
    without_secrets,
)


@pytest.mark.parametrize(
    ("name", "live"),
    [
        ("rtsp://cam/1", True),
        ("RTMP://host/app/key", True),
        ("udp://239.0.0.1:5000", True),
        ("video.mp4", False),
        ("http://host/film.mp4", False),
        ("file:///tmp/x.mp4", False),
        ("C:\\film.mp4", False),
        ("-", False),
    ],
)
def test_which_addresses_are_live(name: str, live: bool) -> None:
    assert is_live(name) is live


@pytest.mark.parametrize(
    ("url", "muxer"), [("rtmp://a/b/c", "flv"), ("rtsp://a/b", "rtsp"), ("udp://a:1", "mpegts")]
)
def test_each_address_has_its_container(url: str, muxer: str) -> None:
    assert muxer_for(url) == muxer


def test_rtsp_goes_over_tcp() -> None:
    assert reading_options("rtsp://cam/1") == {"rtsp_flags": "prefer_tcp"}
    assert sending_options("rtsps://cam/1") == {"rtsp_transport": "tcp"}
    assert reading_options("rtmp://host/app") == sending_options("rtmp://host/app") == {}


@pytest.mark.parametrize(
    ("url", "address", "flag"),
    [
        ("rtmp://host/app/key?listen=1", "rtmp://host/app/key", ("listen", "1")),
        ("rtmp://host/app/key?a=b%2F&listen&c=d", "rtmp://host/app/key?a=b%2F&c=d", ("listen", "1")),
        ("rtsp://host:8554/live?listen=1", "rtsp://host:8554/live", ("rtsp_flags", "listen")),
        ("tcp://host:1?listen=1", "tcp://host:1?listen=1", None),
        ("srt://host:1?mode=listener", "srt://host:1?mode=listener", None),
    ],
)
def test_an_address_may_be_one_to_connect_to(url: str, address: str, flag: tuple[str, str] | None) -> None:
    assert listens(url)
    assert reading_address(url) == address
    assert flag is None or flag in reading_options(url).items()


@pytest.mark.parametrize(
    "url", ["rtmp://host/app?listen=0", "rtsp://host/listen", "srt://host:1?mode=caller"]
)
def test_other_addresses_are_connected_to(url: str) -> None:
    assert not listens(url)
    assert reading_address(url) == url


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("rtmp://live.example/app/secret-key", "rtmp://live.example/app/..."),
        ("rtsp://admin:secret@cam:554/h264", "rtsp://cam:554/h264"),
        ("srt://host:9000?passphrase=secret", "srt://host:9000"),
        ("film.mp4", "film.mp4"),
    ],
)
def test_secrets_are_not_printed(url: str, said: str) -> None:
    assert without_secrets(url) == said
    assert "secret" not in without_secrets(url)
