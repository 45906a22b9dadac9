"""What all tests share: portraits and libraries that are skipped when absent, or demanded.

With VRETOUCH_REQUIRE_ALL=1 in the environment (continuous integration) what is missing fails instead of
skipping.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED_DATA = REPOSITORY.parent / "shared" / "data"


def missing(reason: str) -> NoReturn:
    """Skip the test or the module for the reason, or fail it where everything is demanded."""
    if os.environ.get("VRETOUCH_REQUIRE_ALL") == "1":
        pytest.fail(f"{reason}, and VRETOUCH_REQUIRE_ALL=1 demands it", pytrace=False)
    pytest.skip(reason, allow_module_level=True)


def require(module_name: str) -> ModuleType:
    """The imported module; `missing` where it is not installed. May be called at the top of a test module."""
    try:
        return importlib.import_module(module_name)
    except ImportError as error:
        missing(f"{module_name} is not installed ({error})")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with portraits.csv, portraits/ and clips/."""
    if not (SHARED_DATA / "portraits.csv").is_file():
        missing(f"the portraits are not at {SHARED_DATA}")
    return SHARED_DATA
