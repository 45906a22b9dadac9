"""Which UDP ports media uses: any that is free, or those of a range that a firewall lets through."""

from __future__ import annotations

import asyncio
import errno
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

LEAST, MOST = 1024, 65535


@dataclass(frozen=True)
class UdpPorts:
    """UDP ports from `first` to `last`, both inclusive."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"


def new_loop(ports: UdpPorts | None) -> asyncio.AbstractEventLoop:
    """An event loop whose UDP endpoints, where they ask for any port, get one of `ports`; aioice asks so.

    Each begins behind the one before: a port that was just given up may still be sent to.
    """
    loop = asyncio.new_event_loop()
    if ports is None:
        return loop
    create: Any = loop.create_datagram_endpoint
    following = itertools.count()

    async def create_within(factory: Any, local_addr: Any = None, **others: Any) -> Any:
        if local_addr is None or local_addr[1] != 0:
            return await create(factory, local_addr=local_addr, **others)
        for port in _from(ports, next(following)):
            try:
                return await create(factory, local_addr=(local_addr[0], port), **others)
            except OSError as error:
                if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                    raise
        raise OSError(errno.EADDRINUSE, f"every UDP port of {ports} is in use")

    loop.create_datagram_endpoint = create_within  # type: ignore[method-assign, assignment]
    return loop


def _from(ports: UdpPorts, begin: int) -> Iterable[int]:
    """Every port once, beginning at the one of number `begin`, around the end."""
    count = ports.last - ports.first + 1
    return (ports.first + (begin + k) % count for k in range(count))
