"""Retouch a video's frames in the memory of the GPU that decodes them, beside the CPU's path; a program, for
FFmpeg has to come before CuPy and torch."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stream.gpu_codecs import in_host_memory
from stream.planes import rgb_to_yuv
from stream.source import VideoSource


def luma_of(native: Any) -> npt.NDArray[np.int64]:
    """Y of an NV12 frame, wherever it lies."""
    plane = in_host_memory(native).planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    return rows[: native.height, : native.width].astype(np.int64)


def retouched_in_place(path: Path, make_engine: Callable[[], Any]) -> tuple[float, int]:
    """How far luma is at most from what the CPU's path adds, and how much was added at most, in levels."""
    apart, most = 0.0, 0
    with VideoSource(str(path), decoder="cuda", stay=True) as source:
        assert source.stays_on_gpu
        engine = make_engine()
        from stream.device import DeviceRetoucher
        from stream.retoucher import Retoucher

        to_luma = rgb_to_yuv(source.info.tags, source.info.height)[0]
        with DeviceRetoucher(engine, in_place=True) as there, Retoucher(engine.preset, engine) as here:
            for frame in source.frames("yuv420p", on_gpu=True):
                before = luma_of(frame.native)
                located = there.locate(frame.rgb_u8, frame.pts_s, surface=frame.surface)
                there.composite(frame.rgb_u8, there.step(located))
                added = luma_of(frame.native) - before
                wanted = here.process(frame.rgb_u8, frame.pts_s).astype(np.int64) - frame.rgb_u8
                apart = max(apart, float(np.abs(added - np.rint(wanted @ to_luma)).max()))
                most = max(most, int(np.abs(added).max()))
    return apart, most


def main() -> None:
    """Of the file named, by torch-cuda."""
    from stream.engine import load_engine

    print(*retouched_in_place(Path(sys.argv[1]), lambda: load_engine("torch-cuda")))


if __name__ == "__main__":
    main()
