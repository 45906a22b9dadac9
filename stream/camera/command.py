"""`vretouch camera` for the command line. What runs it is imported when it runs, so that the other commands
work where one of its libraries does not."""

from __future__ import annotations

import argparse

from stream.arguments import add_retoucher, rate, size
from stream.camera.controls import HELP
from stream.camera.job import FPS, CameraJob
from stream.live.settings import Settings

VIEWS = ("split", "map")


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The options of `vretouch camera`."""
    command.epilog = HELP
    command.add_argument(
        "camera", nargs="?", metavar="CAMERA", help="its number, name or path (default: the first real one)"
    )
    command.add_argument("--list", action="store_true", help="list the cameras, real and virtual, and leave")
    command.add_argument(
        "--size", type=size, metavar="WxH", help="of the virtual camera (default: 1280x720, or the camera's)"
    )
    command.add_argument("--fps", type=rate, default=FPS, metavar="R", help="frames per second (default: 30)")
    command.add_argument(
        "--device", metavar="NAME", help="the virtual camera: path, number or name (default: the first)"
    )
    command.add_argument(
        "--backend", metavar="B", help="v4l2loopback, obs, unitycapture or another that pyvirtualcam knows"
    )
    command.add_argument("--mirror", action="store_true", help="exchange left and right")
    command.add_argument("--compare", choices=VIEWS, metavar="VIEW", help="before and after: split or map")
    command.add_argument(
        "--preview", action="store_true", help="show what is sent in a window, which takes the same keys"
    )
    command.add_argument(
        "--never-idle", action="store_true", help="keep the camera on when no program reads the virtual one"
    )
    command.add_argument("--quiet", action="store_true", help="no line of figures")
    add_retoucher(command)


def job_of(options: argparse.Namespace) -> CameraJob:
    """The job that the options describe."""
    return CameraJob(
        camera=options.camera,
        size=options.size,
        fps=float(options.fps),
        device=options.device,
        backend=options.backend,
        mirror=options.mirror,
        settings=Settings(
            strength=options.strength,
            view=options.compare or "plain",
            also=options.also,
            keep=options.keep,
        ),
        preview=options.preview,
        never_idle=options.never_idle,
        quiet=options.quiet,
        preset=options.preset,
        engine=options.engine,
        max_faces=options.max_faces,
        threads=options.threads,
    )


def run(options: argparse.Namespace) -> int:
    """Run `vretouch camera` until the user leaves; returns the exit code."""
    from stream.camera.session import listing, run_camera

    if options.list:
        print("\n".join(listing()))
    else:
        run_camera(job_of(options))
    return 0
