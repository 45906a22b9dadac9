"""One encoder's packets for many viewers: each starts on a key frame, and none can make the others wait."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av.packet import Packet

from stream.live.stats import Window
from stream.relay.encoder import Encoded, Picture, VideoEncoder
from stream.relay.metrics import StageTimes
from stream.relay.rate import RateControl

VIDEO_PACKETS = 4
AUDIO_PACKETS = 25
RATE_WINDOW_S = 2.0


class PacketTrack(MediaStreamTrack):
    """A track whose recv() gives encoded packets, which aiortc only packetises.

    kind: `video` or `audio`. wants_picture: called when this track needs a key frame to go on. started:
    somebody reads. needs_keyframe: nothing else is of use. flushed: how often the queue was full and emptied.
    """

    def __init__(self, kind: str, wants_picture: Callable[[], None] | None = None) -> None:
        super().__init__()
        self.kind = kind
        self.started = False
        self.flushed = 0
        self.started_s = self.first_packet_s = 0.0
        self._wants_picture = wants_picture
        self._packets: deque[tuple[Packet[Any], int]] = deque()
        self._most = VIDEO_PACKETS if kind == "video" else AUDIO_PACKETS
        self.needs_keyframe = kind == "video"
        self._asks = False
        self._changed = asyncio.Event()

    def offer(self, packet: Packet[Any], keyframe: bool = True) -> None:
        """A packet for this viewer. One that does not read gets the next key frame when it reads again."""
        if not self.started or self.readyState != "live":
            return
        if self.needs_keyframe and not keyframe:
            return
        self.needs_keyframe = False
        if len(self._packets) >= self._most:
            self._flush(keyframe)
            if self.needs_keyframe:
                return
        self._packets.append((packet, time.monotonic_ns()))
        self._changed.set()

    def restart(self) -> None:
        """The packets to come are another encoder's."""
        self._packets.clear()
        self.needs_keyframe = True
        if self.started and self._wants_picture is not None:
            self._wants_picture()

    def age_ms(self) -> float:
        """How long the oldest packet has waited."""
        return (time.monotonic_ns() - self._packets[0][1]) / 1e6 if self._packets else 0.0

    async def recv(self) -> Packet[Any]:
        """The next packet. Called by aiortc once the viewer is connected."""
        if not self.started:
            self.started, self._asks = True, True
            self.started_s = time.monotonic()
        if self._asks and self._wants_picture is not None:
            self._wants_picture()
        self._asks = False
        while not self._packets and self.readyState == "live":
            self._changed.clear()
            await self._changed.wait()
        if self.readyState != "live":
            raise MediaStreamError
        self.first_packet_s = self.first_packet_s or time.monotonic()
        packet, _ = self._packets.popleft()
        return packet

    def stop(self) -> None:
        """End the track, and wake whoever reads."""
        super().stop()
        self._packets.clear()
        self._changed.set()

    def _flush(self, keyframe: bool) -> None:
        self.flushed += 1
        if self.kind == "audio":
            self._packets.popleft()
            return
        self._packets.clear()
        # Asked for only when it reads again: one that never does shall not cost the others a thing.
        self.needs_keyframe, self._asks = not keyframe, not keyframe


class Fanout:
    """An encoder and the tracks that its packets go to; lives in the event loop but for `submit`.

    sent: delays from a picture's arrival to its packet's leaving, with encoding times, of the last seconds;
    times counts them too. pushed_s: monotonic time of the newest packet for all, 0 before there is one.
    """

    def __init__(self, codec: str, fps: float, rate: RateControl, times: StageTimes) -> None:
        self.rate, self._times = rate, times
        self.sent = Window()
        self.pushed_s = 0.0
        self._flushes = 0  # of tracks that have left
        self._loop = asyncio.get_running_loop()
        self._tracks: set[PacketTrack] = set()
        self._bytes: deque[tuple[float, int]] = deque()
        self.encoder = VideoEncoder(codec, fps, rate.target_kbps, rate.most_kbps, self._deliver)

    @property
    def watched(self) -> bool:
        """Whether anybody reads."""
        return any(track.started for track in self._tracks)

    def submit(self, picture: Picture) -> None:
        """A picture to encode; from the filter's thread. Never waits."""
        self.encoder.submit(picture)

    def add(self, track: PacketTrack) -> None:
        """Send to this track too, from the next key frame on."""
        self._tracks.add(track)
        self._flushes -= track.flushed  # those were another encoder's
        track.restart()

    def remove(self, track: PacketTrack) -> None:
        """Send no more to this track."""
        if track in self._tracks:
            self._tracks.remove(track)
            self._flushes += track.flushed

    def step(self, now_s: float) -> None:
        """Let the encoder's bitrate follow the viewers' estimates."""
        self.encoder.kbps = self.rate.step(now_s)

    def sent_kbps(self) -> float:
        """What the encoder made over the last seconds."""
        self._forget(time.monotonic())
        return sum(size for _, size in self._bytes) * 8 / 1000 / RATE_WINDOW_S

    def age_ms(self) -> float:
        """How long the oldest packet has waited for its viewer."""
        return max((track.age_ms() for track in self._tracks), default=0.0)

    def flushes(self) -> int:
        """How often a viewer's full queue was emptied."""
        return self._flushes + sum(track.flushed for track in self._tracks)

    def _deliver(self, encoded: Encoded) -> None:
        """In the encoder's thread."""
        self._loop.call_soon_threadsafe(self._push, encoded)

    def _push(self, encoded: Encoded) -> None:
        self.encoder.fetched()
        now_s = time.monotonic()
        delay_ms = now_s * 1e3 - encoded.arrival_ns / 1e6
        if not encoded.again:
            self.pushed_s = now_s
            self._times.add({"encode": encoded.encode_ms, "whole": delay_ms})
        self._bytes.append((now_s, encoded.packet.size))
        self._forget(now_s)
        self.sent.add(encoded.encode_ms, delay_ms, now_s)
        for track in list(self._tracks):
            if track.needs_keyframe or not encoded.again:
                track.offer(encoded.packet, encoded.keyframe)

    def _forget(self, now_s: float) -> None:
        while self._bytes and self._bytes[0][0] < now_s - RATE_WINDOW_S:
            self._bytes.popleft()
