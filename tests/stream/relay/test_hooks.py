"""Guards: each place where the relay reaches into aiortc or aioice is as it was in aiortc 1.16.

A failure here means that stream/relay/hooks.py or intake.py must be looked at again.
"""

from __future__ import annotations

import asyncio
import datetime
import inspect
import queue
import socket
import threading
from typing import Any

import aioice.ice
import aioice.stun
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection
from aiortc.codecs.h264 import H264Encoder
from aiortc.codecs.opus import OpusEncoder
from aiortc.codecs.vpx import Vp8Encoder
from aiortc.jitterbuffer import JitterBuffer
from aiortc.rtcdtlstransport import RTCCertificate
from aiortc.rtcrtpreceiver import RTCRtpReceiver, decoder_worker
from aiortc.rtcrtpsender import RTCRtpSender
from aiortc.rtp import (
    RTCP_PSFB_APP,
    RTCP_PSFB_FIR,
    RTCP_PSFB_PLI,
    RtcpPsfbPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    pack_remb_fci,
)
from aiortc.sdp import SessionDescription
from av.packet import Packet
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from stream.relay.audio import OPUS_CLOCK
from stream.relay.codec import CLOCK, open_codec
from stream.relay.colour import ToYuv
from stream.relay.hooks import (
    keep_to_this_machine,
    listen,
    served,
    speak_with_rsa,
    tap_audio,
    tap_video,
)
from stream.relay.intake import PromptBuffer, StraightThrough
from stream.relay.options import MediaOptions
from tests.stream.relay.fakes import busy_rgb, run


def fresh() -> RTCPeerConnection:
    return RTCPeerConnection(RTCConfiguration(iceServers=[]))


class Heard:
    """Writes down what feedback says."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def heard(self) -> None:
        self.calls.append("heard")

    def wants_keyframe(self) -> None:
        self.calls.append("keyframe")

    def estimates(self, bits_per_s: int) -> None:
        self.calls.append(("estimate", bits_per_s))

    def loses(self, fraction: float) -> None:
        self.calls.append(("loss", fraction))


def test_a_sender_is_told_of_rtcp_through_the_method_that_is_hooked() -> None:
    async def main() -> None:
        peer = fresh()
        sender = peer.addTransceiver("video").sender
        heard = Heard()
        listen(sender, heard)
        # What aiortc's transport calls with whatever it received.
        handle: Any = sender._handle_rtcp_packet
        ssrc = sender._ssrc
        report = RtcpReceiverInfo(ssrc, 64, 0, 0, 0, 0, 0)
        await handle(RtcpRrPacket(ssrc=1, reports=[report]))
        await handle(RtcpPsfbPacket(fmt=RTCP_PSFB_PLI, ssrc=1, media_ssrc=ssrc))
        await handle(RtcpPsfbPacket(fmt=RTCP_PSFB_FIR, ssrc=1, media_ssrc=ssrc))
        remb = pack_remb_fci(640_000, [ssrc])
        await handle(RtcpPsfbPacket(fmt=RTCP_PSFB_APP, ssrc=1, media_ssrc=0, fci=remb))
        other = pack_remb_fci(640_000, [ssrc ^ 1])
        await handle(RtcpPsfbPacket(fmt=RTCP_PSFB_APP, ssrc=1, media_ssrc=0, fci=other))
        await handle(RtcpPsfbPacket(fmt=RTCP_PSFB_APP, ssrc=1, media_ssrc=0, fci=b"nonsense"))
        assert [call for call in heard.calls if call != "heard"] == [
            ("loss", 0.25),
            "keyframe",
            "keyframe",
            ("estimate", 640_000),
        ]
        assert heard.calls.count("heard") == 6
        assert sender._RTCRtpSender__force_keyframe
        await peer.close()

    run(main)


def test_the_transport_calls_the_hooked_method_by_name() -> None:
    from aiortc.rtcdtlstransport import RTCDtlsTransport

    assert "recipient._handle_rtcp_packet(packet)" in inspect.getsource(RTCDtlsTransport._handle_rtcp_data)


def test_a_sender_packs_packets_that_it_is_given() -> None:
    source = inspect.getsource(RTCRtpSender._next_encoded_frame)
    assert "await self.__track.recv()" in source
    assert "self.__encoder.pack(data)" in source
    assert "self._enabled" in source


@pytest.mark.parametrize(("codec", "packer"), [("vp8", Vp8Encoder), ("h264", H264Encoder)])
def test_packing_keeps_the_time_and_all_bytes(
    codec: str, packer: type[Vp8Encoder] | type[H264Encoder]
) -> None:
    frame = ToYuv(codec)(busy_rgb(0, 640, 480))
    frame.pts, frame.time_base, frame.pict_type = 123_456, CLOCK, 1
    (packet,) = open_codec(codec, 640, 480, 30.0, 4000, 4000).encode(frame)
    payloads, timestamp = packer().pack(packet)
    assert timestamp == 123_456
    assert max(len(payload) for payload in payloads) <= 1300
    assert packet.size <= sum(len(payload) for payload in payloads) < 1.05 * packet.size


def test_packing_sound_keeps_the_time_and_all_bytes() -> None:
    packet: Any = Packet(b"opus")
    packet.pts, packet.time_base = 960, OPUS_CLOCK
    assert OpusEncoder().pack(packet) == ([b"opus"], 960)


def test_a_receiver_has_the_parts_that_are_replaced() -> None:
    async def main() -> None:
        peer = fresh()
        receiver: Any = peer.addTransceiver("video").receiver
        assert isinstance(receiver._RTCRtpReceiver__jitter_buffer, JitterBuffer)
        assert isinstance(receiver._RTCRtpReceiver__decoder_queue, queue.Queue)
        assert isinstance(receiver._RTCRtpReceiver__decoder_error, threading.Event)
        video = tap_video(receiver, MediaOptions(), lambda ms: None)
        assert isinstance(receiver._RTCRtpReceiver__jitter_buffer, PromptBuffer)
        assert receiver._RTCRtpReceiver__decoder_queue is video
        sound: Any = peer.addTransceiver("audio").receiver
        audio = tap_audio(sound, lambda payload, pts: None)
        assert isinstance(sound._RTCRtpReceiver__jitter_buffer, StraightThrough)
        assert sound._RTCRtpReceiver__decoder_queue is audio
        await peer.close()

    run(main)


def test_a_receiver_uses_these_parts_as_the_replacements_expect() -> None:
    source = inspect.getsource(RTCRtpReceiver._handle_rtp_packet)
    for used in (
        "packet._data = depayload(codec, packet.payload)",
        "self.__jitter_buffer.add(packet)",
        "self.__timestamp_mapper.map(",
        "self.__decoder_queue.put((codec, encoded_frame))",
        "if self.__decoder_error.is_set():",
    ):
        assert used in source
    worker = inspect.getsource(decoder_worker)
    assert "input_q.get()" in worker
    assert "if task is None:" in worker
    assert "self.__decoder_queue," in inspect.getsource(RTCRtpReceiver.receive)


def test_the_jitter_buffer_has_the_insides_that_ours_builds_on() -> None:
    buffer = JitterBuffer(capacity=16, is_video=True)
    assert buffer._origin is None
    assert buffer._packets == [None] * 16
    assert buffer._capacity == 16
    assert list(inspect.signature(JitterBuffer._remove_frame).parameters) == ["self", "sequence_number"]
    assert "self._remove_frame(packet.sequence_number)" in inspect.getsource(JitterBuffer.add)


def kept_to_this_machine(own: list[str], monkeypatch: pytest.MonkeyPatch) -> RTCPeerConnection:
    assert "self.get_component_candidates(component=component, addresses=addresses)" in inspect.getsource(
        aioice.ice.Connection.gather_candidates
    )
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda **_: own)
    peer = fresh()
    peer.addTransceiver("video")
    peer.createDataChannel("control")
    keep_to_this_machine(peer)
    return peer


def test_candidates_are_this_machines_and_loopback_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        peer = kept_to_this_machine(["127.0.0.2"], monkeypatch)
        await peer.setLocalDescription(await peer.createOffer())
        media = SessionDescription.parse(peer.localDescription.sdp).media
        for found in (part.ice_candidates for part in media):
            assert [one.ip for one in sorted(found, key=lambda one: -one.priority)] == [
                "127.0.0.1",
                "127.0.0.2",
            ]
            assert len({candidate.priority for candidate in found}) == 2
        await peer.close()

    run(main)


def test_nobody_is_heard_from_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger's address is one that the machine did not name as its own."""
    heard: list[str] = []
    monkeypatch.setattr(aioice.ice.Connection, "request_received", lambda *args: heard.append(args[2][0]))

    async def main() -> None:
        peer = kept_to_this_machine(["127.0.0.2"], monkeypatch)
        await peer.setLocalDescription(await peer.createOffer())
        part = SessionDescription.parse(peer.localDescription.sdp).media[0]
        request = aioice.stun.Message(aioice.stun.Method.BINDING, aioice.stun.Class.REQUEST)
        for here in ("127.0.0.3", "127.0.0.2", "127.0.0.1"):
            with socket.socket(type=socket.SOCK_DGRAM) as sender:
                sender.bind((here, 0))
                for candidate in part.ice_candidates:
                    sender.sendto(bytes(request), (candidate.ip, candidate.port))
        await asyncio.sleep(0.1)
        await peer.close()

    run(main)
    assert sorted(heard) == ["127.0.0.1"] * 2 + ["127.0.0.2"] * 2


def test_codecs_that_can_be_spoken_are_named_in_the_order_offered() -> None:
    async def main() -> None:
        peer = fresh()
        peer.addTransceiver("video")
        peer.addTransceiver("audio")
        offer = await peer.createOffer()
        video, audio = SessionDescription.parse(offer.sdp).media
        assert served("video", video.rtp.codecs) == ["vp8", "h264"]
        assert served("video", video.rtp.codecs[::-1]) == ["h264", "vp8"]
        assert "opus" in served("audio", audio.rtp.codecs)
        for codec in video.rtp.codecs:
            codec.parameters["packetization-mode"] = "0"
        assert served("video", video.rtp.codecs) == ["vp8"]
        await peer.close()

    run(main)


def test_the_default_ice_servers_are_a_strangers_and_must_be_replaced() -> None:
    from aiortc.rtcicetransport import RTCIceGatherer

    assert RTCIceGatherer.getDefaultIceServers()


def rsa_certificate() -> RTCCertificate:
    """As GStreamer makes its own."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "peer")])
    began = datetime.datetime.now(tz=datetime.UTC) - datetime.timedelta(days=1)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(began)
        .not_valid_after(began + datetime.timedelta(days=30))
        .sign(key, hashes.SHA256())
    )
    return RTCCertificate(key=key, cert=made)


@pytest.mark.parametrize("hooked", [True, False])
def test_a_peer_with_an_rsa_key_connects_and_only_with_the_hook(
    hooked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda *_, **__: ["127.0.0.1"])

    async def connected() -> bool:
        ours, theirs = fresh(), fresh()
        inner: Any = theirs
        inner._RTCPeerConnection__certificates = [rsa_certificate()]
        # The peer's own ciphers are for its key too.
        speak_with_rsa(theirs)
        if hooked:
            speak_with_rsa(ours)
        theirs.createDataChannel("control")
        await theirs.setLocalDescription(await theirs.createOffer())
        await ours.setRemoteDescription(theirs.localDescription)
        await ours.setLocalDescription(await ours.createAnswer())
        await theirs.setRemoteDescription(ours.localDescription)
        try:
            for _ in range(100):
                if "failed" in (ours.connectionState, theirs.connectionState):
                    return False
                if ours.connectionState == theirs.connectionState == "connected":
                    return True
                await asyncio.sleep(0.05)
            return False
        finally:
            await ours.close()
            await theirs.close()

    assert asyncio.run(connected()) is hooked
