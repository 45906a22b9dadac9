"""Processes that share a training of an earlier system make the steps of one that has all of their pairs."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, require

torch = require("torch")

from torch import Tensor  # noqa: E402

from model import autoretouch, distributed  # noqa: E402
from model.earlier import Pairs, crop, mirror, perturb_colour  # noqa: E402
from model.earlier.options import Options  # noqa: E402
from model.earlier.pairs import batches  # noqa: E402
from model.ragan import RunningEstimate, relativistic  # noqa: E402
from model.train import main  # noqa: E402
from tests.model.processes import two_processes  # noqa: E402

BOTH = pytest.mark.parametrize("system", ["autoretouch", "bpfre"])
SMALL = ["--preset", "tiny", "--device", "cpu", "--frames", "2", "--size", "64", "--no-perceptual"]
TERMS = (
    "loss",
    "mse",
    "ragan",
    "critic",
    "blemish_refined",
    "coarse",
    "refined",
    "synthesis",
    "discriminator",
)
BUDGET = ["--steps", "3", "--every", "1", "--rate", "0.002"]


def losses(out: Path) -> list[float]:
    """The loss and its terms, step by step."""
    history = json.loads((out / "history.json").read_text())
    return [entry[name] for entry in history for name in TERMS if name in entry]


@BOTH
def test_two_processes_have_the_losses_of_one_with_twice_the_batch(
    system: str, stills: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--system", system, str(stills)]
    assert main([*asked, str(tmp_path / "one"), *SMALL, *BUDGET, "--batch", "2"]) == 0
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    rest = [str(tmp_path / "two"), *SMALL, *BUDGET, "--batch", "1"]
    command = [*launcher, "-m", "model.train", *asked, *rest]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("step 1,") == 1  # the first process alone writes and prints
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-4, abs=1e-6)
    capsys.readouterr()
    assert main([*asked, str(tmp_path / "two"), *SMALL, "--batch", "1", "--steps", "4", "--resume"]) == 2
    assert "processes was 2, not None" in capsys.readouterr().err


def stepped(out: Path) -> None:
    """Two steps in which RaGAN counts as much as the rest, by optimisers to which a gradient's size matters,
    on this process's part of eight pairs; writes the weights."""
    distributed.join("cpu")
    autoretouch.RAGAN = 1.0
    training = autoretouch.AutoRetouchTraining(autoretouch.AUTORETOUCH["tiny"], None)
    training.optimiser = torch.optim.SGD(training.network.parameters(), lr=0.1)
    training.critic_optimiser = torch.optim.SGD(training.critic.parameters(), lr=0.1)
    draws = torch.Generator().manual_seed(1)
    for _ in range(2):
        raw, target = torch.rand(2, 8, 3, 32, 32, generator=draws)
        own = distributed.share_of(8 // distributed.world())
        training.step(Pairs(raw[own], target[own]))
    parts = (training.network, training.critic, training.of_out)
    torch.save([part.state_dict() for part in parts], out / f"{distributed.rank()}.pt")
    distributed.leave()


STEPPED = """
import sys
from dataclasses import replace
from pathlib import Path
from tests.model.earlier.test_earlier_shared import stepped
stepped(Path(sys.argv[1]))
"""


def test_two_processes_have_the_weights_of_one_where_ragan_joins_them(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
    with pytest.MonkeyPatch.context() as restored:
        restored.setattr(autoretouch, "RAGAN", autoretouch.RAGAN)
        stepped(one)
    (tmp_path / "stepped.py").write_text(STEPPED)
    assert [code for code, _ in two_processes(tmp_path / "stepped.py", [str(two)], {})] == [0, 0]
    wanted = torch.load(one / "0.pt")
    for number in (0, 1):
        torch.testing.assert_close(torch.load(two / f"{number}.pt"), wanted, rtol=1e-4, atol=1e-6)


# Of processes 0 and 1, one fails at step 2.
FAILING = """
import os
from model.data.pairs import PairsError
from model.data.sequences import PairClips
from model.distributed import rank
from model.earlier import train
from model.earlier.systems import AutoRetouch, BPFRe
from model.train import main
number_of, kind = os.environ["FAILS"].split()
update, write, networks = train.Run.update, train.Run._write_report, (AutoRetouch, BPFRe)
forwards = [network.forward for network in networks]
now = {"step": 0}
def updated(run, pairs):
    now["step"] = run.progress.step
    return update(run, pairs)
def failing(forward):
    def run(network, image):
        if rank() == int(number_of) and now["step"] == 1:
            if kind == "nan":
                return forward(network, image * float("nan"))
            if kind == "memory":
                raise MemoryError
        return forward(network, image)
    return run
clip, made = PairClips.clip, train.training_of
def unreadable(clips, number, index=None):
    if kind == "read" and rank() == int(number_of) and index is None and number > 1:
        raise PairsError("5.png cannot be read.")
    return clip(clips, number, index)
def training_of(*given):
    if kind == "begin" and rank() == int(number_of):
        raise MemoryError
    return made(*given)
def full(run, terms):
    if kind == "disk" and run.progress.step == 2:
        raise OSError(28, "No space left on device")
    write(run, terms)
train.Run.update, train.Run._write_report = updated, full
PairClips.clip, train.training_of = unreadable, training_of
for network, forward in zip(networks, forwards):
    network.forward = failing(forward)
raise SystemExit(main())
"""


@pytest.mark.parametrize(
    ("system", "fails", "sentence"),
    [
        ("autoretouch", "1 nan", "Step 2 is not finite (loss nan)"),
        ("autoretouch", "1 memory", "The memory does not suffice for 1 clips"),
        ("autoretouch", "1 begin", "The memory does not suffice for 1 clips"),
        ("bpfre", "1 nan", "Step 2 is not finite (loss nan)"),
        ("bpfre", "1 read", "5.png cannot be read."),
        ("bpfre", "0 disk", "No space left on device"),
    ],
)
def test_where_one_fails_it_alone_says_why_and_both_end(
    system: str, fails: str, sentence: str, stills: Path, tmp_path: Path
) -> None:
    (tmp_path / "failing.py").write_text(FAILING)
    asked = ["--system", system, str(stills), str(tmp_path / "out"), *SMALL, *BUDGET, "--batch", "1"]
    ended = two_processes(tmp_path / "failing.py", asked, {"FAILS": fails})
    assert [code for code, _ in ended] == [2, 2], ended
    said = [text for _, text in ended]
    # RaGAN's loss is of the predictions of both, so that what is no number is none in either.
    speaks = 0 if (system, fails) == ("autoretouch", "1 nan") else int(fails[0])
    assert sentence in said[speaks] and said[speaks].count("\n") == 1 and said[1 - speaks] == ""
    if fails == "1 begin":
        assert not (tmp_path / "out").exists()
        return
    assert "nan" not in fails or "checkpoint.pt is of step 1, go on from it" in said[speaks]
    saved = torch.load(tmp_path / "out" / "checkpoint.pt", weights_only=True)
    assert saved["progress"]["step"] == 1
    assert all(bool(torch.isfinite(weight).all()) for weight in saved["averaged"].values())


def test_processes_take_turns_with_what_one_would_draw(
    stills: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = Options("bpfre", stills, tmp_path, batch=2, frames=1, size=64, unpaired=stills / "train")
    stream = batches(alone, 0)
    whole = [next(stream), next(stream)]

    def changed(pairs: Pairs) -> Pairs:
        draws = torch.Generator().manual_seed(3)
        return perturb_colour(mirror(crop(pairs, 40, draws), draws), draws)

    drawn = changed(whole[1])
    for module in ("model.distributed", "model.earlier", "model.earlier.pairs"):
        monkeypatch.setattr(f"{module}.world", lambda: 2)
    for number in (0, 1):
        for module in ("model.distributed", "model.earlier.pairs"):
            monkeypatch.setattr(f"{module}.rank", lambda number=number: number)
        own = next(batches(replace(alone, batch=1), 1))
        for name, pictures in vars(own).items():
            assert torch.equal(pictures[0], getattr(whole[1], name)[number]), name
        assert torch.equal(changed(own).target[0], drawn.target[number])


def test_the_gradient_of_a_gathered_loss_is_the_sum_of_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What RaGAN makes of all predictions: the mean over them couples the processes."""
    better, worse = torch.rand(6, requires_grad=True), torch.rand(6, requires_grad=True)
    mean = RunningEstimate()
    relativistic(better, worse, mean(better), mean(worse)).backward()
    assert better.grad is not None
    found = []
    sent: list[Tensor] = []
    monkeypatch.setattr(distributed, "world", lambda: 2)
    monkeypatch.setattr(distributed.dist, "all_gather", lambda parts, _: parts.__setitem__(slice(None), sent))
    for number in (0, 1):
        monkeypatch.setattr(distributed, "rank", lambda number=number: number)
        both, own = [], []
        for predictions in (better, worse):
            sent[:] = [part.detach() for part in predictions.split(3)]
            own.append(sent[number].clone().requires_grad_())
            both.append(distributed.gathered(own[-1]))
        relativistic(*both, *(mean(predictions) for predictions in both)).backward()
        found.append(own[0].grad)
    torch.testing.assert_close(torch.cat(found), better.grad)
