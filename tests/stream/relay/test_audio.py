"""Sound is held back as long as the picture takes: by small steps, within bounds, in order."""

from __future__ import annotations

import asyncio
import itertools
import random
import time

import pytest

from stream.relay.audio import DEADBAND_S, MOST_DELAY_S, MOST_HELD, OPUS_CLOCK, SLEW, AudioLine, DelayLine
from stream.relay.fanout import PacketTrack
from tests.stream.relay.fakes import run

PACKET_S = 0.02


def go(line: DelayLine, first: int, count: int) -> list[float]:
    """Due times of packets that come each 20 ms."""
    return [line.due_s(number * PACKET_S) for number in range(first, first + count)]


def test_it_begins_at_the_delay_that_is_wanted() -> None:
    line = DelayLine()
    line.aim(0.08)
    assert go(line, 0, 3) == pytest.approx([0.08, 0.10, 0.12])


def test_it_moves_to_another_delay_by_small_steps_up_and_down() -> None:
    line = DelayLine()
    line.aim(0.05)
    due = go(line, 0, 10)
    for first, wanted_s in ((10, 0.15), (200, 0.03)):
        line.aim(wanted_s)
        due += go(line, first, 190)
        assert line.delay_s == pytest.approx(wanted_s)
    steps = [after - before for before, after in itertools.pairwise(due)]
    assert max(steps) <= PACKET_S * (1 + SLEW) + 1e-9
    assert min(steps) >= PACKET_S * (1 - SLEW) - 1e-9


def test_a_wavering_aim_within_the_deadband_is_not_followed() -> None:
    line, chance = DelayLine(), random.Random(2)
    line.aim(0.1)
    delays = set()
    for number in range(500):
        line.aim(0.1 + chance.uniform(-0.9, 0.9) * DEADBAND_S)
        line.due_s(number * PACKET_S)
        delays.add(line.delay_s)
    assert delays == {0.1}


def test_sound_stays_with_the_picture_over_an_hour_of_wavering_delay() -> None:
    """The error against what was measured is bounded, and does not grow."""
    line, chance = DelayLine(), random.Random(5)
    video_s, worst_s = 0.06, 0.0
    for number in range(180_000):
        if number % 25 == 0:
            video_s = min(0.4, max(0.02, video_s + chance.uniform(-0.008, 0.008)))
            line.aim(video_s)
        line.due_s(number * PACKET_S)
        if number > 100:
            worst_s = max(worst_s, abs(line.delay_s - video_s))
    assert worst_s < 2.0 * DEADBAND_S


def test_order_is_kept_when_packets_come_in_a_clump() -> None:
    line = DelayLine()
    line.aim(0.1)
    line.due_s(0.0)
    line.aim(0.0)
    due = [line.due_s(at_s) for at_s in (5.0, 5.0, 5.0, 5.001, 5.02)]
    assert due == sorted(due)


@pytest.mark.parametrize(("wanted_s", "got_s"), [(60.0, MOST_DELAY_S), (-1.0, 0.0)])
def test_the_delay_has_bounds(wanted_s: float, got_s: float) -> None:
    line = DelayLine()
    line.aim(wanted_s)
    line.due_s(0.0)
    assert line.delay_s == got_s


def test_packets_are_sent_on_after_the_delay_as_they_came() -> None:
    async def main() -> None:
        line, track = AudioLine(), PacketTrack("audio")
        line.add(track)
        line.line.aim(0.1)
        reading = asyncio.create_task(track.recv())
        await asyncio.sleep(0)
        pushed_s = time.monotonic()
        for number in range(3):
            line.push(bytes([number]), number * 960)
        await asyncio.sleep(0.03)
        assert not reading.done()
        assert line.age_ms() >= 20.0
        first = await reading
        assert time.monotonic() - pushed_s >= 0.095
        rest = [await track.recv() for _ in range(2)]
        assert [bytes(packet) for packet in (first, *rest)] == [b"\x00", b"\x01", b"\x02"]
        assert [packet.pts for packet in (first, *rest)] == [0, 960, 1920]
        assert first.time_base == OPUS_CLOCK
        assert line.age_ms() == 0.0
        line.remove(track)
        line.close()

    run(main)


def test_no_more_than_so_many_are_held() -> None:
    async def main() -> None:
        line = AudioLine()
        line.line.aim(MOST_DELAY_S)
        for number in range(MOST_HELD + 30):
            line.push(b"x", number * 960)
        assert len(line._held) == MOST_HELD
        assert line.dropped == 30
        line.close()
        assert line.age_ms() == 0.0

    run(main)
