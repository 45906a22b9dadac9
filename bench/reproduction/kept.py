"""JSON files that a run which may be stopped at any time goes on from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from model.whole import write_whole


def write_kept(path: Path, values: dict[str, Any]) -> None:
    """Write the file whole or not at all."""
    write_whole(json.dumps(values, indent=1), path)


def read_kept(path: Path) -> dict[str, Any] | None:
    """What is in the file; None where there is none, or it is damaged."""
    try:
        found = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None
