"""Addresses of live streams: which they are, how FFmpeg opens them, how to name them without secrets."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlsplit

LIVE_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "srt", "udp", "tcp", "rtp")
_MUXERS = {"rtmp": "flv", "rtmps": "flv", "rtsp": "rtsp", "rtsps": "rtsp", "rtp": "rtp_mpegts"}
_KEYED = ("rtmp", "rtmps")
_RTSP = ("rtsp", "rtsps")
_PREFER_TCP = {"rtsp_flags": "prefer_tcp"}
# FFmpeg's own default is out of its own range.
_LISTEN = {"rtsp_flags": "listen", "listen_timeout": "86400"}


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


def listens(url: str) -> bool:
    """Whether the other end is to connect to this live URL: one with ?listen=1, or SRT's ?mode=listener."""
    asked = dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))
    return asked.get("listen", "0") != "0" or asked.get("mode") == "listener"


def can_send(url: str) -> bool:
    """Whether a live URL can be an output: RTMP and RTSP send to a server, and are none."""
    return scheme_of(url) not in (*_KEYED, *_RTSP) or not listens(url)


def reading_address(url: str) -> str:
    """The live URL as FFmpeg wants it: without what it takes from `reading_options` alone."""
    if scheme_of(url) not in (*_KEYED, *_RTSP) or not listens(url):
        return url
    parts = urlsplit(url)
    rest = [part for part in parts.query.split("&") if part.partition("=")[0] != "listen"]
    return parts._replace(query="&".join(rest)).geturl()


def reading_options(url: str) -> dict[str, str]:
    """FFmpeg's options for reading a live URL: RTSP over TCP where the server has it, for UDP's lost packets
    smear the picture."""
    scheme = scheme_of(url)
    if scheme in _RTSP:
        return _LISTEN if listens(url) else _PREFER_TCP
    return {"listen": "1"} if scheme in _KEYED and listens(url) else {}


def sending_options(url: str) -> dict[str, str]:
    """FFmpeg's options for sending to a live URL: RTSP over TCP."""
    return {"rtsp_transport": "tcp"} if scheme_of(url) in _RTSP else {}


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
