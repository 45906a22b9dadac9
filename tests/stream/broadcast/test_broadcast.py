"""Live streams by URL over this machine's own ports: in and out, lost and found again."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import av
import numpy as np
import pytest

from stream.broadcast import sender as sender_module
from stream.broadcast.broadcast import Broadcast, BroadcastJob, report_lines
from stream.broadcast.outlet import Outlet, start_outlet
from stream.broadcast.receiver import Arrived, Receiver
from stream.broadcast.sender import Outgoing, Sender, Shown
from stream.cli import main
from stream.live.settings import Settings
from stream.output import OutputError
from stream.retoucher import Retoucher
from tests.stream.broadcast.camera import free_port, pressed, taken, until
from tests.stream.broadcast.rtsp import answering
from tests.stream.fakes import FakeEngine, FakeFinder, face_at

SIZE = (320, 240)
COLOUR = (200, 60, 40)
WAIT_S = 20.0


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
            options = {"listen": "1", "analyzeduration": "500000"}
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
    process = start_outlet()
    outlet = Outlet(process)
    outlet.packets.write(b"tcp://127.0.0.1:9\nno packets at all")
    end = outlet.end()
    assert not end.opened
    assert end.reason
    assert end.advice == "check the address and that it is listening"
    assert process.returncode == 1


def test_an_output_that_never_takes_anything_is_an_error_and_nothing_counts_as_sent(tmp_path: Path) -> None:
    url = f"rtmp://127.0.0.1:{free_port()}/live/secret"
    job = BroadcastJob(str(clip(tmp_path / "in.mp4", 8.0)), url, Settings(), quiet=True)
    broadcast = Broadcast(job, make_retoucher)
    with pytest.raises(
        OutputError,
        match=r"live/\.\.\. cannot be opened \(connection refused\); check the address and its port",
    ) as caught:
        broadcast.run()
    assert "secret" not in str(caught.value)
    assert broadcast.sender is not None
    assert broadcast.sender.sent == 0


def fed(
    sender: Sender,
    ends: Callable[[], bool],
    what: str,
    sound: Callable[[int], Any] = lambda _: None,
    noise: bool = False,
) -> None:
    """Thirty pictures a second, each with its sound, until it ends. noise: they compress badly."""
    flat = np.full((SIZE[1], SIZE[0], 3), COLOUR, np.uint8)
    count, began_s = 0, time.monotonic()

    def ended() -> bool:
        nonlocal count
        while (at_s := began_s + count / 30) < time.monotonic():
            picture = np.random.default_rng(count).permuted(flat, axis=2) if noise else flat
            sender.pictures.put(Shown(picture, at_s))
            if (frame := sound(count)) is not None:
                sender.sound(frame, at_s)
            count += 1
        return ends()

    until(ended, what)


def impatient() -> subprocess.Popen[bytes]:
    """An outlet that waits for one second where others wait for ten."""
    code = "from stream.broadcast import outlet; outlet.SILENT_S = 1; raise SystemExit(outlet.main())"
    return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.parametrize("scheme", ["rtmp", "tcp"])
def test_a_server_that_answers_or_takes_nothing_is_given_up(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender_module, "start_outlet", impatient)
    said: list[str] = []
    with socket.socket() as silent:
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/live/key"
        # An RTMP server has to answer at once; of a TCP stream the first megabytes fit in between.
        wait_s = 0.0 if scheme == "rtmp" else WAIT_S
        sender = Sender(Outgoing(url, SIZE, 30.0, False, 40_000), threading.Event(), said.append, wait_s)
        ended = "takes nothing (no answer in time); trying again in"
        fed(sender, lambda: sender.error is not None or ended in " ".join(said), "it waits", noise=True)
        sender.finish()
    if scheme == "rtmp":
        assert "live/... cannot be opened (no answer in time); check the address" in str(sender.error)
    else:
        assert sender.error is None
        assert sender.reconnections == 1


def test_who_is_not_let_in_is_told_at_once_whatever_may_be_waited() -> None:
    said: list[str] = []
    url = answering("401 Unauthorized")
    sender = Sender(Outgoing(url, SIZE, 30.0, False, 800), threading.Event(), said.append, wait_s=WAIT_S)
    fed(sender, lambda: sender.error is not None, "it waits")
    assert "(it lets nobody in without the right name and password); write them into" in str(sender.error)
    assert not said


def a_thirtieth(rate: int, layout: str) -> Any:
    """Of a second of sound."""
    wave = np.full((len(av.AudioLayout(layout).channels), rate // 30), 9000, np.int16)
    frame = av.AudioFrame.from_ndarray(wave, format="s16p", layout=layout)
    frame.sample_rate = rate
    return frame


def test_pictures_do_not_wait_for_sound_and_sound_may_come_late() -> None:
    url = f"rtmp://127.0.0.1:{free_port()}/live/key"
    server = Server(url)
    until(lambda: taken(int(urlsplit(url).port or 0)), "nobody listens")
    with sender_module._Session(Outgoing(url, SIZE, 30.0, True, 800)) as session:
        for count in range(90):
            session.video(Shown(np.full((SIZE[1], SIZE[0], 3), COLOUR, np.uint8), 100.0 + count / 30))
        until(lambda: len(server.frames) > 30, "no pictures come")
        for count in range(90):
            session.audio(a_thirtieth(48_000, "stereo"), 100.0 + count / 30)
        until(lambda: bool(server.audio) and server.audio[-1] > 2.5, "no sound comes")
    assert session.outlet.end().opened
    server.thread.join(WAIT_S)
    assert server.audio[0] < 0.1


def test_the_first_picture_arrives_however_rare_pictures_are() -> None:
    url = f"rtmp://127.0.0.1:{free_port()}/live/key"
    server = Server(url)
    until(lambda: taken(int(urlsplit(url).port or 0)), "nobody listens")
    with sender_module._Session(Outgoing(url, SIZE, 30.0, True, 800)) as session:
        for count in range(90):
            if count % 12 == 0:
                session.video(Shown(np.full((SIZE[1], SIZE[0], 3), COLOUR, np.uint8), 100.0 + count / 30))
            session.audio(a_thirtieth(48_000, "stereo"), 100.0 + count / 30)
    assert session.outlet.end().opened
    server.thread.join(WAIT_S)
    assert [frame.time for frame in server.frames] == pytest.approx([0.4 * k for k in range(8)], abs=0.002)


def test_sound_may_change_its_kind_and_step_back() -> None:
    url = f"rtmp://127.0.0.1:{free_port()}/live/key"
    server = Server(url)
    sender = Sender(Outgoing(url, SIZE, 30.0, True, 800), threading.Event(), wait_s=WAIT_S)

    def sound(count: int) -> Any:
        if count == 45:
            sender.sound(a_thirtieth(8000, "mono"), time.monotonic() - 1.0)
        return a_thirtieth(44_100, "stereo") if count > 40 else a_thirtieth(8000, "mono")

    fed(sender, lambda: bool(server.audio) and server.audio[-1] > 2.2, "the sound ends", sound)
    sender.finish()
    server.thread.join(WAIT_S)
    assert sender.reconnections == 0
    assert server.audio == sorted(server.audio)


def test_ctrl_c_while_nobody_has_come_to_watch_ends_it_and_leaves_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Sender.finish, "__defaults__", (0.5,))
    url = f"tcp://127.0.0.1:{free_port()}?listen=1"
    job = BroadcastJob(str(clip(tmp_path / "in.mp4", 20.0, sound=False)), url, Settings(), quiet=True)
    broadcast = Broadcast(job, make_retoucher)
    outlets: list[subprocess.Popen[bytes]] = []
    monkeypatch.setattr(sender_module, "start_outlet", lambda: outlets.append(start_outlet()) or outlets[-1])
    port = int(urlsplit(url).port or 0)
    with pressed(lambda: bool(outlets) and taken(port)), pytest.raises(KeyboardInterrupt):
        broadcast.run()
    assert [outlet.poll() for outlet in outlets] == [-signal.SIGKILL]
    assert f"{url.partition('?')[0]} waits for whoever connects to it" in capsys.readouterr().err


def test_an_outlet_does_not_outlive_who_started_it() -> None:
    port = free_port()
    code = f"""
import time
from stream.broadcast.sender import Outgoing, Sender, Shown
import numpy as np, threading
sender = Sender(Outgoing("tcp://127.0.0.1:{port}?listen=1", (64, 64), 30.0, False, 800), threading.Event())
while True:
    sender.pictures.put(Shown(np.zeros((64, 64, 3), np.uint8), time.monotonic()))
    time.sleep(0.03)
"""
    with subprocess.Popen([sys.executable, "-c", code]) as parent:
        try:
            until(lambda: taken(port), "it does not listen")
        finally:
            parent.kill()
    until(lambda: not taken(port), "the port is held for ever")
