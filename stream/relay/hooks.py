"""Every place where the relay reaches into aiortc 1.16 and aioice beyond what they promise; each has a guard
test in tests/stream/relay/test_hooks.py, which fails when a new version moves it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from typing import Any, Protocol

from aioice.candidate import Candidate, candidate_priority
from aioice.ice import Connection, StunProtocol
from aiortc import RTCPeerConnection, RTCRtpReceiver, RTCRtpSender
from aiortc.codecs import CODECS
from aiortc.rtcpeerconnection import find_common_codecs
from aiortc.rtp import (
    RTCP_PSFB_APP,
    RTCP_PSFB_FIR,
    RTCP_PSFB_PLI,
    AnyRtcpPacket,
    RtcpPsfbPacket,
    RtcpRrPacket,
    RtcpSrPacket,
    unpack_remb_fci,
)

from stream.relay.intake import AudioIntake, PromptBuffer, StraightThrough, VideoIntake
from stream.relay.options import MediaOptions

LOOPBACK = "127.0.0.1"
_AFTER_LOOPBACK = 65534
# aiortc's own, and those for peers whose certificate has an RSA key, as GStreamer's has.
CIPHERS = (
    b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-SHA:"
    b"ECDHE-ECDSA-AES256-SHA:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-CHACHA20-POLY1305"
)


def served(kind: str, offered: list[Any]) -> list[str]:
    """Names, in lower case and in the offer's order, of the offered codecs that aiortc can speak with the
    parameters offered; retransmission is none. kind: `video` or `audio`. offered: of
    aiortc.sdp.MediaDescription.rtp.codecs."""
    common = find_common_codecs(CODECS[kind], offered)
    return [name for name in dict.fromkeys(codec.name.lower() for codec in common) if name != "rtx"]


class Feedback(Protocol):
    """What a receiver of our video lets us know."""

    def heard(self) -> None:
        """It sent anything at all."""

    def wants_keyframe(self) -> None:
        """PLI (RFC 4585, 6.3.1) or FIR (RFC 5104, 4.3.1)."""

    def estimates(self, bits_per_s: int) -> None:
        """REMB (draft-alvestrand-rmcat-remb-03): what its way can carry."""

    def loses(self, fraction: float) -> None:
        """The share of packets lost since its last report (RFC 3550, 6.4.1), 0 to 1."""


def listen(sender: RTCRtpSender, feedback: Feedback) -> None:
    """Tell `feedback` of every RTCP packet that comes for this sender, and let aiortc have it too."""
    handle = sender._handle_rtcp_packet

    async def handle_and_tell(packet: AnyRtcpPacket) -> None:
        _tell(sender._ssrc, packet, feedback)
        await handle(packet)

    sender._handle_rtcp_packet = handle_and_tell  # type: ignore[method-assign]


def _tell(ssrc: int, packet: AnyRtcpPacket, feedback: Feedback) -> None:
    feedback.heard()
    if isinstance(packet, RtcpRrPacket | RtcpSrPacket):
        for report in packet.reports:
            if report.ssrc == ssrc:
                feedback.loses(report.fraction_lost / 256.0)
    elif isinstance(packet, RtcpPsfbPacket):
        if packet.fmt in (RTCP_PSFB_PLI, RTCP_PSFB_FIR):
            feedback.wants_keyframe()
        elif packet.fmt == RTCP_PSFB_APP:
            _tell_estimate(ssrc, packet.fci, feedback)


def _tell_estimate(ssrc: int, fci: bytes, feedback: Feedback) -> None:
    try:
        bits_per_s, ssrcs = unpack_remb_fci(fci)
    except ValueError:
        return
    if ssrc in ssrcs:
        feedback.estimates(bits_per_s)


def tap_video(
    receiver: RTCRtpReceiver, options: MediaOptions, on_decoded: Callable[[float], None]
) -> VideoIntake:
    """Put our jitter buffer and our bounded queue before this receiver's decoder; before it starts."""
    inner: Any = receiver
    lost: threading.Event = inner._RTCRtpReceiver__decoder_error
    intake = VideoIntake(options, lost, on_decoded)
    inner._RTCRtpReceiver__jitter_buffer = PromptBuffer(intake.lose)
    inner._RTCRtpReceiver__decoder_queue = intake
    return intake


def tap_audio(receiver: RTCRtpReceiver, on_packet: Callable[[bytes, int], None]) -> AudioIntake:
    """Have encoded sound handed to on_packet(payload, pts) as it comes, instead of to a decoder; before it
    starts. pts counts the codec's clock, 1/48000 s for Opus, from the first packet on."""
    inner: Any = receiver
    intake = AudioIntake(on_packet)
    inner._RTCRtpReceiver__jitter_buffer = StraightThrough()
    inner._RTCRtpReceiver__decoder_queue = intake
    return intake


def speak_with_rsa(connection: RTCPeerConnection) -> None:
    """Let DTLS go on with peers whose certificate has an RSA key; before the local description is set."""
    inner: Any = connection
    for certificate in inner._RTCPeerConnection__certificates:
        certificate._create_ssl_context = _with_ciphers(certificate._create_ssl_context)


def _with_ciphers(create: Callable[..., Any]) -> Callable[..., Any]:
    def context(*arguments: Any, **named: Any) -> Any:
        made = create(*arguments, **named)
        made.set_cipher_list(CIPHERS)
        return made

    return context


def keep_to_this_machine(connection: RTCPeerConnection) -> None:
    """Gather candidates on 127.0.0.1, which aioice leaves out, and after it on this machine's own addresses,
    and hear nobody from elsewhere on them; before the local description is set.

    Firefox makes no pair with 127.0.0.1 (media.peerconnection.ice.loopback), so that alone does not do.
    """
    transports = {transceiver.receiver.transport for transceiver in connection.getTransceivers()}
    if connection.sctp is not None:
        transports.add(connection.sctp.transport)
    for transport in transports:
        ice = transport.transport.iceGatherer._connection
        ice.get_component_candidates = _on_this_machine(ice)  # type: ignore[method-assign]


def _on_this_machine(ice: Connection) -> Any:
    gather = ice.get_component_candidates

    async def candidates(component: int, addresses: list[str]) -> list[Candidate]:
        own = {LOOPBACK, *addresses}
        found = await gather(component=component, addresses=[LOOPBACK, *addresses])
        for protocol in ice._protocols:
            _hear_only(own, protocol)
        for candidate in found:
            if candidate.type == "host" and candidate.host != LOOPBACK:
                candidate.priority = candidate_priority(component, "host", local_pref=_AFTER_LOOPBACK)
        return found

    return candidates


def _hear_only(own: Collection[str], protocol: StunProtocol) -> None:
    receive = protocol.datagram_received

    def received(data: bytes | str, addr: tuple[Any, ...]) -> None:
        if addr[0] in own:
            receive(data, addr)

    protocol.datagram_received = received  # type: ignore[method-assign]
