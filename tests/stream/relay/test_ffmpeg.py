"""FFmpeg publishes by WHIP, for real."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from aiohttp.test_utils import TestClient, TestServer

from stream.relay.http import make_app
from stream.relay.options import MediaOptions
from stream.relay.rooms import Rooms
from tests.conftest import REPOSITORY
from tests.stream.relay.certificates import certificate
from tests.stream.relay.fake_rooms import PAGES
from tests.stream.relay.fakes import FakeFilter, run, until
from tests.stream.relay.peers import Watcher

FRAMES = 150


def test_ffmpeg_s_own_whip_publishes_and_ends(tmp_path: Path) -> None:
    async def main() -> None:
        rooms = Rooms(MediaOptions(loopback=True), FakeFilter)
        async with TestClient(TestServer(make_app(rooms, PAGES), host="127.0.0.1")) as client:
            url = str(client.make_url("/whip?stream=one"))
            words = [url, *certificate(tmp_path), str(FRAMES)]
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.stream.relay.ffmpeg_whip", *words, cwd=REPOSITORY
            )
            await until(lambda: bool(rooms.snapshot().streams))
            watcher = Watcher()
            await watcher.watch(rooms)
            await until(lambda: len(watcher.seen) > 15)
            assert await process.wait() == 0
            numbers = [seen.number for seen in watcher.seen]
            assert numbers == sorted(set(numbers)) and numbers[-1] >= FRAMES - 30
            # It says good-bye.
            await until(lambda: not rooms.snapshot().streams)
            await watcher.close()

    run(main)
