"""The receiver's end: it always comes, with a reason, also where a source sends nothing of use."""

from __future__ import annotations

import errno
import socket
import threading
from pathlib import Path
from typing import Any

import av
import pytest

from stream.broadcast import reasons
from stream.broadcast.broadcast import Broadcast, BroadcastJob
from stream.broadcast.reasons import advice_on, reason_of
from stream.broadcast.receiver import Receiver
from stream.errors import SourceError
from stream.live.settings import Settings
from tests.stream.broadcast.camera import WAIT_S, write_clip
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
    assert broadcast.receiver.reconnections >= 2
    assert f"{url} has been gone for 2 s (it ended), which ends it" in capsys.readouterr().err
    assert not list((tmp_path / "there").iterdir())
