"""FFmpeg publishes by WHIP, for real."""

from __future__ import annotations

import asyncio
import datetime
import sys
from pathlib import Path

from aiohttp.test_utils import TestClient, TestServer
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from stream.relay.http import make_app
from stream.relay.options import MediaOptions
from stream.relay.rooms import Rooms
from tests.conftest import REPOSITORY
from tests.stream.relay.fake_rooms import PAGES
from tests.stream.relay.fakes import FakeFilter, run, until
from tests.stream.relay.peers import Watcher

FRAMES = 150


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of its own and its key, on the curve that DTLS asks for here, in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "whip")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    paths = folder / "cert.pem", folder / "key.pem"
    paths[0].write_bytes(made.public_bytes(Encoding.PEM))
    paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return paths


def test_ffmpeg_s_own_whip_publishes_and_ends(tmp_path: Path) -> None:
    async def main() -> None:
        rooms = Rooms(MediaOptions(loopback=True), FakeFilter)
        async with TestClient(TestServer(make_app(rooms, PAGES), host="127.0.0.1")) as client:
            url = str(client.make_url("/whip?stream=one"))
            words = [url, *map(str, certificate(tmp_path)), str(FRAMES)]
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
