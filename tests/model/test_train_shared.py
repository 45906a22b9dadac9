"""Training shared by processes that torchrun has started."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, require

torch = require("torch")

from torch import nn  # noqa: E402

from model import train as training_module  # noqa: E402
from model.clip_stream import ClipStream  # noqa: E402
from model.train import Training, main  # noqa: E402
from model.weights import load_weights  # noqa: E402
from tests.model.processes import two_processes  # noqa: E402
from tests.model.test_train import options  # noqa: E402

SHORT_JUDGED = """
import time
from model import train
from model.distributed import rank
from model.data.clips import ClipConfig, ClipSampler
config = ClipConfig(size=64, frames=2)
train.validation_clips = lambda o: [ClipSampler(o.faces, config, split="heldout", seed=1).sample(1)]
step, run = train.Training.update, train.train
def slow(training, clip):
    time.sleep(0.3 * rank())
    return step(training, clip)
def watched(training, clips):
    run(training, clips)
    weights = sum(float(weight.double().sum()) for weight in training.network.parameters())
    end = f"{weights} {training.progress.minutes}"
    (training.options.out / f"process-{rank()}").write_text(end)
train.Training.update, train.train = slow, watched
raise SystemExit(train.main())
"""


def test_two_processes_train_one_network(faces_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SHORT_JUDGED)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    small = ["--preset", "tiny", "--batch", "1", "--frames", "1", "--size", "64", "--takes", "1"]
    budget = ["--steps", "2", "--every", "1", "--device", "cpu"]
    command = [*launcher, str(tmp_path / "train.py"), str(faces_dir), str(tmp_path), *small, *budget]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    said = [line.partition(",")[0] for line in done.stdout.splitlines() if line.startswith("step")]
    assert said == ["step 1", "step 2"]  # the first process alone writes and prints
    assert load_weights(tmp_path / "weights.pt").config.preset == "tiny"
    first, second = ((tmp_path / f"process-{number}").read_text() for number in range(2))
    assert first == second  # the same weights, at the same place of the schedule


ASTRAY = """
import torch
from model import train
from model.distributed import rank
from model.data.clips import ClipConfig, ClipSampler
config = ClipConfig(size=64, frames=2)
train.validation_clips = lambda o: [ClipSampler(o.faces, config, split="heldout", seed=1).sample(1)]
clip_loss = train.Training.clip_loss
def astray(training, clip):
    loss, terms = clip_loss(training, clip)
    return (loss * torch.nan if rank() == 1 and training.progress.step == 1 else loss), terms
train.Training.clip_loss = astray
raise SystemExit(train.main())
"""


def test_where_one_goes_astray_it_alone_says_so_and_both_end(faces_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "astray.py").write_text(ASTRAY)
    small = ["--preset", "tiny", "--batch", "1", "--frames", "1", "--size", "64", "--takes", "1"]
    asked = [str(faces_dir), str(tmp_path / "out"), *small, "--steps", "3", "--every", "1", "--device", "cpu"]
    (first, silent), (second, said) = two_processes(tmp_path / "astray.py", asked, {})
    assert (first, second) == (2, 2), (silent, said)
    assert "Step 2 is not finite (its loss is nan)" in said and silent == ""
    assert "checkpoint.pt is of step 1, go on from it" in said
    assert torch.load(tmp_path / "out" / "checkpoint.pt", weights_only=True)["progress"]["step"] == 1


def test_each_process_draws_clips_of_its_own_and_steps_by_the_mean_of_all(
    faces_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = options(faces_dir, tmp_path)
    threads = torch.get_num_threads()
    try:
        first = next(iter(ClipStream(chosen, 0)))
        monkeypatch.setattr("model.clip_stream.rank", lambda: 1)
        second = next(iter(ClipStream(chosen, 0)))
    finally:
        torch.set_num_threads(threads)
    assert not torch.equal(first.raw, second.raw)
    averaged: list[float] = []

    def average(weights: Iterator[nn.Parameter]) -> None:
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        averaged.append(sum(float(gradient.abs().sum()) for gradient in gradients))
        for gradient in gradients:
            gradient.zero_()

    monkeypatch.setattr(training_module, "average_gradients", average)
    training = Training(chosen)
    before = training.network.decoder.up4.weight.clone()
    training.update(first)
    assert averaged[0] > 0.0
    assert torch.equal(training.network.decoder.up4.weight, before)


def test_more_processes_than_gpus_are_refused_in_a_sentence(
    faces_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "2")
    assert main([str(faces_dir), str(tmp_path / "out"), "--preset", "tiny", "--device", "cuda"]) == 2
    assert "torch can use 2 GPUs, so process 3 is one too many" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
