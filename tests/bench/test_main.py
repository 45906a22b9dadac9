"""What stops a bench is one sentence that says what to do, and no traceback."""

from __future__ import annotations

import argparse
import errno
import os
import re
from types import ModuleType

import pytest

from bench import glass, kernels, pairs
from bench.__main__ import main
from tests.conftest import require


def stop(bench: ModuleType, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on `error` comes out of the bench."""

    def run(options: argparse.Namespace) -> int:
        raise error

    monkeypatch.setattr(bench, "main", run)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "^a file or a connection .*No space.* has room$"),
        (FileNotFoundError(errno.ENOENT, "not there", "faces/a.png"), r"^faces/a\.png .*\(not there\)"),
        (TimeoutError(), r"\(TimeoutError\)"),
        (OSError("two\nlines"), r"\(two\)"),
    ],
)
def test_what_the_system_refuses_is_one_sentence(
    error: OSError, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stop(kernels, error, monkeypatch)
    assert main(["kernels"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(said, line), line


def test_where_memory_is_out_it_is_said_what_to_lower(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stop(pairs, MemoryError(), monkeypatch)
    assert main(["pairs", "data"]) == 2
    sentence = "the memory does not suffice for bench pairs; lower --clips or --frames or --size\n"
    assert capsys.readouterr().err == sentence
    stop(glass, MemoryError(), monkeypatch)
    assert main(["glass"]) == 2
    assert capsys.readouterr().err.endswith("bench glass; end other programs\n")


def test_where_the_memory_of_a_gpu_is_out_it_is_said_alike(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch = require("torch")
    stop(pairs, torch.OutOfMemoryError("CUDA out of memory"), monkeypatch)
    assert main(["pairs", "data"]) == 2
    assert "lower --clips or --frames or --size" in capsys.readouterr().err


def test_a_mistake_of_the_program_is_not_taken_for_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    stop(pairs, RuntimeError("shapes differ"), monkeypatch)
    with pytest.raises(RuntimeError, match="shapes differ"):
        main(["pairs", "data"])
