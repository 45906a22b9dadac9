"""Training that is stopped, goes astray or meets another one's files: nothing is lost, all is said."""

import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import require

torch = require("torch")

from model import train as training_module  # noqa: E402
from model.clip_stream import ClipStream, takes_in_turn  # noqa: E402
from model.data.clips import Clip, ClipConfig, ClipSampler  # noqa: E402
from model.train import Training, main  # noqa: E402
from model.weights import load_weights  # noqa: E402
from tests.model.test_train import options  # noqa: E402


def test_a_resumed_training_goes_on_where_it_stopped(faces_dir: Path, tmp_path: Path) -> None:
    chosen = options(faces_dir, tmp_path, steps=100)
    first = Training(chosen)
    clip = ClipSampler(faces_dir, ClipConfig(size=64, frames=3), seed=1).sample(2)
    first.update(clip)
    first.progress.history.append({"step": 1.0})
    first.save()
    second = Training(chosen)
    second.resume()
    assert second.progress == first.progress
    assert second.update(clip) == first.update(clip)
    for one, other in zip(first.network.parameters(), second.network.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("takes", [1, 2])
def test_a_stopped_stream_goes_on_where_it_was(takes: int, faces_dir: Path, tmp_path: Path) -> None:
    chosen = options(faces_dir, tmp_path, frames=1, takes=takes)
    threads = torch.get_num_threads()
    try:
        whole = [clip.raw for clip in itertools.islice(ClipStream(chosen, 0), 14)]
        rest = [clip.raw for clip in itertools.islice(ClipStream(chosen, 5), 9)]
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, other) for one, other in zip(whole[5:], rest, strict=True))
    assert not any(torch.equal(one, other) for one, other in itertools.combinations(whole, 2))


def test_every_take_of_a_batch_has_its_turn_once() -> None:
    turns = list(itertools.islice(takes_in_turn(3, 2), 400))
    had = [turn[:2] for turn in turns]
    assert len(set(had)) == len(had)
    assert {(call, take) for call in range(100) for take in (0, 1)} <= set(had)
    left = {call: sum(c == call for c, _ in had) for call, _ in had}
    for call, _, last in turns:
        left[call] -= 1
        assert not last or left[call] == 0
    assert sum(last for *_, last in turns) > 180


@pytest.fixture
def trained(faces_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Runs a small training into a folder; its exit code."""
    judged = ClipSampler(faces_dir, ClipConfig(size=64, frames=2), split="heldout", seed=1).sample(1)
    monkeypatch.setattr(training_module, "validation_clips", lambda _: [judged])
    network = ["--preset", "tiny", "--batch", "1", "--frames", "2", "--size", "64"]
    small = [*network, "--device", "cpu", "--every", "1"]

    def run(out: Path, *more: str) -> int:
        return main([str(faces_dir), str(out), *small, *more])

    return run


def test_a_stopped_training_has_the_curve_of_one_that_was_not(
    trained: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert trained(whole, "--steps", "4") == 0
    monkeypatch.setattr(Training, "update", stopping_at(3, Training.update))
    assert trained(parts, "--steps", "4") == 130
    assert trained(parts, "--steps", "4", "--resume") == 0
    curves = [json.loads((out / "history.json").read_text()) for out in (whole, parts)]
    for expected, found in zip(*curves, strict=True):
        assert {**expected, "minutes": 0} == pytest.approx({**found, "minutes": 0}, rel=1e-4, nan_ok=True)


def stopping_at(step: int, update: Callable[..., dict[str, float]]) -> Callable[..., dict[str, float]]:
    """The update, which somebody interrupts at `step`, once."""
    due = [step]

    def stopped(training: Training, clip: Clip) -> dict[str, float]:
        if due and training.progress.step + 1 == due[0]:
            due.clear()
            raise KeyboardInterrupt
        return update(training, clip)

    return stopped


@pytest.mark.parametrize("spoilt", ["flow", "residual"])
def test_a_loss_that_is_no_number_stops_and_the_last_checkpoint_stays(
    spoilt: str,
    trained: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    update = Training.update

    def astray(training: Training, clip: Clip) -> dict[str, float]:
        if training.progress.step == 1:
            part = training.network.spynet if spoilt == "flow" else training.network.decoder
            for weight in part.parameters():
                torch.nn.init.constant_(weight, math.nan if spoilt == "flow" else math.inf)
        return update(training, clip)

    monkeypatch.setattr(Training, "update", astray)
    assert trained(tmp_path, "--steps", "3") == 2
    said = capsys.readouterr().err
    assert "Step 2 is not finite (its loss is nan)" in said
    assert "checkpoint.pt is of step 1" in said
    for weight in load_weights(tmp_path / "weights.pt").parameters():
        assert bool(torch.isfinite(weight).all())


def test_another_training_is_neither_resumed_nor_written_over(
    faces_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training = Training(options(faces_dir, tmp_path))
    training.save()
    before = (tmp_path / "checkpoint.pt").read_bytes()
    same = ["--preset", "tiny", "--batch", "2", "--frames", "3", "--size", "64", "--average", "0.5"]
    asked = [str(faces_dir), str(tmp_path), "--device", "cpu", *same]
    assert main(asked) == 2
    assert "go on with --resume" in capsys.readouterr().err
    assert main([*asked, "--resume", "--batch", "3", "--rate", "1e-4"]) == 2
    assert "other settings (batch was 2, not 3)" in capsys.readouterr().err
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
