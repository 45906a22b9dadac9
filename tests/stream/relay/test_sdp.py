"""Offers: the real ones pass, each thing that is wrong is said, and what passes the library can read."""

from __future__ import annotations

import re

import pytest
from aiortc import sdp as library
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.relay.errors import BadOffer
from stream.relay.sdp import MAX_CANDIDATES, MAX_CHARS, MAX_LINES, check_offer
from tests.stream.relay.offers import (
    chromium_offer,
    ffmpeg_offer,
    gstreamer_offer,
    obs_offer,
    publish_offer,
    small_offer,
    watch_offer,
)

GOOD = [chromium_offer(), ffmpeg_offer(), gstreamer_offer(), obs_offer(), publish_offer(), watch_offer()]
CANDIDATE = "a=candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host generation 0"


@pytest.mark.parametrize("offer", GOOD[:5], ids=["chromium", "ffmpeg", "gstreamer", "obs", "small"])
def test_what_publishers_send_passes(offer):
    check_offer(offer, "publish")
    check_offer(offer.replace("\r\n", "\n"), "publish")


def test_what_viewers_send_passes():
    check_offer(watch_offer(), "watch")
    check_offer(small_offer("recvonly", None, data=False), "watch")
    check_offer(publish_offer(), "watch")


def wrong(offer: str, words: str, purpose: str = "publish") -> None:
    """The offer is refused with one sentence that has these words."""
    with pytest.raises(BadOffer) as refused:
        check_offer(offer, purpose)
    said = str(refused.value)
    assert re.search(words, said), said
    assert said.isprintable()
    assert len(said) < 250
    assert refused.value.status == 400


def without(line: str) -> str:
    """The small offer without these lines."""
    offer = publish_offer()
    assert line in offer
    return re.sub(rf"{re.escape(line)}[^\r]*\r\n", "", offer)


def with_line(line: str, section: str = "m=video") -> str:
    """The small offer with one more line in this section."""
    return re.sub(rf"({section}[^\r]*\r\n)", rf"\g<1>{line}\r\n", publish_offer(), count=1)


@pytest.mark.parametrize(
    ("offer", "words"),
    [
        ("", "does not begin with v=0"),
        ("hello", "does not begin with v=0"),
        ("v=0\r\n", "no video m-line"),
        ('{"sdp": "v=0"}', "does not begin with v=0"),
        ("v=0\r\nnonsense\r\n", "no SDP: 'nonsense'"),
        ("v=0\r\ns=\u2028a=setup:x\r\n", "no plain text"),
        ("v=0\r\ns=\x00\r\n", "no plain text"),
        ("v=0\r\n" + "s=-\r\n" * MAX_LINES, "has 1001 lines"),
        ("v=0\r\ns=" + "y" * 2000 + "\r\n", "no SDP: 's=yyyy"),
        ("v=0" + "x" * MAX_CHARS, f"has {MAX_CHARS + 3} characters"),
        (publish_offer().replace("v=0", "v=1"), "does not begin with v=0"),
        (with_line("v=zero"), "bad line: 'v=zero'"),
    ],
)
def test_what_is_no_sdp(offer, words):
    wrong(offer, words)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("a=ice-ufrag", "no a=ice-ufrag for its video"),
        ("a=ice-pwd", "no a=ice-pwd for its video"),
        ("a=setup", "no a=setup for its video"),
        ("a=fingerprint", "no SHA-256, 384 or 512 fingerprint for its video"),
        ("a=rtcp-mux", "no a=rtcp-mux for its video"),
        ("a=rtpmap:96", "no video codec that is served here; send VP8/90000 or H264/90000"),
        ("a=rtpmap:111", "no audio codec that is served here; send opus/48000"),
        ("a=sendrecv", "has not one direction for its video"),
        ("a=sendonly", "has not one direction for its audio"),
        ("a=mid:1", "does not name each m-line"),
        ("a=group", "does not bundle all its m-lines"),
        ("a=sctp-port", "data m-line without a=sctp-port"),
        ("m=video", "no video m-line"),
    ],
)
def test_what_is_missing_is_said(line, words):
    wrong(without(line), words)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("UDP/TLS/RTP/SAVPF 96", "RTP/AVP 96", "an m-line that is not served here"),
        ("UDP/TLS/RTP/SAVPF 96", "UDP/TLS/RTP/SAVPF", "an m-line that is not served here"),
        ("UDP/TLS/RTP/SAVPF 96", "UDP/TLS/RTP/SAVPF 200", "formats that cannot be"),
        ("UDP/TLS/RTP/SAVPF 96", "UDP/TLS/RTP/SAVPF 72", "formats that cannot be"),
        ("m=video 9 ", "m=video 99999 ", "an m-line that is not served here"),
        ("m=application", "m=text", "an m-line that is not served here"),
        ("webrtc-datachannel", "t38", "an m-line that is not served here"),
        ("VP8/90000", "AV1/90000", "no video codec"),
        ("VP8/90000", "VP8/8000", "no video codec"),
        ("opus/48000/2", "MP4A-LATM/48000", "no audio codec"),
        ("sha-256 AB:", "sha-256 ", "no SHA-256"),
        ("sha-256 AB:", "sha-1 AB:", "no SHA-256"),
        ("setup:actpass", "setup:holdconn", "bad line: 'a=setup:holdconn'"),
        ("ice-ufrag:EsAw", "ice-ufrag:Es", "bad line: 'a=ice-ufrag:Es'"),
        ("ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1", "ice-pwd:short", "bad line: 'a=ice-pwd:short'"),
        ("BUNDLE 0 1 2", "BUNDLE 0 1", "does not bundle all"),
        ("BUNDLE 0 1 2", "BUNDLE 0 1 9", "does not bundle all"),
        ("BUNDLE 0 1 2", "BUNDLE 0 1 2 2", "does not bundle all"),
        ("a=group:BUNDLE 0 1 2", "a=group", "bad line: 'a=group'"),
        ("a=mid:1", "a=mid:0", "does not name each m-line"),
        ("a=sendrecv", "a=recvonly", "is not one to publish with"),
        ("a=sendrecv", "a=inactive", "is not one to publish with"),
        ("c=IN IP4 0.0.0.0", "c=IN 0.0.0.0", "bad line: 'c=IN 0.0.0.0'"),
    ],
)
def test_what_is_wrong_is_said(old, new, words):
    assert old in publish_offer()
    wrong(publish_offer().replace(old, new), words)


@pytest.mark.parametrize(
    "line",
    [
        "a=candidate",
        "a=candidate:1 1 udp 1 192.0.2.1 9",
        "a=candidate:1 3 udp 1 192.0.2.1 9 typ host",
        "a=candidate:1 1 udp 99999999999 192.0.2.1 9 typ host",
        "a=candidate:1 1 udp 4294967296 192.0.2.1 9 typ host",
        "a=candidate:1 1 udp 1 192.0.2.1 65536 typ host",
        "a=candidate:1 1 udp 1 printer.example 9 typ host",
        "a=candidate:1 1 udp 1 224.0.0.251 5353 typ host",
        "a=candidate:1 1 udp 1 ff02::fb 5353 typ host",
        "a=candidate:1 1 udp 1 0.0.0.0 8080 typ host",
        "a=candidate:1 1 udp 1 192.0.2.1 9 typ srflx rport many",
        "a=candidate:1 1 udp 1 192.0.2.1 9 typ host generation",
        "a=extmap:x urn:y",
        "a=extmap:1",
        "a=fmtp:96 apt=many",
        "a=fmtp:96",
        "a=rtpmap:96",
        "a=rtcp-fb:96",
        "a=rtcp:many",
        "a=ssrc:x cname:y",
        "a=ssrc:1 cname",
        "a=ssrc-group:FID x",
        "a=msid-semantic",
        "a=max-message-size:-1",
        "a=sctpmap:x",
        "a=mid:",
    ],
)
def test_bad_lines_are_shown(line):
    wrong(with_line(line), re.escape(repr(line) if len(line) < 60 else line[:57]))


def test_formats_must_hang_together():
    wrong(with_line("a=fmtp:97 apt=96"), "a=fmtp without its a=rtpmap in its video")
    wrong(with_line("a=fmtp:97 apt=96", "m=application"), "a=fmtp without its a=rtpmap in its application")
    wrong(with_line("a=rtpmap:128 VP8/90000"), "maps a format above 127 in its video")


@pytest.mark.parametrize(
    "line",
    [
        CANDIDATE,
        CANDIDATE.replace("192.0.2.1", "2001:db8::1"),
        CANDIDATE.replace("192.0.2.1", "0e4e2f1c-2b1b-4b3b-9b1a-0123456789ab.local"),
        "a=candidate:2 1 tcp 1518214911 192.0.2.1 9 typ host tcptype active generation 0",
        "a=candidate:3 1 udp 1 192.0.2.1 9 typ srflx raddr 0.0.0.0 rport 0",
        "a=x-anything-else:\\{}",
        "b=AS:2500",
        "a=end-of-candidates",
        "a=extmap:3/sendonly urn:x",
    ],
)
def test_good_lines_pass(line):
    check_offer(with_line(line.replace("\\", "")), "publish")


def test_candidates_are_bounded():
    lines = "\r\n".join([CANDIDATE] * MAX_CANDIDATES)
    check_offer(with_line(lines), "publish")
    wrong(with_line(f"{lines}\r\n{CANDIDATE}"), f"has {MAX_CANDIDATES + 1} candidates")


@pytest.mark.parametrize("kind", ["video", "audio", "application"])
def test_one_m_line_of_each_kind(kind):
    offer = publish_offer()
    start = offer.index(f"m={kind}")
    end = offer.find("m=", start + 2)
    again = offer[start : end if end > 0 else None]
    wrong(offer + again, f"has 2 {kind} m-lines")


def test_a_viewer_does_not_publish_nor_the_other_way_round():
    wrong(watch_offer(), "is not one to publish with; send a video m-line that is sendrecv or sendonly")
    wrong(obs_offer(), "is not one to watch with; send a video m-line that is sendrecv or recvonly", "watch")


def test_a_long_line_is_cut_in_the_sentence():
    wrong(with_line("a=extmap:" + "y" * 900), r"bad line: 'a=extmap:y+\.\.\.'")


def mutated(draw: st.DrawFn) -> str:
    """A good offer with a few lines dropped, doubled or moved, or a word or character of them changed."""
    lines = draw(st.sampled_from(GOOD)).splitlines()
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(lines) - 1))
        what = draw(st.sampled_from(["drop", "double", "move", "word", "character", "number"]))
        if what == "drop" and len(lines) > 1:
            del lines[at]
        elif what == "double":
            lines.insert(draw(st.integers(0, len(lines))), lines[at])
        elif what == "move":
            lines.insert(draw(st.integers(0, len(lines) - 1)), lines.pop(at))
        elif what == "word":
            words = re.split(r"([ :/=;])", lines[at])
            words[draw(st.integers(0, len(words) - 1))] = draw(
                st.sampled_from(["", "0", "-1", "x", "99999999999"])
            )
            lines[at] = "".join(words)
        elif what == "character":
            place = draw(st.integers(0, len(lines[at])))
            put = draw(st.characters(min_codepoint=9, max_codepoint=0x2030))
            lines[at] = lines[at][:place] + put + lines[at][place + draw(st.integers(0, 1)) :]
        elif what == "number":
            number = draw(st.sampled_from(["65536", "256", "4294967296", "00"]))
            lines[at] = re.sub(r"\d+", number, lines[at], count=1)
    return "\r\n".join(lines) + "\r\n"


mutated_offers = st.composite(mutated)()


@settings(deadline=None, max_examples=400)
@given(mutated_offers, st.sampled_from(["publish", "watch"]))
def test_what_passes_the_library_can_read(offer, purpose):
    """Its parser raises all kinds of errors (KeyError, StopIteration, AttributeError); none gets that far."""
    try:
        check_offer(offer, purpose)
    except BadOffer:
        return
    parsed = library.SessionDescription.parse(offer)
    assert 1 <= len(parsed.media) <= 3
    for media in parsed.media:
        assert media.ice.usernameFragment and media.ice.password
        assert media.dtls is not None and media.dtls.fingerprints
        if media.kind != "application":
            assert media.rtcp_mux
            assert media.direction is not None


@settings(deadline=None, max_examples=200)
@given(
    st.one_of(
        st.text(),
        st.text().map(lambda text: "v=0\r\n" + text),
        st.binary().map(lambda b: b.decode("latin-1")),
    )
)
def test_anything_at_all_is_refused_in_a_sentence(offer):
    with pytest.raises(BadOffer) as refused:
        check_offer(offer, "publish")
    assert str(refused.value).isprintable()
