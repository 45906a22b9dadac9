"""The command line: options, exit codes, Ctrl-C, pipes, and one sentence for each thing that is wrong."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from stream.arguments import seconds
from stream.cli import file_job, main, parser
from tests.stream.media import Clip, FakeRetoucher, drawn, make_video, planes_of, rgb_frames, times_of

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def heeded_ctrl_c():
    """A test run started in the background inherits an ignored SIGINT, and so do its children."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def run(capsys, *argv: object, fake: FakeRetoucher | None = None) -> tuple[int, str]:
    """Exit code and standard error of `vretouch ...`; nothing goes to standard output."""
    retoucher = fake or FakeRetoucher()
    code = main([str(word) for word in argv], lambda: retoucher)
    caught = capsys.readouterr()
    assert caught.out == ""
    return code, caught.err


def test_a_video_is_retouched_and_summed_up(tmp_path, capsys):
    source = make_video(tmp_path / "in.mp4")
    code, said = run(capsys, "file", source, tmp_path / "out.mp4")
    assert code == 0
    lines = said.splitlines()
    assert re.fullmatch(rf"{tmp_path}/out.mp4: done, 12 frames, face in 12, [\d.]+ frames/s", lines[0])
    assert re.search(
        r"locate [\d.]+, step [\d.]+, composite and encode [\d.]+; by stage locate 1.0, step 2.0$", lines[1]
    )
    assert len(lines) == 2
    change = rgb_frames(tmp_path / "out.mp4")[3].astype(int) - rgb_frames(source)[3]
    assert change[10:16, 12:20, 0].mean() > 30
    assert abs(change[40:, 40:].mean()) < 1


def test_no_face_anywhere_is_said(tmp_path, capsys):
    source = make_video(tmp_path / "in.mp4")
    code, said = run(capsys, "file", source, tmp_path / "out.mp4", fake=FakeRetoucher(0))
    assert code == 0
    assert said.splitlines()[-1] == "no face found in 12 frames: they passed through untouched"


def test_quiet_says_nothing(tmp_path, capsys):
    assert run(capsys, "file", make_video(tmp_path / "in.mp4"), tmp_path / "out.mp4", "--quiet") == (0, "")


def test_an_image_is_retouched(tmp_path, capsys):
    Image.fromarray(drawn(0, 64, 48)).save(tmp_path / "in.png")
    code, said = run(capsys, "file", tmp_path / "in.png", tmp_path / "out.webp", "--lossless")
    assert (code, said) == (0, f"{tmp_path}/out.webp: done, 64x48, 1 face\n")


def test_times_reach_the_retoucher(tmp_path, capsys):
    fake = FakeRetoucher()
    source = make_video(tmp_path / "in.mp4", Clip(times=(0, 3000, 9000)))
    run(capsys, "file", source, tmp_path / "out.mp4", fake=fake)
    assert fake.times_s == pytest.approx([0.0, 1 / 30, 0.1])


def wrong(capsys, tmp_path: Path, words: str, *argv: object) -> None:
    """The command exits 2 with one sentence that has these words, and changes no file."""
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    try:
        code = main([str(word) for word in argv], FakeRetoucher)
    except SystemExit as leaving:
        code = leaving.code
    said = capsys.readouterr()
    assert code == 2
    assert said.out == ""
    assert said.err.startswith("vretouch: ")
    assert said.err.count("\n") == 1
    assert words in said.err
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_bad_input_and_output(tmp_path, capsys):
    source = make_video(tmp_path / "in.mp4")
    (tmp_path / "there.mp4").write_bytes(b"old")
    (tmp_path / "empty.mkv").touch()
    out = tmp_path / "out.mp4"
    wrong(capsys, tmp_path, "there is no file", "file", tmp_path / "none.mp4", out)
    wrong(capsys, tmp_path, "is empty", "file", tmp_path / "empty.mkv", out)
    wrong(capsys, tmp_path, "is there already; add --force", "file", source, tmp_path / "there.mp4")
    wrong(capsys, tmp_path, "is the input itself", "file", source, source, "--force")
    wrong(capsys, tmp_path, "no ending known", "file", source, tmp_path / "out.xyz")
    wrong(capsys, tmp_path, "there is no folder", "file", source, tmp_path / "no" / "out.mp4")
    wrong(capsys, tmp_path, "is a folder", "file", source, tmp_path)
    wrong(capsys, tmp_path, "there is no format 'elf'", "file", source, out, "--format", "elf")
    wrong(capsys, tmp_path, "is an image but", "file", source, tmp_path / "out.png")
    wrong(capsys, tmp_path, "a name is empty", "file", source, "")
    wrong(capsys, tmp_path, "a name is empty", "file", "", out)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--strength", "1.5"], "--strength: '1.5' is no strength"),
        (["--strength", "nan"], "--strength: 'nan' is no strength"),
        (["--max-faces", "0"], "--max-faces: '0' is no count"),
        (["--max-faces", "17"], "--max-faces: '17' is too many; follow 16 faces or fewer"),
        (["--threads", "two"], "--threads: 'two' is no count"),
        (["--start", "later"], "--start: 'later' is no time"),
        (["--duration", "0"], "--duration 0 leaves nothing"),
        (["--preset", "huge"], "--preset: invalid choice: 'huge'"),
        (["--compare", "both"], "--compare: invalid choice: 'both'"),
        (["--size", "12"], "--size: '12' is no size"),
        (["--fps", "25"], "needs --size"),
        (["--start", "99999999999999999999"], "is longer than any video"),
        (["--elf"], "unrecognized arguments: --elf"),
    ],
)
def test_bad_options(tmp_path, capsys, options, words):
    source = make_video(tmp_path / "in.mp4")
    wrong(capsys, tmp_path, words, "file", source, tmp_path / "out.mp4", *options)


def test_an_image_cannot_go_through_a_pipe(tmp_path, capsys):
    Image.fromarray(drawn(0, 16, 16)).save(tmp_path / "in.png")
    wrong(capsys, tmp_path, "cannot go through a pipe", "file", tmp_path / "in.png", "-")


@pytest.mark.parametrize(
    "words", [["--start", "1"], ["--duration", "1"], ["--format", "mp4"], ["--size", "8x8"]]
)
def test_an_image_takes_no_video_options(tmp_path, capsys, words):
    Image.fromarray(drawn(0, 16, 16)).save(tmp_path / "in.png")
    images = tmp_path / "in.png", tmp_path / "out.png"
    wrong(capsys, tmp_path, f"{words[0]} is for videos", "file", *images, *words)


def stopped_early(tmp_path: Path, capsys, make: Callable[[], FakeRetoucher]) -> None:
    """The command ends as by Ctrl-C before the first frame, and leaves nothing."""
    source = make_video(tmp_path / "in.mp4")
    assert main(["file", str(source), str(tmp_path / "out.mp4")], make) == 130
    assert "nothing was left behind" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


def test_ctrl_c_while_the_network_is_loaded_is_not_lost(tmp_path, capsys):
    def make() -> FakeRetoucher:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)
        except KeyboardInterrupt:
            # What C++ libraries do that call back into Python.
            pass
        return FakeRetoucher()

    stopped_early(tmp_path, capsys, make)


def test_one_frame_is_one_frame(tmp_path, capsys):
    source = make_video(tmp_path / "in.mp4", Clip(frames=1))
    _, said = run(capsys, "file", source, tmp_path / "out.mp4", fake=FakeRetoucher(0))
    assert "done, 1 frame, no face" in said
    assert said.splitlines()[-1] == "no face found in 1 frame: it passed through untouched"


def test_force_writes_over(tmp_path, capsys):
    (tmp_path / "out.mp4").write_bytes(b"old")
    code, _ = run(capsys, "file", make_video(tmp_path / "in.mp4"), tmp_path / "out.mp4", "--force")
    assert code == 0
    assert len(rgb_frames(tmp_path / "out.mp4")) == 12


def test_start_and_duration(tmp_path, capsys):
    source = make_video(tmp_path / "in.mp4", Clip(frames=60, options={"preset": "ultrafast", "g": "15"}))
    code, _ = run(capsys, "file", source, tmp_path / "out.mp4", "--start", "0:01", "--duration", "0.5")
    assert code == 0
    assert times_of(tmp_path / "out.mp4") == [Fraction(k, 30) for k in range(15)]


@pytest.mark.parametrize(
    ("text", "value"), [("12.5", 12.5), ("1:30", 90.0), ("1:00:01.5", 3601.5), ("0", 0.0)]
)
def test_times_on_the_command_line(text, value):
    assert seconds(text) == value


def test_raw_options_make_a_raw_job():
    words = [
        "file",
        "-",
        "-",
        "--size",
        "64x48",
        "--fps",
        "30000/1001",
        "--pix-fmt",
        "rgb24",
        "--format",
        "rawvideo",
    ]
    job = file_job(parser().parse_args(words))
    assert job.raw is not None
    assert (job.raw.size, job.raw.fps, job.raw.pix_fmt) == ((64, 48), Fraction(30000, 1001), "rgb24")
    assert job.format == "rawvideo"


def test_an_error_in_the_retoucher_leaves_nothing(tmp_path, capsys):
    def fail(index: int) -> None:
        if index == 5:
            raise ZeroDivisionError("in the middle")

    source = make_video(tmp_path / "in.mp4")
    code, said = run(capsys, "file", source, tmp_path / "out.mp4", fake=FakeRetoucher(before=fail))
    assert code == 1
    assert "an error of vretouch itself (ZeroDivisionError: in the middle)" in said
    assert said.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.webm"])
def test_ctrl_c_leaves_a_playable_file_of_what_was_done(tmp_path, capsys, name, number):
    def interrupt(index: int) -> None:
        if index == 20:
            os.kill(os.getpid(), number)

    source = make_video(tmp_path / "in.mp4", Clip(frames=90, audio="aac"))
    code, said = run(capsys, "file", source, tmp_path / name, fake=FakeRetoucher(before=interrupt))
    assert code == 130
    assert "stopped early, playable" in said
    done = len(rgb_frames(tmp_path / name))
    assert 21 <= done <= 30
    assert f"{done} frames" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["in.mp4", name])
    with av.open(str(tmp_path / name)) as container:
        assert len(list(container.decode(audio=0))) > 20


def test_ctrl_c_before_the_first_frame_leaves_nothing(tmp_path, capsys):
    def make() -> FakeRetoucher:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1.0)
        return FakeRetoucher()

    stopped_early(tmp_path, capsys, make)


def test_signals_are_as_before_afterwards(tmp_path, capsys):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    run(capsys, "file", make_video(tmp_path / "in.mp4"), tmp_path / "out.mp4")
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def command(*argv: object, slow_s: float = 0.0, levels: int = 0) -> list[str]:
    """A vretouch of its own process, with the fake retoucher."""
    program = (
        "import sys, time\n"
        "from stream.cli import main\n"
        "from tests.stream.media import FakeRetoucher\n"
        f"sys.exit(main(sys.argv[1:], lambda: FakeRetoucher({levels}, lambda _: time.sleep({slow_s}))))\n"
    )
    return [sys.executable, "-c", program, *(str(word) for word in argv)]


def test_a_second_ctrl_c_ends_at_once_and_leaves_nothing(tmp_path):
    source = make_video(tmp_path / "in.mp4", Clip(frames=30))
    words = command("file", source, tmp_path / "out.mp4", slow_s=60.0)
    with subprocess.Popen(words, cwd=REPOSITORY, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 20.0
        while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.3)
        for _ in range(2):
            process.send_signal(signal.SIGINT)
            time.sleep(0.2)
        assert process.wait(10.0) == 130
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


def test_nut_through_pipes_is_lossless(tmp_path):
    source = make_video(tmp_path / "in.mp4", Clip(audio="aac"))
    with source.open("rb") as file:
        done = subprocess.run(
            command("file", "-", "-"), cwd=REPOSITORY, stdin=file, capture_output=True, check=False
        )
    assert done.returncode == 0, done.stderr
    assert b"standard output: done, 12 frames" in done.stderr
    (tmp_path / "out.nut").write_bytes(done.stdout)
    for old, new in zip(planes_of(source), planes_of(tmp_path / "out.nut"), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(old, new, strict=True))
    # NUT knows no times before zero, where AAC's first packet lies: everything is later by as much.
    assert {b - a for a, b in zip(times_of(source), times_of(tmp_path / "out.nut"), strict=True)} == {
        Fraction(8, 375)
    }
    with av.open(str(tmp_path / "out.nut")) as container:
        assert container.streams.audio[0].codec_context.name == "aac"


def test_raw_video_through_true_pipes():
    frames = np.stack([drawn(k, 64, 48) for k in range(4)])
    words = ["file", "-", "-", "--size", "64x48", "--pix-fmt", "rgb24", "--format", "rawvideo", "--quiet"]
    done = subprocess.run(
        command(*words, levels=40), cwd=REPOSITORY, input=frames.tobytes(), capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    out = np.frombuffer(done.stdout, np.uint8).reshape(frames.shape)
    fake = FakeRetoucher(40)
    assert all(np.array_equal(fake.process(a), b) for a, b in zip(frames, out, strict=True))


def test_a_reader_that_goes_away_is_one_sentence(tmp_path):
    source = make_video(tmp_path / "in.mp4", Clip(width=320, height=240, frames=40))
    with subprocess.Popen(
        command("file", source, "-", slow_s=0.01),
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        said = process.stderr.read().decode()
        assert process.wait(20.0) == 2
    assert said.count("\n") == 1
    assert "closed it" in said


def test_version_and_help(capsys):
    for words, wanted in (
        (["--version"], r"vretouch \d+(\.\d+)*|vretouch 0\+checkout"),
        (["file", "--help"], "--strength"),
    ):
        with pytest.raises(SystemExit) as leaving:
            main(words)
        assert leaving.value.code == 0
        assert re.search(wanted, capsys.readouterr().out)


def test_the_module_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "stream", "file", "none.mp4", "out.mp4"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == "vretouch: there is no file none.mp4; check the name and the folder\n"
