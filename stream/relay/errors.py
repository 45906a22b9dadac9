"""What can go wrong between an offer and its answer: one sentence, and the HTTP status that says it."""

from __future__ import annotations

from stream.errors import VretouchError


class MediaError(VretouchError):
    """Base of what the media plane refuses. status: of HTTP. retry_after_s: when to try again."""

    status = 400

    def __init__(self, sentence: str, retry_after_s: int | None = None) -> None:
        super().__init__(sentence)
        self.retry_after_s = retry_after_s


class Stuck(VretouchError):  # noqa: N818
    """Pictures go in and none come out: a thread hangs, which nothing can end."""


class BadOffer(MediaError):  # noqa: N818
    """An offer that cannot be answered: no SDP, or nothing to send or receive."""


class NoCodec(MediaError):  # noqa: N818
    """An offer without the video codec that is served."""

    status = 406


class NoStream(MediaError):  # noqa: N818
    """Nobody publishes under that name."""

    status = 404


class Taken(MediaError):  # noqa: N818
    """Somebody publishes under that name already."""

    status = 409


class Full(MediaError):  # noqa: N818
    """As many sessions as are allowed are open, or waiting to be connected."""

    status = 503
