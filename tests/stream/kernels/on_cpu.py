"""The kernels' own sources, compiled by g++ and run on a CPU."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from stream.kernels.launch import Launch, Variant, source_of
from tests.conftest import missing

FOLDER = Path(__file__).parent
_START = """
extern "C" int run(unsigned x, unsigned y, unsigned z, unsigned threads, unsigned bytes, void** arguments) {
    return start(KERNEL, x, y, z, threads, bytes, arguments);
}
"""


@cache
def folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="vretouch-kernels-")


@cache
def compiled(variant: Variant) -> ctypes.CDLL:
    """The kernel as a shared library; warnings are errors."""
    compiler = shutil.which("g++")
    if compiler is None:
        missing("g++ is not installed")
    name = "-".join((variant.kernel, *variant.defines)).replace("=", "")
    path = Path(folder().name) / name
    path.with_suffix(".cpp").write_text(
        '#include "on_cpu.h"\n' + source_of(variant.kernel) + _START, encoding="utf-8"
    )
    flags = [
        "-std=c++17",
        "-O1",
        "-Wall",
        "-Werror",
        "-Wno-unused-function",
        "-Wno-dangling-pointer",
        "-fno-strict-aliasing",
    ]
    # A GPU refuses an access that is not aligned, where a CPU does it: here it ends the run.
    flags += ["-fsanitize=alignment", "-fsanitize-undefined-trap-on-error"]
    flags += ["-shared", "-fPIC", f"-I{FOLDER}", f"-DKERNEL={variant.kernel}"]
    flags += [f"-D{define}" for define in variant.defines]
    command = [compiler, *flags, "-o", str(path.with_suffix(".so")), str(path.with_suffix(".cpp"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return ctypes.CDLL(str(path.with_suffix(".so")))


def run_on_cpu(launch: Launch) -> None:
    """The launch, with addresses of host memory."""
    cells = [np.array([argument]) for argument in launch.arguments]
    arguments = (ctypes.c_void_p * len(cells))(*(cell.ctypes.data for cell in cells))
    kept = compiled(launch.variant).run(*launch.grid, launch.block[0], launch.shared_bytes, arguments)
    assert launch.block[1:] == (1, 1)
    assert kept, "the kernel wrote beyond the shared memory it asked for"
