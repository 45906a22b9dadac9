"""The throughput bench: the search, the two ways, and a whole small run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.__main__ import main
from bench.throughput import most_streams
from stream.retoucher import Retoucher
from tests.conftest import require
from tests.stream.fakes import FakeEngine, FakeFinder, face_at, noise_frame

torch = require("torch")

from bench import carried, networks, pipeline  # noqa: E402
from bench.device import Cpu  # noqa: E402
from bench.streams import UNTIMED_TICKS, Batched, OneByOne, too_late, try_streams  # noqa: E402
from stream.engines.torch_ import TorchEngine  # noqa: E402


@pytest.mark.parametrize("most", [0, 1, 2, 3, 7, 8, 11, 16])
def test_the_most_streams_are_found_with_few_trials(most: int) -> None:
    tried: list[int] = []

    def fits(streams: int) -> bool:
        tried.append(streams)
        return streams <= most

    assert most_streams(fits, 16) == most
    assert len(tried) == len(set(tried)) <= 9
    assert max(tried) <= 16


def test_the_limit_is_not_passed() -> None:
    tried: list[int] = []
    assert most_streams(lambda streams: not tried.append(streams), 5) == 5
    assert tried == [1, 2, 4, 5]


@pytest.mark.parametrize("ticks", [1, 2, 60, 100, 101, 150, 1000])
def test_a_trial_ends_when_its_percentile_is_lost_and_not_before(ticks: int) -> None:
    count = too_late(ticks)
    late = np.array([0.0] * (ticks - count) + [1.0] * count)
    assert np.percentile(late, 99) == 1.0
    if count > 1:
        late[ticks - count] = 0.0
        assert np.percentile(late, 99) < 1.0


@pytest.fixture(scope="module")
def shots() -> list[pipeline.Shot]:
    with Retoucher(engine=FakeEngine(), finder=FakeFinder(face_at(320, 180, 0.3))) as retoucher:
        return pipeline.shots_of(noise_frame(90, 160), (640, 360), 1, retoucher)


def test_streams_together_come_out_as_one_by_one(shots: list[pipeline.Shot]) -> None:
    engine = TorchEngine("tiny", 1, network=networks.network_of("tiny"))
    alone, together = OneByOne(engine, 2), Batched(engine, 2)
    for number in range(3):
        pair = [shots[number], shots[number + 4]]
        marks: list[str] = []
        wanted, got = alone.tick(pair, marks.append), together.tick(pair, marks.append)
        assert marks == ["crop", "step", "paste"] * 2
        for shot, a, b in zip(pair, wanted, got, strict=True):
            assert (a != shot.frame_u8).any()
            # A residual of half a level may be rounded either way.
            assert np.abs(a.astype(int) - b).max() <= 1
    assert not np.array_equal(wanted[0], wanted[1])


class FakeWay:
    """Counts ticks, or runs out of memory."""

    def __init__(self, streams: int, memory: int = 100) -> None:
        if streams > memory:
            raise torch.OutOfMemoryError("too much")
        self.streams, self.ticks = streams, 0

    def tick(self, shots, mark):
        assert len(shots) == self.streams
        self.ticks += 1
        mark("step")
        return []


def test_a_trial_keeps_or_breaks_the_budget(shots: list[pipeline.Shot]) -> None:
    made: list[FakeWay] = []

    def make(streams: int) -> FakeWay:
        made.append(FakeWay(streams))
        return made[-1]

    kept = try_streams("x", make, 3, Cpu(1), shots, 200, 1e6)
    assert (kept.streams, kept.kept, kept.ticks.count) == (3, True, 200)
    broken = try_streams("x", make, 3, Cpu(1), shots, 200, 0.0)
    assert not broken.kept
    assert broken.ticks.count == too_late(200)
    assert made[1].ticks == UNTIMED_TICKS + too_late(200)


def test_a_device_with_too_little_memory_ends_a_trial(shots: list[pipeline.Shot]) -> None:
    trial = try_streams("x", lambda n: FakeWay(n, 2), 3, Cpu(1), shots, 5, 1e6)
    assert (trial.ticks, trial.stages, trial.kept) == (None, None, False)
    shown = carried.parts(carried.Carried(Cpu(1), "x", [trial]))
    assert "too little memory" in str(shown)


def test_a_whole_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = "throughput --device cpu --preset tiny --engine torch-cpu --threads 1 --resolution 360p"
    paths = [tmp_path / name for name in ("out.json", "out.md", "out.png")]
    files = ["--json", str(paths[0]), "--markdown", str(paths[1]), "--chart", str(paths[2])]
    assert main([*asked.split(), "--ticks", "2", "--limit", "2", "--budget-ms", "1e6", *files]) == 0
    read = json.loads(paths[0].read_text())
    assert read["figures"]["streams_one_by_one"] == read["figures"]["streams_batched"] == 2
    assert [(t["way"], t["streams"], t["kept"]) for t in read["trials"]] == [
        ("one by one, torch-cpu", 1, True),
        ("one by one, torch-cpu", 2, True),
        ("batched, torch-cpu", 1, True),
        ("batched, torch-cpu", 2, True),
    ]
    said = capsys.readouterr().out
    for text in (said, paths[1].read_text()):
        assert "seeded and not trained" in text
        assert "more than 2 streams were not tried" in text
    with Image.open(paths[2]) as picture:
        assert picture.size == (900, 30 * 5)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--fps", "0"], "must be above 0"),
        (["--fps", "nan"], "must be above 0"),
        (["--budget-ms", "0"], "must be above 0"),
        (["--ticks", "0"], "1 or more"),
        (["--limit", "0"], "1 or more"),
        (["--resolution", "8p"], "choose from 360p"),
        (["--preset", "huge"], "choose one of"),
    ],
)
def test_what_cannot_be_tried_is_a_sentence(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["throughput", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_the_budget_is_what_passes_between_two_frames() -> None:
    import argparse

    assert carried.budget_ms(argparse.Namespace(budget_ms=None, fps=25.0)) == 40.0
    assert carried.budget_ms(argparse.Namespace(budget_ms=7.0, fps=25.0)) == 7.0
