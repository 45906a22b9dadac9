"""The virtual camera that other programs see. Adapter of pyvirtualcam, which is an optional library."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

from stream.camera.errors import VirtualCameraError
from stream.frame import RgbImage

LOOPBACK = "v4l2loopback"
LOAD = "sudo modprobe v4l2loopback exclusive_caps=1 card_label=vretouch"
_INSTALL = f"install it (Debian, Ubuntu: `sudo apt install v4l2loopback-dkms`) and load it with `{LOAD}`"


class VirtualCamera:
    """A virtual camera being written to; `send` takes pictures of its size.

    size: width and height in pixels, made even. fps: at most this many frames a second will come. device: on
    Linux a path, number or name of one of v4l2loopback's devices, elsewhere a name; by default the first that
    is free. backend: one of pyvirtualcam's, or one registered with it; by default the first that works.
    """

    def __init__(
        self, size: tuple[int, int], fps: float, device: str | None = None, backend: str | None = None
    ) -> None:
        self.size = (max(2, size[0] - size[0] % 2), max(2, size[1] - size[1] % 2))
        library = _library()
        if backend is not None and backend not in library.camera.BACKENDS:
            there = ", ".join(library.camera.BACKENDS) or "none"
            raise VirtualCameraError(f"there is no virtual camera backend {backend!r}; choose from {there}")
        self._camera, self.notes = _opened(library, self.size, fps, device, backend)
        self.label = str(self._camera.device)
        self._readers = None
        if self._camera.backend == LOOPBACK:
            from stream.camera.v4l2 import Readers

            self._readers = Readers(self.label)

    def send(self, picture_rgb_u8: RgbImage) -> None:
        """Show a picture, uint8 [H, W, 3] RGB of `size`."""
        try:
            self._camera.send(picture_rgb_u8)
        except (RuntimeError, OSError) as error:
            raise VirtualCameraError(
                f"the virtual camera {self.label} takes no more pictures ({error}); start vretouch again"
            ) from error

    def readers(self) -> int | None:
        """How many programs read it; None where the system does not tell."""
        return None if self._readers is None else self._readers.count()

    def close(self) -> None:
        """Give the device back."""
        if self._readers is not None:
            self._readers.close()
        self._camera.close()


def _library() -> Any:
    try:
        return importlib.import_module("pyvirtualcam")
    except ImportError as error:
        raise VirtualCameraError(
            "the virtual camera needs the library pyvirtualcam, which is not installed or does not load "
            f"({error}); install it with `{sys.executable} -m pip install 'pyvirtualcam>=0.15'`"
        ) from error


def backends() -> tuple[str, ...]:
    """The names of pyvirtualcam's backends on this system; raises VirtualCameraError without the library."""
    return tuple(_library().camera.BACKENDS)


def lacking(system: str = sys.platform) -> str:
    """Why there is no virtual camera on this machine, with the remedy; empty if there may be one."""
    try:
        others = [name for name in backends() if name != LOOPBACK]
    except VirtualCameraError as error:
        return str(error)
    if others:
        return ""
    return loopbacks(None)[1] if system == "linux" else f"pyvirtualcam knows no virtual camera of {system}"


def _opened(
    library: Any, size: tuple[int, int], fps: float, device: str | None, backend: str | None
) -> tuple[Any, list[str]]:
    """The open pyvirtualcam.Camera, and what the user should know of it."""
    names = [backend] if backend is not None else list(library.camera.BACKENDS)
    problems = []
    for name in names:
        targets: Sequence[str | None] = [device]
        if name == LOOPBACK:
            targets, problem = loopbacks(device)
            problems += [problem] if problem else []
        for target in targets:
            notes = _notes_of(target) if name == LOOPBACK and target is not None else []
            try:
                camera = library.Camera(*size, fps, fmt=library.PixelFormat.RGB, device=target, backend=name)
            except (RuntimeError, OSError, ValueError) as error:
                problems.append(_refused(name, target, str(error)))
            else:
                return camera, notes
    raise VirtualCameraError(problems[0] if problems else "pyvirtualcam knows no virtual camera here")


def loopbacks(wanted: str | None) -> tuple[list[str], str]:
    """Paths of the v4l2loopback devices that are meant, and if there is none, the sentence that says why."""
    from stream.camera.v4l2 import loopback_loaded, nodes

    here = [node for node in nodes() if node.loopback]
    if wanted is not None:
        path = os.path.realpath(wanted)
        found = [node for node in here if wanted in (str(node.number), node.name) or node.path == path]
        if found or not here:
            here = found
        else:
            names = ", ".join(f"{node.path} ({node.name})" for node in here)
            return [], f"{wanted} is no virtual camera; choose from {names}"
    if here:
        return [node.path for node in here], ""
    if loopback_loaded():
        return [], f"v4l2loopback has no device; load it anew: `sudo modprobe -r v4l2loopback; {LOAD}`"
    return [], f"there is no virtual camera, because the kernel module v4l2loopback is not loaded; {_INSTALL}"


def _notes_of(path: str) -> list[str]:
    from stream.camera.v4l2 import CAPTURE, OUTPUT, capabilities

    able = capabilities(path)
    if able is None or not (able & CAPTURE and able & OUTPUT):
        return []
    return [
        f"{path} was made without exclusive_caps=1, so Chrome may not show it; load the module anew: "
        f"`sudo modprobe -r v4l2loopback; {LOAD}`"
    ]


def _refused(backend: str, device: str | None, said: str, system: str = sys.platform) -> str:
    """One sentence of what pyvirtualcam said, with the remedy."""
    said = " ".join(said.split()).removeprefix(f"'{backend}' backend: ").rstrip(".")
    if backend == LOOPBACK and device is not None:
        return _loopback_refused(device, said)
    if backend == "obs":
        folder = "; OBS must be in the folder Applications" if system == "darwin" else ""
        return (
            f"the OBS virtual camera cannot be used ({said}); install OBS Studio, start and stop its virtual "
            f"camera once, and close OBS{folder}"
        )
    return f"the virtual camera backend {backend} cannot be used ({said}); choose another with --backend"


def _loopback_refused(device: str, said: str) -> str:
    from stream.camera.v4l2 import holders

    if "permission" in said:
        return (
            f"{device} may not be opened (permission denied); add yourself to the group video with "
            "`sudo usermod -aG video $USER` and log in anew"
        )
    # v4l2loopback takes one writer; a second one is told that its format is wrong or the device busy.
    if found := holders(device):
        users = " and ".join(str(holder) for holder in found)
        return f"{device} is in use by {users}; close it there, or choose another with --device"
    return f"{device} cannot be used ({said}); load the module anew: `sudo modprobe -r v4l2loopback; {LOAD}`"
