"""Fan-out: what one viewer more costs the relay, whose packets are made once for all of them."""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench import report
from bench.budgets import FANOUT, judge
from bench.footage import FPS, encoded_face
from bench.glass import started
from bench.load import Load, loading
from bench.report import BenchError
from bench.soak import Sample, oldest, sample_of, size_of

CODECS = ("vp8", "h264")
COUNTS = (1, 4, 8, 12)
LEAST_COUNTS = 4
MOST_VIEWERS = 500
SAMPLE_S = 0.5
SETTLE_S = 3.0
# The relay lets one address make four offers a second, and ends what waits for long.
JOIN_S = 0.3
IDLE = "600"
FIRST_S = 120.0
FIRST_FRAMES = 30
KEPT_UP = 0.8


@dataclass(frozen=True)
class Cpu:
    """Seconds of CPU that a relay has taken: the whole process, and its event loop, where all is done that is
    done for each viewer. Decoding, the network and encoding have threads of their own."""

    process_s: float
    loop_s: float


@dataclass(frozen=True)
class Step:
    """The relay with so many viewers. seconds: how long it was watched; encoded: frames in that time; seen:
    by each viewer; cpu: taken in that time; waits_ms: of the oldest packet for its viewer, one for each
    look."""

    viewers: int
    seconds: float
    encoded: float
    seen: tuple[int, ...]
    cpu: Cpu
    waits_ms: tuple[float, ...]

    @property
    def whole_viewers(self) -> float:
        """How many viewers with every frame of a stream of FPS frames a second see as much as these."""
        return sum(self.seen) / self.seconds / FPS

    @property
    def loop(self) -> float:
        """Cores that the event loop keeps busy."""
        return self.cpu.loop_s / self.seconds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The bench's options."""
    parser.add_argument("--size", default="1280x720", metavar="WxH")
    parser.add_argument("--codec", choices=(*CODECS, "both"), default="both")
    parser.add_argument(
        "--viewers", default=",".join(map(str, COUNTS)), metavar="N,N,...", help="how many, growing"
    )
    parser.add_argument("--seconds", type=float, default=15.0, help="with each number of viewers")
    parser.add_argument("--network", action="store_true", help="retouch; else frames pass through")
    parser.add_argument("--threads", type=int, metavar="N", help="cores for the relay's network")
    parser.add_argument("--json", metavar="FILE", help="write the figures (- for standard output)")


def main(options: argparse.Namespace) -> int:
    """Let viewers come, look at the relay's CPU time, and say what one of them costs."""
    counts, size = counts_of(options.viewers), size_of(options.size)
    if not options.seconds >= 1.0:
        raise BenchError("give --seconds of 1 or more")
    out = report.text_stream(options.json)
    figures: dict[str, float | None] = {}
    steps: dict[str, list[Step]] = {}
    for codec in CODECS if options.codec == "both" else (options.codec,):
        steps[codec] = _measured(codec, size, counts, options)
        figures |= figures_of(steps[codec], f"{codec}_{options.size}")
        print(f"\n{codec}, {options.size}\n{table_of(steps[codec])}", file=out)
        for step in behind(steps[codec])[:1]:
            print(_too_slow(step), file=out)
    verdicts = judge(FANOUT, figures)
    shown = [(name.replace("_", " "), report.number(value)) for name, value in figures.items()]
    print("\n" + report.table(("figure", "measured"), shown), file=out)
    print("\n" + report.verdict_table(verdicts), file=out)
    if options.json:
        series = {codec: [asdict(step) for step in of] for codec, of in steps.items()}
        report.write_json(
            report.document("fanout", vars(options), figures, verdicts, steps=series), options.json
        )
    return 0


def counts_of(text: str) -> tuple[int, ...]:
    """Growing numbers of viewers from '1,4,8,12'."""
    counts = tuple(int(word) for word in text.split(",")) if re.fullmatch(r"\d{1,3}(,\d{1,3})*", text) else ()
    growing = list(counts) == sorted(set(counts))
    if not growing or len(counts) < LEAST_COUNTS or not 1 <= counts[0] <= counts[-1] <= MOST_VIEWERS:
        raise BenchError(
            f"{text!r} is no row of viewers; give {LEAST_COUNTS} or more numbers from 1 to {MOST_VIEWERS} "
            "that grow, as in 1,4,8,12"
        )
    return counts


def _measured(
    codec: str, size: tuple[int, int], counts: Sequence[int], options: argparse.Namespace
) -> list[Step]:
    pictures = encoded_face(codec, size)
    # Without any strength the network is not asked at all.
    more = ["--max-viewers", str(counts[-1]), "--idle", IDLE]
    more += [] if options.network else ["--strength", "0"]
    with started("relay", codec, options.threads, more) as (address, pid):
        return asyncio.run(watched(address, pid, codec, pictures, counts, options.seconds))


async def watched(
    address: str, pid: int, codec: str, pictures: Sequence[Any], counts: Sequence[int], seconds: float
) -> list[Step]:
    """A step with no viewer, and one with each number of them, of the relay at this address and of this
    process."""
    async with loading(address, codec, pictures) as load:
        await asyncio.sleep(SETTLE_S)
        steps = [await _step(load, pid, 0, seconds)]
        for count in counts:
            while len(load.seen) < count:
                await load.watch(1)
                await asyncio.sleep(JOIN_S)
            await _begun(load)
            await asyncio.sleep(SETTLE_S)
            steps.append(await _step(load, pid, count, seconds))
        return steps


async def _begun(load: Load) -> None:
    """Wait until the viewer who came last sees pictures; the network takes its time to be loaded."""
    end_s = time.monotonic() + FIRST_S
    while load.seen[-1] < FIRST_FRAMES:
        if time.monotonic() > end_s:
            raise BenchError(f"a viewer saw no picture for {FIRST_S:.0f} s; run the relay by hand to see why")
        await asyncio.sleep(SAMPLE_S)


async def _step(load: Load, pid: int, viewers: int, seconds: float) -> Step:
    began, cpu, seen, waits = await sample_of(load), cpu_of(pid), load.seen, list[float]()
    last = began
    while last.at_s - began.at_s < seconds:
        await asyncio.sleep(SAMPLE_S)
        last = await sample_of(load)
        waits.append(1e3 * oldest(last, "viewers"))
    used = cpu_of(pid)
    there = last.total("vretouch_stream_viewers")
    if there != viewers:
        raise BenchError(
            f"of {viewers} viewers {there:.0f} are left; give fewer, or a machine with less to do"
        )
    return Step(
        viewers,
        last.at_s - began.at_s,
        _encoded(last) - _encoded(began),
        tuple(end - begin for begin, end in zip(seen, load.seen, strict=True)),
        Cpu(used.process_s - cpu.process_s, used.loop_s - cpu.loop_s),
        tuple(waits),
    )


def _encoded(sample: Sample) -> float:
    return sample.total("vretouch_stream_frames_total", 'became="encoded"')


def cpu_of(pid: int) -> Cpu:
    """What a process, and its first thread, have taken so far."""
    own = Path(f"/proc/{pid}")
    try:
        # utime and stime, in ticks (proc_pid_stat(5)); the name before them may hold anything.
        fields = (own / "stat").read_text().rpartition(")")[2].split()
        # A step's share of one thread is too little for ticks; the scheduler counts ns.
        loop_ns = (own / "task" / str(pid) / "schedstat").read_text().split()[0]
    except OSError as error:
        raise BenchError(
            "the time that one thread takes can be read on Linux only; run this there"
        ) from error
    return Cpu((int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), int(loop_ns) / 1e9)


def figures_of(steps: Sequence[Step], what: str) -> dict[str, float | None]:
    """What a viewer costs: the slope of the event loop's cores over the frames that viewers were given.

    Over frames, not viewers: a relay that cannot keep up sends each of them less. What it then saves
    elsewhere hides the cost, so that how many viewers a core bears is not told. The step without viewers is
    left out, since nothing is encoded for nobody. what: begins the names of the figures.
    """
    seen = [step for step in steps if step.viewers]
    given, loop = np.array([(step.whole_viewers, step.loop) for step in seen]).T
    slope, base = np.polyfit(given, loop, 1)
    off = loop - (slope * given + base)
    spread = float(((loop - loop.mean()) ** 2).sum())
    last, told = seen[-1], slope > 0.0 and not behind(steps)
    waits = [wait for step in seen for wait in step.waits_ms]
    return {
        f"{what}_viewers_per_core": 1.0 / float(slope) if told else None,
        f"{what}_ms_per_viewer": 1e3 * float(slope),
        f"{what}_r2": 1.0 - float((off**2).sum()) / spread if spread else math.nan,
        f"{what}_worst_fps": min(last.seen) / last.seconds,
        f"{what}_worst_share": min(last.seen) / last.encoded if last.encoded else math.nan,
        f"{what}_waited_p95_ms": float(np.percentile(waits, 95)),
    }


def behind(steps: Sequence[Step]) -> list[Step]:
    """Those in which the relay did not keep up with its publisher."""
    return [step for step in steps if step.viewers and step.encoded / step.seconds < KEPT_UP * FPS]


def _too_slow(step: Step) -> str:
    viewers = f"{step.viewers} viewer{'s' * (step.viewers > 1)}"
    return (
        f"with {viewers} the relay encoded {step.encoded / step.seconds:.1f} frames a second of {FPS}: how "
        "many a core bears is not told; give it fewer, or a machine with less to do"
    )


def table_of(steps: Sequence[Step]) -> str:
    """A row for each number of viewers."""
    rows = [
        (
            str(step.viewers),
            f"{step.encoded / step.seconds:.1f}",
            f"{min(step.seen) / step.seconds:.1f}" if step.seen else "-",
            f"{step.loop:.3f}",
            f"{step.cpu.process_s / step.seconds:.3f}",
            f"{max(step.waits_ms):.1f}",
        )
        for step in steps
    ]
    head = ("viewers", "encoded/s", "worst sees/s", "cores, event loop", "cores, all", "longest wait, ms")
    return report.table(head, rows)
