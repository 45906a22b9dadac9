"""`vretouch relay`: what the options mean, what is refused, and a run from start to end."""

from __future__ import annotations

import argparse
import json
import re
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from stream.cli import main
from stream.errors import OptionError, VretouchError, WeightsError
from stream.relay.command import add_arguments, ice_of, make_filter_of, media_options_of, run, tokens_of
from stream.relay.options import MediaOptions
from stream.relay.ports import UdpPorts
from stream.relay.serve import ServeError
from tests.conftest import REPOSITORY

PUBLISH, VIEW = "publish-token-1", "view-token-22"


@pytest.fixture(autouse=True)
def no_secrets_around(monkeypatch):
    for name in ("PUBLISH_TOKEN", "VIEW_TOKEN", "TURN_SECRET"):
        monkeypatch.delenv(f"VRETOUCH_{name}", raising=False)


def options(line: str = "") -> argparse.Namespace:
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_arguments(parser)
    return parser.parse_args(line.split())


def test_the_defaults_are_private():
    given = options()
    assert (given.host, given.port) == ("127.0.0.1", 8080)
    assert not tokens_of(given).complete
    assert ice_of(given).now() == []
    assert media_options_of(given) == MediaOptions(loopback=True, ice_servers=ice_of(given))


def test_every_media_option_arrives():
    given = options(
        "--codec vp8 --bitrate 1000 --size 640x480 --scale 320x240 --fps 25 --max-publishers 2 "
        "--max-viewers 5 --idle 20 --max-minutes 90 --strength 0.5 --max-faces 3 "
        "--ice-server stun:stun.example:3478"
    )
    media = media_options_of(given)
    assert media == MediaOptions(
        codec="vp8",
        bitrate_kbps=1000,
        max_bitrate_kbps=1600,
        max_width=640,
        max_height=480,
        scale=(320, 240),
        fps=25,
        max_publishers=2,
        max_viewers=5,
        idle_s=20,
        max_session_s=5400,
        ice_servers=ice_of(given),
        loopback=True,
        strength=0.5,
    )
    assert [server.url for server in media.ice_servers.now()] == ["stun:stun.example:3478"]
    assert media_options_of(options("--fps 30000/1001")).fps == pytest.approx(29.97, abs=0.001)


def test_a_public_address_goes_with_listening_elsewhere():
    assert (
        media_options_of(options("--host 0.0.0.0 --public-address 203.0.113.7")).public_address
        == "203.0.113.7"
    )
    for line, complaint in (
        ("--host 0.0.0.0 --public-address relay.example", "must be an IP address"),
        ("--public-address 203.0.113.7", "of no use on 127.0.0.1"),
    ):
        with pytest.raises(OptionError, match=complaint):
            media_options_of(options(line))


def test_media_keeps_to_the_ports_of_a_range(capsys):
    assert media_options_of(options("--udp-ports 50000-50200")).udp_ports == UdpPorts(50000, 50200)
    assert media_options_of(options("--udp-ports 1024-1024")).udp_ports == UdpPorts(1024, 1024)
    for text in ("50000", "50200-50000", "80-90", "50000-70000", "50000-", "a-b", "-5-7", "\u0665\u0660-60"):
        with pytest.raises((argparse.ArgumentError, SystemExit)):
            options(f"--udp-ports={text}")
    with pytest.raises(SystemExit, match="2"):
        main(["relay", "--udp-ports", "80-90"])
    assert "write FIRST-LAST, from 1024 to 65535, as 50000-50200" in capsys.readouterr().err


def test_media_goes_elsewhere_where_clients_are_elsewhere():
    assert not media_options_of(options("--host 0.0.0.0")).loopback
    assert not media_options_of(options("--origin https://studio.example")).loopback
    assert media_options_of(options("--origin http://localhost:5173")).loopback


def test_turn_credentials_outlive_the_longest_session():
    turn = "--ice-server turn:turn.example:3478"
    assert ice_of(options(f"{turn} --turn-secret secret-of-turn --max-minutes 60")).ttl_s > 3600
    assert ice_of(options(f"{turn} --turn-secret secret-of-turn")).ttl_s > MediaOptions().max_session_s
    with pytest.raises(OptionError, match="give --turn-secret-file"):
        ice_of(options(turn))


def test_tokens_from_everywhere(tmp_path, monkeypatch):
    (tmp_path / "token").write_text(f"{VIEW}\n")
    given = options(f"--publish-token {PUBLISH} --view-token-file {tmp_path / 'token'}")
    assert tokens_of(given).publish(f"Bearer {PUBLISH}")
    assert tokens_of(given).view(f"Bearer {VIEW}")
    monkeypatch.setenv("VRETOUCH_PUBLISH_TOKEN", PUBLISH)
    monkeypatch.setenv("VRETOUCH_VIEW_TOKEN", VIEW)
    assert tokens_of(options()).complete
    assert tokens_of(options("--host 0.0.0.0")).complete


@pytest.mark.parametrize(
    "line",
    [
        "--host 0.0.0.0",
        "--host ::",
        f"--host 192.168.1.2 --publish-token {PUBLISH}",
        f"--origin https://studio.example --view-token {VIEW}",
    ],
)
def test_whom_others_reach_needs_tokens(line):
    with pytest.raises(OptionError, match="it needs a publish token and a view token"):
        run(options(f"--port 0 {line}"))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--port 99999", "'99999' is no port"),
        ("--port http", "'http' is no port"),
        ("--size big", "'big' is no size"),
        ("--codec av1", "invalid choice"),
        ("--max-viewers many", "'many' is not a whole number from 0 to 10000"),
        ("--bitrate 50", "'50' is not a whole number from 100 to 50000"),
        ("--max-publishers 5000", "'5000' is not a whole number from 1 to 1000"),
        ("--idle 9999999", "'9999999' is not a whole number from 1 to 604800"),
        ("--size 5x5", "'5x5' is out of range; give each side from 16 to 8192"),
        ("--scale 4x4", "'4x4' is out of range"),
        ("--fps 1000", "'1000' is out of range; give 1 to 240 frames a second"),
        ("--fps fast", "'fast' is no rate"),
        ("--strength 2", "is no strength"),
    ],
)
def test_words_that_mean_nothing(line, said):
    with pytest.raises((argparse.ArgumentError, SystemExit)) as refused:
        options(line)
    assert said in str(refused.value)


def test_what_cannot_be_served_is_one_sentence(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        for line, kind, said in (
            (f"--port {taken.getsockname()[1]}", ServeError, "is in use by another program"),
            (f"--tls-cert {tmp_path}/none.pem", ServeError, "cannot be read"),
            ("--origin studio.example", OptionError, "is no origin"),
            ("--ice-server nonsense", OptionError, "is no ICE server"),
            ("--publish-token short", OptionError, "must have 8 to 256"),
        ):
            with pytest.raises(kind, match=said) as refused:
                run(options(line), make_filter=unused)
            assert "\n" not in str(refused.value)
            assert isinstance(refused.value, VretouchError)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--host 0.0.0.0", "others can reach the relay at 0.0.0.0"),
        ("--tls-key key.pem", "give --tls-cert too"),
        ("--port http", "--port: 'http' is no port"),
        ("--max-minutes 99999999", "--max-minutes: '99999999' is not a whole number from 1 to 10080"),
        ("--host=", "others can reach the relay at every address"),
    ],
)
def test_the_command_line_says_it_and_exits_2(line, said, capsys):
    try:
        code = main(["relay", *line.split()])
    except SystemExit as leaving:
        code = leaving.code
    caught = capsys.readouterr()
    assert code == 2
    assert caught.out == ""
    assert caught.err.startswith("vretouch: ")
    assert caught.err.count("\n") == 1
    assert said in caught.err


def unused(_on_frame: object) -> None:
    raise AssertionError("no frame came")


def test_missing_weights_are_said_before_anything_is_opened(tmp_path, monkeypatch):
    monkeypatch.setattr("stream.engine.weights_folder", lambda: tmp_path)
    with pytest.raises(WeightsError, match="the weights of preset 'live' are not at"):
        run(options("--port 0"))


def test_streams_share_one_network(monkeypatch):
    engine, loaded = object(), []

    def load(name: str, preset: str, threads: int) -> object:
        loaded.append((name, preset, threads))
        return engine

    retouchers: list[tuple[tuple[object, ...], dict[str, object]]] = []
    monkeypatch.setattr("stream.relay.command.load_engine", load)
    monkeypatch.setattr("stream.retoucher.Retoucher", lambda *one, **more: retouchers.append((one, more)))
    make = make_filter_of(options("--threads 2 --max-faces 3"), 25.0)
    for one in [make(lambda _: None) for _ in range(2)]:
        assert one.wait_ready(10.0)
        one.close()
    assert loaded == [("auto", "live", 2)]
    assert retouchers == [(("live", engine), {"max_faces": 3})] * 2


PROGRAM = """
import argparse, sys
from stream.relay.command import add_arguments, run
parser = argparse.ArgumentParser()
add_arguments(parser)
sys.exit(run(parser.parse_args(), lambda on_frame: None))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_from_start_to_end(number):
    """The address that is printed is the one to open; a signal ends it with exit code 0."""
    words = [sys.executable, "-c", PROGRAM, "--port", "0", "--publish-token", PUBLISH, "--view-token", VIEW]
    with subprocess.Popen(words, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = process.stderr.readline()
        found = re.fullmatch(
            r"vretouch: open (http://127\.0\.0\.1:\d+/) in a browser; Ctrl-C ends the relay\n", said
        )
        assert found, said
        assert "#publish=TOKEN&view=TOKEN" in process.stderr.readline()
        with urllib.request.urlopen(f"{found[1]}healthz", timeout=10.0) as answer:
            assert json.load(answer) == {"status": "ok"}
        with urllib.request.urlopen(found[1], timeout=10.0) as answer:
            assert b"<html" in answer.read().lower()
        process.send_signal(number)
        assert process.wait(20.0) == 0
        assert process.stderr.read() == ""
