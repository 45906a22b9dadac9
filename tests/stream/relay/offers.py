"""SDP offers as the clients of the relay send them."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent
FINGERPRINT = "a=fingerprint:sha-256 " + ":".join(["AB"] * 32)
_TRANSPORT = (
    "c=IN IP4 0.0.0.0",
    "a=rtcp:9 IN IP4 0.0.0.0",
    "a=ice-ufrag:EsAw",
    "a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1",
    FINGERPRINT,
    "a=setup:actpass",
)


def _joined(*lines: str) -> str:
    return "\r\n".join(lines) + "\r\n"


def chromium_offer() -> str:
    """What Chromium 156 sends for a webcam, a microphone and a data channel; two network interfaces."""
    return _recorded("chromium")


def ffmpeg_offer() -> str:
    """What FFmpeg 8's whip muxer sends: no candidates, DTLS server."""
    return _recorded("ffmpeg")


def gstreamer_offer() -> str:
    """What GStreamer 1.22's webrtcbin sends: sound on port 0, since it goes with the video."""
    return _recorded("gstreamer")


def _recorded(name: str) -> str:
    return _joined(*(HERE / f"{name}_offer.sdp").read_text(encoding="ascii").splitlines())


def small_offer(video: str = "sendrecv", audio: str | None = "sendonly", data: bool = True) -> str:
    """A browser's offer with what is needed and no more. video, audio: directions; None for no m-line."""
    sections = [
        ("m=video 9 UDP/TLS/RTP/SAVPF 96", f"a={video}", "a=rtcp-mux", "a=rtpmap:96 VP8/90000"),
        ("m=audio 9 UDP/TLS/RTP/SAVPF 111", f"a={audio}", "a=rtcp-mux", "a=rtpmap:111 opus/48000/2"),
        ("m=application 9 UDP/DTLS/SCTP webrtc-datachannel", "a=sctp-port:5000", "a=max-message-size:262144"),
    ]
    wanted = [
        section for section, there in zip(sections, (True, audio is not None, data), strict=True) if there
    ]
    lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0"]
    lines.append("a=group:BUNDLE " + " ".join(str(number) for number in range(len(wanted))))
    for number, (m_line, *rest) in enumerate(wanted):
        lines += [m_line, *_TRANSPORT, f"a=mid:{number}", *rest]
    return _joined(*lines)


def publish_offer() -> str:
    """Video both ways, sound and control one way."""
    return small_offer()


def watch_offer() -> str:
    """Video and sound to be received."""
    return small_offer("recvonly", "recvonly", data=False)


def obs_offer() -> str:
    """In the manner of OBS 30 (libdatachannel): credentials for the whole session, no candidates."""
    return _joined(
        "v=0",
        "o=rtc 2542216170 0 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE 0 1",
        "a=group:LS 0 1",
        "a=msid-semantic:WMS *",
        "a=setup:actpass",
        "a=ice-ufrag:Nq3S",
        "a=ice-pwd:cT9mVMH3ICTcZmYNVLQ4E0",
        "a=ice-options:ice2,trickle",
        FINGERPRINT,
        "m=audio 9 UDP/TLS/RTP/SAVPF 111",
        "c=IN IP4 0.0.0.0",
        "a=mid:0",
        "a=sendonly",
        "a=ssrc:1000 cname:abcdefghij",
        "a=ssrc:1000 msid:stream stream-audio",
        "a=msid:stream stream-audio",
        "a=rtcp-mux",
        "a=rtpmap:111 opus/48000/2",
        "a=fmtp:111 minptime=10;maxaveragebitrate=96000;stereo=1;sprop-stereo=1;useinbandfec=1",
        "m=video 9 UDP/TLS/RTP/SAVPF 96",
        "c=IN IP4 0.0.0.0",
        "a=mid:1",
        "a=sendonly",
        "a=ssrc:1001 cname:abcdefghij",
        "a=ssrc:1001 msid:stream stream-video",
        "a=msid:stream stream-video",
        "a=rtcp-mux",
        "a=rtpmap:96 H264/90000",
        "a=rtcp-fb:96 nack",
        "a=rtcp-fb:96 nack pli",
        "a=rtcp-fb:96 goog-remb",
        "a=fmtp:96 profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1",
    )
