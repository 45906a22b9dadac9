"""Visits to the relay, one after another: does anything of them stay, how soon does a picture come back?"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Sequence

import numpy as np

from bench import report
from bench.budgets import VISITS, judge
from bench.footage import Encoded, encoded_face
from bench.glass import serving
from bench.load import loading, metrics_of
from bench.report import BenchError
from bench.soak import MIB, Sample, parsed, size_of

# Pools and caches fill in the first ones.
WARM = 10
# A visitor watches for so long once there is a picture, and gives up without one.
WATCH_S = 0.5
NO_PICTURE_S = 15.0
# Threads and sockets of the last visit end a while after it.
SETTLE_S = 3.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The bench's options."""
    parser.add_argument("--visits", type=int, default=50, metavar="N")
    parser.add_argument("--size", default="640x480", metavar="WxH")
    parser.add_argument("--codec", choices=("vp8", "h264"), default="vp8")
    parser.add_argument("--threads", type=int, metavar="N", help="cores for the relay's network")
    parser.add_argument("--json", metavar="FILE", help="write the figures (- for standard output)")


def main(options: argparse.Namespace) -> int:
    """Visit the relay again and again, and say what stays."""
    size = size_of(options.size)
    if options.visits < 1:
        raise BenchError("give --visits of 1 or more")
    pictures = encoded_face(options.codec, size)
    with serving("relay", options.codec, options.threads) as address:
        asyncio.run(visiting(address, options.codec, pictures, WARM))
        before = asyncio.run(left_behind(address))
        first = asyncio.run(visiting(address, options.codec, pictures, options.visits))
        figures = figures_of(first, before, asyncio.run(left_behind(address)))
    rows = [(title, report.number(figures[key])) for key, title in _SHOWN]
    verdicts = judge(VISITS, figures)
    print(report.table(("figure", "measured"), rows), file=report.text_stream(options.json))
    print("\n" + report.verdict_table(verdicts), file=report.text_stream(options.json))
    if options.json:
        document = report.document("visits", vars(options), figures, verdicts)
        report.write_json(document, options.json)
    return 0


async def visiting(address: str, codec: str, pictures: Sequence[Encoded], visits: int) -> list[float]:
    """So many visits: seconds from the first offer to a retouched picture of each."""
    return [await visit(address, codec, pictures) for _ in range(visits)]


async def visit(address: str, codec: str, pictures: Sequence[Encoded]) -> float:
    """Come, publish, watch what comes back for a while, and leave.

    Raises:
        BenchError: nothing came back.
    """
    began = time.monotonic()
    async with loading(address, codec, pictures) as load:
        await load.watch(1)
        while not load.seen[0]:
            if time.monotonic() - began > NO_PICTURE_S:
                raise BenchError(
                    f"no picture came back within {NO_PICTURE_S:.0f} s; run the relay to see why"
                )
            await asyncio.sleep(0.005)
        first = time.monotonic() - began
        await asyncio.sleep(WATCH_S)
    return first


async def left_behind(address: str) -> Sample:
    """The relay's figures when everybody has left."""
    await asyncio.sleep(SETTLE_S)
    return Sample(time.monotonic(), 0, (), {}, parsed(await metrics_of(address)))


def figures_of(first: Sequence[float], before: Sample, after: Sample) -> dict[str, float | None]:
    """The bench's figures. first: seconds to a picture, of each visit. before, after: what stood then."""

    def grown(name: str) -> float:
        return after.total(name) - before.total(name)

    memory = before.total("process_resident_memory_bytes")
    return {
        "visits": float(len(first)),
        "first_picture_p50_ms": 1e3 * float(np.percentile(first, 50)),
        "first_picture_p95_ms": 1e3 * float(np.percentile(first, 95)),
        "memory_mb": after.total("process_resident_memory_bytes") / MIB,
        "files_growth": grown("process_open_fds"),
        "threads_growth": grown("process_threads"),
        "memory_share_growth": grown("process_resident_memory_bytes") / memory,
        "sessions_left": after.total("vretouch_sessions"),
    }


_SHOWN = (
    ("visits", "visits"),
    ("first_picture_p50_ms", "from the first offer to a retouched picture, p50, ms"),
    ("first_picture_p95_ms", "the same, p95, ms"),
    ("memory_mb", "memory at the end, MB"),
)
