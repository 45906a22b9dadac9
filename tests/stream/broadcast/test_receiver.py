"""The receiver's end: it always comes, with a reason, also where a source sends nothing of use."""

from __future__ import annotations

import errno
import socket
import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from stream.broadcast import reasons
from stream.broadcast import receiver as receiver_module
from stream.broadcast.backoff import MOST_S, Backoff
from stream.broadcast.broadcast import Broadcast, BroadcastJob
from stream.broadcast.reasons import advice_on, reason_of
from stream.broadcast.receiver import Receiver
from stream.errors import SourceError
from stream.live.settings import Settings
from tests.stream.broadcast.camera import WAIT_S, free_port, write_clip
from tests.stream.broadcast.test_broadcast import make_retoucher


def ended(url: str, on_frame: Any = lambda _: None, **options: Any) -> Receiver:
    receiver = Receiver(url, on_frame, lambda *_: None, threading.Event(), **options)
    assert receiver.ended.wait(WAIT_S)
    assert receiver.opened.is_set()
    return receiver


@pytest.mark.parametrize("host", ["cam..local", "a" * 70 + ".local"])
def test_a_host_that_is_no_name_is_said(host: str) -> None:
    receiver = ended(f"rtmp://{host}/x")
    said = f"rtmp://{host}/x cannot be opened ({host} is no host's name); check the address"
    assert str(receiver.error) == said


@pytest.mark.parametrize(
    ("code", "reason", "advice"),
    [
        (socket.EAI_NONAME, "there is no host camera.local", "check the host's name and the network"),
        (socket.EAI_AGAIN, "the host camera.local cannot be looked up now", "check the network"),
    ],
)
def test_a_network_that_is_down_is_no_missing_host(
    code: int, reason: str, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise socket.gaierror(code, "not known")

    monkeypatch.setattr(reasons.socket, "getaddrinfo", fails)
    error = OSError(errno.EIO, "Input/output error")
    assert reason_of("rtsp://camera.local/x", error) == reason
    assert advice_on("rtsp://camera.local/x", error) == advice


@pytest.mark.parametrize(
    ("error", "reason", "advice"),
    [
        (ConnectionRefusedError(), "connection refused", "check the address and its port"),
        (av.error.ConnectionRefusedError(errno.ECONNREFUSED, ""), "connection refused", "check the address"),
        (av.error.HTTPForbiddenError(1, ""), "lets nobody in", "write them into the address"),
        (av.error.HTTPNotFoundError(1, ""), "there is no such stream", "check the path"),
    ],
)
def test_what_a_host_answered_is_said_without_looking_it_up(
    error: Exception, reason: str, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reasons.socket, "getaddrinfo", None)
    assert reason in reason_of("rtsp://camera.local/x", error)
    assert advice in advice_on("rtsp://camera.local/x", error)


def test_of_a_file_that_is_sent_live_no_address_is_spoken() -> None:
    said = advice_on("missing.mp4", FileNotFoundError(errno.ENOENT, "No such file or directory"))
    assert said == "check its name and rights, and that it is a video"


def test_a_source_that_is_not_there_is_tried_for_as_long_as_is_wanted() -> None:
    said: list[str] = []
    url = f"rtmp://127.0.0.1:{free_port()}/live"
    receiver = ended(url, say=said.append, wait_s=0.7)
    assert str(receiver.error).startswith(f"{url} cannot be opened (connection refused); check the address")
    assert [sentence.rpartition(" in ")[0] for sentence in said] == [
        f"{url} is not there yet (connection refused); trying again"
    ] * 2
    assert receiver.reconnections == 0


@pytest.mark.parametrize(
    "url", ["rtmp://127.0.0.1:{}/live", "rtsp://127.0.0.1:{}/live", "tcp://127.0.0.1:{}"]
)
def test_a_port_that_is_taken_cannot_be_listened_at(url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        url = url.format(other.getsockname()[1])
        receiver = ended(f"{url}?listen=1", wait_s=WAIT_S)
    said = "cannot be opened (Address already in use); choose another port or address"
    assert str(receiver.error) == f"{url} {said}"


def test_whatever_goes_wrong_there_is_an_end_and_a_reason(tmp_path: Path) -> None:
    def breaks(_: object) -> None:
        raise KeyError("face")

    clip = write_clip(tmp_path / "clip.mp4", rate=None)
    receiver = ended(str(clip), breaks)
    assert isinstance(receiver.error, SourceError)
    assert f"{clip} cannot be read any more (KeyError: 'face'); check" in str(receiver.error)


def useless(folder: Path) -> socket.socket:
    """A server that hangs up after a few pictures, which lack the one they begin from."""
    clip, sent = write_clip(folder / "clip.mp4", rate=None), folder / "sent.ts"
    with av.open(str(clip)) as source, av.open(str(sent), "w", format="mpegts") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux()):
            if 0 < number < 13:
                packet.stream = stream
                out.mux(packet)
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                with server.accept()[0] as peer:
                    peer.sendall(sent.read_bytes())
            except OSError:
                return

    threading.Thread(target=serve, daemon=True).start()
    return server


def damaged_at_times(folder: Path, connections: list[str]) -> socket.socket:
    """A server that sends, by connection, whole pictures (+) and damaged ones (-), sound beside each."""
    server = socket.create_server(("127.0.0.1", 0))
    streams = [stream_of(folder / f"{number}.nut", kinds) for number, kinds in enumerate(connections)]

    def serve() -> None:
        for sent in streams:
            with server.accept()[0] as peer:
                peer.sendall(sent)
        server.close()

    threading.Thread(target=serve, daemon=True).start()
    return server


def stream_of(path: Path, kinds: str) -> bytes:
    with av.open(str(path), "w") as out:
        video: Any = out.add_stream("mjpeg", rate=30)
        video.width, video.height, video.pix_fmt = 64, 48, "yuvj420p"
        sound: Any = out.add_stream("pcm_s16le", rate=30_000)
        sound.layout = "mono"
        for index, kind in enumerate(kinds):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 90, np.uint8), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 30)
            for packet in video.encode(frame):
                if kind == "-":
                    damaged = av.Packet(bytes(200))
                    damaged.pts, damaged.dts, damaged.time_base = packet.pts, packet.dts, packet.time_base
                    damaged.stream = video
                    packet = damaged
                out.mux(packet)
            heard = av.AudioFrame.from_ndarray(np.zeros((1, 1000), np.int16), "s16", "mono")
            heard.sample_rate, heard.pts, heard.time_base = 30_000, 1000 * index, Fraction(1, 30_000)
            out.mux(sound.encode(heard))
    return path.read_bytes()


def test_too_many_damaged_pictures_in_a_row_end_a_connection_and_the_next_one_counts_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiver_module, "MOST_DAMAGED", 5)
    said, frames = list[str](), list[Any]()
    # The first is given up before its last two pictures; the second never has too many in a row.
    server = damaged_at_times(tmp_path, ["++------++", "-----+-----+-----+"])
    url = f"tcp://127.0.0.1:{server.getsockname()[1]}"
    receiver = ended(url, frames.append, say=said.append, give_up_s=2.0)
    assert receiver.error is None
    assert ["is lost (it ended)" in sentence for sentence in said[:2]] == [False, True]
    assert len(frames) == 2 + 3


def test_a_wait_is_no_longer_than_a_source_may_be_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    class Noted(Backoff):
        def wait(self, most_s: float = MOST_S) -> None:
            waits.append(most_s)
            super().wait(most_s)

    monkeypatch.setattr(receiver_module, "Backoff", Noted)
    with useless(tmp_path) as server:
        ended(f"tcp://127.0.0.1:{server.getsockname()[1]}", give_up_s=0.3)
    assert waits
    assert max(waits) <= 0.3


def test_a_source_of_which_nothing_can_be_decoded_is_given_up_in_time_and_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "there").mkdir()
    with useless(tmp_path) as server:
        url = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        job = BroadcastJob(url, str(tmp_path / "there/out.mp4"), Settings(effect=False), give_up_s=2.0)
        broadcast = Broadcast(job, make_retoucher)
        with pytest.raises(SourceError, match=f"nothing came from {url} that could be recorded; check"):
            broadcast.run()
    assert broadcast.receiver.reconnections == 0
    said = capsys.readouterr().err
    assert said.count(f"{url} is not there yet (it ended); trying again in") >= 2
    assert f"{url} has been gone for 2 s (it ended), which ends it" in said
    assert not list((tmp_path / "there").iterdir())
