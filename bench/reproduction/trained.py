"""Training the methods on equal budgets, each network kept in a folder of its own, so that a run that was
stopped goes on where it was."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import torch

from bench.networks import with_ring
from bench.report import BenchError
from bench.reproduction.kept import read_kept, write_kept
from bench.reproduction.methods import METHODS, Method, learns_as
from model.data.clips import Clip, ClipConfig, ClipSampler
from model.earlier import options as earlier_options
from model.earlier import train as earlier_train
from model.earlier.systems import Earlier
from model.earlier.weights import load_earlier
from model.options import Options
from model.perceptual import cached_path
from model.systems import EARLIER
from model.train import Training, train
from model.training import memory_said
from model.vretoucher import VRetouchEr
from model.weights import load_weights

Named: TypeAlias = tuple[str, int]  # a method's key and a seed
LESS = "lower --jobs, or --batch, --frames or --size with another folder for --networks"


@dataclass(frozen=True)
class Budget:
    """What every network is trained with.

    Attributes:
        minutes, steps: of each network, whichever ends first.
        batch, frames, size: clips of a step, their frames, and the side of a frame in face pixels.
        preset: of all systems.
        rate, earlier_rate: peak learning rate of the causal network; of the earlier systems.
        gain_first, leak: of the causal network's training (model.options.Options): it begins with nothing.
        perceptual: train the earlier systems with VGG-19's term.
        bf16, compile: of the causal network (model.options.Options); the earlier systems train in float32.
        every: steps between checkpoints.
    """

    minutes: float = 10.0
    steps: int = 10**9
    batch: int = 4
    frames: int = 6
    size: int = 256
    preset: str = "live"
    rate: float = 1e-3
    earlier_rate: float = 1e-3
    gain_first: float = 1.0
    leak: float = 0.1
    perceptual: bool = False
    bf16: bool = False
    compile: bool = False
    every: int = 500

    def said(self) -> str:
        """For a table's caption."""
        length = f"{self.minutes:g} minutes" if self.steps == 10**9 else f"{self.steps} steps"
        way = ", the causal network in bfloat16" if self.bf16 else ""
        rates = f"learning rate up to {self.rate:g}, AutoRetouch's and BPFRe's {self.earlier_rate:g}"
        return f"{length} of {self.batch} clips of {self.frames} frames of {self.size} px{way}, {rates}"


@dataclass(frozen=True)
class Spent:
    """What the training of a network took."""

    steps: int
    minutes: float


@dataclass(frozen=True)
class Work:
    """What is trained on, and where the networks are kept.

    Attributes:
        faces: prepared portraits.
        kept: folder of the networks.
        budget: of each.
        vgg: file of VGG-19's weights; None for the one in torch hub's cache.
        say: word of the progress.
    """

    faces: Path
    kept: Path
    budget: Budget
    vgg: Path | None
    say: Callable[[str], None]

    def begin(self) -> None:
        """Make the folder, or check that its networks were trained with this budget on these faces.

        Raises:
            BenchError: they were not, or it cannot be known.
        """
        path = self.kept / "settings.json"
        faces = hashlib.sha256((self.faces / "index.json").read_bytes()).hexdigest()
        now = {**asdict(self.budget), "SHA-256 of the faces' index": faces[:16]}
        if path.is_file():
            then = read_kept(path)
            if then is None:
                raise BenchError(
                    f"{path} is damaged; remove it if the networks beside it are of this budget, or give "
                    "another folder with --networks"
                )
            changed = [f"{k} was {then.get(k)}, not {v}" for k, v in now.items() if then.get(k) != v]
            if changed:
                raise BenchError(
                    f"{self.kept} holds networks of another budget or faces ({'; '.join(changed)}); give "
                    "those, or another folder with --networks"
                )
            return
        self.kept.mkdir(parents=True, exist_ok=True)
        write_kept(path, now)

    def folder(self, method: Method, seed: int) -> Path:
        """Of one network."""
        return self.kept / f"{method.key}-seed{seed}"

    def weights(self, method: Method, seed: int) -> Path:
        """File of one network's weights."""
        return self.folder(self.taught(method), seed) / "weights.pt"

    def taught(self, method: Method) -> Method:
        """The method whose training gives this one's weights."""
        return learns_as(method, self.budget.preset, self.budget.frames)

    def trainings(self, methods: Iterable[Method]) -> list[Method]:
        """The methods that must be trained to have all of these."""
        return list(dict.fromkeys(self.taught(method) for method in methods))

    def trained(self, method: Method, seed: int) -> tuple[VRetouchEr | Earlier, Spent]:
        """The network, trained now as far as it is not yet.

        Raises:
            TrainingError: the memory does not suffice, or the loss is no number.
        """
        taught = self.taught(method)
        if taught is not method:
            network, spent = self.trained(taught, seed)
            assert isinstance(network, VRetouchEr) and method.delta is not None
            return with_ring(network, method.delta), spent
        folder = self.folder(method, seed)
        done = folder / "done.json"
        kept = read_kept(done)
        if kept is None:
            self.say(f"training {method.title}, seed {seed}")
            folder.mkdir(parents=True, exist_ok=True)
            train_one = self._train_earlier if method.system in EARLIER else self._train_causal
            b = self.budget
            with memory_said(b.batch, b.frames, b.size, LESS):
                kept = asdict(train_one(method, seed))
            write_kept(done, kept)
        weights = self.weights(method, seed)
        if method.system in EARLIER:
            return load_earlier(method.system, weights), Spent(**kept)
        return load_weights(weights), Spent(**kept)

    def _train_causal(self, method: Method, seed: int) -> Spent:
        training = Training(
            Options(
                **self._common(method, seed),
                faces=self.faces,
                rate=self.budget.rate,
                gain_first=self.budget.gain_first,
                leak=self.budget.leak,
                bf16=self.budget.bf16,
                compile=self.budget.compile,
            ),
            method.config(self.budget.preset),
        )
        if (training.options.out / "checkpoint.pt").is_file():
            training.resume()
        if training.progress.share(training.options) < 1:
            train(training, self._watched())
        return Spent(training.progress.step, training.progress.minutes)

    def _train_earlier(self, method: Method, seed: int) -> Spent:
        options = earlier_options.Options(
            **self._common(method, seed),
            system=method.system,
            data=self.faces,
            rate=self.budget.earlier_rate,
            vgg=self.vgg,
            perceptual=self.budget.perceptual,
        )
        run = earlier_train.prepare(options, resume=True, tests=self._watched())
        if not run.done:
            run.train()
        return Spent(run.progress.step, run.progress.minutes)

    def _common(self, method: Method, seed: int) -> dict[str, Any]:
        same = ("minutes", "steps", "batch", "frames", "size", "preset", "every")
        chosen = {name: getattr(self.budget, name) for name in same}
        return {**chosen, "seed": seed, "out": self.folder(method, seed)}

    def _watched(self) -> list[Clip]:
        """A glance on the way, no more."""
        config = ClipConfig(size=256, frames=2, clean_share=0.0)
        return [ClipSampler(self.faces, config, split="heldout", seed=1).sample(1)]


def train_all(work: Work, wanted: Sequence[tuple[Method, int]], jobs: int) -> None:
    """Each method with each seed that is not trained yet, `jobs` at a time."""
    side_by_side(partial(_train, work), named(wanted), jobs)


def side_by_side(task: Callable[[Named], None], wanted: Sequence[Named], jobs: int) -> None:
    """The task for each, `jobs` at a time in processes that share the cores; what it and `Work.say` are made
    of must be a module's functions then.

    Raises:
        BenchError: one of the processes was ended from outside.
    """
    if jobs == 1:
        for one in wanted:
            task(one)
        return
    threads = max(1, (os.cpu_count() or 1) // jobs)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, _begin, (threads,)) as pool:
        try:
            for _ in pool.map(task, wanted):
                pass
        except BaseException as error:
            for process in multiprocessing.active_children():  # whom Ctrl-C has reached, but SIGTERM has not
                process.terminate()
            pool.shutdown(wait=False, cancel_futures=True)
            if isinstance(error, BrokenProcessPool):
                raise BenchError(
                    f"a process was ended from outside, as one is where memory is out; start again, or {LESS}"
                ) from error
            raise


def _begin(threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C is said once, by the process that waits
    torch.set_num_threads(threads)


def named(wanted: Sequence[tuple[Method, int]]) -> list[Named]:
    """A method's changes of sizes cannot be sent to another process, its name can."""
    return [(method.key, seed) for method, seed in wanted]


def by_key(key: str) -> Method:
    """The method of that name."""
    return next(method for method in METHODS if method.key == key)


def _train(work: Work, one: Named) -> None:
    work.trained(by_key(one[0]), one[1])


def has_vgg(vgg: Path | None) -> bool:
    """Whether VGG-19's weights are here.

    Raises:
        BenchError: a file is named and is not there.
    """
    if vgg is not None and not vgg.is_file():
        raise BenchError(f"there is no file {vgg}; give torchvision's weights of VGG-19, or leave --vgg out")
    return vgg is not None or cached_path().is_file()
