"""`vretouch doctor`: what this machine has, what is missing, and the command that mends it."""

from __future__ import annotations

import importlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from stream.errors import VretouchError

State = Literal["ok", "missing", "optional"]
DEFAULT_PRESET = "live"
LEAST_MEMORY_GIB = 1.0
STEPS = 9


@dataclass(frozen=True)
class Finding:
    """One thing looked at. state: ok, missing (the default use needs it) or optional (only extras need it);
    mend: a command or a word of advice, where there is one."""

    name: str
    state: State
    said: str
    mend: str = ""

    def line(self) -> str:
        """The finding for a person."""
        mend = f"  ->  {self.mend}" if self.mend and self.state != "ok" else ""
        return f"{self.state:<9} {self.name:<22} {self.said}{mend}"


@dataclass(frozen=True)
class Library:
    """A library: what it is imported as, the names of the packages that bring it, what it is for."""

    module: str
    packages: tuple[str, ...]
    needed: bool
    purpose: str
    pinned: str = ""


LIBRARIES = (
    Library("numpy", ("numpy",), True, "arrays"),
    Library("cv2", ("opencv-python-headless", "opencv-python", "opencv-contrib-python"), True, "warping"),
    Library("av", ("av",), True, "video in and out"),
    Library("onnxruntime", ("onnxruntime", "onnxruntime-gpu"), True, "runs the network"),
    Library("PIL", ("pillow",), True, "images"),
    Library("aiohttp", ("aiohttp",), True, "the relay's page"),
    Library("aiortc", ("aiortc",), True, "WebRTC"),
    Library("torch", ("torch",), False, "engine torch-cpu and training"),
    Library("cupy", ("cupy-cuda12x", "cupy"), False, "GPU kernels"),
    Library("pyvirtualcam", ("pyvirtualcam",), False, "virtual camera"),
)


def doctor(as_json: bool = False) -> int:
    """Look at everything and print it; 0 if the default use works, else 2."""
    findings = list(examine())
    works = not any(f.state == "missing" for f in findings)
    if as_json:
        print(json.dumps({"works": works, "findings": [asdict(f) for f in findings]}, indent=2))
    else:
        for finding in findings:
            print(finding.line())
        print(
            "everything the default use needs is here"
            if works
            else "something the default use needs is missing"
        )
    return 0 if works else 2


def examine() -> Iterable[Finding]:
    """Every finding, in order; a check that fails becomes a finding, never an exception."""
    yield python_finding(sys.version_info[:3])
    for library in LIBRARIES:
        yield library_finding(library)
    checks: tuple[tuple[str, Callable[[], Iterable[Finding]]], ...] = (
        ("codecs", codec_findings),
        ("providers", provider_findings),
        ("face models", face_findings),
        ("weights", weights_findings),
        ("engine", engine_findings),
        ("cameras", camera_findings),
    )
    for name, check in checks:
        try:
            yield from check()
        except VretouchError as error:
            yield Finding(name, "missing", str(error))
        except Exception as error:
            yield Finding(
                name, "missing", f"cannot be looked at ({type(error).__name__}: {error})", _reinstall()
            )
    yield cpu_finding()
    yield memory_finding()


def _reinstall() -> str:
    return f"{Path(sys.executable).name} -m pip install --force-reinstall vretouch"


def python_finding(version: tuple[int, ...]) -> Finding:
    """3.11 and 3.12 are what mediapipe 0.10.14 has wheels for."""
    words = ".".join(str(part) for part in version)
    if (3, 11) <= version[:2] <= (3, 12):
        return Finding("Python", "ok", f"{words} ({platform.platform(terse=True)})")
    return Finding("Python", "missing", f"{words}, but 3.11 or 3.12 is needed", "make PYTHON=python3.12 venv")


def library_finding(library: Library) -> Finding:
    """Whether the library can be imported, and its version."""
    name = library.packages[0]
    absent: State = "missing" if library.needed else "optional"
    mend = f"{Path(sys.executable).name} -m pip install {name}"
    try:
        importlib.import_module(library.module)
    except ModuleNotFoundError:
        return Finding(name, absent, f"not installed ({library.purpose})", mend)
    except Exception as error:
        return Finding(name, absent, f"does not load ({error})", mend)
    return Finding(name, "ok", f"{_version(library.packages)} ({library.purpose})")


def _version(packages: tuple[str, ...]) -> str:
    for package in packages:
        try:
            return metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return "of unknown version"


def codec_findings() -> Iterable[Finding]:
    """The codecs of the installed PyAV."""
    from stream.sink import codecs_present

    for name, here in codecs_present().items():
        needed = name.startswith("H.264")
        state: State = "ok" if here else "missing" if needed else "optional"
        mend = f"{Path(sys.executable).name} -m pip install --force-reinstall av"
        yield Finding(name, state, "in PyAV" if here else "not in this build of PyAV", mend)


def provider_findings() -> Iterable[Finding]:
    """What ONNX Runtime can run on."""
    from stream.engines.onnx_ import providers

    names = [name.removesuffix("ExecutionProvider") for name in providers()]
    yield Finding("providers", "ok" if "CPU" in names else "missing", ", ".join(names), _reinstall())


def face_findings() -> Iterable[Finding]:
    """Whether the face detector and mesh start."""
    from stream.face import FaceModels

    began = time.perf_counter()
    FaceModels().close()
    spent_s = time.perf_counter() - began
    yield Finding("face models", "ok", f"mediapipe {_version(('mediapipe',))}, started in {spent_s:.1f} s")


def weights_findings() -> Iterable[Finding]:
    """The weights of each preset and whether they are what their cards say."""
    from stream.engine import PRESETS, find_weights

    for preset in PRESETS:
        absent: State = "missing" if preset == DEFAULT_PRESET else "optional"
        try:
            found = find_weights(preset)
        except VretouchError as error:
            yield Finding(f"weights {preset}", absent, str(error))
        else:
            size_mb = found.path.stat().st_size / 1e6
            yield Finding(f"weights {preset}", "ok", f"{size_mb:.1f} MB, hash as its card says")


def engine_findings() -> Iterable[Finding]:
    """A few steps of the default engine on a gray face."""
    import numpy as np

    from stream.engine import find_weights, load_engine

    try:
        find_weights(DEFAULT_PRESET)
    except VretouchError:
        return
    engine = load_engine()
    state, face = engine.new_state(), np.full((512, 512, 3), 128, np.uint8)
    spent_ms = []
    for _ in range(STEPS):
        began = time.perf_counter()
        engine.step(face, state)
        spent_ms.append(1e3 * (time.perf_counter() - began))
    typical = sorted(spent_ms)[STEPS // 2]
    yield Finding("engine", "ok", f"{engine.name}, a step takes {typical:.1f} ms here")


def camera_findings() -> Iterable[Finding]:
    """The cameras, and what `vretouch camera` would send to."""
    from stream.camera.devices import cameras
    from stream.camera.virtual import lacking

    real = [camera.label for camera in cameras() if not camera.virtual]
    remedy = "plug one in, if `vretouch camera` is to use it"
    yield Finding("cameras", "ok" if real else "optional", ", ".join(real) or "none", remedy)
    why = lacking()
    yield Finding("virtual camera", "optional" if why else "ok", why or "here")


def cpu_finding() -> Finding:
    """Cores this process may use, and the vector instructions that make the network fast."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    model, flags = _cpu_info()
    known = [flag for flag in ("avx2", "fma", "avx512f", "avx512_vnni", "amx_tile", "asimd") if flag in flags]
    said = f"{model}, {cores} core{'s' * (cores != 1)}, {' '.join(known) or 'no vector instructions known'}"
    if flags and not known:
        return Finding("CPU", "optional", said, "the network will be slow; use a processor with AVX2 or NEON")
    return Finding("CPU", "ok", said)


def _cpu_info() -> tuple[str, frozenset[str]]:
    """Model name and feature flags from Linux; elsewhere what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine(), frozenset()
    pairs = [line.partition(":") for line in lines]
    fields = {key.strip().lower(): value.strip() for key, _, value in reversed(pairs)}
    name = fields.get("model name") or platform.machine()
    return name, frozenset((fields.get("flags") or fields.get("features") or "").split())


def memory_finding() -> Finding:
    """Memory that is free for a program to use."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        sizes = {line.split(":")[0]: int(line.split()[1]) / 2**20 for line in lines if line.endswith("kB")}
        free, total = sizes["MemAvailable"], sizes["MemTotal"]
    except (OSError, KeyError, ValueError):
        return Finding("memory", "ok", "unknown on this system")
    said = f"{free:.1f} GiB free of {total:.1f} GiB"
    if free < LEAST_MEMORY_GIB:
        return Finding("memory", "optional", said, "close other programs: large videos may not fit")
    return Finding("memory", "ok", said)
