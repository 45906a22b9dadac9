"""From an offer to the answer: what it wants, which codec it gets, and a connection for it."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Literal

from aiortc import (
    RTCConfiguration,
    RTCIceServer,
    RTCPeerConnection,
    RTCRtpSender,
    RTCRtpTransceiver,
    RTCSessionDescription,
)
from aiortc.sdp import MediaDescription, SessionDescription

from stream.relay.errors import BadOffer, Full, NoCodec
from stream.relay.hooks import LOOPBACK, keep_to_this_machine, served, speak_with_rsa
from stream.relay.options import MediaOptions

Purpose = Literal["publish", "watch"]

PORT_RETRY_S = 30

_CANDIDATE = re.compile(r"a=candidate:(?P<foundation>\S+) \d+ \S+ \d+ (?P<host>\S+) ")
_SHOWN = {"vp8": "VP8", "h264": "H.264 (constrained baseline, packetization-mode=1)"}


@dataclass(frozen=True)
class Offer:
    """What was offered. sdp: without candidates that are of no use. sends, receives: video. codecs: video
    codecs that can be spoken, in the offer's order. audio: Opus is offered; has_audio: any sound is."""

    sdp: str
    sends: bool
    receives: bool
    codecs: tuple[str, ...]
    audio: bool
    has_audio: bool


def read_offer(sdp: str, purpose: Purpose, loopback: bool) -> Offer:
    """Take an offer apart; BadOffer where it cannot be used for this."""
    try:
        media = SessionDescription.parse(sdp).media
        videos = [part for part in media if part.kind == "video"]
        audios = [part for part in media if part.kind == "audio"]
        codecs = tuple(served("video", videos[0].rtp.codecs)) if videos else ()
        opus = bool(audios) and "opus" in served("audio", audios[0].rtp.codecs)
    except Exception as error:
        raise BadOffer(
            f"the offer is no SDP that can be read ({_reason(error)}); send a WebRTC offer"
        ) from None
    if len(videos) != 1 or len(audios) > 1:
        raise BadOffer(
            f"the offer has {len(videos)} video and {len(audios)} audio m-lines; "
            "send one video, and at most one audio"
        )
    if audios and not opus:
        raise BadOffer("the offer has sound without Opus; offer opus/48000, or no sound")
    sends, receives = _directions(videos[0])
    if purpose == "publish" and not sends:
        raise BadOffer("the offer sends no video; publish with a video m-line that is sendonly or sendrecv")
    if purpose == "watch" and not receives:
        raise BadOffer("the offer receives no video; watch with a video m-line that is recvonly")
    return Offer(_useful(sdp, loopback), sends, receives, codecs, opus, bool(audios))


def choose_codec(wanted: str, offer: Offer) -> str:
    """The codec of a publication: `vp8` or `h264`; NoCodec where it is not offered. wanted: see
    stream.relay.options.CODECS."""
    choices = ("h264", "vp8") if wanted == "auto" else (wanted,)
    for codec in choices:
        if codec in offer.codecs:
            return codec
    raise NoCodec(f"the offer has no video codec that is served here; offer {_either(choices)}")


def demand_codec(codec: str, offer: Offer) -> None:
    """NoCodec where a viewer does not offer the publication's codec."""
    if codec not in offer.codecs:
        raise NoCodec(f"the stream is {_SHOWN[codec]}, which the offer does not have; offer it")


def new_connection(options: MediaOptions) -> RTCPeerConnection:
    """A connection that uses the relay's own ICE servers only, which are none unless some are given."""
    servers = [
        RTCIceServer(server.url, server.username, server.credential) for server in options.ice_servers.now()
    ]
    connection = RTCPeerConnection(RTCConfiguration(iceServers=servers))
    speak_with_rsa(connection)
    return connection


def prefer(transceiver: RTCRtpTransceiver, codec: str) -> None:
    """Let a transceiver speak this codec and no other, with retransmission. codec: such as `h264`."""
    name = f"{transceiver.kind}/{codec}"
    known = RTCRtpSender.getCapabilities(transceiver.kind).codecs
    transceiver.setCodecPreferences(
        [one for one in known if one.mimeType.lower() in (name, f"{transceiver.kind}/rtx")]
    )


async def take_offer(connection: RTCPeerConnection, offer: Offer) -> None:
    """Apply the offer to a connection whose transceivers are there; BadOffer where it does not fit."""
    try:
        await connection.setRemoteDescription(RTCSessionDescription(offer.sdp, "offer"))
    except Exception as error:
        raise BadOffer(f"the offer cannot be answered ({_reason(error)}); send another") from None


async def make_answer(connection: RTCPeerConnection, options: MediaOptions) -> str:
    """The answer with all candidates inside; Full where there is no port left for one."""
    if options.loopback:
        keep_to_this_machine(connection)
    try:
        await connection.setLocalDescription(await connection.createAnswer())
    except Exception as error:
        raise BadOffer(f"the offer cannot be answered ({_reason(error)}); send another") from None
    sdp = connection.localDescription.sdp
    if "a=candidate:" not in sdp:
        ports = "" if options.udp_ports is None else f" of {options.udp_ports}"
        raise Full(f"no UDP port{ports} is free; try again later", PORT_RETRY_S)
    return sdp if options.public_address is None else announced(sdp, options.public_address)


def announced(sdp: str, public_address: str) -> str:
    """With each host candidate of the address's IP version once more, at the public address (1:1 NAT)."""
    public = ipaddress.ip_address(public_address)
    lines = []
    for line in sdp.splitlines():
        lines.append(line)
        found = _CANDIDATE.match(line)
        if (
            found
            and line.endswith(" typ host")
            and ipaddress.ip_address(found["host"]).version == public.version
        ):
            # A foundation has at most 32 characters (RFC 8839, 5.1).
            other = line.replace(found["foundation"], f"p{found['foundation']}"[:32], 1)
            lines.append(other.replace(f" {found['host']} ", f" {public} ", 1))
    return "\r\n".join([*lines, ""])


def _directions(part: MediaDescription) -> tuple[bool, bool]:
    direction = part.direction or "sendrecv"
    return direction in ("sendonly", "sendrecv"), direction in ("recvonly", "sendrecv")


def _useful(sdp: str, loopback: bool) -> str:
    """Without names of the local network, which only a multicast query could resolve, and over loopback
    without other addresses: who offers them reaches us first. And without a word that no more candidates
    come, since those of the checks that reach us still do."""
    kept = []
    for line in sdp.splitlines():
        found = _CANDIDATE.match(line)
        unreachable = found is not None and (
            found["host"].endswith(".local") or (loopback and found["host"] != LOOPBACK)
        )
        if not unreachable and line != "a=end-of-candidates":
            kept.append(line)
    return "\r\n".join([*kept, ""])


def _either(codecs: tuple[str, ...]) -> str:
    return " or ".join(_SHOWN[codec] for codec in codecs)


def _reason(error: Exception) -> str:
    return (str(error) or type(error).__name__).rstrip(".")
