"""What the user asked of `vretouch camera`."""

from __future__ import annotations

from dataclasses import dataclass, field

from stream.errors import OptionError
from stream.live.settings import Settings

FPS = 30.0
MAX_FPS = 120.0
MAX_SIDE = 4096


@dataclass(frozen=True)
class CameraJob:
    """One run.

    camera: number, name or path; None is the first real one. size: width and height of the virtual camera;
    None is that of the camera. fps: frames a second. device, backend: the virtual camera's; None is the first
    that works. settings: what is in force at the start. preset, engine, max_faces, threads: see
    stream.retoucher.Retoucher and stream.engine.load_engine.
    """

    camera: str | None = None
    size: tuple[int, int] | None = None
    fps: float = FPS
    device: str | None = None
    backend: str | None = None
    mirror: bool = False
    settings: Settings = field(default_factory=Settings)
    preview: bool = False
    never_idle: bool = False
    quiet: bool = False
    preset: str = "live"
    engine: str = "auto"
    max_faces: int = 1
    threads: int | None = None

    def __post_init__(self) -> None:
        if not 1.0 <= self.fps <= MAX_FPS:
            raise OptionError(f"--fps must be from 1 to {MAX_FPS:g}, not {self.fps:g}")
        if self.size is not None and not (min(self.size) >= 2 and max(self.size) <= MAX_SIDE):
            shape = f"{self.size[0]}x{self.size[1]}"
            raise OptionError(f"--size must be from 2x2 to {MAX_SIDE}x{MAX_SIDE}, not {shape}")
