"""What all tests share: portraits and libraries that are skipped when absent, or demanded.

With VRETOUCH_REQUIRE_ALL=1 in the environment (continuous integration) what is missing fails instead of
skipping; a GPU alone is never demanded.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import pytest

from stream.engine import has_gpu

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


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a GPU where there is none, whatever is demanded: no machine can be told to have one."""
    if item.get_closest_marker("gpu") is not None and not has_gpu():
        pytest.skip("no NVIDIA GPU")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """After tests on a GPU a table of them, for docs/gpu.md: what each recorded with `record_property`."""
    ran = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, ())]
    rows = [report for report in ran if "gpu" in report.keywords and report.when == "call"]
    if rows:
        terminalreporter.write_line("| test | result | figures |\n| --- | --- | --- |")
    for report in rows:
        figures = ", ".join(f"{name} {value}" for name, value in report.user_properties)
        name = report.nodeid.rpartition("::")[2]
        terminalreporter.write_line(f"| {name} | {report.outcome} | {figures} |")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with portraits.csv, portraits/ and clips/."""
    if not (SHARED_DATA / "portraits.csv").is_file():
        missing(f"the portraits are not at {SHARED_DATA}")
    return SHARED_DATA
