"""One publisher: its video into the pipeline, its sound past it, its page's wishes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from aiortc import RTCDataChannel
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av.video.frame import VideoFrame

from stream.errors import OptionError
from stream.live.settings import Settings
from stream.relay.audio import AudioLine
from stream.relay.control import LABEL, Control
from stream.relay.fanout import Fanout, PacketTrack
from stream.relay.hooks import listen, tap_audio, tap_video
from stream.relay.intake import VideoIntake
from stream.relay.metrics import StageTimes
from stream.relay.negotiation import Offer, make_answer, prefer, take_offer
from stream.relay.options import MediaOptions
from stream.relay.pipeline import MakeFilter, Pipeline
from stream.relay.session import Session
from stream.relay.snapshot import StreamSnapshot

_LOG = logging.getLogger("vretouch.relay")
STATS_EVERY_S = 1.0
# Time for the reason to reach the page before the connection is closed.
LAST_WORDS_S = 0.2


class Publication(Session):
    """One stream. name: viewers ask for it. codec: `vp8` or `h264`, of all that goes out. has_audio: the
    publisher sends sound. viewers: set by stream.relay.rooms, those connected."""

    kind = "publish"

    def __init__(
        self,
        options: MediaOptions,
        wake: Callable[[], None],
        name: str,
        codec: str,
        offer: Offer,
        make_filter: MakeFilter,
        times: StageTimes,
    ) -> None:
        super().__init__(options, wake)
        self.name, self.codec, self.has_audio = name, codec, offer.audio
        self.viewers = 0
        self.audio = AudioLine()
        self._offer, self._times = offer, times
        self._return_path = _ReturnPath(self)
        self._returns = PacketTrack("video", self._return_path.wants_picture) if offer.receives else None
        self.pipeline = Pipeline(codec, options, make_filter, self._returns, times)
        self._intake: VideoIntake | None = None
        self._control: Control | None = None
        self._drain: asyncio.Task[None] | None = None
        self._sound_s = self._stats_s = 0.0
        self._refused: tuple[int, int] | None = None
        self._told: tuple[int, int] | None = None
        self._left = False

    @property
    def plain(self) -> Fanout:
        """Where viewers get their packets from."""
        return self.pipeline.plain

    async def answer(self) -> str:
        """The answer to the offer; frames are taken once the publisher is connected."""
        self.connection.on("datachannel", self._open_control)
        video = self.connection.addTransceiver("video", "sendrecv" if self._returns else "recvonly")
        prefer(video, self.codec)
        if self._returns is not None:
            video.sender.replaceTrack(self._returns)
        audio = self.connection.addTransceiver("audio", "recvonly") if self.has_audio else None
        if audio is not None:
            prefer(audio, "opus")
        await take_offer(self.connection, self._offer)
        listen(video.sender, self._return_path)
        self._intake = tap_video(video.receiver, self.options, lambda ms: self._times.add({"decode": ms}))
        if audio is not None:
            tap_audio(audio.receiver, self._take_sound)
        self._drain = asyncio.create_task(self._take_frames(video.receiver.track, self._intake))
        return await make_answer(self.connection, self.options)

    def change(self, wanted: dict[str, Any]) -> Settings:
        """Change how the stream is shown; raises OptionError for what cannot be."""
        try:
            settings = self.pipeline.settings.changed(**wanted)
        except (TypeError, OverflowError):
            raise OptionError(f"these are no settings: {', '.join(sorted(wanted))}") from None
        self.pipeline.change(settings)
        return settings

    def tick(self, now_s: float) -> None:
        """What is done twice a second: bitrates, the sound's delay; and each second, figures for the page."""
        if self.connected_s is None:
            return
        self.pipeline.step(now_s)
        stats = self.pipeline.stats()
        if self.plain.pushed_s:
            self.audio.line.aim(stats.delay_p50_ms / 1e3)
        if self._control is not None and now_s - self._stats_s >= STATS_EVERY_S:
            self._stats_s = now_s
            self._control.send(self._figures())
        self._complain_of_size()

    def silent_s(self, now_s: float, /) -> float:
        """Since when neither picture nor sound nor a message of the page has come."""
        seen_s = self._intake.heard_s if self._intake is not None else 0.0
        said_s = self._control.heard_s if self._control is not None else 0.0
        return now_s - max(seen_s, self._sound_s, said_s, self.connected_s or self.created_s)

    def trouble(self) -> str | None:
        """`failed` where a thread has died or hangs, `lost` where the publisher has said goodbye."""
        if self.pipeline.error is not None:
            return "failed"
        return "lost" if self._left else None

    def snapshot(self) -> StreamSnapshot:
        """One look at it."""
        intake, plain, frames = self._intake, self.plain, self.pipeline.frames()
        if intake is not None:
            frames["skipped"], frames["too_large"] = intake.skipped, frames["too_large"] + intake.too_large
        return StreamSnapshot(
            name=self.name,
            codec=self.codec,
            width=self.pipeline.width,
            height=self.pipeline.height,
            viewers=self.viewers,
            bitrate_kbps=plain.encoder.kbps,
            sent_kbps=plain.sent_kbps(),
            stats=self.pipeline.stats(),
            frames=dict(frames),
            queue_age_ms={
                "decode": 0.0 if intake is None else intake.oldest_ms(),
                "encode": plain.encoder.age_ms(),
                "viewers": plain.age_ms(),
                "audio": self.audio.age_ms(),
            },
            audio_delay_ms=self.audio.line.delay_s * 1e3,
            keyframes=plain.encoder.keyframes,
            flushes=plain.flushes(),
            audio_dropped=self.audio.dropped,
        )

    async def close(self) -> None:
        """Close the connection, then end the threads."""
        if self.pipeline.error is not None and self._control is not None:
            self._control.complain("the filter has failed; start again, and look at the relay's log")
            await asyncio.sleep(LAST_WORDS_S)
        self.audio.close()
        if self._drain is not None:
            self._drain.cancel()
            await asyncio.gather(self._drain, return_exceptions=True)
        if self._returns is not None:
            self._returns.stop()
        try:
            await super().close()
        finally:
            await self.pipeline.close()

    async def _take_frames(self, track: MediaStreamTrack, intake: VideoIntake) -> None:
        """Drain the track: aiortc's queue of decoded frames has no bound."""
        try:
            while True:
                frame = await track.recv()
                if isinstance(frame, VideoFrame):
                    self.pipeline.take(frame, intake.arrival_ns(frame.pts or 0))
        except MediaStreamError:
            self._left = True
            self._wake()

    def _take_sound(self, payload: bytes, pts: int) -> None:
        self._sound_s = time.monotonic()
        self.audio.push(payload, pts)

    def _open_control(self, channel: RTCDataChannel) -> None:
        if channel.label != LABEL or self._control is not None:
            channel.close()
            return
        self._control = Control(channel, self.change)
        self._control.hello(self.name, self.pipeline.settings)

    def _figures(self) -> dict[str, Any]:
        stats = self.pipeline.stats()
        figures: dict[str, Any] = {
            "type": "stats",
            "frames_in": stats.frames_in,
            "frames_out": stats.frames_out,
            "dropped": stats.dropped,
            "level": stats.level,
            "level_name": stats.level_name,
            "faces": stats.faces,
            "viewers": self.viewers,
            "bitrate_kbps": round(self.pipeline.returning.sent_kbps()),
        }
        for name in ("fps", "retouch_p50_ms", "retouch_p95_ms", "delay_p50_ms", "delay_p95_ms"):
            figures[name] = round(getattr(stats, name), 1)
        return figures

    def _complain_of_size(self) -> None:
        """Once for each size that is too large: in the log, and to the page as soon as it can be told."""
        size = self._intake.refused_size if self._intake is not None else None
        told = size if self._control is not None else self._told
        if size is not None and (size != self._refused or told != self._told):
            most = f"the {self.options.max_width}x{self.options.max_height} allowed"
            complaint = f"the video is {size[0]}x{size[1]}, more than {most}; choose a smaller one"
            if size != self._refused:
                _LOG.warning(f"stream {self.name}: {complaint}, or allow it with --size")
            if self._control is not None:
                self._control.complain(complaint)
        self._refused, self._told = size, told


class _ReturnPath:
    """What the publisher says of the picture it gets back; a stream.relay.hooks.Feedback."""

    def __init__(self, publication: Publication) -> None:
        self._publication = publication

    def heard(self) -> None:
        """Its own media says more."""

    def wants_keyframe(self) -> None:
        """See stream.relay.hooks.Feedback."""
        self._publication.pipeline.returning.encoder.request_keyframe()

    def wants_picture(self) -> None:
        """It has none yet."""
        self._publication.pipeline.returning.encoder.request_picture()

    def estimates(self, bits_per_s: int) -> None:
        """See stream.relay.hooks.Feedback."""
        fanout = self._publication.pipeline.returning
        fanout.rate.estimated(self, bits_per_s / 1000, fanout.sent_kbps(), time.monotonic())

    def loses(self, fraction: float) -> None:
        """See stream.relay.hooks.Feedback."""
        self._publication.pipeline.returning.rate.lost(self, fraction, time.monotonic())
