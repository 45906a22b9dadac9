"""One viewer: packets of the publication go out, key frame requests and estimates of its way come back."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from stream.relay.fanout import PacketTrack
from stream.relay.hooks import listen
from stream.relay.negotiation import Offer, demand_codec, make_answer, prefer, take_offer
from stream.relay.options import MediaOptions
from stream.relay.session import Session

if TYPE_CHECKING:
    from stream.relay.publication import Publication


class Viewer(Session):
    """Watches one publication; a stream.relay.hooks.Feedback."""

    kind = "watch"

    def __init__(self, options: MediaOptions, wake: Callable[[], None], publication: Publication) -> None:
        super().__init__(options, wake)
        self.publication = publication
        self.video = PacketTrack("video", publication.plain.encoder.request_picture)
        self.audio = PacketTrack("audio")
        self._heard_s = self.created_s

    async def answer(self, offer: Offer) -> str:
        """The answer; media flows once the viewer is connected."""
        codec = self.publication.codec
        demand_codec(codec, offer)
        video = self.connection.addTransceiver(self.video, "sendonly")
        prefer(video, codec)
        if offer.has_audio and self.publication.has_audio:
            prefer(self.connection.addTransceiver(self.audio, "sendonly"), "opus")
        elif offer.has_audio:
            prefer(self.connection.addTransceiver("audio", "inactive"), "opus")
        await take_offer(self.connection, offer)
        listen(video.sender, self)
        answer = await make_answer(self.connection, self.options)
        self.publication.plain.add(self.video)
        self.publication.audio.add(self.audio)
        return answer

    def silent_s(self, _now_s: float, /) -> float:
        """Nothing is expected of a viewer that was sent nothing."""
        return max(0.0, self.publication.plain.pushed_s - max(self._heard_s, self.connected_s or 0.0))

    async def close(self) -> None:
        """Leave the publication and close the connection."""
        self.publication.plain.remove(self.video)
        self.publication.plain.rate.forget(self)
        self.publication.audio.remove(self.audio)
        self.video.stop()
        self.audio.stop()
        await super().close()

    def heard(self) -> None:
        """See stream.relay.hooks.Feedback."""
        self._heard_s = time.monotonic()

    def wants_keyframe(self) -> None:
        """See stream.relay.hooks.Feedback."""
        self.publication.plain.encoder.request_keyframe()

    def estimates(self, bits_per_s: int) -> None:
        """See stream.relay.hooks.Feedback."""
        plain = self.publication.plain
        plain.rate.estimated(self, bits_per_s / 1000, plain.sent_kbps(), time.monotonic())

    def loses(self, fraction: float) -> None:
        """See stream.relay.hooks.Feedback."""
        self.publication.plain.rate.lost(self, fraction, time.monotonic())
