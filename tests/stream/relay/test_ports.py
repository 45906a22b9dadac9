"""Media keeps to the UDP ports of a range, one after the other, and says so when none is left."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable

import pytest

from stream.relay.errors import Full
from stream.relay.options import MediaOptions
from stream.relay.ports import UdpPorts, new_loop
from stream.relay.rooms import Rooms
from tests.stream.relay.fakes import FakeFilter, run, until
from tests.stream.relay.peers import Publisher

Datagrams = asyncio.DatagramProtocol


def free_range(count: int) -> UdpPorts:
    """Ports in a row of which none is in use on 127.0.0.1."""
    for first in range(41_000, 60_000, count):
        try:
            held = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(count)]
            for number, one in enumerate(held):
                one.bind(("127.0.0.1", first + number))
        except OSError:
            continue
        finally:
            for one in held:
                one.close()
        return UdpPorts(first, first + count - 1)
    raise AssertionError("no such range")


def run_within(ports: UdpPorts | None, main: Callable[[], Awaitable[None]]) -> None:
    run(main, new_loop=lambda: new_loop(ports))


async def opened(port: int = 0) -> tuple[asyncio.DatagramTransport, int]:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Datagrams, local_addr=("127.0.0.1", port))
    return transport, transport.get_extra_info("sockname")[1]


def test_ports_are_taken_in_turn_and_those_in_use_left_out() -> None:
    ports = free_range(3)

    async def main() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("127.0.0.1", ports.first + 1))
            first, one = await opened()
            second, two = await opened()
            assert (one, two) == (ports.first, ports.last)
            with pytest.raises(OSError, match=f"every UDP port of {ports} is in use"):
                await opened()
            # Whoever names a port gets it, or is told.
            with pytest.raises(OSError, match="in use"):
                await opened(ports.first)
            first.close()
            await asyncio.sleep(0.01)
            third, three = await opened()
            assert three == ports.first
            second.close()
            third.close()

    run_within(ports, main)


def test_any_port_where_no_range_is_given() -> None:
    async def main() -> None:
        transport, port = await opened()
        assert port > 1023
        transport.close()

    run_within(None, main)


def test_an_address_that_is_none_is_not_tried_with_every_port() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(OSError, match="assign"):
            await loop.create_datagram_endpoint(Datagrams, local_addr=("192.0.2.1", 0))

    run_within(UdpPorts(1024, 65535), main)


def test_a_stream_flows_over_the_range() -> None:
    ports = free_range(12)

    async def main() -> None:
        rooms = Rooms(MediaOptions(udp_ports=ports), FakeFilter)
        publisher = Publisher("vp8")
        answer = await publisher.publish(rooms)
        used = [int(port) for port in re.findall(r"a=candidate:\S+ 1 udp \d+ \S+ (\d+) typ host", answer.sdp)]
        assert used and all(ports.first <= port <= ports.last for port in used)
        await until(lambda: len(publisher.receiver.seen) > 5)
        await publisher.close()
        await rooms.close()

    run_within(ports, main)


def test_without_a_port_an_offer_is_refused_for_now() -> None:
    ports = free_range(1)

    async def main() -> None:
        rooms = Rooms(MediaOptions(udp_ports=ports, loopback=True), FakeFilter)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("0.0.0.0", ports.first))
            publisher = Publisher("vp8")
            with pytest.raises(Full, match=f"no UDP port of {ports} is free") as caught:
                await publisher.publish(rooms)
            assert (caught.value.status, caught.value.retry_after_s) == (503, 30)
            assert rooms.snapshot().publishers == 0
            await publisher.close()
        await rooms.close()

    run_within(ports, main)
