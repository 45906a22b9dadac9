"""Addresses of live streams: which they are, how FFmpeg opens them, how to name them without secrets."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

LIVE_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "srt", "udp", "tcp", "rtp")
_MUXERS = {"rtmp": "flv", "rtmps": "flv", "rtsp": "rtsp", "rtsps": "rtsp", "rtp": "rtp_mpegts"}
_KEYED = ("rtmp", "rtmps")


def scheme_of(name: str) -> str | None:
    """The scheme of a URL in lower case; None for a file's name."""
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", name)
    return match[1].lower() if match else None


def is_live(name: str) -> bool:
    """Whether it names a live stream: one that goes on whether it is read or not."""
    return scheme_of(name) in LIVE_SCHEMES


def muxer_for(url: str) -> str:
    """FFmpeg's name of the container that a live URL carries."""
    return _MUXERS.get(scheme_of(url) or "", "mpegts")


def options_for(url: str) -> dict[str, str]:
    """FFmpeg's options for opening a live URL: RTSP over TCP, for UDP's lost packets smear the picture."""
    return {"rtsp_transport": "tcp"} if scheme_of(url) in ("rtsp", "rtsps") else {}


def without_secrets(url: str) -> str:
    """The URL as it may be printed: no password, no query, and of an RTMP address no stream key."""
    if scheme_of(url) is None:
        return url
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    path = parts.path
    if parts.scheme.lower() in _KEYED and path.count("/") > 1:
        path = path.rpartition("/")[0] + "/..."
    return f"{parts.scheme}://{host}{path}"
