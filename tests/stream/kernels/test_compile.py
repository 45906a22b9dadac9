"""Every variant of every kernel through NVIDIA's own compiler, which needs no GPU."""

from __future__ import annotations

import ctypes
from functools import cache
from itertools import product
from pathlib import Path

import pytest

from stream.kernels.launch import OPTIONS, Variant, source_of
from tests.conftest import missing

ARCHITECTURES = ("sm_80", "sm_86", "sm_90")
REALS = ("half_t", "float")


def variants() -> list[Variant]:
    crops = product(range(3), ("byte", *REALS), (0, 1))
    pastes = product(range(3), REALS, (0, 1))
    warps = [
        (f"REAL={real}", f"FLOW={flow}", f"VECTOR={vector}", f"FLOW_PIXELS={pixels}")
        for real, flow, pixels in product(REALS, REALS, (0, 1))
        for vector in (0, 1, 2, 4, *((8,) if real == "half_t" else ()))
    ]
    return [
        *(Variant("crop", (f"FORMAT={f}", f"OUT={out}", f"PIXELS={p}")) for f, out, p in crops),
        *(Variant("warp", defines) for defines in warps),
        *(Variant("guard", (f"REAL={real}",)) for real in REALS),
        *(Variant("paste", (f"FORMAT={f}", f"REAL={real}", f"CELLS={cells}")) for f, real, cells in pastes),
    ]


@cache
def nvrtc() -> ctypes.CDLL:
    try:
        import nvidia.cuda_nvrtc as package
    except ImportError:
        missing("nvidia-cuda-nvrtc-cu12 is not installed")
    (library,) = Path(next(iter(package.__path__))).glob("lib/libnvrtc.so.*")
    return ctypes.CDLL(str(library))


def ptx_of(variant: Variant, architecture: str) -> str:
    options = (*OPTIONS, f"-arch={architecture}", *(f"-D{define}" for define in variant.defines))
    return compiled(source_of(variant.kernel), options)


def compiled(source: str, options: tuple[str, ...]) -> str:
    """PTX of the source; fails with what the compiler has to say, warnings too."""
    library, program = nvrtc(), ctypes.c_void_p()
    assert (
        library.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernel.cu", 0, None, None) == 0
    )
    given = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
    failed = library.nvrtcCompileProgram(program, len(options), given)
    log = text_of("ProgramLog", program)
    assert not failed and not log, log
    ptx = text_of("PTX", program)
    library.nvrtcDestroyProgram(ctypes.byref(program))
    return ptx


def text_of(what: str, program: ctypes.c_void_p) -> str:
    size = ctypes.c_size_t()
    getattr(nvrtc(), f"nvrtcGet{what}Size")(program, ctypes.byref(size))
    text = ctypes.create_string_buffer(size.value)
    getattr(nvrtc(), f"nvrtcGet{what}")(program, text)
    return text.value.decode()


@pytest.mark.parametrize("variant", variants(), ids=lambda v: "-".join((v.kernel, *v.defines)))
def test_it_compiles_without_a_warning(variant: Variant) -> None:
    # Each for one architecture, so that all of them come about.
    architecture = ARCHITECTURES[variants().index(variant) % len(ARCHITECTURES)]
    ptx = ptx_of(variant, architecture)
    assert f".entry {variant.kernel}(" in ptx
    # A local array that is indexed by what is not known when compiling lies in memory, which is slow.
    assert "__local_depot" not in ptx


@pytest.mark.parametrize(
    ("variant", "wanted"),
    [
        (Variant("crop", ("FORMAT=0", "OUT=half_t", "PIXELS=0")), "ld.global.v4.u32"),
        (Variant("warp", ("REAL=half_t", "FLOW=half_t", "VECTOR=8", "FLOW_PIXELS=1")), "st.global.v4.u32"),
        (Variant("paste", ("FORMAT=0", "REAL=half_t", "CELLS=1")), "ld.shared.v4.f32"),
    ],
)
def test_it_moves_sixteen_bytes_at_once(variant: Variant, wanted: str) -> None:
    assert wanted in ptx_of(variant, "sm_80")


def test_a_mistake_is_told_with_its_line() -> None:
    with pytest.raises(AssertionError, match=r"kernel\.cu\(1\): error"):
        compiled("int x = y;", OPTIONS)
