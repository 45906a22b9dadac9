"""How many streams a device carries at once before the 99th percentile of their delay breaks the budget."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path

from bench import report
from bench.report import BenchError


def most_streams(fits: Callable[[int], bool], limit: int) -> int:
    """The largest number up to `limit` that fits, 0 if none does: doubled until one does not, then halved in
    between. More streams never fit where fewer do not."""
    good, tried = 0, 1
    while fits(tried):
        good = tried
        if good == limit:
            return good
        tried = min(2 * tried, limit)
    while tried - good > 1:
        middle = (good + tried) // 2
        good, tried = (middle, tried) if fits(middle) else (good, middle)
    return good


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m bench throughput`."""
    add = parser.add_argument
    add("--device", choices=("cpu", "cuda"), help="where frames and network are (cuda where there is one)")
    add("--preset", default="live")
    add("--engine", default="auto", help="of the streams that step one by one (the device's own)")
    add("--resolution", default="1080p", help="of every stream: 720p, 1080p (the default) or 2160p")
    add("--fps", type=float, default=30.0, metavar="F", help="frames a second of every stream (30)")
    add("--budget-ms", type=float, metavar="MS", help="for p99 (what passes between two frames)")
    add("--ticks", type=int, default=150, metavar="N", help="frames of every stream that are timed (150)")
    add("--limit", type=int, default=1024, metavar="N", help="most streams that are tried (1024)")
    add("--threads", type=int, metavar="N", help="that step, or send frames to a GPU (as vretouch would)")
    add("--input", type=Path, metavar="PICTURE", help="a picture of one face (the demo's)")
    add("--chart", type=Path, metavar="PNG", help="write a chart of what was tried")
    add("--markdown", metavar="FILE", help="write the tables as Markdown")
    add("--json", metavar="FILE", help="write the result as JSON; - for standard output")


def main(options: argparse.Namespace) -> int:
    """Run the bench as asked."""
    numbers = (options.fps, 1.0 if options.budget_ms is None else options.budget_ms)
    whole = (options.ticks, options.limit, options.threads or 1)
    if min(whole) < 1 or not all(math.isfinite(number) and number > 0.0 for number in numbers):
        raise BenchError(
            "--fps and --budget-ms must be above 0, --ticks, --limit and --threads 1 or more; "
            "give larger ones"
        )
    try:
        from bench import carried
    except ImportError as error:
        raise BenchError(f"bench throughput needs torch and onnx ({error}); run it in .venv-dev") from error
    found = carried.measure(options)
    shown = carried.parts(found)
    print(report.plain_text(shown), file=report.text_stream(options.json))
    if options.markdown:
        report.write_markdown("python -m bench throughput", shown, options.markdown)
    if options.chart:
        carried.save_chart(found, options.chart)
    if options.json:
        report.write_json(carried.result(found, vars(options)), options.json)
    return 0
