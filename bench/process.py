"""A command watched from outside: how long it took, its peak memory, and whether its memory grew."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.clock import now_ns
from bench.report import BenchError

SAMPLE_S = 0.1
_SETTLED = 0.3
_LEAST_SECONDS = 60.0


@dataclass(frozen=True)
class Run:
    """seconds: from start to exit. peak_mb: largest resident set. rss: (seconds, MB) samples of the
    resident set, one each SAMPLE_S."""

    seconds: float
    peak_mb: float
    rss: tuple[tuple[float, float], ...]

    def slope_mb_per_min(self) -> float | None:
        """Growth of the resident set by least squares after the first part of the run; None if too short."""
        if self.seconds < _LEAST_SECONDS:
            return None
        settled = [(t, mb) for t, mb in self.rss if t >= _SETTLED * self.seconds]
        times, sizes = np.array(settled).T
        return float(np.polyfit(times / 60.0, sizes, 1)[0])


def watch(command: Sequence[str]) -> Run:
    """Run the command to its end; a failure is a BenchError with the last line it wrote to standard error."""
    with tempfile.TemporaryFile() as errors:
        began = now_ns()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)
        samples: list[tuple[float, float]] = []
        ended, status, usage = 0, 0, None
        due = SAMPLE_S
        while ended == 0:
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
            seconds = (now_ns() - began) / 1e9
            if ended == 0 and seconds >= due:
                samples.append((seconds, resident_mb(process.pid)))
                due = seconds + SAMPLE_S
            if ended == 0:
                time.sleep(0.005)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip().splitlines()
            raise BenchError(
                f"{' '.join(command[:6])} ... failed: {said[-1] if said else process.returncode}"
            )
    assert usage is not None
    return Run(seconds, _peak_mb(samples, usage.ru_maxrss), tuple(samples))


def _peak_mb(samples: list[tuple[float, float]], maxrss: int) -> float:
    """The largest sample. Linux's own ru_maxrss begins with the size of whoever started the process, so it
    counts only where there is no sample; there in KiB, in bytes on macOS."""
    seen = [mb for _, mb in samples if not math.isnan(mb)]
    return max(seen) if seen else maxrss / (1024.0**2 if sys.platform == "darwin" else 1024.0)


def resident_mb(pid: int) -> float:
    """The resident set in MB from Linux's procfs; nan elsewhere."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError, ValueError):
        return float("nan")
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024.0**2
