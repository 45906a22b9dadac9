"""The CUDA kernels crop, warp and paste, into RGB and NV12, at 4K, against a GPU's copy bandwidth and plain
torch."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from bench import report
from bench.budgets import KERNELS, judge
from bench.clock import Spread, spread
from bench.report import BenchError

if TYPE_CHECKING:
    from bench.device import Device
    from bench.kernel_cases import Case

HEADER = ("at 4K, ms", "kernel", "plain torch", "speed-up", "GB/s", "share of copy")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m bench kernels`."""
    add = parser.add_argument
    add("--rounds", type=int, default=40, metavar="N", help="turns of each, over all frames (40)")
    add("--markdown", metavar="FILE", help="write the tables as Markdown")
    add("--json", metavar="FILE", help="write the result as JSON; - for standard output")


def main(options: argparse.Namespace) -> int:
    """Run the bench as asked."""
    if options.rounds < 1:
        raise BenchError(f"--rounds must be 1 or more, not {options.rounds}; give a larger number")
    device, cases = _on_gpu()
    taken = {case.name: times_of(case, device, options.rounds) for case in cases}
    figures = figures_of(cases, taken, device.roof(device.dtype).copy_gbs)
    verdicts = judge(KERNELS, figures)
    shown = parts(device.name, figures, [case.name for case in cases])
    shown.append((report.VERDICT_HEADER, report.verdict_rows(verdicts)))
    print(report.plain_text(shown), file=report.text_stream(options.json))
    if options.markdown:
        report.write_markdown("python -m bench kernels", shown, options.markdown)
    if options.json:
        times = {f"{name}_{way}_ms": asdict(s) for name, ways in taken.items() for way, s in ways.items()}
        result = report.document("kernels", vars(options), figures, verdicts, device=device.name, times=times)
        report.write_json(result, options.json)
    return 0


def _on_gpu() -> tuple[Device, list[Case]]:
    """The GPU and what is to be timed on it."""
    try:
        import torch

        from bench.device import Cuda
        from bench.kernel_cases import SIZE, cases_of
    except ImportError as error:
        raise BenchError(f"bench kernels needs torch ({error}); run it in .venv-dev") from error
    device = Cuda()
    try:
        from stream.kernels.cupy_ import run
    except ImportError as error:
        raise BenchError(
            f"bench kernels needs CuPy ({error}); install it with `pip install vretouch[gpu]`"
        ) from error
    return device, cases_of(
        SIZE, "cuda", device.dtype, lambda launch: run(launch, torch.cuda.current_stream().cuda_stream)
    )


def times_of(case: Case, device: Device, rounds: int) -> dict[str, Spread]:
    """Time of one call of the kernel and of plain torch, in ms, taken in turns over all the case's frames."""
    from bench.device import Stopwatch

    ways = {"kernel": device.recorded(case.kernel), "torch": device.recorded(case.plain)}
    samples: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, run in ways.items():
            watch = Stopwatch(device)
            with watch.frame():
                run()
            samples[way].append(watch.device().min / case.calls)
    print(f"measured {case.name}", file=sys.stderr, flush=True)
    return {way: spread(taken) for way, taken in samples.items()}


def figures_of(
    cases: list[Case], taken: dict[str, dict[str, Spread]], copy_gbs: float
) -> dict[str, float | None]:
    """Medians, rates and their share of the copy bandwidth (both count bytes read and bytes written)."""
    figures: dict[str, float | None] = {"copy_gbs": copy_gbs}
    for case in cases:
        kernel_ms, plain_ms = taken[case.name]["kernel"].p50, taken[case.name]["torch"].p50
        gbs = case.bytes / kernel_ms / 1e6
        figures |= {
            f"{case.name}_ms": kernel_ms,
            f"{case.name}_torch_ms": plain_ms,
            f"{case.name}_speedup": plain_ms / kernel_ms,
            f"{case.name}_gbs": gbs,
            f"{case.name}_copy_share": gbs / copy_gbs,
        }
    return figures


def parts(device: str, figures: dict[str, float | None], names: list[str]) -> list[report.Part]:
    """The result for people."""
    keys = ("ms", "torch_ms", "speedup", "gbs", "copy_share")
    rows = [(name, *(report.number(figures[f"{name}_{key}"]) for key in keys)) for name in names]
    copied = report.number(figures["copy_gbs"])
    return [f"{device}, which copies {copied} GB/s (read and written)", (HEADER, rows)]
