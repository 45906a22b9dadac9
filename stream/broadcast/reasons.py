"""Why a live address cannot be opened, and what to do: FFmpeg's errors in words for people."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import av
import av.error

REFUSED = (ConnectionRefusedError, av.error.ConnectionRefusedError)
FORBIDDEN = (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError)
USUAL_ADVICE = "check the address and that it is sending"


def reason_of(url: str, error: BaseException) -> str:
    """What went wrong, in a few words."""
    if isinstance(error, REFUSED):
        return "connection refused"
    if isinstance(error, FORBIDDEN):
        return "it lets nobody in without the right name and password"
    if isinstance(error, av.error.HTTPNotFoundError):
        return "there is no such stream"
    if unknown := _unknown_host(url, error):
        return unknown[0]
    if isinstance(error, av.error.ExitError):
        return "no answer in time"
    if isinstance(error, av.error.ProtocolNotFoundError):
        return f"this build of FFmpeg has no {urlsplit(url).scheme}"
    return str(getattr(error, "strerror", None) or str(error) or type(error).__name__)


def advice_on(url: str, error: BaseException) -> str:
    """What to do about it."""
    if isinstance(error, REFUSED):
        return "check the address and its port, and that it is sending"
    if isinstance(error, FORBIDDEN):
        return f"write them into the address, as in {urlsplit(url).scheme}://NAME:PASSWORD@HOST/PATH"
    if isinstance(error, av.error.HTTPNotFoundError):
        return "check the path behind the host"
    if unknown := _unknown_host(url, error):
        return unknown[1]
    if isinstance(error, av.error.ProtocolNotFoundError):
        return "use another kind of address"
    return USUAL_ADVICE


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
