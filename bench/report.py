"""How a bench speaks: tables for people, JSON for programs, and the verdict on each budget."""

from __future__ import annotations

import json
import math
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from bench.budgets import Verdict
from bench.clock import Spread
from model.whole import write_whole

# A table, as header and rows, or a sentence.
Part = tuple[Sequence[str], Sequence[Sequence[str]]] | str
SPREAD_HEADER = ("min", "p50", "p95", "p99", "max")
VERDICT_HEADER = ("figure", "measured", "target", "verdict")


class BenchError(ValueError):
    """A bench cannot run as asked; one sentence for a person."""


def number(value: float | None) -> str:
    """A figure for a table: enough digits to tell, a dash where there is none."""
    if value is None or math.isnan(value):
        return "-"
    if value == 0 or (float(value).is_integer() and abs(value) < 1e15):
        return f"{value:.0f}"
    return f"{value:.4g}" if abs(value) < 0.01 else f"{value:.3f}" if abs(value) < 100 else f"{value:.1f}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns aligned: the first to the left, the others to the right."""
    widths = [max(len(row[k]) for row in (header, *rows)) for k in range(len(header))]
    lines = []
    for row in (header, tuple("-" * width for width in widths), *rows):
        cells = [row[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The same columns as a table in Markdown."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def spread_rows(spreads: Mapping[str, Spread]) -> list[tuple[str, ...]]:
    """A row for each spread, as SPREAD_HEADER has it."""
    return [
        (name, *(f"{value:.2f}" for value in (s.min, s.p50, s.p95, s.p99, s.max)))
        for name, s in spreads.items()
    ]


def plain_text(parts: Sequence[Part]) -> str:
    """Tables and sentences for a terminal."""
    return "\n\n".join(part if isinstance(part, str) else table(*part) for part in parts)


def verdict_table(verdicts: Sequence[Verdict]) -> str:
    """Each budget with its figure, its target, and whether it is met."""
    return table(VERDICT_HEADER, verdict_rows(verdicts))


def verdict_rows(verdicts: Sequence[Verdict]) -> list[tuple[str, ...]]:
    """A row for each budget, as VERDICT_HEADER has it."""
    words = {True: "met", False: "MISSED", None: "not measured"}
    return [
        (
            v.budget.meaning,
            number(v.value),
            f"{v.budget.relation} {v.budget.bound:g} {v.budget.unit}".rstrip(),
            words[v.met],
        )
        for v in verdicts
    ]


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": _cpu_name(),
        "cores": cores,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def document(
    bench: str,
    settings: Mapping[str, Any],
    figures: Mapping[str, float | None],
    verdicts: Sequence[Verdict],
    **details: Any,
) -> dict[str, Any]:
    """A bench's result as plain values for JSON."""
    return {
        "bench": bench,
        "machine": machine(),
        "settings": dict(settings),
        "figures": dict(figures),
        "budgets": [asdict(v.budget) | {"value": v.value, "met": v.met} for v in verdicts],
        **details,
    }


def plain(value: Any) -> Any:
    """The value with every nan and infinity as None, which JSON can carry."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def write_markdown(title: str, parts: Sequence[Part], where: str) -> None:
    """Write the title, tables and sentences as Markdown to the file `where`."""
    texts = [part if isinstance(part, str) else markdown(*part) for part in parts]
    _write(f"# {title}\n\n" + "\n\n".join(texts) + "\n", where)


def write_json(result: Mapping[str, Any], where: str) -> None:
    """Write the result to the file `where`, or to standard output for '-'."""
    text = json.dumps(plain(result), indent=1, allow_nan=False) + "\n"
    if where == "-":
        sys.stdout.write(text)
        return
    _write(text, where)


def _write(text: str, where: str) -> None:
    try:
        write_whole(text, Path(where))
    except OSError as error:
        raise BenchError(
            f"{where} cannot be written ({error.strerror}); give a file in a folder that is"
        ) from error


def read_card(model: Path) -> dict[str, Any]:
    """The JSON that `python -m export` writes beside an ONNX file; empty where there is none."""
    try:
        card = json.loads(model.with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return card if isinstance(card, dict) else {}


def text_stream(json_to: str | None) -> TextIO:
    """Where tables go: standard output, unless that carries the JSON."""
    return sys.stderr if json_to == "-" else sys.stdout
