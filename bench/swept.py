"""The result of `python -m bench latency --device`: tables, JSON and bars."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from bench import report
from bench.budgets import DEVICE, PROJECTED, Verdict, judge
from bench.chart import Bar
from bench.clock import Spread
from bench.device import Device
from bench.pipeline import Case, Timed
from bench.project import Projected, Roof, Stage, Target, Work, project


@dataclass
class Swept:
    """What was measured so far.

    work: operations of a step. frames: by pipeline and case, ours first, from a frame to the retouched one;
    stages: their medians, with the work that is in them. located: finding the faces, by case. steps: the
    network's step, by delta. figures: by name, for budgets. target: another device.
    """

    device: Device
    roof: Roof
    preset: str
    engine: str
    dtype: torch.dtype
    work: list[Work] = field(default_factory=list)
    frames: dict[tuple[str, Case], Timed] = field(default_factory=dict)
    stages: dict[tuple[str, Case], list[Stage]] = field(default_factory=dict)
    located: dict[str, Spread] = field(default_factory=dict)
    steps: dict[str, Spread] = field(default_factory=dict)
    figures: dict[str, float | None] = field(default_factory=dict)
    target: Target | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def projected(self) -> dict[tuple[str, Case], list[Projected]]:
        """The stages on the target, from the highest rates that were seen here; none without a target."""
        if self.target is None:
            return {}
        there = self.target.roof
        return {key: [project(s, self.roof, there) for s in stages] for key, stages in self.stages.items()}

    def said(self) -> str:
        """Preset, engine and device in a sentence."""
        kind = str(self.dtype).removeprefix("torch.")
        return (
            f"Preset {self.preset}, engine {self.engine}, {kind}, on {self.device.name} "
            f"(class {self.device.group}): matrix products "
            f"{self.roof.matrix_gflops:.0f} GFLOP/s, copies {self.roof.copy_gbs:.1f} GB/s."
        )

    def verdicts(self) -> list[Verdict]:
        """What a device of this class must meet with this preset, and what is projected from a GPU of
        another class."""
        budgets = DEVICE.get((self.device.group, self.preset), ())
        if self.target is not None and self.device.group not in ("cpu", self.target.group):
            budgets += PROJECTED.get(self.preset, ())
        return judge(budgets, self.figures)


def parts(swept: Swept) -> list[report.Part]:
    """The whole result for people, in tables and sentences."""
    step = "network step alone, ms"
    shown: list[report.Part] = [swept.said(), *swept.notes]
    if swept.frames:
        shown += [_frames(swept), _stages(swept)]
        shown.append(
            (("finding the faces, on the CPU, ms", *report.SPREAD_HEADER), report.spread_rows(swept.located))
        )
    shown.append(((step, *report.SPREAD_HEADER), report.spread_rows(swept.steps)))
    if swept.target is not None:
        shown += _projection(swept, swept.target)
    figures = [(name, report.number(value)) for name, value in swept.figures.items()]
    shown.append((("other figures", "measured"), figures))
    verdicts = swept.verdicts()
    if verdicts:
        return [*shown, (report.VERDICT_HEADER, report.verdict_rows(verdicts))]
    return [
        *shown,
        f"There are no targets for preset {swept.preset} on a device of class {swept.device.group}.",
    ]


def result(swept: Swept, settings: dict[str, Any]) -> dict[str, Any]:
    """The whole result for programs."""
    frames: dict[str, dict[str, Any]] = {}
    for (pipeline, case), timed in swept.frames.items():
        frames.setdefault(pipeline, {})[str(case)] = asdict(timed)
    return report.document(
        "latency",
        settings,
        swept.figures,
        swept.verdicts(),
        device={"name": swept.device.name, "class": swept.device.group, "roof": asdict(swept.roof)},
        engine=swept.engine,
        dtype=str(swept.dtype).removeprefix("torch."),
        frames_ms=frames,
        located_ms={case: asdict(s) for case, s in swept.located.items()},
        steps_ms={name: asdict(s) for name, s in swept.steps.items()},
        projection=None
        if swept.target is None
        else {
            "target": asdict(swept.target),
            "stages": [
                {"pipeline": pipeline, "case": str(case), **asdict(stage)}
                for (pipeline, case), stages in swept.projected.items()
                for stage in stages
            ],
        },
        notes=swept.notes,
    )


def bars(swept: Swept) -> list[Bar]:
    """A bar for each pipeline and case, of the medians of its stages, and one for each delta's step."""
    shown = [
        Bar(f"{case}: {pipeline}", {name: s.p50 for name, s in timed.stages.items()}, timed.wall.p99)
        for (pipeline, case), timed in swept.frames.items()
    ]
    return shown + [Bar(f"step alone, {name}", {"step": s.p50}, s.p99) for name, s in swept.steps.items()]


def _frames(swept: Swept) -> report.Part:
    header = ("frame to frame, ms", "pipeline", *report.SPREAD_HEADER, "p50 of the device", "frames/s")
    rows = []
    for (pipeline, case), timed in swept.frames.items():
        spent = report.spread_rows({str(case): timed.wall})[0]
        rate = f"{1000.0 / timed.wall.p50:.3g}"
        rows.append((str(case), pipeline, *spent[1:], f"{timed.device.p50:.2f}", rate))
    return header, rows


def _stages(swept: Swept) -> report.Part:
    header = ("stage, ms", "pipeline", *report.SPREAD_HEADER)
    rows = []
    for (pipeline, case), timed in swept.frames.items():
        for row in report.spread_rows(timed.stages):
            rows.append((f"{case}: {row[0]}", pipeline, *row[1:]))
    return header, rows


def _projection(swept: Swept, target: Target) -> list[report.Part]:
    roof = target.roof
    said = (
        f"Projected, not measured, to {target.name} ({roof.matrix_gflops / 1000:.0f} TFLOP/s, "
        f"{roof.copy_gbs:.0f} GB/s): each operation takes as many "
        "times its least time by the roofline as it does here."
    )
    if swept.device.kind == "cpu":
        said += (
            " From a CPU to a GPU this says nothing: the one's shares of its roofline are not the other's."
        )
    rows = []
    for (pipeline, case), stages in swept.projected.items():
        whole = Projected("frame", sum(s.measured_ms for s in stages), sum(s.ms for s in stages), "")
        for stage in (*stages, whole):
            cells = (f"{stage.measured_ms:.3f}", f"{stage.ms:.3f}", f"{1e3 / stage.ms:.0f}")
            rows.append((f"{case}: {stage.name}", pipeline, stage.side, *cells))
    header = ("projected stage, ms", "pipeline", "bound by", "measured", "projected", "a second")
    return [said, (header, rows)]
