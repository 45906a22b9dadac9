"""The door between signalling and media: offers come in, answers go out, sessions are watched and ended."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import re
import secrets
import time
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from stream.relay.errors import BadOffer, Full, NoStream, Taken
from stream.relay.metrics import StageTimes
from stream.relay.negotiation import Purpose, choose_codec, read_offer
from stream.relay.options import MediaOptions
from stream.relay.pipeline import MakeFilter
from stream.relay.publication import Publication
from stream.relay.session import Session
from stream.relay.snapshot import Snapshot, StreamSnapshot
from stream.relay.sweep import Sweeper
from stream.relay.viewer import Viewer

__all__ = ["Answer", "Rooms", "Snapshot", "StreamSnapshot"]

TICK_S = 0.5
# One stream may fail for reasons of its own.
MOST_FAILED = 3
FULL_RETRY_S = 30
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LOG = logging.getLogger("vretouch.relay")


@dataclass(frozen=True)
class Answer:
    """session: the secret to end it by. sdp: with all candidates inside. stream: the name viewers ask for."""

    session: str
    sdp: str
    stream: str


class Rooms:
    """All publications and their viewers; lives in one event loop.

    make_filter: called with what takes finished frames, when a publication's first frame goes on; see
    stream.live.filter.LiveFilter. times: counts what each frame takes.
    """

    def __init__(
        self, options: MediaOptions, make_filter: MakeFilter, times: StageTimes | None = None
    ) -> None:
        self._options, self._make_filter, self._times = options, make_filter, times or StageTimes()
        self._publications: dict[str, Publication] = {}
        self._sessions: dict[str, Session] = {}
        self._ended: Counter[str] = Counter()
        self._failed_in_turn = 0
        self._late_s = 0.0
        self._ticker: asyncio.Task[None] | None = None
        self._closings: set[asyncio.Task[None]] = set()
        self._woken = asyncio.Event()
        self._sweeper = Sweeper()
        self._closed = False

    async def publish(self, offer_sdp: str, stream: str | None) -> Answer:
        """Begin a stream. Raises BadOffer, NoCodec, Taken or Full."""
        offer = read_offer(offer_sdp, "publish", self._options.loopback)
        codec = choose_codec(self._options.codec, offer)
        name = secrets.token_urlsafe(8) if stream is None else stream
        if NAME.fullmatch(name) is None:
            raise BadOffer(f"{name[:80]!r} is no name for a stream; use 1 to 64 letters, digits, _ and -")
        if name in self._publications:
            raise Taken(f"somebody publishes as {name} already; choose another name, or wait until that ends")
        self._demand_room("publish", self._options.max_publishers)
        publication = Publication(
            self._options, self._woken.set, name, codec, offer, self._make_filter, self._times
        )
        self._publications[name] = publication
        sdp = await self._begun(publication, publication.answer())
        return Answer(publication.id, sdp, name)

    async def watch(self, offer_sdp: str, stream: str) -> Answer:
        """Begin to watch a stream. Raises BadOffer, NoCodec, NoStream or Full."""
        publication = self._publications.get(stream)
        if publication is None:
            raise NoStream(f"nobody publishes as {stream[:80]!r}; ask for the name of a stream that runs")
        offer = read_offer(offer_sdp, "watch", self._options.loopback)
        self._demand_room("watch", self._options.max_viewers)
        viewer = Viewer(self._options, self._woken.set, publication)
        sdp = await self._begun(viewer, viewer.answer(offer))
        return Answer(viewer.id, sdp, stream)

    async def end(self, session: str, kind: Purpose) -> bool:
        """End a session; False where there is none of that kind by that name."""
        found = self._sessions.get(session)
        if found is None or found.kind != kind:
            return False
        await self._end(found, "asked")
        return True

    def snapshot(self) -> Snapshot:
        """One look at all of it."""
        sessions = list(self._sessions.values())
        return Snapshot(
            streams=tuple(publication.snapshot() for publication in self._publications.values()),
            publishers=sum(one.kind == "publish" for one in sessions),
            viewers=sum(one.kind == "watch" for one in sessions),
            pending=sum(one.connected_s is None for one in sessions),
            ended=dict(self._ended),
            late_s=self._late_s,
        )

    def ill(self) -> str | None:
        """Why the relay cannot serve, or None: to be full or busy is no illness."""
        advice = "start the relay again, and look at its log"
        if self._closed:
            return "the relay is shutting down"
        if self._ticker is not None and self._ticker.done() and self._ticker.exception() is not None:
            return f"the watch over the sessions has ended; {advice}"
        if self._failed_in_turn >= MOST_FAILED and not any(map(_works, self._publications.values())):
            return f"the last {self._failed_in_turn} streams have failed; {advice}"
        return None

    async def close(self) -> None:
        """End all sessions, and begin no more."""
        self._closed = True
        for session in list(self._sessions.values()):
            self._end_soon(session, "shut down")
        if self._ticker is not None:
            self._ticker.cancel()
            await asyncio.gather(self._ticker, return_exceptions=True)
            self._ticker = None  # a cancelled task holds its frame, and that the last publication
        while self._closings:
            await asyncio.wait(self._closings)
        self._sweeper.close()

    def _demand_room(self, kind: Purpose, most: int) -> None:
        if self._closed:
            raise Full("the relay is shutting down", FULL_RETRY_S)
        sessions = [one for one in self._sessions.values() if one.kind == kind]
        if len(sessions) >= most:
            doing = "publish" if kind == "publish" else "watch"
            raise Full(f"{most} {doing} already, which is the most allowed; try again later", FULL_RETRY_S)
        if sum(one.connected_s is None for one in sessions) >= self._options.max_pending:
            raise Full(
                f"{self._options.max_pending} offers are waiting to be connected; try again in a moment",
                math.ceil(self._options.connect_deadline_s),
            )

    async def _begun(self, session: Session, answering: Coroutine[Any, Any, str]) -> str:
        """Register the session and answer; nothing is left of it where that fails."""
        self._sessions[session.id] = session
        try:
            answer = await answering
        except BaseException:
            await self._end(session, "refused")
            raise
        if session.id not in self._sessions:
            raise NoStream("the stream ended meanwhile; ask again")
        if self._ticker is None or self._ticker.done():
            self._ticker = asyncio.create_task(self._tick())
            self._ticker.add_done_callback(_tell_end)
        return answer

    async def _tick(self) -> None:
        """Look after all sessions until there are none."""
        while self._sessions:
            due_s = time.monotonic() + TICK_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._woken.wait()
            self._woken.clear()
            now_s = time.monotonic()
            self._late_s += max(0.0, now_s - due_s)
            for session in list(self._sessions.values()):
                if reason := session.over(now_s):
                    self._end_soon(session, reason)
            for publication in list(self._publications.values()):
                publication.viewers = sum(
                    isinstance(one, Viewer) and one.publication is publication and one.connected_s is not None
                    for one in self._sessions.values()
                )
                publication.tick(now_s)

    def _end_soon(self, session: Session, reason: str) -> None:
        task = asyncio.create_task(self._end(session, reason))
        self._closings.add(task)
        task.add_done_callback(self._closings.discard)

    async def _end(self, session: Session, reason: str) -> None:
        """Take a session off the lists at once, then close it, and a publication's viewers with it."""
        if self._sessions.pop(session.id, None) is None:
            return
        self._ended[reason] += 1
        viewers: list[Viewer] = []
        if isinstance(session, Publication):
            if session.pipeline.error is not None:
                _LOG.error("the stream %s has failed", session.name, exc_info=session.pipeline.error)
                self._failed_in_turn += 1
            elif _works(session):
                self._failed_in_turn = 0
            del self._publications[session.name]
            every = self._sessions.values()
            viewers = [one for one in every if isinstance(one, Viewer) and one.publication is session]
        await asyncio.gather(*(self._end(viewer, "publisher left") for viewer in viewers))
        try:
            await session.close()
        except Exception:
            _LOG.exception("a session could not be closed in order")
        self._sweeper.soon()


def _works(publication: Publication) -> bool:
    """Whether pictures of it were retouched."""
    return publication.pipeline.error is None and publication.pipeline.frames()["retouched"] > 0


def _tell_end(watch: asyncio.Task[None]) -> None:
    if not watch.cancelled() and (error := watch.exception()) is not None:
        _LOG.error("the watch over the sessions has ended", exc_info=error)
