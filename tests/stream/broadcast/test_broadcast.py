"""Live streams by URL over this machine's own ports: in and out, lost and found again."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from stream.broadcast.broadcast import Broadcast, BroadcastJob, report_lines
from stream.broadcast.outlet import end_of, start_outlet
from stream.broadcast.receiver import Arrived, Receiver
from stream.broadcast.sender import Outgoing, Sender, Shown
from stream.cli import main
from stream.live.settings import Settings
from stream.output import OutputError
from stream.retoucher import Retoucher
from tests.stream.fakes import FakeEngine, FakeFinder, face_at

SIZE = (320, 240)
COLOUR = (200, 60, 40)
WAIT_S = 20.0


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def clip(path: Path, seconds: float = 2.0, sound: bool = True) -> Path:
    """A clip of one colour with a tone, 30 frames a second."""
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream("libx264", rate=30, options={"preset": "ultrafast", "crf": "8"})
        video.width, video.height, video.pix_fmt = *SIZE, "yuv420p"
        audio: Any = container.add_stream("aac", rate=44_100) if sound else None
        for index in range(round(30 * seconds)):
            picture = np.full((SIZE[1], SIZE[0], 3), COLOUR, np.uint8)
            picture[:16, : 2 * (index % 100)] = 255
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 30)
            container.mux(video.encode(frame))
        if audio is not None:
            tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(round(44_100 * seconds)) / 44_100)
            for start in range(0, len(tone) - 1023, 1024):
                piece = np.tile(tone[start : start + 1024].astype(np.float32), (2, 1))
                heard = av.AudioFrame.from_ndarray(piece, format="fltp", layout="stereo")
                heard.sample_rate, heard.pts, heard.time_base = 44_100, start, Fraction(1, 44_100)
                container.mux(audio.encode(heard))
            container.mux(audio.encode(None))
        container.mux(video.encode(None))
    return path


class Server:
    """Takes one live stream on a port, as an RTMP or plain TCP server would, and keeps what it saw."""

    def __init__(self, url: str, most: int | None = None) -> None:
        self.url, self._most = url, most
        self.frames: list[Any] = []
        self.audio: list[float] = []
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        options = {"analyzeduration": "300000", "probesize": "5000"}
        if self.url.startswith("rtmp"):
            options = {"listen": "1"}
        try:
            with av.open(self.url, options=options, timeout=(WAIT_S, 5.0)) as container:
                for frame in container.decode(*container.streams.video[:1], *container.streams.audio[:1]):
                    if isinstance(frame, av.AudioFrame):
                        self.audio.append(float(frame.time or 0.0))
                        continue
                    self.frames.append(frame)
                    if self._most is not None and len(self.frames) >= self._most:
                        return
        except (av.error.FFmpegError, OSError):
            # FFmpeg's own servers end so when the client has gone.
            return


def make_retoucher() -> Retoucher:
    return Retoucher("live", FakeEngine(), finder=FakeFinder(face_at(160.0, 120.0, 0.3)))


def test_a_file_is_sent_live_at_its_own_pace_with_sound_and_in_its_colours(tmp_path: Path) -> None:
    url = f"rtmp://127.0.0.1:{free_port()}/live/key"
    server = Server(url)
    time.sleep(0.3)
    job = BroadcastJob(str(clip(tmp_path / "in.mp4", 3.0)), url, Settings(strength=0.0), quiet=True)
    began = time.monotonic()
    report = Broadcast(job, make_retoucher).run()
    assert time.monotonic() - began >= 2.5
    server.thread.join(WAIT_S)
    assert report.stats.frames_in == 90
    assert report.sent >= 60
    assert report.reconnections == 0
    assert len(server.frames) >= 45
    times = [float(frame.time) for frame in server.frames]
    assert times == sorted(times)
    assert len(server.audio) > 20
    assert abs(server.audio[-1] - times[-1]) < 0.5
    last = server.frames[-1]
    assert (last.width, last.height) == SIZE
    assert int(last.colorspace) == 1
    seen = last.to_ndarray(format="rgb24", src_colorspace="ITU709", src_color_range="MPEG")[100:200, 100:200]
    assert np.abs(seen.reshape(-1, 3).mean(axis=0) - COLOUR).max() < 4.0
    assert "dropped" in report_lines(report)[0]


def test_a_sender_holds_the_last_picture_and_connects_anew_after_a_loss() -> None:
    port, stopped, said = free_port(), threading.Event(), []
    first = Server(f"tcp://127.0.0.1:{port}?listen=1", most=5)
    time.sleep(0.3)
    sender = Sender(Outgoing(f"tcp://127.0.0.1:{port}", SIZE, 30.0, False, 800), stopped, said.append)
    picture = np.full((SIZE[1], SIZE[0], 3), COLOUR, np.uint8)
    end = time.monotonic() + WAIT_S
    while first.thread.is_alive() and time.monotonic() < end:
        sender.pictures.put(Shown(picture, time.monotonic()))
        time.sleep(1 / 30)
    second = Server(f"tcp://127.0.0.1:{port}?listen=1")
    while len(second.frames) < 10 and time.monotonic() < end:
        sender.pictures.put(Shown(picture, time.monotonic()))
        time.sleep(1 / 30)
    held = sender.held
    while sender.held < held + 2 and time.monotonic() < end:
        time.sleep(0.05)
    sender.finish()
    stopped.set()
    second.thread.join(WAIT_S)
    assert len(first.frames) >= 5
    assert len(second.frames) >= 10
    assert sender.reconnections >= 1
    assert sender.held >= held + 2
    assert any("trying again in" in sentence for sentence in said)


def publish(path: Path, port: int) -> subprocess.Popen[bytes]:
    """Send a clip's packets to a TCP port, from a process of its own."""
    outlet = start_outlet()
    assert outlet.stdin is not None
    outlet.stdin.write(f"tcp://127.0.0.1:{port}\n".encode())
    with av.open(str(path)) as source, av.open(outlet.stdin, "w", format="nut") as container:
        stream = source.streams.video[0]
        copied = container.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.dts is not None:
                packet.stream = copied
                container.mux(packet)
    outlet.stdin.close()
    outlet.wait(WAIT_S)
    assert outlet.stderr is not None
    outlet.stderr.close()
    return outlet


def test_a_receiver_goes_on_after_its_source_has_gone_and_come_back(tmp_path: Path) -> None:
    path, port = clip(tmp_path / "in.mp4", 1.0, sound=False), free_port()
    seen: list[Arrived] = []
    said: list[str] = []
    stopped = threading.Event()
    url = f"tcp://127.0.0.1:{port}?listen=1"
    receiver = Receiver(url, seen.append, lambda frame, at: None, stopped, said.append)
    end = time.monotonic() + WAIT_S
    for _ in range(2):
        before = len(seen)
        while len(seen) < before + 10 and time.monotonic() < end:
            publish(path, port)
            time.sleep(0.2)
    stopped.set()
    receiver.join(WAIT_S)
    assert receiver.error is None
    assert receiver.reconnections >= 1
    assert len(seen) >= 20
    times = [frame.pts_s for frame in seen]
    assert times == sorted(times)
    assert any("is lost" in sentence for sentence in said)
    assert np.abs(seen[0].rgb_u8[100:200, 100:200].reshape(-1, 3).mean(axis=0) - COLOUR).max() < 6.0


def test_what_cannot_be_opened_is_said_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = f"rtmp://127.0.0.1:{free_port()}/live/secret"
    assert main(["file", f"rtsp://user:secret@127.0.0.1:{free_port()}/cam", out]) == 2
    said = capsys.readouterr().err
    assert "cannot be opened" in said
    assert "check the address" in said
    assert "secret" not in said
    assert main(["file", str(tmp_path / "none.mp4"), out, "--quiet"]) == 2
    assert "none.mp4" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["in.mp4", "OUT", "--lossless"], "--lossless is for files"),
        (["in.mp4", "OUT", "--start", "3"], "--start is for files"),
        (["in.mp4", "OUT", "--compare", "side"], "side is for files"),
        (["-", "OUT"], "cannot be sent live"),
        (["in.png", "OUT"], "cannot be sent live"),
    ],
)
def test_options_that_make_no_sense_live_are_refused(
    options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["rtmp://127.0.0.1:9/live/key" if word == "OUT" else word for word in options]
    assert main(["file", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_an_outlet_says_why_it_ended() -> None:
    outlet = start_outlet()
    assert outlet.stdin is not None
    outlet.stdin.write(b"tcp://127.0.0.1:9\nno packets at all")
    opened, reason = end_of(outlet)
    assert not opened
    assert reason
    assert outlet.returncode == 1


def test_an_output_that_never_takes_anything_is_an_error_and_nothing_counts_as_sent(tmp_path: Path) -> None:
    url = f"rtmp://127.0.0.1:{free_port()}/live/secret"
    job = BroadcastJob(str(clip(tmp_path / "in.mp4", 8.0)), url, Settings(), quiet=True)
    broadcast = Broadcast(job, make_retoucher)
    with pytest.raises(
        OutputError, match=r"live/\.\.\. cannot be opened \(Connection refused\); check"
    ) as caught:
        broadcast.run()
    assert "secret" not in str(caught.value)
    assert broadcast.sender is not None
    assert broadcast.sender.sent == 0
