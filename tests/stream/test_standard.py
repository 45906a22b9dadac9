"""Standard input and output: seeking, waiting, Ctrl-C while nothing comes, and ends that are not there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import pytest

from stream.cli import main
from stream.errors import SourceError
from stream.output import OutputError
from stream.standard import StandardInput, check_standard_output, standard_input
from tests.stream.media import Clip, FakeRetoucher, make_video, rgb_frames, times_of

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAM = (
    "import signal, sys\n"
    "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "from stream.cli import main\n"
    "from tests.stream.media import FakeRetoucher\n"
    "print('up', file=sys.stderr, flush=True)\n"
    "sys.exit(main(sys.argv[1:], FakeRetoucher))\n"
)


def command(*argv: object) -> list[str]:
    return [sys.executable, "-c", PROGRAM, *(str(word) for word in argv)]


def piped(content: bytes, *argv: object) -> tuple[int, list[str]]:
    """Exit code and standard error, as lines, of a vretouch that reads the content from a true pipe."""
    done = subprocess.run(command(*argv), cwd=REPOSITORY, input=content, capture_output=True, check=False)
    return done.returncode, done.stderr.decode().splitlines()[1:]


def test_a_part_from_the_middle_of_a_pipe(tmp_path):
    # Every frame a key frame and more than a buffer holds, or a try to seek would do no harm.
    source = make_video(tmp_path / "in.nut", Clip(320, 240, 30, "rawvideo", options={}))
    code, said = piped(
        source.read_bytes(), "file", "-", tmp_path / "out.mkv", "--start", "0.5", "--duration", "0.2"
    )
    assert code == 0, said
    assert [round(30 * t) for t in times_of(tmp_path / "out.mkv")] == list(range(6))


def test_an_mp4_with_its_index_at_the_end_must_be_named(tmp_path):
    source = make_video(tmp_path / "in.mp4", Clip(frames=90, width=320, height=240, options={"crf": "1"}))
    code, said = piped(source.read_bytes(), "file", "-", tmp_path / "out.mkv")
    assert (code, len(said)) == (2, 1)
    assert "name the file instead of piping it" in said[0]


@pytest.mark.parametrize("begun", [False, True])
def test_ctrl_c_while_a_pipe_says_nothing(tmp_path, begun):
    content = make_video(tmp_path / "in.mkv", Clip(frames=90)).read_bytes() if begun else b""
    out = tmp_path / "out.mkv"
    with subprocess.Popen(
        command("file", "-", out), cwd=REPOSITORY, stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        assert process.stderr.readline() == b"up\n"
        process.stdin.write(content)
        process.stdin.flush()
        deadline = time.monotonic() + 20.0
        while begun and not list(tmp_path.glob(".out.*")) and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(1.5)
        process.send_signal(signal.SIGINT)
        assert process.wait(10.0) == 130
        said = process.stderr.read().decode()
    assert ("stopped early, playable" in said) == begun
    assert ("nothing was left behind" in said) != begun
    assert out.exists() == begun
    if begun:
        assert len(rgb_frames(out)) > 5


def test_a_pipe_ends_where_its_reader_is_asked_to_stop():
    receiver, sender = os.pipe()
    stopped = False
    source = StandardInput(receiver, lambda: stopped)
    os.write(sender, b"abc")
    assert source.read(2) == b"ab"
    assert source.read(9) == b"c"
    stopped = True
    os.write(sender, b"d")
    assert source.read(9) == b""
    os.close(sender)
    os.close(receiver)


class _Terminal:
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("end", "words"), [(None, "is closed"), (_Terminal(), "is a terminal")])
def test_ends_that_no_video_goes_through(monkeypatch, end, words):
    monkeypatch.setattr(sys, "stdin", end)
    monkeypatch.setattr(sys, "stdout", end)
    with pytest.raises(SourceError, match=words):
        standard_input(lambda: False)
    with pytest.raises(OutputError, match=words):
        check_standard_output()


def test_a_full_device_behind_standard_output(tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    source = make_video(tmp_path / "in.mp4", Clip(frames=3))
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            command("file", source, "-"), cwd=REPOSITORY, stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 2
    assert b"there is no room left behind standard output" in done.stderr.splitlines()[1]


def test_raw_frames_that_do_not_come_out_even(tmp_path, capsys):
    (tmp_path / "a.yuv").write_bytes(bytes(1000))
    for words in (["--size", "16x16"], ["--size", "16x16", "--pix-fmt", "elf"]):
        argv = ["file", str(tmp_path / "a.yuv"), str(tmp_path / "out.mkv"), *words]
        assert main(argv, FakeRetoucher) == 2
        assert "cannot be read as whole frames of 16x16" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["a.yuv"]


def test_yuv4mpeg_says_the_rate(tmp_path):
    source = make_video(tmp_path / "in.mp4", Clip(frames=3))
    done = subprocess.run(
        command("file", source, "-", "--format", "yuv4mpegpipe"),
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
    )
    assert b" F30:1 " in done.stdout.splitlines()[0]
    (tmp_path / "out.y4m").write_bytes(done.stdout)
    assert times_of(tmp_path / "out.y4m") == [Fraction(k, 30) for k in range(3)]
