"""Live addresses: which they are, and what of them may be printed."""

from __future__ import annotations

import pytest

from stream.broadcast.urls import is_live, muxer_for, options_for, without_secrets


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
    assert options_for("rtsp://cam/1") == {"rtsp_transport": "tcp"}
    assert options_for("rtmp://host/app") == {}


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
