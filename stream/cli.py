"""The command line: `vretouch file`, `camera`, `relay`, `doctor` and `demo`."""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from fractions import Fraction
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from stream.arguments import add_retoucher, rate, seconds, size
from stream.broadcast.urls import can_send, is_live, scheme_of
from stream.camera.command import add_arguments as add_camera
from stream.engine import EARLIER_SYSTEMS, Engine, default_threads, load_earlier, load_engine
from stream.errors import VretouchError
from stream.job import CPU, DECODERS, ENCODERS, INTERRUPTED, PIPE, VIEWS, FileJob, RawVideo, Span, is_image
from stream.relay.command import add_arguments as add_relay

if TYPE_CHECKING:
    from stream.file import FrameRetoucher, MakeRetoucher

FAILED = 2
BUG = 1
_VIDEO_OPTIONS = ("start", "duration", "format", "size", "decoder", "encoder")


class UsageError(VretouchError):
    """Options that do not go together or cannot be read."""


class _Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line and exit 2."""

    def error(self, message: str) -> None:  # type: ignore[override]
        said = re.sub(r"^argument ([^:]+): ", r"\1: ", message)
        self.exit(FAILED, f"vretouch: {said}; see {self.prog} --help\n")


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    top = _Parser(
        "vretouch", description="Retouch the faces of a video or picture: marks go, the person stays."
    )
    top.add_argument("--version", action="version", version=f"vretouch {version()}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_file(commands.add_parser("file", help="retouch a video or an image"))
    camera = commands.add_parser("camera", help="retouch a camera into a virtual one, for any call")
    add_camera(camera)
    relay = commands.add_parser("relay", help="serve a page, WHIP and WHEP that retouch over WebRTC")
    add_relay(relay)
    doctor = commands.add_parser("doctor", help="what this machine has, what is missing, and how to mend it")
    doctor.add_argument("--json", action="store_true", help="write the findings as JSON")
    demo = commands.add_parser("demo", help="retouch the built-in clip, or your own file, and compare")
    demo.add_argument("source", nargs="?", metavar="IN", help="a video of yours instead of the built-in clip")
    demo.add_argument("--out", default="demo", metavar="DIR", help="folder for the results (default: demo)")
    add_retoucher(demo)
    return top


def _add_file(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "source",
        metavar="IN",
        help="a video, an image (PNG, JPEG, WebP), - for standard input, or a live address (rtsp://...)",
    )
    command.add_argument(
        "out",
        metavar="OUT",
        help="the result, its kind by its ending, - for standard output, or a live address",
    )
    add_retoucher(command)
    command.add_argument(
        "--compare", choices=VIEWS, metavar="VIEW", help="before and after: side, split or map"
    )
    command.add_argument(
        "--system",
        choices=("live", *EARLIER_SYSTEMS),
        default="live",
        help="whose method: vretouch's own (the default), or one that came before it, with --weights",
    )
    command.add_argument(
        "--weights", type=Path, metavar="FILE", help="of --system, made by `python -m model.train --system`"
    )
    command.add_argument("--lossless", action="store_true", help="encode without loss (large)")
    command.add_argument(
        "--start", type=seconds, default=0.0, metavar="T", help="begin at T: seconds or hh:mm:ss"
    )
    command.add_argument("--duration", type=seconds, metavar="T", help="stop after T")
    command.add_argument(
        "--give-up",
        type=seconds,
        metavar="T",
        help="take a live IN that has been gone for T for ended (default: wait for it)",
    )
    command.add_argument(
        "--wait",
        type=seconds,
        default=0.0,
        metavar="T",
        help="try for T to reach a live IN or OUT that is not there yet (default: that is an error)",
    )
    command.add_argument(
        "--decoder", choices=DECODERS, help="decode on the CPU (the default), or by an NVIDIA GPU's decoder"
    )
    command.add_argument(
        "--encoder",
        choices=ENCODERS,
        help="encode on the CPU (the default), or H.264 by an NVIDIA GPU's encoder",
    )
    command.add_argument("--force", action="store_true", help="write over OUT if it is there")
    command.add_argument("--quiet", action="store_true", help="say nothing but errors")
    command.add_argument(
        "--format", metavar="F", help="container of OUT: mp4, mov, matroska, webm, mpegts, nut, rawvideo"
    )
    command.add_argument("--size", type=size, metavar="WxH", help="IN is raw video of this size")
    command.add_argument("--fps", type=rate, metavar="R", help="frames per second of raw video (default: 30)")
    command.add_argument("--pix-fmt", metavar="P", help="pixel format of raw video (default: yuv420p)")


def version() -> str:
    """The installed version, or what a checkout that is not installed is."""
    try:
        return metadata.version("vretouch")
    except metadata.PackageNotFoundError:
        return "0+checkout"


def make_retoucher_of(options: argparse.Namespace) -> MakeRetoucher:
    """What makes the Retoucher that the options ask for, when it is called."""

    def make() -> AbstractContextManager[FrameRetoucher]:
        from stream.retoucher import Retoucher

        engine, asked = _engine(options), {"also": options.also, "keep": options.keep}
        on_device = None
        if not _shows_maps(options):
            from stream.on_device import device_retoucher

            on_device = device_retoucher(
                engine, options.strength, options.max_faces, decoded_there=_stays_on_gpu(options), **asked
            )
        return on_device or Retoucher(options.preset, engine, options.strength, options.max_faces, **asked)

    return make


def _shows_maps(options: argparse.Namespace) -> bool:
    """Whether what the network sees is shown, which on a GPU would stay there."""
    return bool(options.command == "demo" or options.compare == "map")


def _stays_on_gpu(options: argparse.Namespace) -> bool:
    """Whether frames are decoded and encoded on a GPU, and may stay there."""
    return bool(options.command == "file" and file_job(options).stays_on_gpu)


def _engine(options: argparse.Namespace) -> Engine:
    """What runs the network that the options ask for."""
    # One core decodes, composites and encodes meanwhile.
    threads = options.threads or default_threads(spared=1)
    if getattr(options, "system", "live") in EARLIER_SYSTEMS:
        return load_earlier(options.system, options.weights, options.engine, threads)
    return load_engine(options.engine, options.preset, threads)


def main(argv: Sequence[str] | None = None, make_retoucher: MakeRetoucher | None = None) -> int:
    """Run the command line; returns the exit code: 0 done, 2 an error said in one sentence, 130 Ctrl-C."""
    logging.basicConfig(format="vretouch: %(message)s")
    logging.getLogger("vretouch.engine").setLevel(logging.INFO)
    try:
        options = parser().parse_args(argv)
        return _run(
            options, make_retoucher or make_retoucher_of(options) if options.command != "doctor" else None
        )
    except VretouchError as error:
        return _say(str(error), FAILED)
    except KeyboardInterrupt:
        return _say("stopped; nothing was left behind", INTERRUPTED)
    except ImportError as error:
        return _say(
            f"a library is missing ({error}); run `vretouch doctor` to see which and how to get it", FAILED
        )
    except MemoryError:
        return _say("there is not enough memory for frames of this size; give a smaller video", FAILED)
    except BrokenPipeError:
        # Python would complain once more when it flushes standard output at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _say("whoever read standard output closed it", FAILED)
    except Exception as error:
        if os.environ.get("VRETOUCH_TRACEBACK"):
            raise
        said = f"an error of vretouch itself ({type(error).__name__}: {error})"
        return _say(f"{said}; please report it with VRETOUCH_TRACEBACK=1 set to see where", BUG)


def _say(sentence: str, code: int) -> int:
    print(f"vretouch: {sentence}", file=sys.stderr)
    return code


def _run(options: argparse.Namespace, make_retoucher: MakeRetoucher | None) -> int:
    if options.command == "camera":
        from stream.camera.command import run

        return run(options)
    if options.command == "relay":
        from stream.relay.command import run as serve

        return serve(options)
    if options.command == "doctor":
        from stream.doctor import doctor

        return doctor(as_json=options.json)
    assert make_retoucher is not None
    if options.command == "demo":
        from stream.demo import demo

        return demo(options.source, options.out, make_retoucher)
    return _file(options, make_retoucher)


def _file(options: argparse.Namespace, make_retoucher: MakeRetoucher) -> int:
    _check_file_options(options)
    if is_live(options.out) or is_live(options.source):
        return _broadcast(options)
    if is_image(options.source) or is_image(options.out):
        from stream.still import retouch_still

        notes = retouch_still(
            options.source,
            options.out,
            make_retoucher,
            view=options.compare,
            lossless=options.lossless,
            force=options.force,
        )
        _tell(notes, options.quiet)
        return 0
    from stream.file import report_lines, retouch_video

    report = retouch_video(file_job(options), make_retoucher)
    _tell(report_lines(report), options.quiet)
    return INTERRUPTED if report.interrupted else 0


def _broadcast(options: argparse.Namespace) -> int:
    from stream.broadcast.broadcast import Broadcast, BroadcastJob, report_lines
    from stream.live.settings import Settings
    from stream.retoucher import Retoucher

    job = BroadcastJob(
        options.source,
        options.out,
        Settings(
            strength=options.strength,
            view=options.compare or "plain",
            also=options.also,
            keep=options.keep,
        ),
        fps=float(options.fps or 30),
        size=options.size,
        duration_s=options.duration,
        quiet=options.quiet,
        give_up_s=options.give_up,
        wait_s=options.wait,
        format=options.format,
        lossless=options.lossless,
        force=options.force,
    )
    if job.recording is not None:
        job.recording.check()
    engine = _engine(options)

    def make_retoucher() -> Retoucher:
        return Retoucher(options.preset, engine, max_faces=options.max_faces)

    report = Broadcast(job, make_retoucher).run()
    _tell(report_lines(report), options.quiet)
    return INTERRUPTED if report.interrupted else 0


def _tell(lines: Sequence[str], quiet: bool) -> None:
    if not quiet:
        for line in lines:
            print(line, file=sys.stderr)


def _check_system(options: argparse.Namespace) -> None:
    """That weights are named where they are needed, and only there."""
    if options.system not in EARLIER_SYSTEMS:
        if options.weights is not None:
            raise UsageError(f"--weights is for --system {' or '.join(EARLIER_SYSTEMS)}; leave it out")
        return
    if options.weights is None:
        raise UsageError(
            f"--system {options.system} needs --weights FILE; make one with `python -m model.train --system "
            f"{options.system}`"
        )
    if options.preset != "live":
        raise UsageError(
            f"--preset is not for --system {options.system}, whose file has its size; leave it out"
        )


def _check_file_options(options: argparse.Namespace) -> None:
    _check_system(options)
    if is_live(options.out) or is_live(options.source):
        _check_broadcast_options(options)
        return
    if options.give_up is not None:
        raise UsageError("--give-up is for a live IN; leave it out")
    if options.wait:
        raise UsageError("--wait is for a live IN or OUT; leave it out")
    if options.size is None and (options.fps is not None or options.pix_fmt is not None):
        raise UsageError("--fps and --pix-fmt describe raw video, which needs --size WIDTHxHEIGHT too")
    if options.duration is not None and options.duration <= 0.0:
        raise UsageError("--duration 0 leaves nothing; give a time above 0")
    if "" in (options.source, options.out):
        raise UsageError("a name is empty; give IN and OUT a name each")
    if not is_image(options.source):
        return
    if PIPE in (options.source, options.out):
        raise UsageError("an image cannot go through a pipe; name a file for it")
    if given := [f"--{name}" for name in _VIDEO_OPTIONS if getattr(options, name)]:
        raise UsageError(f"{given[0]} is for videos, and {options.source} is an image; leave it out")


def _check_broadcast_options(options: argparse.Namespace) -> None:
    for end, name in (("IN", options.source), ("OUT", options.out)):
        try:
            urlsplit(name)
        except ValueError as error:
            # The address itself may hold a password.
            raise UsageError(f"{end} is no address; check its host, as in rtsp://[::1]:8554/live") from error
    sends = is_live(options.out)
    if options.duration is not None and options.duration <= 0.0:
        raise UsageError("--duration 0 leaves nothing; give a time above 0")
    if not is_live(options.source):
        if options.source == PIPE or is_image(options.source):
            raise UsageError(f"{options.source} cannot be sent live; give a video file or a live address")
        if options.give_up is not None:
            raise UsageError("--give-up is for a live IN; leave it out")
    if sends and not can_send(options.out):
        raise UsageError(
            f"{scheme_of(options.out)} cannot wait for who watches; name a server, or give "
            "tcp://HOST:PORT?listen=1"
        )
    if not sends and is_image(options.out):
        raise UsageError(f"a live stream is no image; name a video in place of {options.out}, as in out.mp4")
    if options.compare == "side":
        raise UsageError("--compare side is for files; a live stream shows split or map")
    for name in (
        "start",
        "pix_fmt",
        "decoder",
        "encoder",
        *(("lossless", "format", "force") if sends else ()),
    ):
        if getattr(options, name):
            end = "OUT" if sends else "IN"
            raise UsageError(
                f"--{name.replace('_', '-')} is for files, and {end} is a live address; leave it out"
            )


def file_job(options: argparse.Namespace) -> FileJob:
    """The job that the options of `vretouch file` describe."""
    raw = None
    if options.size is not None:
        raw = RawVideo(options.size, options.fps or Fraction(30), options.pix_fmt or "yuv420p")
    return FileJob(
        options.source,
        options.out,
        options.compare,
        options.lossless,
        Span(options.start, options.duration),
        options.force,
        options.format,
        raw,
        options.quiet,
        options.decoder or CPU,
        options.encoder or CPU,
    )
