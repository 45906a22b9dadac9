"""The same network with rings of different length, to see what the references cost."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.report import read_card


@dataclass(frozen=True)
class Variant:
    """An exported file and the length of its ring."""

    path: Path
    delta: int


def given_variants(paths: Iterable[Path]) -> list[Variant]:
    """The files whose card, beside them, names a delta."""
    cards = [(path, read_card(path).get("delta")) for path in paths]
    return [Variant(path, delta) for path, delta in cards if isinstance(delta, int)]


def made_variants(
    preset: str, deltas: Sequence[int], folder: Path, say: Callable[[str], None]
) -> list[Variant]:
    """The preset exported into `folder` with each delta, untrained: its cost does not depend on its weights.

    Needs torch and onnx; without them nothing is made, and `say` is told so.
    """
    try:
        import torch

        from export.onnx import export_onnx
        from model.config import preset as config_of
        from model.vretoucher import VRetouchEr
    except ImportError as error:
        say(f"delta 6 against delta 1 was not measured, since exporting needs torch and onnx ({error})")
        return []
    variants = []
    for delta in deltas:
        torch.manual_seed(0)
        path = folder / f"delta{delta}.onnx"
        with quiet():
            export_onnx(VRetouchEr(replace(config_of(preset), delta=delta)).eval(), path)
        variants.append(Variant(path, delta))
    return variants


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the exporter's warnings about libraries that are not there."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
