"""A room with little light: noise laid on raw and target alike."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from bench import quality
from bench.__main__ import main
from bench.judge import Footage
from bench.noise import with_noise
from bench.report import BenchError
from tests.bench import staged


def test_raw_and_target_carry_the_same_noise_and_frames_their_own() -> None:
    still = staged.footage()
    (noisy,) = with_noise([still], 6.0, 0)
    laid = noisy.raw_u8.astype(int) - still.raw_u8
    same = (still.raw_u8 == still.target_u8).all(-1)
    assert np.array_equal(laid[same], (noisy.target_u8.astype(int) - still.target_u8)[same])
    assert float(laid.std()) == pytest.approx(6.0, rel=0.03) and abs(float(laid.mean())) < 0.1
    assert abs(float(np.corrcoef(laid[0].ravel(), laid[1].ravel())[0, 1])) < 0.02
    assert noisy.map is still.map and noisy.name == still.name


def test_clips_differ_in_noise_seeds_too_and_none_is_none() -> None:
    still = staged.footage()
    one, other = with_noise([still, still], 3.0, 0)
    assert not np.array_equal(one.raw_u8, other.raw_u8)
    (again,), (fresh,) = with_noise([still], 3.0, 0), with_noise([still], 3.0, 1)
    assert np.array_equal(one.raw_u8, again.raw_u8) and not np.array_equal(one.raw_u8, fresh.raw_u8)
    (left,) = with_noise([still], 0.0, 0)
    assert left is still


@pytest.mark.parametrize("levels", ["-1", "nan", "100"])
def test_what_is_no_noise_of_a_picture_is_refused(levels: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["quality", "--noise", levels]) == 2
    assert "give 0 to 64 levels" in capsys.readouterr().err


def test_the_bench_lays_as_much_as_asked_by_its_seed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[Footage] = []

    def run(footages: Iterable[Footage], *_: object) -> quality.Outcome:
        seen.extend(footages)
        raise BenchError("that is all")

    staged_clips = quality.Generator(lambda *_: lambda count: [staged.footage()] * count, ())
    monkeypatch.setitem(quality.GENERATORS, "second", staged_clips)
    for name, stub in (("_run", run), ("_engine", str), ("_needs_torch", bool), ("FaceModels", nullcontext)):
        monkeypatch.setattr(quality, name, stub)
    monkeypatch.setattr(quality, "faces_folder", lambda *_: tmp_path)
    assert main(["quality", "--generator", "second", "--clips", "2", "--noise", "5", "--seed", "3"]) == 2
    wanted = list(with_noise([staged.footage()] * 2, 5.0, 3))
    assert [np.array_equal(a.raw_u8, b.raw_u8) for a, b in zip(seen, wanted, strict=True)] == [True, True]
