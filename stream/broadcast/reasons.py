"""Why a live address cannot be opened, and what to do: FFmpeg's errors in words for people."""

from __future__ import annotations

import errno
import socket
from urllib.parse import urlsplit

import av
import av.error

from stream.broadcast.urls import is_live

FORBIDDEN = (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError)
LATE = (TimeoutError, av.error.ExitError)
HUNG_UP = (BrokenPipeError, ConnectionResetError)
NOT_OURS = (errno.EADDRNOTAVAIL, errno.EADDRINUSE, errno.EACCES)
SILENT = "no answer in time"
SENDING, LISTENING = "sending", "listening"
USUAL_ADVICE = "check the address and that it is {}"


def reason_of(url: str, error: BaseException) -> str:
    """What went wrong, in a few words."""
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, FORBIDDEN):
        return "it lets nobody in without the right name and password"
    if isinstance(error, av.error.HTTPNotFoundError):
        return "there is no such stream"
    if isinstance(error, LATE):
        return SILENT
    if isinstance(error, HUNG_UP):
        return "it hung up"
    if _is_missing(url, error):
        return f"this build of FFmpeg has no {urlsplit(url).scheme}"
    if isinstance(error, av.error.ProtocolNotFoundError):
        return "what came was no RTSP"
    if unknown := _unknown_host(url, error):
        return unknown[0]
    return str(getattr(error, "strerror", None) or str(error) or type(error).__name__)


def advice_on(url: str, error: BaseException, does: str = SENDING) -> str:
    """What to do about it. does: what the other end should be doing, SENDING or LISTENING."""
    if not is_live(url):
        return "check its name and rights, and that it is a video"
    if isinstance(error, ConnectionRefusedError):
        return f"check the address and its port, and that it is {does}"
    if isinstance(error, FORBIDDEN):
        return f"write them into the address, as in {urlsplit(url).scheme}://NAME:PASSWORD@HOST/PATH"
    if isinstance(error, av.error.HTTPNotFoundError):
        return "check the path behind the host"
    if _is_missing(url, error):
        return "use another kind of address"
    if unknown := _unknown_host(url, error):
        return unknown[1]
    if getattr(error, "errno", None) in NOT_OURS:
        return "choose another port or address"
    return USUAL_ADVICE.format(does)


def is_final(url: str, error: BaseException) -> bool:
    """Whether waiting for the other end would be in vain."""
    not_ours = getattr(error, "errno", None) in NOT_OURS
    return not_ours or isinstance(error, FORBIDDEN) or _is_missing(url, error)


def _is_missing(url: str, error: BaseException) -> bool:
    """Whether FFmpeg has no such protocol; RTSP, which it always has, ends so where something else comes."""
    missing = isinstance(error, av.error.ProtocolNotFoundError)
    return missing and urlsplit(url).scheme not in ("rtsp", "rtsps")


def _unknown_host(url: str, error: BaseException) -> tuple[str, str] | None:
    """Reason and advice where the host's name is the matter; FFmpeg calls it an error of input and output, as
    it does much else. The look-up may take long; what has a name of its own is told before."""
    host = urlsplit(url).hostname
    if host is None or not isinstance(error, OSError):
        return None
    try:
        socket.getaddrinfo(host, None)
    except UnicodeError:
        return f"{host} is no host's name", "check the address"
    except OSError as found:
        if found.errno == socket.EAI_AGAIN:
            return f"the host {host} cannot be looked up now", "check the network"
        return f"there is no host {host}", "check the host's name and the network"
    return None
