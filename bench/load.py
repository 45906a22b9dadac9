"""A load on the relay: one publisher, viewers that decode nothing, and offers that are no good."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import aiohttp
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from bench.footage import FPS, TICKS, Encoded
from bench.report import BenchError
from stream.relay.hooks import keep_to_this_machine, tap_audio

STREAM = "soak"
SDP = {"Content-Type": "application/sdp"}
CONNECT_S = 10.0


class LoopTrack(MediaStreamTrack):
    """Encoded pictures, over and over, in real time. sent: how many."""

    kind = "video"

    def __init__(self, pictures: Sequence[Encoded]) -> None:
        super().__init__()
        self.sent = 0
        self._pictures, self._began_s = pictures, 0.0

    async def recv(self) -> Encoded:
        """The next one when it is due."""
        self._began_s = self._began_s or time.monotonic()
        await asyncio.sleep(max(0.0, self._began_s + self.sent / FPS - time.monotonic()))
        if self.readyState != "live":
            raise MediaStreamError
        picture = self._pictures[self.sent % len(self._pictures)]
        picture.pts = self.sent * TICKS
        self.sent += 1
        return picture


class Viewer:
    """Somebody who watches. seen: pictures that came."""

    def __init__(self) -> None:
        self.peer = _connection()
        transceiver = self.peer.addTransceiver("video", "recvonly")
        self.seen = 0
        self._newest: int | None = None
        # What is made for sound, that it is handed on as it comes, spares the decoding of pictures too.
        tap_audio(transceiver.receiver, self._came)

    def _came(self, _payload: bytes, time_of: int) -> None:
        if time_of != self._newest:
            self._newest = time_of
            self.seen += 1


class Load:
    """What weighs on the relay at `address`. sent: of the publisher; seen: of each viewer; answers: to bad
    offers, by status, 0 for none."""

    def __init__(self, http: aiohttp.ClientSession, address: str, codec: str, track: LoopTrack) -> None:
        self._http, self._address, self._codec, self._track = http, address, codec, track
        self._peers: list[RTCPeerConnection] = []
        self._places: list[str] = []
        self._viewers: list[Viewer] = []
        self.answers: Counter[int] = Counter()

    @property
    def sent(self) -> int:
        """Pictures that the publisher has sent."""
        return self._track.sent

    @property
    def seen(self) -> list[int]:
        """Pictures that each viewer has been given."""
        return [viewer.seen for viewer in self._viewers]

    async def publish(self) -> None:
        """Begin to send."""
        peer = _connection()
        self._peers.append(peer)
        transceiver = peer.addTransceiver(self._track, "sendonly")
        known = RTCRtpSender.getCapabilities("video").codecs
        transceiver.setCodecPreferences([c for c in known if c.mimeType.lower() == f"video/{self._codec}"])
        await self._connect(peer, f"/whip?stream={STREAM}")

    async def watch(self, viewers: int) -> None:
        """So many viewers more."""
        for _ in range(viewers):
            viewer = Viewer()
            self._viewers.append(viewer)
            self._peers.append(viewer.peer)
            await self._connect(viewer.peer, f"/whep/{STREAM}")

    async def flood(self, a_second: float) -> None:
        """Bad offers without end."""
        every = 1.0 / a_second
        async with asyncio.TaskGroup() as group:
            while True:
                group.create_task(self._bad_offer())
                await asyncio.sleep(every)

    async def metrics(self) -> str:
        """The relay's own figures, as text."""
        return await metrics(self._http, self._address)

    async def close(self) -> None:
        """End every session, the viewers' first, and hang up."""
        self._track.stop()
        for place in reversed(self._places):
            with suppress(aiohttp.ClientError, TimeoutError):  # the relay may be gone
                async with self._http.delete(self._address + place):
                    pass
        await asyncio.gather(*(peer.close() for peer in self._peers))

    async def _connect(self, peer: RTCPeerConnection, path: str) -> None:
        keep_to_this_machine(peer)
        await peer.setLocalDescription(await peer.createOffer())
        offer = peer.localDescription.sdp
        async with answering(), self._http.post(self._address + path, data=offer, headers=SDP) as answer:
            text = await answer.text()
            if answer.status != 201:
                raise BenchError(f"the relay answered {answer.status} to an offer: {text.strip()}")
            self._places.append(answer.headers["Location"])
        await peer.setRemoteDescription(RTCSessionDescription(text, "answer"))
        end_s = time.monotonic() + CONNECT_S
        while peer.connectionState != "connected":
            if time.monotonic() > end_s:
                raise BenchError(f"no connection with the relay within {CONNECT_S:.0f} s")
            await asyncio.sleep(0.05)

    async def _bad_offer(self) -> None:
        offer = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n"
        status = 0
        with suppress(aiohttp.ClientError, TimeoutError):
            async with self._http.post(f"{self._address}/whip", data=offer, headers=SDP) as answer:
                status = answer.status
        self.answers[status] += 1


@asynccontextmanager
async def answering() -> AsyncIterator[None]:
    """Asking the relay something.

    Raises:
        BenchError: it does not answer.
    """
    try:
        yield
    except (aiohttp.ClientError, TimeoutError) as error:
        raise BenchError(f"the relay says nothing any more ({type(error).__name__})") from error


async def metrics(http: aiohttp.ClientSession, address: str) -> str:
    """The relay's own figures, as text.

    Raises:
        BenchError: it does not answer.
    """
    async with answering(), http.get(f"{address}/metrics") as answer:
        return await answer.text()


@asynccontextmanager
async def loading(address: str, codec: str, pictures: Sequence[Encoded]) -> AsyncIterator[Load]:
    """A publisher of these pictures, of this codec, who has begun to send."""
    async with _http() as http:
        load = Load(http, address, codec, LoopTrack(pictures))
        try:
            await load.publish()
            yield load
        finally:
            await load.close()


async def metrics_of(address: str) -> str:
    """`metrics`, by somebody who does nothing else there."""
    async with _http() as http:
        return await metrics(http, address)


def _http() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=CONNECT_S))


def _connection() -> RTCPeerConnection:
    return RTCPeerConnection(RTCConfiguration(iceServers=[]))
