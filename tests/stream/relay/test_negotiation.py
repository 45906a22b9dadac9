"""Offers are taken apart with a sentence for each that cannot be used."""

from __future__ import annotations

from typing import Literal

import pytest
from aiortc import RTCPeerConnection
from aiortc.sdp import SessionDescription

from stream.relay.errors import BadOffer, NoCodec
from stream.relay.negotiation import announced, choose_codec, demand_codec, new_connection, read_offer
from stream.relay.options import MediaOptions
from stream.relay.turn import IceServers
from tests.stream.relay.fakes import run
from tests.stream.relay.peers import connection, offer_of, only


def offered(
    video: str | None = "sendrecv", audio: str | None = None, codec: str | None = None, videos: int = 1
) -> str:
    made: list[str] = []

    async def main() -> None:
        peer = connection()
        for _ in range(videos if video else 0):
            peer.addTransceiver("video", str(video))
        if audio:
            peer.addTransceiver("audio", audio)
        only(peer, codec)
        made.append(await offer_of(peer))
        await peer.close()

    run(main)
    return made[0]


def test_an_offer_says_what_it_wants() -> None:
    offer = read_offer(offered("sendrecv", "sendonly"), "publish", False)
    assert (offer.sends, offer.receives, offer.audio, offer.has_audio) == (True, True, True, True)
    assert offer.codecs == ("vp8", "h264")
    strict = read_offer(offered("sendonly"), "publish", False)
    assert (strict.sends, strict.receives, strict.audio, strict.has_audio) == (True, False, False, False)


@pytest.mark.parametrize(
    ("sdp", "purpose", "complaint"),
    [
        ("no sdp at all", "publish", "read|0 video"),
        ("", "publish", "0 video"),
        (offered("recvonly"), "publish", "sends no video"),
        (offered("sendonly"), "watch", "receives no video"),
        (offered("sendrecv", videos=2), "publish", "2 video"),
        (offered(None, "sendrecv"), "publish", "0 video"),
        (
            offered("sendrecv", "sendrecv").replace("opus/48000", "speex/8000").replace("PCM", "XCM"),
            "publish",
            "Opus",
        ),
    ],
)
def test_an_offer_that_cannot_be_used_is_refused_in_a_sentence(
    sdp: str, purpose: Literal["publish", "watch"], complaint: str
) -> None:
    with pytest.raises(BadOffer, match=complaint) as caught:
        read_offer(sdp, purpose, False)
    assert caught.value.status == 400


def test_the_codec_is_the_one_wanted_or_the_better_of_those_offered() -> None:
    both = read_offer(offered(), "publish", False)
    vp8 = read_offer(offered(codec="vp8"), "publish", False)
    h264 = read_offer(offered(codec="h264"), "publish", False)
    assert choose_codec("auto", both) == "h264"
    assert choose_codec("auto", vp8) == "vp8"
    assert choose_codec("vp8", both) == "vp8"
    with pytest.raises(NoCodec, match=r"offer H\.264") as caught:
        choose_codec("h264", vp8)
    assert caught.value.status == 406
    demand_codec("h264", h264)
    with pytest.raises(NoCodec, match="stream is VP8"):
        demand_codec("vp8", h264)


def test_candidates_of_no_use_are_left_out() -> None:
    sdp = offered("sendrecv")
    candidates = [
        "a=candidate:1 1 udp 1 192.0.2.7 5000 typ host",
        "a=candidate:2 1 udp 1 0a1b2c3d-1111-2222-3333-444455556666.local 5001 typ host",
        "a=candidate:3 1 udp 1 127.0.0.1 5002 typ host",
    ]
    sdp = "\r\n".join([*[line for line in sdp.splitlines() if "candidate" not in line], *candidates, ""])
    sdp += "a=end-of-candidates\r\n"
    kept = read_offer(sdp, "publish", loopback=False).sdp
    assert [word in kept for word in ("192.0.2.7", ".local", "127.0.0.1 5002", "end-of")] == [
        True,
        False,
        True,
        False,
    ]
    kept = read_offer(sdp, "publish", loopback=True).sdp
    assert [word in kept for word in ("192.0.2.7", ".local", "127.0.0.1 5002", "end-of")] == [
        False,
        False,
        True,
        False,
    ]


def test_host_candidates_are_announced_at_the_public_address_too() -> None:
    sdp = "\r\n".join(
        [
            "m=video 9 UDP/TLS/RTP/SAVPF 97",
            "a=candidate:ab 1 udp 2130706431 10.0.0.5 5000 typ host",
            "a=candidate:cd 1 udp 2130706431 fd00::5 5001 typ host",
            "a=candidate:ef 1 udp 1694498815 198.51.100.1 5002 typ srflx raddr 10.0.0.5 rport 5000",
            "a=end-of-candidates",
            "",
        ]
    )
    lines = announced(sdp, "203.0.113.7").splitlines()
    assert lines[2] == "a=candidate:pab 1 udp 2130706431 203.0.113.7 5000 typ host"
    assert [line for line in lines if "203.0.113.7" not in line] == sdp.splitlines()
    assert announced(sdp, "2001:db8::7").count("2001:db8::7 5001 typ host") == 1
    assert len(SessionDescription.parse(announced(offered(), "203.0.113.7")).media) == 1


def servers_of(peer: RTCPeerConnection) -> list[str]:
    inner = peer._RTCPeerConnection__configuration
    return [server.urls for server in inner.iceServers]


def test_only_ice_servers_that_were_given_are_used() -> None:
    async def main() -> None:
        peer = new_connection(MediaOptions())
        assert servers_of(peer) == []
        await peer.close()
        given = IceServers(("stun:stun.example.org:3478", "turn:turn.example.org"), "secret")
        peer = new_connection(MediaOptions(ice_servers=given))
        assert servers_of(peer) == list(given.urls)
        await peer.close()

    run(main)
