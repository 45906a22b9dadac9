"""The bench of the fan-out: a known cost is found, the network's is no part of it, a relay is measured."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench import fanout
from bench.__main__ import main
from bench.fanout import Cpu, Step, behind, counts_of, cpu_of, figures_of
from bench.footage import FPS
from bench.report import BenchError

SECONDS = 10.0
BASE, EACH = 0.04, 0.008


def step(viewers: int, share: float = 1.0, encoded: float = 1.0, network: float = 0.5) -> Step:
    """A relay whose viewers cost EACH of a core, each of whom sees this share of the frames."""
    frames = FPS * SECONDS
    # Nothing is encoded for nobody.
    loop_s = (BASE + EACH * viewers * share if viewers else BASE / 4) * SECONDS
    return Step(
        viewers,
        SECONDS,
        encoded * frames if viewers else 0.0,
        tuple(round(share * frames) - 3 * index for index in range(viewers)),
        Cpu(loop_s + network * SECONDS, loop_s),
        (0.0, 4.0, 30.0),
    )


def test_a_known_cost_is_found_whatever_the_network_takes() -> None:
    counts = (1, 4, 8, 12)
    steady = figures_of([step(0), *map(step, counts)], "x")
    shed = figures_of([step(0), *(step(n, network=1.0 / n) for n in counts)], "x")
    assert steady == shed
    assert steady["x_viewers_per_core"] == pytest.approx(1.0 / EACH, rel=0.1)
    assert steady["x_ms_per_viewer"] == pytest.approx(1e3 * EACH, rel=0.1)
    assert steady["x_r2"] == pytest.approx(1.0, abs=0.01)
    assert steady["x_worst_fps"] == pytest.approx(FPS - 3.3)
    assert steady["x_worst_share"] == pytest.approx(1.0 - 33 / 300)
    assert steady["x_waited_p95_ms"] == pytest.approx(30.0)


def test_a_viewer_is_one_that_sees_every_frame() -> None:
    halved = figures_of([step(n, share=0.5) for n in (2, 4, 8, 12)], "x")
    assert halved["x_viewers_per_core"] == pytest.approx(1.0 / EACH, rel=0.15)


def test_a_relay_that_does_not_keep_up_is_not_said_to_bear_many() -> None:
    steps = [step(0), step(1), step(4), step(8), step(12, encoded=0.5)]
    assert behind(steps) == [steps[-1]]
    figures = figures_of(steps, "x")
    assert figures["x_viewers_per_core"] is None
    assert figures["x_ms_per_viewer"] is not None
    cheaper = [Step(n, SECONDS, 300.0, (300,) * n, Cpu(1.0, 1.0 / n), (0.0,)) for n in (1, 2, 3, 4)]
    assert figures_of(cheaper, "x")["x_viewers_per_core"] is None


def test_only_the_first_thread_is_the_event_loop() -> None:
    def spin(seconds: float) -> None:
        end = time.thread_time() + seconds
        while time.thread_time() < end:
            pass

    before = cpu_of(os.getpid())
    thread = threading.Thread(target=spin, args=(0.3,))
    thread.start()
    thread.join()
    between = cpu_of(os.getpid())
    spin(0.2)
    after = cpu_of(os.getpid())
    assert between.process_s - before.process_s >= 0.25
    assert between.loop_s - before.loop_s < 0.15
    assert after.loop_s - between.loop_s == pytest.approx(0.2, abs=0.1)


@pytest.mark.parametrize(
    "text", ["1,2,3", "1,2,2,3", "4,3,2,1", "0,1,2,3", "1,2,3,501", "1,2,x,4", "", "1, 2,3,4"]
)
def test_too_few_or_no_numbers_of_viewers_are_refused(text: str) -> None:
    with pytest.raises(BenchError, match="4 or more numbers from 1 to 500 that grow, as in 1,4,8,12"):
        counts_of(text)


@pytest.mark.parametrize(
    ("words", "said"), [(["--seconds", "0"], "--seconds of 1 or more"), (["--size", "12"], "as in 1280x720")]
)
def test_what_cannot_run_is_said(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fanout", *words]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(("words", "more"), [([], ["--strength", "0"]), (["--network"], [])])
def test_the_network_is_asked_only_where_it_is_wanted(
    words: list[str], more: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[object] = []

    @contextmanager
    def started(*asked: object) -> Iterator[tuple[str, int]]:
        given.append(asked)
        yield "http://127.0.0.1:1", 1

    async def watched(*_: object) -> list[Step]:
        return [step(count) for count in (0, 1, 2, 3, 4)]

    monkeypatch.setattr(fanout, "started", started)
    monkeypatch.setattr(fanout, "watched", watched)
    monkeypatch.setattr(fanout, "encoded_face", lambda *_: [])
    assert main(["fanout", "--codec", "vp8", "--viewers", "1,2,3,4", "--threads", "1", *words]) == 0
    assert given == [("relay", "vp8", 1, ["--max-viewers", "4", "--idle", fanout.IDLE, *more])]


def test_a_real_relay_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fanout, "SETTLE_S", 0.2)
    monkeypatch.setattr(fanout, "FIRST_FRAMES", 3)
    out = tmp_path / "fanout.json"
    words = [
        "--size",
        "160x120",
        "--codec",
        "vp8",
        "--viewers",
        "1,2,3,4",
        "--seconds",
        "1",
        "--threads",
        "1",
    ]
    assert main(["fanout", *words, "--json", str(out)]) == 0
    result = json.loads(out.read_text())
    steps = result["steps"]["vp8"]
    assert [of["viewers"] for of in steps] == [0, 1, 2, 3, 4]
    assert [len(of["seen"]) for of in steps] == [0, 1, 2, 3, 4]
    assert steps[0]["encoded"] == 0.0
    assert min(min(of["seen"]) for of in steps[1:]) > 0
    assert all(0.0 < of["cpu"]["loop_s"] < of["cpu"]["process_s"] + 0.1 for of in steps)
    assert result["figures"]["vp8_160x120_worst_fps"] > 0.0
    # Its own size and codec alone are held against the target.
    assert {budget["met"] for budget in result["budgets"]} == {None}
    assert "vp8, 160x120" in capsys.readouterr().out
