"""How often one address may ask: a token bucket each, in bounded memory."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# An IPv6 household or attacker has at least this many leading bits to itself.
_IPV6_BITS = 64
_REST = "everyone else"


@dataclass
class _Bucket:
    """What is left, and when that was true."""

    left: float
    at_s: float


class AddressLimit:
    """`burst` requests at once, then `per_s` a second, for each address (each /64 of IPv6).

    room: how many addresses are remembered. While all of them are still being held back, the ones that come
    new share one bucket, so that neither memory nor the total rate grows with the number of addresses.
    clock: seconds, monotonic.
    """

    def __init__(
        self,
        per_s: float,
        burst: int,
        room: int = 4096,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._per_s, self._burst, self._room, self._clock = per_s, float(burst), room, clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._rest = _Bucket(self._burst, clock())

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, address: str) -> float:
        """Count a request; returns 0, or the seconds until the next one will be let in."""
        bucket = self._filled(self._bucket(_group(address)))
        if bucket.left < 1.0:
            return (1.0 - bucket.left) / self._per_s
        bucket.left -= 1.0
        return 0.0

    def wait_s(self, address: str) -> float:
        """What `take` would return, without counting anything."""
        found = self._buckets.get(_group(address))
        if found is None:
            found = self._rest if len(self._buckets) >= self._room else None
        if found is None:
            return 0.0
        return max(0.0, (1.0 - self._filled(found).left) / self._per_s)

    def _bucket(self, group: str) -> _Bucket:
        """The group's bucket, now the most recent one."""
        bucket = self._buckets.get(group)
        if bucket is None:
            self._forget_one()
            if len(self._buckets) >= self._room:
                return self._rest
            bucket = self._buckets[group] = _Bucket(self._burst, self._clock())
        self._buckets.move_to_end(group)
        return bucket

    def _forget_one(self) -> None:
        """Forget the longest unseen address, if it is full again: a new bucket would be the same."""
        oldest = next(iter(self._buckets.values()), None)
        if oldest is not None and self._filled(oldest).left >= self._burst:
            self._buckets.popitem(last=False)

    def _filled(self, bucket: _Bucket) -> _Bucket:
        now = self._clock()
        bucket.left = min(self._burst, bucket.left + (now - bucket.at_s) * self._per_s)
        bucket.at_s = now
        return bucket


def _group(address: str) -> str:
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return _REST
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((found, _IPV6_BITS), strict=False).network_address)
