"""A small RTSP server, as a network camera has one: RFC 2326 as far as one who watches needs it, over the
connection itself or, if `datagrams`, over UDP only."""

from __future__ import annotations

import base64
import re
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import av

SDP = """v=0
o=- 0 0 IN IP4 127.0.0.1
s=card
t=0 0
m=video 0 RTP/AVP 96
a=rtpmap:96 H264/90000
a=fmtp:96 packetization-mode=1
a=control:0
m=audio 0 RTP/AVP 8
a=rtpmap:8 PCMA/8000
a=control:1
"""
PACKET_BYTES = 1400
FIRST_RTCP, LAST_RTCP = 200, 204


class Channel:
    """Where one stream's RTP packets go: FFmpeg's packetiser gives `write` one at a time."""

    def __init__(self, send: Callable[[bytes, int], object]) -> None:
        self._send = send

    def write(self, packet: bytes) -> int:
        self._send(packet, int(FIRST_RTCP <= packet[1] <= LAST_RTCP))
        return len(packet)

    def packetiser(self) -> Any:
        """A container for one stream."""
        return av.open(self, "w", format="rtp", options={"packetsize": str(PACKET_BYTES)})


class RtspServer:
    """play: called with a muxer for each of the clip's two streams once a client wants to see them, until it
    has gone. secret: NAME:PASSWORD that a client has to bring along, if any."""

    def __init__(
        self, port: int, play: Callable[[list[Channel]], None], secret: str = "", datagrams: bool = False
    ) -> None:
        self._play, self._datagrams = play, datagrams
        self._asks = f"Basic {base64.b64encode(secret.encode()).decode()}" if secret else ""
        self._server = socket.create_server(("127.0.0.1", port))
        self._channels: list[Channel] = []

    def serve(self) -> None:
        """Serve one client after the other."""
        while True:
            peer, _ = self._server.accept()
            with peer, suppress(OSError, av.error.FFmpegError):
                self._talk(peer)

    def _talk(self, peer: socket.socket) -> None:
        self._channels = []
        with peer.makefile("rb") as requests:
            while first := requests.readline().decode():
                lines = iter(lambda: requests.readline().decode().strip(), "")
                headers = {
                    name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)
                }
                method = first.split()[0]
                status, more, body = self._answer(method, headers, peer)
                head = [f"RTSP/1.0 {status}", f"CSeq: {headers['cseq']}", "Session: 1", *more]
                peer.sendall("\r\n".join([*head, f"Content-Length: {len(body)}", "", body]).encode())
                if method == "PLAY":
                    self._play(self._channels)

    def _answer(
        self, method: str, headers: dict[str, str], peer: socket.socket
    ) -> tuple[str, list[str], str]:
        """Status, headers and body."""
        if headers.get("authorization", "") != self._asks:
            return "401 Unauthorized", ['WWW-Authenticate: Basic realm="card"'], ""
        if method == "OPTIONS":
            return "200 OK", ["Public: DESCRIBE, SETUP, PLAY"], ""
        if method == "DESCRIBE":
            return "200 OK", ["Content-Type: application/sdp"], SDP.replace("\n", "\r\n")
        if method != "SETUP":
            return "200 OK", [], ""
        over_tcp = "/TCP" in headers["transport"]
        if over_tcp is self._datagrams:
            return "461 Unsupported Transport", [], ""
        opened = self._over_tcp(peer) if over_tcp else self._over_udp(headers["transport"])
        return "200 OK", [f"Transport: {opened}"], ""

    def _over_tcp(self, peer: socket.socket) -> str:
        first = 2 * len(self._channels)

        def send(packet: bytes, control: int) -> None:
            peer.sendall(b"$" + bytes([first + control]) + len(packet).to_bytes(2, "big") + packet)

        self._channels.append(Channel(send))
        return f"RTP/AVP/TCP;unicast;interleaved={first}-{first + 1}"

    def _over_udp(self, asked: str) -> str:
        found = re.search(r"client_port=(\d+)", asked)
        assert found is not None
        wanted = int(found[1])
        sender = socket.socket(type=socket.SOCK_DGRAM)
        sender.bind(("127.0.0.1", 0))
        self._channels.append(
            Channel(lambda packet, control: sender.sendto(packet, ("127.0.0.1", wanted + control)))
        )
        port = sender.getsockname()[1]
        return f"RTP/AVP;unicast;client_port={wanted}-{wanted + 1};server_port={port}-{port + 1}"


def answering(status: str) -> str:
    """The address of a server that answers every RTSP request so."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with server, server.accept()[0] as peer:
            peer.settimeout(30.0)
            while request := peer.recv(4096).decode():
                number = next(line for line in request.splitlines() if line.lower().startswith("cseq"))
                peer.sendall(f"RTSP/1.0 {status}\r\n{number}\r\n\r\n".encode())

    threading.Thread(target=serve, daemon=True).start()
    return f"rtsp://127.0.0.1:{server.getsockname()[1]}/stream"
