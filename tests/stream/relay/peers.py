"""A publisher and viewers made of aiortc, over 127.0.0.1, for tests without a browser."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
from aiortc import (
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from aiortc.rtp import RTCP_PSFB_APP, RtcpPsfbPacket, pack_remb_fci
from av import AudioFrame
from av.packet import Packet
from av.video.frame import VideoFrame

from stream.relay.codec import CLOCK, open_codec
from stream.relay.colour import ToRgb, ToYuv
from stream.relay.hooks import keep_to_this_machine
from stream.relay.rooms import Answer, Rooms
from tests.stream.relay.fakes import CLOSINGS, frame_rgb, number_of, patch_of

FPS = 30


def connection() -> RTCPeerConnection:
    """A connection that is closed when the test is over."""
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    CLOSINGS.append(peer.close)
    return peer


async def offer_of(peer: RTCPeerConnection) -> str:
    keep_to_this_machine(peer)
    await peer.setLocalDescription(await peer.createOffer())
    return peer.localDescription.sdp


def only(peer: RTCPeerConnection, codec: str | None) -> None:
    """Offer no other video codec."""
    for transceiver in peer.getTransceivers():
        if transceiver.kind == "video" and codec is not None:
            known = RTCRtpSender.getCapabilities("video").codecs
            transceiver.setCodecPreferences(
                [one for one in known if one.mimeType.lower() == f"video/{codec}"]
            )


class ClipTrack(MediaStreamTrack):
    """Numbered frames at FPS, encoded in advance in the codec's own colours, a key frame each second. draw:
    makes a frame of its number, width and height. times: monotonic seconds when each number was sent."""

    kind = "video"

    def __init__(
        self,
        codec: str,
        width: int = 320,
        height: int = 240,
        frames: int = 600,
        draw: Callable[[int, int, int], npt.NDArray[np.uint8]] = frame_rgb,
    ) -> None:
        super().__init__()
        self.times: list[float] = []
        self._draw = draw
        self._codec, self._to_yuv = open_codec(codec, width, height, FPS, 2000, 2000), ToYuv(codec)
        self._size, self._frames = (width, height), frames

    async def recv(self) -> Packet[Any]:
        number = len(self.times)
        if number >= self._frames:
            await asyncio.sleep(3600)
        if self.times:
            await asyncio.sleep(max(0.0, self.times[0] + number / FPS - time.monotonic()))
        if self.readyState != "live":
            raise MediaStreamError
        frame = self._to_yuv(self._draw(number, *self._size))
        frame.pts, frame.time_base, frame.duration = number * 3000, CLOCK, 3000
        frame.pict_type = 1 if number % FPS == 0 else 0
        (packet,) = self._codec.encode(frame)
        self.times.append(time.monotonic())
        return packet


class BeepTrack(MediaStreamTrack):
    """20 ms frames of a tone at 48 kHz, in real time."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._sent, self._began_s = 0, 0.0

    async def recv(self) -> AudioFrame:
        self._began_s = self._began_s or time.monotonic()
        await asyncio.sleep(max(0.0, self._began_s + self._sent * 0.02 - time.monotonic()))
        if self.readyState != "live":
            raise MediaStreamError
        tone = np.sin(np.arange(960) * 0.1) * 8000
        frame = AudioFrame.from_ndarray(tone.astype(np.int16)[None], "s16", "mono")
        frame.sample_rate, frame.time_base = 48000, Fraction(1, 48000)
        frame.pts = self._sent * 960
        self._sent += 1
        return frame


@dataclass(frozen=True)
class Seen:
    """A frame that came. number, patch_rgb: what it shows."""

    pts: int
    number: int
    patch_rgb: npt.NDArray[np.float64]
    at_s: float
    size: tuple[int, int]


class Receiver:
    """Collects what comes on a connection's tracks."""

    def __init__(self, peer: RTCPeerConnection) -> None:
        self.seen: list[Seen] = []
        self.sounds: list[tuple[int, float]] = []
        self._to_rgb = ToRgb()
        self._tasks: list[asyncio.Task[None]] = []
        CLOSINGS.append(self.close)
        peer.on("track", lambda track: self._tasks.append(asyncio.create_task(self._drain(track))))

    async def _drain(self, track: MediaStreamTrack) -> None:
        try:
            while True:
                frame = await track.recv()
                if isinstance(frame, VideoFrame):
                    rgb = self._to_rgb(frame)
                    number, size = number_of(rgb), (frame.width, frame.height)
                    self.seen.append(Seen(frame.pts or 0, number, patch_of(rgb), time.monotonic(), size))
                else:
                    self.sounds.append((frame.pts or 0, time.monotonic()))
        except MediaStreamError:
            pass

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def hang_up(peer: RTCPeerConnection, at_most_s: float = 3.0) -> None:
    """Close a peer; aiortc waits for ever where a test took the sockets away and its own close failed."""
    with suppress(TimeoutError):
        async with asyncio.timeout(at_most_s):
            await peer.close()


class Publisher:
    """A page, or a strict WHIP client where returns is False. messages: what came on the control channel."""

    def __init__(
        self,
        codec: str | None = "vp8",
        *,
        track: MediaStreamTrack | None = None,
        returns: bool = True,
        sound: bool = False,
        control: bool = False,
    ) -> None:
        self.peer = connection()
        self.track = track or ClipTrack(codec or "vp8")
        self.peer.addTransceiver(self.track, "sendrecv" if returns else "sendonly")
        if sound:
            self.peer.addTransceiver(BeepTrack(), "sendonly")
        only(self.peer, codec)
        self.receiver = Receiver(self.peer)
        self.messages: list[dict[str, Any]] = []
        self.channel: RTCDataChannel | None = self.peer.createDataChannel("control") if control else None
        if self.channel is not None:
            self.channel.on("message", lambda text: self.messages.append(json.loads(text)))

    async def publish(self, rooms: Rooms, stream: str | None = "one") -> Answer:
        answer = await rooms.publish(await offer_of(self.peer), stream)
        await self.peer.setRemoteDescription(RTCSessionDescription(answer.sdp, "answer"))
        return answer

    def said(self, kind: str) -> list[dict[str, Any]]:
        """Messages of one type."""
        return [message for message in self.messages if message["type"] == kind]

    async def close(self) -> None:
        await self.receiver.close()
        await hang_up(self.peer)


class Watcher:
    """A viewer."""

    def __init__(self, codec: str | None = None, *, sound: bool = False) -> None:
        self.peer = connection()
        self.peer.addTransceiver("video", "recvonly")
        if sound:
            self.peer.addTransceiver("audio", "recvonly")
        only(self.peer, codec)
        self.receiver = Receiver(self.peer)

    @property
    def seen(self) -> list[Seen]:
        return self.receiver.seen

    async def estimate(self, kbps: float) -> None:
        """Say (REMB) what its way can carry, in place of what aiortc would."""
        receiver: Any = self.peer.getTransceivers()[0].receiver
        receiver._RTCRtpReceiver__remote_bitrate_estimator = None
        sources = [one.source for one in receiver.getSynchronizationSources()]
        said = pack_remb_fci(round(kbps * 1000), sources)
        own = receiver._RTCRtpReceiver__rtcp_ssrc
        await receiver._send_rtcp(RtcpPsfbPacket(RTCP_PSFB_APP, ssrc=own, media_ssrc=0, fci=said))

    async def received_bytes(self) -> int:
        """All that has come for it."""
        parts = (await self.peer.getStats()).values()
        return sum(part.bytesReceived for part in parts if part.type == "transport")

    async def watch(self, rooms: Rooms, stream: str = "one") -> Answer:
        answer = await rooms.watch(await offer_of(self.peer), stream)
        await self.peer.setRemoteDescription(RTCSessionDescription(answer.sdp, "answer"))
        return answer

    async def close(self) -> None:
        await self.receiver.close()
        await hang_up(self.peer)
