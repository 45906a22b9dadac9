"""What this machine's cores can do at most: fp32 matrix products of its own BLAS. `python -m bench.ceiling
THREADS`.

Run in a process of its own, since a BLAS takes its number of threads when it is loaded.
"""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np

from bench.clock import now_ns
from bench.report import BenchError

SIDE = 1024
REPEATS = 24
_THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")


def gemm_gflops(side: int = SIDE, repeats: int = REPEATS) -> float:
    """Best GFLOP/s of repeated side x side fp32 products; one product is 2 side^3 operations."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((side, side), np.float32) for _ in range(2))
    out = np.empty_like(a)
    best = float("inf")
    for _ in range(repeats + 1):
        began = now_ns()
        np.matmul(a, b, out=out)
        best = min(best, float(now_ns() - began))
    return 2.0 * side**3 / best


def measured_gflops(threads: int) -> float:
    """gemm_gflops with so many threads."""
    environment = os.environ | dict.fromkeys(_THREAD_VARIABLES, str(threads))
    command = [sys.executable, "-m", "bench.ceiling", str(threads)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    try:
        return float(done.stdout)
    except ValueError:
        said = done.stderr.strip().splitlines()
        raise BenchError(
            f"the arithmetic ceiling could not be measured ({said[-1] if said else 'no output'})"
        ) from None


if __name__ == "__main__":
    print(gemm_gflops())
