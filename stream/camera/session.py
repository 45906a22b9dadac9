"""What `vretouch camera` puts together: camera, filter, virtual camera, terminal and window."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

from stream.camera.capture import CameraSource, Wish
from stream.camera.controls import HELP, Controls
from stream.camera.devices import Device, cameras, choose, found_again
from stream.camera.errors import CameraError
from stream.camera.job import CameraJob
from stream.camera.keys import Keys
from stream.camera.live import IDLE_AFTER_S, CameraRun
from stream.camera.preview import Preview
from stream.camera.reader import Source
from stream.camera.status import Status
from stream.camera.virtual import LOOPBACK, VirtualCamera, backends, lacking
from stream.engine import default_threads, load_engine
from stream.file import Interrupts
from stream.retoucher import Retoucher

SIZE = (1280, 720)


@dataclass(frozen=True)
class Parts:
    """What a run takes from the machine; a test brings its own.

    open_source: the camera, given its device and what it is asked for. devices: every camera.
    make_retoucher: None makes what the options ask for. keys: those pressed since the last call; None reads
    the terminal. out: where sentences and figures go.
    """

    open_source: Callable[[Device, Wish], Source] = CameraSource
    devices: Callable[[], list[Device]] = cameras
    make_retoucher: Callable[[], Retoucher] | None = None
    keys: Callable[[], list[str]] | None = None
    out: TextIO | None = None


def run_camera(job: CameraJob, parts: Parts | None = None) -> None:
    """Run the job until the user leaves."""
    used = parts or Parts()
    device = choose(job.camera, used.devices())
    make_retoucher = used.make_retoucher or _make_retoucher_of(job)
    with contextlib.ExitStack() as stack:
        interrupts = stack.enter_context(Interrupts())
        _run(job, used, device, make_retoucher, interrupts, stack)


def _run(
    job: CameraJob,
    parts: Parts,
    device: Device,
    make_retoucher: Callable[[], Retoucher],
    interrupts: Interrupts,
    stack: contextlib.ExitStack,
) -> None:
    wish = Wish(job.size or SIZE, job.fps)
    source = parts.open_source(device, wish)
    unused = stack.enter_context(contextlib.ExitStack())
    unused.callback(source.close)
    sink = VirtualCamera(job.size or _size_of(source), job.fps, job.device, job.backend)
    stack.callback(sink.close)
    if device.url == sink.label:
        raise CameraError(f"{sink.label} is the virtual camera itself; choose another camera")
    window = Preview(sink.size) if job.preview else None
    if window is not None:
        stack.callback(window.close)
    controls = Controls(job.settings, mirror=job.mirror)
    keys = stack.enter_context(Keys())
    interrupts.remove = keys.restore
    status = Status(parts.out or sys.stderr, quiet=job.quiet)
    _greet(status, device, sink, keys.listening and parts.keys is None)
    camera_run = CameraRun(
        source,
        lambda: parts.open_source(found_again(device, parts.devices()), wish),
        make_retoucher,
        sink,
        controls,
        status,
        fps=job.fps,
        keys=parts.keys or keys.pressed,
        window=window,
        idle_after_s=None if job.never_idle else IDLE_AFTER_S,
    )
    unused.pop_all()
    camera_run.run(lambda: interrupts.asked)


def _size_of(source: Source) -> tuple[int, int]:
    """The size of the pictures that the camera really gives: those of its first one."""
    height, width = source.read().rgb_u8.shape[:2]
    return width, height


def _make_retoucher_of(job: CameraJob) -> Callable[[], Retoucher]:
    # One core decodes, converts and serves whoever reads the virtual camera.
    engine = load_engine(job.engine, job.preset, job.threads or default_threads(spared=1))
    return lambda: Retoucher(job.preset, engine, max_faces=job.max_faces)


def _greet(status: Status, device: Device, sink: VirtualCamera, listening: bool) -> None:
    width, height = sink.size
    status.say(f"{device.label} -> {sink.label}, {width}x{height}; Ctrl-C ends it")
    for note in sink.notes:
        status.say(f"note: {note}")
    if listening:
        status.say(HELP)


def listing(devices: list[Device] | None = None, system: str = sys.platform) -> list[str]:
    """The cameras and virtual cameras of this machine, a line each."""
    devices = cameras() if devices is None else devices
    lines = ["cameras:"]
    lines += [f"  {device.number}  {device.label}" for device in devices if not device.virtual] or ["  none"]
    return [*lines, "virtual cameras:", *_virtual_lines(system)]


def _virtual_lines(system: str) -> list[str]:
    if system == "linux":
        from stream.camera.v4l2 import nodes

        if found := [node for node in nodes() if node.loopback]:
            return [f"  {node.number}  {node.name} ({node.path})" for node in found]
    if reason := lacking(system):
        return [f"  none: {reason}"]
    return [f"  through {name}" for name in backends() if name != LOOPBACK]
