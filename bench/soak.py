"""A soak: the relay under a fixed load for long; do delay, memory or open files grow, is anything lost?"""

from __future__ import annotations

import argparse
import asyncio
import math
import re
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bench import report
from bench.budgets import SOAK, judge
from bench.footage import encoded_face
from bench.glass import LONG_S, serving
from bench.load import Load, loading
from bench.report import BenchError

SAMPLE_S = 1.0
# Caches fill and the ladder finds its step first.
SETTLE_S = 15.0
# A frame that is under way when counting ends is not lost.
UNDER_WAY = 3
MIB = 1024.0**2


@dataclass(frozen=True)
class Sample:
    """What was so at one time. at_s: monotonic. sent: by the publisher; seen: by each viewer. answers: to bad
    offers, by status, 0 for none. of: the relay's figures, as in /metrics, by their text up to the value."""

    at_s: float
    sent: int
    seen: tuple[int, ...]
    answers: dict[int, int]
    of: dict[str, float]

    def total(self, name: str, *labels: str) -> float:
        """A figure of the relay; of several with these labels the sum, nan without one."""
        found = [
            value
            for text, value in self.of.items()
            if text.partition("{")[0] == name and all(label in text for label in labels)
        ]
        return sum(found) if found else math.nan


def parsed(text: str) -> dict[str, float]:
    """Figures in Prometheus' text format, by all that stands before the value."""
    return {m[1]: float(m[2]) for m in re.finditer(r"^([a-z_]+(?:\{[^}]*\})?) (\S+)$", text, re.MULTILINE)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The bench's options."""
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--size", default="640x480", metavar="WxH")
    parser.add_argument("--codec", choices=("vp8", "h264"), default="vp8")
    parser.add_argument("--viewers", type=int, default=1, metavar="N")
    parser.add_argument(
        "--bad-offers", type=float, default=0.0, metavar="N", help="offers a second that are no good"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="cores for the relay's network")
    parser.add_argument("--json", metavar="FILE", help="write the figures (- for standard output)")


def main(options: argparse.Namespace) -> int:
    """Load the relay, watch it, and say what grew."""
    size = size_of(options.size)
    if not options.minutes > 0.0 or options.viewers < 1 or not 0.0 <= options.bad_offers <= 1000.0:
        raise BenchError("give --minutes above 0, --viewers of 1 or more, --bad-offers of 0 to 1000")
    pictures = encoded_face(options.codec, size)
    with serving("relay", options.codec, options.threads) as address:
        samples = asyncio.run(_watched(address, pictures, options))
    figures = figures_of(samples, options.bad_offers > 0.0)
    verdicts = judge(SOAK, figures)
    rows = [(title, report.number(figures[key])) for key, title in _SHOWN if figures.get(key) is not None]
    print(report.table(("figure", "measured"), rows), file=report.text_stream(options.json))
    if samples[-1].answers:
        told = ", ".join(f"{count} of {status}" for status, count in sorted(samples[-1].answers.items()))
        print(f"bad offers were answered: {told}", file=report.text_stream(options.json))
    print("\n" + report.verdict_table(verdicts), file=report.text_stream(options.json))
    if options.json:
        series = [asdict(sample) for sample in samples]
        document = report.document("soak", vars(options), figures, verdicts, samples=series)
        report.write_json(document, options.json)
    return 0


def size_of(text: str) -> tuple[int, int]:
    """Width and height from '1280x720', both even."""
    found = re.fullmatch(r"(\d{2,4})x(\d{2,4})", text)
    if not found or int(found[1]) % 2 or int(found[2]) % 2:
        raise BenchError(f"{text!r} is no size; give even sides as in 1280x720")
    return int(found[1]), int(found[2])


async def _watched(address: str, pictures: Sequence[Any], options: argparse.Namespace) -> list[Sample]:
    """Samples, one each SAMPLE_S, the first after everything has settled."""
    async with loading(address, options.codec, pictures) as load:
        await load.watch(options.viewers)
        flood = asyncio.create_task(load.flood(options.bad_offers)) if options.bad_offers else None
        try:
            await asyncio.sleep(SETTLE_S)
            return await _samples(load, 60.0 * options.minutes)
        finally:
            if flood is not None:
                flood.cancel()
                with suppress(asyncio.CancelledError):
                    await flood


async def _samples(load: Load, seconds: float) -> list[Sample]:
    samples = [await sample_of(load)]
    told = samples[0].at_s
    while samples[-1].at_s - samples[0].at_s < seconds:
        await asyncio.sleep(SAMPLE_S)
        samples.append(await sample_of(load))
        if samples[-1].at_s - told >= 60.0:
            told = samples[-1].at_s
            print(line(samples), file=sys.stderr, flush=True)
    return samples


async def sample_of(load: Load) -> Sample:
    """How it stands with the load and the relay under it."""
    text = await load.metrics()
    sample = Sample(time.monotonic(), load.sent, tuple(load.seen), dict(load.answers), parsed(text))
    if math.isnan(sample.total("vretouch_stream_frames_in_total")):
        raise BenchError(
            f"the relay has lost its publisher after {load.sent} frames; run it by hand to see why"
        )
    return sample


def line(samples: Sequence[Sample]) -> str:
    """How it stands."""
    first, last = samples[0], samples[-1]
    delay = _series(samples[-60:], "vretouch_stream_delay_seconds", 'quantile="0.5"')
    return (
        f"{(last.at_s - first.at_s) / 60.0:.0f} min: delay p50 {1e3 * float(np.mean(delay)):.0f} ms, memory "
        f"{last.total('process_resident_memory_bytes') / MIB:.0f} MB, "
        f"level {last.total('vretouch_stream_level'):.0f}"
    )


def _series(samples: Sequence[Sample], name: str, *labels: str) -> list[float]:
    return [sample.total(name, *labels) for sample in samples]


def figures_of(samples: Sequence[Sample], flooded: bool) -> dict[str, float | None]:
    """The soak's figures. What grows by the minute is not read off less than LONG_S seconds.

    samples: two or more. flooded: there were bad offers.
    """
    first, last = samples[0], samples[-1]
    seconds = last.at_s - first.at_s
    minutes = [(sample.at_s - first.at_s) / 60.0 for sample in samples]

    def grown(name: str, *labels: str) -> float:
        return last.total(name, *labels) - first.total(name, *labels)

    def more(name: str) -> float:
        """At the end than ever in the first tenth, in which connections that are kept open are made."""
        early = [sample for sample in samples if sample.at_s - first.at_s <= seconds / 10.0]
        return last.total(name) - max(sample.total(name) for sample in early)

    def slope(name: str, scale: float, *labels: str) -> float | None:
        if seconds < LONG_S:
            return None
        return float(np.polyfit(minutes, _series(samples, name, *labels), 1)[0]) * scale

    decoded = grown("vretouch_stream_frames_total", 'became="decoded"')
    lost = max(0.0, last.sent - first.sent - decoded - UNDER_WAY)
    seen = [end - begin for begin, end in zip(first.seen, last.seen, strict=True)]
    waits = [
        max(oldest(sample, queue) for queue in ("decode", "encode", "viewers")) * 1e3 for sample in samples
    ]
    delays = {
        q: _series(samples, "vretouch_stream_delay_seconds", f'quantile="{q}"') for q in ("0.5", "0.95")
    }
    return {
        "minutes": minutes[-1],
        "fps_in": decoded / seconds,
        "fps_seen_least": min(seen) / seconds,
        "dropped_share": grown("vretouch_stream_frames_dropped_total") / max(decoded, 1.0),
        "level_mean": float(np.mean(_series(samples, "vretouch_stream_level"))),
        "delay_p50_ms": 1e3 * float(np.mean(delays["0.5"])),
        "delay_p95_ms": 1e3 * float(np.mean(delays["0.95"])),
        "waited_p95_ms": float(np.percentile(waits, 95)),
        "cores": grown("process_cpu_seconds_total") / seconds,
        "memory_mb": last.total("process_resident_memory_bytes") / MIB,
        "delay_growth": slope("vretouch_stream_delay_seconds", 1e3, 'quantile="0.5"'),
        "memory_growth": slope("process_resident_memory_bytes", 1.0 / MIB),
        "files_growth": more("process_open_fds"),
        "threads_growth": more("process_threads"),
        "lost_in_flood": lost if flooded else None,
    }


def oldest(sample: Sample, queue: str) -> float:
    """Seconds that the oldest item of this queue has waited; 0 without one."""
    waited = sample.total("vretouch_stream_queue_age_seconds", f'queue="{queue}"')
    return 0.0 if math.isnan(waited) else waited


_SHOWN = (
    ("minutes", "minutes"),
    ("fps_in", "frames decoded a second"),
    ("fps_seen_least", "frames a second, the viewer with the fewest"),
    ("dropped_share", "share of the frames dropped"),
    ("level_mean", "step of the quality ladder, mean"),
    ("delay_p50_ms", "delay in the relay, p50, ms"),
    ("delay_p95_ms", "delay in the relay, p95, ms"),
    ("cores", "cores in use"),
    ("memory_mb", "memory at the end, MB"),
)
