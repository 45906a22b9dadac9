"""Packets for many viewers: each begins on a key frame, and one that stops costs the others nothing."""

from __future__ import annotations

import asyncio
import time
from fractions import Fraction

import pytest
from aiortc.mediastreams import MediaStreamError
from av.packet import Packet
from av.stream import Stream

from stream.relay.encoder import Picture
from stream.relay.fanout import AUDIO_PACKETS, VIDEO_PACKETS, Fanout, PacketTrack
from stream.relay.metrics import StageTimes
from stream.relay.rate import RateControl
from tests.stream.relay.fakes import frame_rgb, run, until


def packet(number: int) -> Packet[Stream]:
    made: Packet[Stream] = Packet(bytes([number % 256]))
    made.pts, made.time_base = number * 3000, Fraction(1, 90_000)
    return made


async def started(track: PacketTrack) -> asyncio.Task[Packet[Stream]]:
    task = asyncio.create_task(track.recv())
    await asyncio.sleep(0)
    assert track.started
    return task


def test_a_viewer_begins_on_a_key_frame_that_it_asks_for() -> None:
    async def main() -> None:
        asked: list[int] = []
        track = PacketTrack("video", lambda: asked.append(1))
        track.offer(packet(0), keyframe=True)
        assert not asked
        first = await started(track)
        assert asked == [1]
        track.offer(packet(1), keyframe=False)
        track.offer(packet(2), keyframe=True)
        track.offer(packet(3), keyframe=False)
        assert (await first).pts == 6000
        assert (await track.recv()).pts == 9000
        assert asked == [1]
        assert track.first_packet_s >= track.started_s > 0.0

    run(main)


def test_a_full_queue_is_emptied_and_a_key_frame_is_asked_for_once_it_reads_again() -> None:
    async def main() -> None:
        asked: list[int] = []
        track = PacketTrack("video", lambda: asked.append(1))
        first = await started(track)
        track.offer(packet(0), keyframe=True)
        await first
        for number in range(1, 100):
            track.offer(packet(number), keyframe=False)
        assert track.flushed == 1
        assert len(track._packets) == 0
        assert asked == [1]
        second = await started(track)
        assert asked == [1, 1]
        track.offer(packet(100), keyframe=False)
        track.offer(packet(101), keyframe=True)
        assert (await second).pts == 101 * 3000

    run(main)


def test_flushes_stay_counted_when_the_viewer_has_left_or_gone_to_another_encoder() -> None:
    async def main() -> None:
        first, second = (Fanout("vp8", 30.0, RateControl(500, 1000), StageTimes()) for _ in range(2))
        track = PacketTrack("video")
        first.add(track)
        await started(track)
        for number in range(VIDEO_PACKETS + 2):
            track.offer(packet(number), keyframe=number == 0)
        assert first.flushes() == track.flushed == 1
        first.remove(track)
        second.add(track)
        assert first.flushes() == 1 and second.flushes() == 0
        second.remove(track)
        first.add(track)
        assert first.flushes() == 1 and second.flushes() == 0
        for fanout in (first, second):
            fanout.encoder.close()

    run(main)


def test_a_queue_that_fills_with_a_key_frame_begins_anew_with_it() -> None:
    async def main() -> None:
        track = PacketTrack("video")
        first = await started(track)
        track.offer(packet(0), keyframe=True)
        await first
        for number in range(VIDEO_PACKETS):
            track.offer(packet(1 + number), keyframe=False)
        assert track.age_ms() >= 0.0
        track.offer(packet(50), keyframe=True)
        assert [one.pts for one, _ in track._packets] == [50 * 3000]

    run(main)


def test_sound_loses_its_oldest() -> None:
    async def main() -> None:
        track = PacketTrack("audio")
        first = await started(track)
        for number in range(AUDIO_PACKETS + 4):
            track.offer(packet(number))
        assert (await first).pts == 4 * 3000
        assert len(track._packets) == AUDIO_PACKETS - 1

    run(main)


def test_a_stopped_track_ends_whoever_reads() -> None:
    async def main() -> None:
        track = PacketTrack("video")
        reading = await started(track)
        track.stop()
        with pytest.raises(MediaStreamError):
            await reading
        track.offer(packet(0), keyframe=True)
        with pytest.raises(MediaStreamError):
            await track.recv()

    run(main)


def test_all_that_read_get_the_same_packets_and_one_that_stops_does_not_matter() -> None:
    async def main() -> None:
        fanout = Fanout("vp8", 30.0, RateControl(500, 1000), StageTimes())
        tracks = [PacketTrack("video", fanout.encoder.request_keyframe) for _ in range(3)]
        for track in tracks:
            fanout.add(track)
        assert not fanout.watched
        got: list[list[int]] = [[], [], []]

        async def read(index: int, at_most: int) -> None:
            while len(got[index]) < at_most:
                got[index].append((await tracks[index].recv()).pts or 0)

        # The third reads two packets and stops.
        readers = [
            asyncio.create_task(read(0, 40)),
            asyncio.create_task(read(1, 40)),
            asyncio.create_task(read(2, 2)),
        ]
        await asyncio.sleep(0)
        assert fanout.watched
        number = 0
        while not all(reader.done() for reader in readers):
            fanout.submit(Picture(frame_rgb(number), number * 3000, Fraction(1, 90_000), 1))
            number += 1
            await asyncio.sleep(0.005)
        assert got[0] == got[1]
        assert got[0] == sorted(set(got[0]))
        assert tracks[2].flushed == 1
        assert fanout.flushes() == 1
        assert fanout.encoder.keyframes == 1
        assert fanout.sent_kbps() > 0.0
        assert fanout.pushed_s > 0.0
        for track in tracks:
            fanout.remove(track)
        assert not fanout.watched
        fanout.encoder.close()

    run(main)


def test_packets_wait_for_nobody_but_a_busy_loop_stops_the_encoder() -> None:
    async def main() -> None:
        fanout = Fanout("vp8", 30.0, RateControl(500, 1000), StageTimes())
        await until(lambda: True)
        for number in range(20):
            fanout.submit(Picture(frame_rgb(number), number * 3000, Fraction(1, 90_000), 1))
            fanout.encoder._thread.join(0.02)
        # This coroutine has not let the loop run meanwhile.
        assert fanout.encoder.full
        made = fanout.encoder.encoded
        assert made <= 2
        await until(lambda: not fanout.encoder.full)
        assert fanout.encoder.not_encoded >= 20 - made - 1
        fanout.encoder.close()

    run(main)


def test_the_picture_shown_again_goes_to_those_alone_who_have_none() -> None:
    async def main() -> None:
        fanout = Fanout("vp8", 30.0, RateControl(500, 1000), StageTimes())
        first, late = (PacketTrack("video", fanout.encoder.request_picture) for _ in range(2))
        fanout.add(first)
        reading = await started(first)
        fanout.submit(Picture(frame_rgb(0), 0, Fraction(1, 90_000), time.monotonic_ns()))
        await reading
        pushed_s = fanout.pushed_s
        fanout.add(late)
        again = await (await started(late))
        assert again.is_keyframe and (again.pts or 0) > 0
        assert not first._packets
        # Whoever was sent nothing new is not asked for a sign of life.
        assert fanout.pushed_s == pushed_s
        fanout.submit(Picture(frame_rgb(1), 900_000, Fraction(1, 90_000), time.monotonic_ns()))
        for track in (first, late):
            packet = await track.recv()
            assert packet.is_keyframe and packet.pts == 900_000
        for track in (first, late):
            track.stop()
        await asyncio.to_thread(fanout.encoder.close)

    run(main)
