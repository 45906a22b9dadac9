"""One look at everything that runs, for /metrics and /healthz."""

from __future__ import annotations

from dataclasses import dataclass, field

from stream.live.stats import Stats


@dataclass(frozen=True)
class StreamSnapshot:
    """One publication.

    codec: `vp8` or `h264`. width, height: of the newest frame, 0 before there is one. viewers: connected.
    bitrate_kbps: what the encoder aims at; sent_kbps: what it made over the last seconds, for one viewer.
    stats: of the filter, but frames_in counts all that were decoded, dropped all that were lost on the way,
    and the delay is from a frame's arrival to its leaving for the viewers. frames: since it began, by what
    became of them: `decoded`; `skipped` (not decoded: no key frame to begin with), `too_large`, `too_fast`,
    `unwatched`, `behind` (each dropped before any work), `overtaken` (dropped in the filter's slot),
    `retouched`, `encoded`, `not_encoded` (both by all encoders, of which a publisher that sees a split or a
    map has its own). queue_age_ms: how long the oldest item has waited in `decode`,
    `encode`, `viewers`, and `audio` (where it waits for the video on purpose). keyframes: made since it
    began. flushes: how often a viewer's full queue was emptied. audio_dropped: sound packets given
    up, because too many were held.
    """

    name: str
    codec: str
    width: int = 0
    height: int = 0
    viewers: int = 0
    bitrate_kbps: int = 0
    sent_kbps: float = 0.0
    stats: Stats = field(default_factory=Stats)
    frames: dict[str, int] = field(default_factory=dict)
    queue_age_ms: dict[str, float] = field(default_factory=dict)
    audio_delay_ms: float = 0.0
    keyframes: int = 0
    flushes: int = 0
    audio_dropped: int = 0


@dataclass(frozen=True)
class Snapshot:
    """All publications, and the sessions.

    pending: answered but not yet connected, of both kinds. ended: since the start, by reason: `asked`,
    `lost`, `never connected`, `idle`, `time is up`, `publisher left`, `failed`, `refused` (the offer could
    not be answered), `shut down`. late_s: by how much the event loop was late, with sessions, added up.
    """

    streams: tuple[StreamSnapshot, ...] = ()
    publishers: int = 0
    viewers: int = 0
    pending: int = 0
    ended: dict[str, int] = field(default_factory=dict)
    late_s: float = 0.0
