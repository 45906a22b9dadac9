"""Which engine runs: the fastest of those at hand that computes what the CPU's does."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from stream import parity
from stream.engine import Engine
from stream.errors import EngineError, VretouchError, first_line


@dataclass(frozen=True)
class Candidate:
    """An engine that may be there. make: loads it; raises VretouchError with the reason where it is not."""

    name: str
    make: Callable[[], Engine]


@dataclass(frozen=True)
class Choice:
    """The engine chosen, which and why in a line, and a line for each that had to be left out."""

    engine: Engine
    said: str
    left_out: tuple[str, ...] = ()


def fastest(reference: Engine, candidates: Iterable[Candidate]) -> Choice:
    """The fastest of the candidates that equals the reference and is faster than it; else the reference."""
    left_out: list[str] = []
    best: tuple[Engine, parity.Parity] | None = None
    for candidate in candidates:
        try:
            engine = candidate.make()
            found = checked(engine, reference)
        except VretouchError as error:
            left_out.append(f"engine {candidate.name} is left out: {error}")
            continue
        if best is None or found.step_ms < best[1].step_ms:
            best = engine, found
    if best is None:
        return Choice(reference, f"engine {reference.name}: no other passed its check", tuple(left_out))
    engine, found = best
    own_ms = parity.measure(reference, reference).step_ms
    if own_ms <= found.step_ms:
        said = f"engine {reference.name}: {own_ms:.2g} ms a step, {engine.name} {found.step_ms:.2g} ms"
        return Choice(reference, said, tuple(left_out))
    return Choice(engine, _line(engine, found, f"{reference.name} {own_ms:.2g} ms"), tuple(left_out))


def checked(engine: Engine, reference: Engine) -> parity.Parity:
    """How the engine compares with the reference.

    Raises:
        EngineError: it fails, or computes something else.
    """
    try:
        found = parity.measure(engine, reference)
    except VretouchError:
        raise
    except Exception as error:
        raise EngineError(f"its first steps failed ({first_line(error)})") from error
    if found.objection:
        raise EngineError(f"{found.objection} over {parity.FRAMES} frames, beside {reference.name}")
    return found


def _line(engine: Engine, found: parity.Parity, beside: str) -> str:
    return (
        f"engine {engine.name}: {found.step_ms:.2g} ms a step, {beside}; at most "
        f"{found.residual_levels:.2g} levels apart over {parity.FRAMES} frames"
    )
