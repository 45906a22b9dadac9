"""What a publisher's and a viewer's session have in common: a connection, and the ways in which it ends."""

from __future__ import annotations

import asyncio
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Callable

from stream.relay.negotiation import Purpose, new_connection
from stream.relay.options import MediaOptions

CLOSE_DEADLINE_S = 5.0


class Session(ABC):
    """One peer. id: the secret by which it is ended. wake: called when its state has changed.

    connected_s: monotonic time since when media flows, or None.
    """

    kind: Purpose

    def __init__(self, options: MediaOptions, wake: Callable[[], None]) -> None:
        self.id = secrets.token_urlsafe(16)
        self.options = options
        self.created_s = time.monotonic()
        self.connected_s: float | None = None
        self.connection = new_connection(options)
        self._wake = wake
        self.connection.on("connectionstatechange", self._state_changed)

    @abstractmethod
    def silent_s(self, now_s: float, /) -> float:
        """For how long nothing has been heard of the peer that should have been."""

    def trouble(self) -> str | None:
        """Why the session cannot go on, or None."""
        return None

    def over(self, now_s: float) -> str | None:
        """Why the session is to be ended now, or None: see stream.relay.snapshot.Snapshot.ended."""
        if self.connection.connectionState in ("failed", "closed"):
            return "lost"
        age_s = now_s - self.created_s
        if self.connected_s is None:
            return "never connected" if age_s > self.options.connect_deadline_s else None
        if age_s > self.options.max_session_s:
            return "time is up"
        if self.silent_s(now_s) > self.options.idle_s:
            return "idle"
        return self.trouble()

    async def close(self) -> None:
        """Close the connection; idempotent."""
        async with asyncio.timeout(CLOSE_DEADLINE_S):
            await self.connection.close()

    def _state_changed(self) -> None:
        if self.connection.connectionState == "connected" and self.connected_s is None:
            self.connected_s = time.monotonic()
        self._wake()
