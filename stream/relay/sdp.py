"""A look at an SDP offer (RFC 8866, RFC 9429) before anything is built for it: size, shape, what it asks for.

Only what is well formed and within bounds goes on, so that the WebRTC library never meets a line it cannot
read. Whatever it does not read itself may say what it likes.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from stream.relay.errors import BadOffer

Purpose = Literal["publish", "watch"]

MAX_CHARS = 64 * 1024
MAX_LINES = 1000
MAX_LINE_CHARS = 1000
MAX_CANDIDATES = 64
MAX_FORMATS = 64
VIDEO_CODECS = ("VP8/90000", "H264/90000")
AUDIO_CODECS = ("opus/48000",)
DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")

_TEXT = re.compile(r"[\r\n\x20-\x7e]*")
_LINE = re.compile(r"[a-z]=.*")
_RTP = re.compile(r"m=(audio|video) (\d{1,5}) (?:UDP/TLS/)?RTP/SAVPF (\d{1,3}(?: \d{1,3})*)")
_SCTP = re.compile(r"m=(application) (\d{1,5}) UDP/DTLS/SCTP (webrtc-datachannel)")
_ADDRESS = re.compile(r"c=IN IP[46] [^ ]+")
_MDNS = re.compile(r"[A-Za-z0-9-]{1,63}\.local")
_FINGERPRINT = re.compile(r"(sha-256|sha-384|sha-512) ((?:[0-9a-f]{2}:)+[0-9a-f]{2})", re.IGNORECASE)
_DIGEST_CHARS = {"sha-256": 95, "sha-384": 143, "sha-512": 191}
# RTP payload types that look like RTCP packets (RFC 5761, section 4).
_TAKEN_BY_RTCP = range(72, 77)
# Attributes whose values the WebRTC library takes apart, and what they must look like (RFC 8866, 8839, 8841).
_SHAPES = {
    name: re.compile(shape, re.IGNORECASE)
    for name, shape in {
        "candidate": r"[^ ]{1,64} \d{1,3} [a-z]{1,10} \d{1,10} [^ ]{1,255} \d{1,5} typ [a-z]{1,10}"
        r"( [^ ]+ [^ ]+)*",
        "extmap": r"\d{1,5}(/[a-z]{1,10})? [^ ]+",
        "fingerprint": r"[^ ]+ [^ ]+",
        "fmtp": r"\d{1,3} .+",
        "group": r"[^ ]+( .*)?",
        "ice-pwd": r"[a-z0-9+/=_-]{22,256}",
        "ice-ufrag": r"[a-z0-9+/=_-]{4,256}",
        "max-message-size": r"\d{1,10}",
        "mid": r"[^ ]{1,64}",
        "msid-semantic": r".+",
        "rtcp": r"\d{1,5}( (?-i:IN IP[46]) [^ ]+)?",
        "rtcp-fb": r"(\*|\d{1,3}) [^ ]+( .+)?",
        "rtpmap": r"\d{1,3} [^ /]+/\d{1,9}(/\d{1,3})?",
        "sctp-port": r"\d{1,5}",
        "sctpmap": r"\d{1,5} .+",
        "setup": r"(?-i:actpass|active|passive)",
        "ssrc": r"\d{1,10} [^ :]+:.*",
        "ssrc-group": r"[^ ]+( \d{1,10})+",
    }.items()
}
# Format parameters that are read as numbers.
_NUMBERS = ("apt", "max-fr", "max-fs", "maxplaybackrate", "minptime", "stereo", "useinbandfec")


@dataclass
class _Part:
    """The session's lines, or those of one m-line. attributes: values by name, '' where there is none."""

    m_line: str = ""
    kind: str = "session"
    attributes: dict[str, list[str]] = field(default_factory=dict)

    def all(self, name: str) -> list[str]:
        return self.attributes.get(name, [])

    def has(self, name: str) -> bool:
        return name in self.attributes


def check_offer(offer: str, purpose: Purpose) -> None:
    """Raise BadOffer with one sentence unless the offer can be answered: one video, at most one audio and one
    data m-line, with codecs known here, ICE credentials and a DTLS fingerprint."""
    session, *media = _parts(_lines(offer))
    candidates = sum(len(part.all("candidate")) for part in (session, *media))
    _demand(candidates <= MAX_CANDIDATES, f"has {candidates} candidates; send at most {MAX_CANDIDATES}")
    _check_kinds(media)
    for part in media:
        _check_formats(part)
        _check_security(session, part)
        if part.kind == "application":
            _demand(part.has("sctp-port"), "has a data m-line without a=sctp-port; send one")
        else:
            _check_rtp(part)
    _check_bundle(session, media)
    _check_direction(next(part for part in media if part.kind == "video"), purpose)


def _demand(met: bool, complaint: str) -> None:
    if not met:
        raise BadOffer(f"the offer {complaint}")


def _lines(offer: str) -> list[str]:
    _demand(len(offer) <= MAX_CHARS, f"has {len(offer)} characters; send at most {MAX_CHARS}")
    _demand(_TEXT.fullmatch(offer) is not None, "is no plain text; send SDP in printable ASCII")
    lines = [line for line in offer.splitlines() if line]
    _demand(bool(lines) and lines[0] == "v=0", "does not begin with v=0; send SDP")
    _demand(len(lines) <= MAX_LINES, f"has {len(lines)} lines; send at most {MAX_LINES}")
    for line in lines:
        if len(line) > MAX_LINE_CHARS or not _LINE.fullmatch(line):
            raise BadOffer(f"the offer has a line that is no SDP: {_shown(line)}; mend it")
    return lines


def _parts(lines: Iterable[str]) -> list[_Part]:
    """The session part, then one for each m-line; every line that will be read is checked."""
    parts = [_Part()]
    for line in lines:
        if line.startswith("m="):
            parts.append(_media_part(line))
        elif line.startswith("a="):
            name, value = _checked_attribute(line)
            parts[-1].attributes.setdefault(name, []).append(value)
        elif line.startswith(("c=", "v=")) and line != "v=0" and not _ADDRESS.fullmatch(line):
            raise _bad_line(line)
    return parts


def _media_part(line: str) -> _Part:
    found = _RTP.fullmatch(line) or _SCTP.fullmatch(line)
    if found is None or int(found[2]) > 65535:
        raise BadOffer(
            f"the offer has an m-line that is not served here: {_shown(line)}; "
            "send audio, video or application over DTLS"
        )
    return _Part(line, found[1])


def _checked_attribute(line: str) -> tuple[str, str]:
    name, _, value = line[2:].partition(":")
    shape = _SHAPES.get(name)
    good = shape is None or shape.fullmatch(value) is not None
    if good and name == "candidate":
        good = _is_candidate(value.split())
    if good and name == "fmtp":
        good = _has_numbers(value.partition(" ")[2])
    if not good:
        raise _bad_line(line)
    return name, value


def _bad_line(line: str) -> BadOffer:
    return BadOffer(f"the offer has a bad line: {_shown(line)}; mend it")


def _is_candidate(words: list[str]) -> bool:
    """RFC 8839, section 5.1; the address is one, or the name of a host of the local network."""
    options = dict(zip(words[8::2], words[9::2], strict=True))
    numbers_fit = int(words[1]) in (1, 2) and int(words[3]) < 2**32 and int(words[5]) < 2**16
    return (
        numbers_fit
        and _is_reachable(words[4])
        and re.fullmatch(r"\d{1,5}", options.get("rport", "0")) is not None
    )


def _is_reachable(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return _MDNS.fullmatch(host) is not None
    return not (address.is_multicast or address.is_unspecified)


def _has_numbers(parameters: str) -> bool:
    pairs = (parameter.partition("=") for parameter in parameters.split(";"))
    return all(
        re.fullmatch(r"\d{1,9}", value) is not None
        for name, equals, value in pairs
        if equals and name in _NUMBERS
    )


def _check_kinds(media: list[_Part]) -> None:
    kinds = [part.kind for part in media]
    for kind in ("video", "audio", "application"):
        _demand(kinds.count(kind) <= 1, f"has {kinds.count(kind)} {kind} m-lines; send one")
    _demand("video" in kinds, "has no video m-line; send one")


def _check_security(session: _Part, part: _Part) -> None:
    """ICE credentials and DTLS: of the m-line, or of the whole session."""
    for name in ("ice-ufrag", "ice-pwd", "setup"):
        _demand(part.has(name) or session.has(name), f"has no a={name} for its {part.kind}; send one")
    prints = session.all("fingerprint") + part.all("fingerprint")
    _demand(
        any(_is_fingerprint(value) for value in prints),
        f"has no SHA-256, 384 or 512 fingerprint for its {part.kind}; send one",
    )


def _is_fingerprint(value: str) -> bool:
    found = _FINGERPRINT.fullmatch(value)
    return found is not None and len(found[2]) == _DIGEST_CHARS[found[1].lower()]


def _check_formats(part: _Part) -> None:
    mapped = {int(value.split(" ", 1)[0]) for value in part.all("rtpmap")}
    described = {int(value.split(" ", 1)[0]) for value in part.all("fmtp")}
    _demand(all(number < 128 for number in mapped), f"maps a format above 127 in its {part.kind}; mend it")
    _demand(described <= mapped, f"has an a=fmtp without its a=rtpmap in its {part.kind}; mend it")


def _check_rtp(part: _Part) -> None:
    formats = [int(word) for word in part.m_line.split()[3:]]
    allowed = all(number < 128 and number not in _TAKEN_BY_RTCP for number in formats)
    _demand(
        allowed and len(formats) <= MAX_FORMATS,
        f"has an m-line with formats that cannot be: {_shown(part.m_line)}; mend it",
    )
    known = VIDEO_CODECS if part.kind == "video" else AUDIO_CODECS
    # opus/48000/2 is opus/48000.
    codecs = {"/".join(value.split(" ", 1)[1].split("/")[:2]).lower() for value in part.all("rtpmap")}
    _demand(
        any(codec.lower() in codecs for codec in known),
        f"has no {part.kind} codec that is served here; send {' or '.join(known)}",
    )
    _demand(part.has("rtcp-mux"), f"has no a=rtcp-mux for its {part.kind}; send one")
    directions = [name for name in DIRECTIONS if part.has(name)]
    _demand(
        len(directions) == 1,
        f"has not one direction for its {part.kind}; send one of {', '.join(DIRECTIONS)}",
    )


def _check_bundle(session: _Part, media: list[_Part]) -> None:
    """All m-lines over one transport (RFC 9725, section 4.4.1), each by a name of its own."""
    mids = [part.all("mid")[0] if len(part.all("mid")) == 1 else "" for part in media]
    _demand("" not in mids and len(set(mids)) == len(mids), "does not name each m-line by one a=mid; mend it")
    groups = [value.split() for value in session.all("group")]
    bundles = [words[1:] for words in groups if words[0] == "BUNDLE"]
    _demand(len(bundles) <= 1, "has more than one BUNDLE group; send one")
    bundled = bundles[0] if bundles else mids[:1]
    _demand(
        sorted(bundled) == sorted(mids),
        "does not bundle all its m-lines; send a=group:BUNDLE with each a=mid",
    )


def _check_direction(video: _Part, purpose: Purpose) -> None:
    wanted = ("sendrecv", "sendonly") if purpose == "publish" else ("sendrecv", "recvonly")
    doing = "publish" if purpose == "publish" else "watch"
    _demand(
        any(video.has(name) for name in wanted),
        f"is not one to {doing} with; send a video m-line that is {' or '.join(wanted)}",
    )


def _shown(line: str) -> str:
    """A line for a sentence, cut where it is long."""
    return repr(line if len(line) <= 60 else f"{line[:57]}...")
