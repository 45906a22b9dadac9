"""The real command between the protocols' real other ends: what comes out is what went in, whoever comes
late, goes away and comes back."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
import pytest

from stream.broadcast.receiver import Receiver
from stream.broadcast.urls import without_secrets
from stream.cli import main
from tests.stream.broadcast import card
from tests.stream.broadcast.camera import PATHS, Camera, free_port, taken, until
from tests.stream.broadcast.viewer import Viewer


class Command:
    """`vretouch file` in a process of its own, and what it says."""

    def __init__(self, *words: str) -> None:
        self.lines: list[str] = []
        self._read = 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "stream", "file", *words], stderr=subprocess.PIPE, text=True
        )
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as said:
            for line in said:
                self.lines.append(line.strip())

    def said(self, wanted: str) -> None:
        """Wait until it says so, after what was waited for before."""

        def found() -> bool:
            while self._read < len(self.lines):
                self._read += 1
                if wanted in self.lines[self._read - 1]:
                    return True
            assert self._process.poll() is None, self.lines
            return False

        until(found, f"it does not say {wanted!r}")

    def interrupt(self) -> int:
        """Press Ctrl-C; the exit code."""
        self._process.send_signal(signal.SIGINT)
        return self.wait()

    def wait(self) -> int:
        code = self._process.wait(60.0)
        self._thread.join()
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self.wait()


def has_srt() -> bool:
    try:
        av.open("srt://127.0.0.1", timeout=1.0)
    except av.error.ProtocolNotFoundError:
        return False
    except av.error.FFmpegError:
        return True
    raise AssertionError("an address without a port was opened")


SRT = has_srt()
needs_srt = pytest.mark.skipif(not SRT, reason="this PyAV's FFmpeg has no SRT")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("clips")
    return {sound: card.write_card(folder / f"{sound}.mov", sound) for sound in ("aac", "pcm_alaw")}


@pytest.fixture
def camera(request: pytest.FixtureRequest) -> Iterator[Camera]:
    kind, role = request.param
    camera = Camera(kind, role, secret="name:word" if (kind, role) == ("rtsp", "serve") else "")
    yield camera
    camera.kill()


def address(kind: str) -> str:
    return f"{kind}://127.0.0.1:{free_port()}{PATHS.get(kind, '')}"


def listening(url: str) -> str:
    return url + ("?mode=listener" if url.startswith("srt") else "?listen=1")


@pytest.mark.parametrize(
    ("camera", "out", "sound"),
    [
        (("rtsp", "serve"), "rtmp", "pcm_alaw"),
        (("rtmp", "serve"), "rtsp", "aac"),
        (("tcp", "serve"), "tcp", "aac"),
        # These wait for whoever connects to them.
        (("rtmp", "call"), "tcp?listen=1", "aac"),
        pytest.param(("srt", "serve"), "srt", "aac", marks=needs_srt),
    ],
    indirect=["camera"],
)
def test_both_ends_may_come_late_go_away_and_come_back(
    camera: Camera, out: str, sound: str, clips: dict[str, Path]
) -> None:
    kind, waits, _ = out.partition("?")
    source, out = camera.url, address(kind)
    seat, missing = listening(out), "is not there yet ("
    if kind != "srt":
        missing += "connection refused); trying again in"
    if waits:
        source, out, seat, missing = listening(source), seat, out, "waits for whoever connects to it"
    with Command(source, out, "--wait", "60") as command:
        command.said(f"{without_secrets(source)} {missing}")
        camera.start(clips[sound])
        command.said(f"{without_secrets(out)} {missing}")
        viewer = Viewer(seat)
        until(lambda: viewer.has_seen(20), "nothing comes")
        viewer.check()
        camera.kill()
        command.said("is lost (")
        seen = len(viewer.shown)
        camera.start(clips[sound])
        until(lambda: len(set(viewer.numbers[seen:])) > 10, "it does not go on")
        viewer.close()
        command.said("takes nothing (")
        viewer = Viewer(seat)
        until(lambda: viewer.has_seen(20), "nothing comes any more")
        assert command.interrupt() == 130
        viewer.join()
        viewer.check()
    sent, lost = command.lines[-2:]
    assert re.fullmatch(r"\d+ pictures sent, \d+ dropped, \d+ repeated", sent)
    assert re.fullmatch(r"the connection was lost \d+ times", lost)
    assert not re.search("word|key", " ".join(command.lines))


@pytest.mark.parametrize("camera", [("rtsp", "call")], indirect=True)
def test_one_may_push_by_rtsp_and_another_watch_by_udp(camera: Camera, clips: dict[str, Path]) -> None:
    out = address("udp")
    with Command(listening(camera.url), out) as command:
        until(lambda: taken(camera.port), "it does not listen")
        with socket.create_connection(("127.0.0.1", camera.port)) as stranger:
            stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
            command.said(f"{camera.url} is not there yet (what came was no RTSP); trying again in 0.5 s")
        viewer = Viewer(out)
        camera.start(clips["aac"])
        until(lambda: viewer.has_seen(20), "nothing comes")
        viewer.close()
        assert command.interrupt() == 130
    viewer.check()
    assert re.fullmatch(r"\d+ pictures sent, \d+ dropped, \d+ repeated", command.lines[-1])


def test_a_camera_that_serves_datagrams_alone_is_read_by_datagrams(clips: dict[str, Path]) -> None:
    camera, numbers, stopped = Camera("rtsp", datagrams=True), list[int | None](), threading.Event()
    camera.start(clips["pcm_alaw"])
    try:
        receiver = Receiver(
            camera.url, lambda frame: numbers.append(card.number_of(frame.rgb_u8)), lambda *_: None, stopped
        )
        until(lambda: len(numbers) > 20, "nothing comes")
    finally:
        stopped.set()
        camera.kill()
    receiver.join()
    assert (np.diff(numbers) % card.COUNT < card.COUNT / 2).all()


@pytest.mark.skipif(SRT, reason="this PyAV's FFmpeg has SRT")
@pytest.mark.parametrize("source", [True, False])
def test_srt_is_named_where_it_is_missing(
    source: bool, clips: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = "srt://127.0.0.1:9000?passphrase=secret"
    words = [url, str(tmp_path / "out.mp4")] if source else [str(clips["aac"]), url]
    assert main(["file", *words, "--quiet", "--wait", "60"]) == 2
    said = (
        "srt://127.0.0.1:9000 cannot be opened (this build of FFmpeg has no srt); use another kind of address"
    )
    assert capsys.readouterr().err.strip() == f"vretouch: {said}"
    assert not list(tmp_path.iterdir())
