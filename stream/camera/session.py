"""What `vretouch camera` puts together: camera, filter, virtual camera, terminal and window."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TextIO

from stream.camera.capture import CameraSource, Wish
from stream.camera.controls import HELP, Controls
from stream.camera.devices import Device, cameras, choose, found_again
from stream.camera.errors import CameraError
from stream.camera.job import CameraJob
from stream.camera.keys import Keys
from stream.camera.live import IDLE_AFTER_S, STALL_S, CameraRun
from stream.camera.opening import Opened, Opening
from stream.camera.preview import Preview
from stream.camera.reader import Source
from stream.camera.status import Status
from stream.camera.virtual import LOOPBACK, VirtualCamera, backends, lacking
from stream.engine import live_threads, load_engine
from stream.file import Interrupts
from stream.retoucher import Retoucher

SIZE = (1280, 720)
LOOK_S = 0.25


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


@dataclass(frozen=True)
class _Camera:
    """The camera that is meant, one of those that were here."""

    device: Device
    here: Sequence[Device]
    wish: Wish
    parts: Parts

    def open(self) -> Source:
        """It, open; raises CameraError where it cannot be."""
        return self.parts.open_source(self.device, self.wish)

    def open_again(self) -> Source:
        """It, open, after it was away, maybe under another number."""
        found = found_again(self.device, self.parts.devices(), self.here)
        return self.parts.open_source(found, self.wish)


def run_camera(job: CameraJob, parts: Parts | None = None) -> None:
    """Run the job until the user leaves."""
    used = parts or Parts()
    here = tuple(used.devices())
    camera = _Camera(choose(job.camera, here), here, Wish(job.size or SIZE, job.fps), used)
    make_retoucher = used.make_retoucher or _make_retoucher_of(job)
    status = Status(used.out or sys.stderr, quiet=job.quiet)
    with contextlib.ExitStack() as stack:
        interrupts = stack.enter_context(Interrupts())
        opened = _opened(camera, status, interrupts, stack)
        if opened is not None:
            _run(job, camera, opened, make_retoucher, status, interrupts, stack)


def _opened(
    camera: _Camera, status: Status, interrupts: Interrupts, stack: contextlib.ExitStack
) -> Opened | None:
    """The camera, open, and its first frame; None where the user did not wait for it."""
    opening = Opening(camera.open)
    stack.callback(opening.close)
    began_s, told = time.monotonic(), False
    while (opened := opening.wait(LOOK_S)) is None and not interrupts.asked:
        if not told and time.monotonic() - began_s > STALL_S:
            told = True
            status.say(f"waiting for a picture of {camera.device.label}; Ctrl-C ends that")
    return opened


def _run(
    job: CameraJob,
    camera: _Camera,
    opened: Opened,
    make_retoucher: Callable[[], Retoucher],
    status: Status,
    interrupts: Interrupts,
    stack: contextlib.ExitStack,
) -> None:
    source, first = opened
    unused = stack.enter_context(contextlib.ExitStack())
    unused.callback(source.close)
    given = first.rgb_u8.shape[1], first.rgb_u8.shape[0]
    sink = VirtualCamera(job.size or given, job.fps, job.device, job.backend)
    stack.callback(sink.close)
    if camera.device.url == sink.label:
        raise CameraError(f"{sink.label} is the virtual camera itself; choose another camera")
    window = Preview(sink.size) if job.preview else None
    if window is not None:
        stack.callback(window.close)
    controls = Controls(job.settings, mirror=job.mirror)
    keys = stack.enter_context(Keys())
    interrupts.remove = keys.restore
    typed = camera.parts.keys or keys.pressed
    listening = window is not None or (keys.listening and camera.parts.keys is None)
    _greet(status, camera.device, given, sink, listening=listening)
    camera_run = CameraRun(
        source,
        camera.open_again,
        make_retoucher,
        sink,
        controls,
        status,
        fps=job.fps,
        keys=typed if window is None else lambda: [*typed(), *window.pressed()],
        window=window,
        idle_after_s=None if job.never_idle else IDLE_AFTER_S,
    )
    unused.pop_all()
    camera_run.run(lambda: interrupts.asked)


def _make_retoucher_of(job: CameraJob) -> Callable[[], Retoucher]:
    engine = load_engine(job.engine, job.preset, job.threads or live_threads())
    return lambda: Retoucher(job.preset, engine, max_faces=job.max_faces)


def _greet(
    status: Status, device: Device, given: tuple[int, int], sink: VirtualCamera, *, listening: bool
) -> None:
    width, height = sink.size
    status.say(f"{device.label} -> {sink.label}, {width}x{height}; Ctrl-C ends it")
    if given != sink.size:
        status.say(f"note: the camera gives {given[0]}x{given[1]}, which is fitted into that")
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
