"""The shape of the code: which way the arrows point, what the default run may import, how long things may
be."""

from __future__ import annotations

import ast
import re
import shutil
import statistics
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, missing, require

PACKAGES = ("stream", "model", "export", "bench")
MAX_FUNCTION_LINES = 60
MAX_FILE_LINES = 400
# Words that promise work instead of doing it, in pieces so that this file does not hold them.
UNFINISHED = re.compile(
    r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b|place" + r"holder|for n" + r"ow\b", re.IGNORECASE
)
VAGUE_NAMES = ("utils.py", "util.py", "helpers.py", "helper.py", "manager.py", "misc.py", "common.py")
# What a module imports is called otherwise than the distribution that brings it.
DISTRIBUTIONS = {"cv2": "opencv-python-headless", "PIL": "pillow", "google": "protobuf"}

SOURCES = sorted(path for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py"))
TESTS = sorted((REPOSITORY / "tests").rglob("*.py"))


def named(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def lines_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def test_the_import_contracts_hold(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    linter = require("importlinter.cli")
    monkeypatch.chdir(REPOSITORY)
    # It would silence every logger that there is, for the tests that come after.
    monkeypatch.setattr("logging.config.dictConfig", lambda _: None)
    broken = linter.lint_imports(config_filename="pyproject.toml", no_cache=True, no_logo=True)
    assert broken == 0, capsys.readouterr().out


def test_the_default_run_imports_neither_torch_nor_the_model() -> None:
    modules = [
        named(path)[:-3].replace("/", ".")
        for path in (REPOSITORY / "stream").rglob("*.py")
        if path.name not in ("torch_.py", "earlier_.py", "cupy_.py", "__main__.py", "__init__.py")
    ]
    code = (
        f"import importlib, sys\nfor name in {modules!r}: importlib.import_module(name)\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'torch', 'model', 'onnx', 'skimage'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def third_party(path: Path) -> set[str]:
    """Top-level names of what a file imports that is neither the standard library's nor ours."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - set(PACKAGES)


def pins(name: str) -> dict[str, str]:
    text = (REPOSITORY / "requirements" / name).read_text(encoding="utf-8")
    return dict(re.findall(r"^([A-Za-z0-9_.-]+)(?:\[\S+\])?==(\S+)$", text, re.MULTILINE))


def needed_by_the_stream() -> set[str]:
    """What it imports but for a GPU and in its torch engines."""
    left_out = ("torch_.py", "earlier_.py", "cupy_.py")
    paths = [path for path in (REPOSITORY / "stream").rglob("*.py") if path.name not in left_out]
    return set().union(*(third_party(path) for path in paths))


def test_everything_the_stream_imports_is_pinned() -> None:
    needed = needed_by_the_stream()
    assert {DISTRIBUTIONS.get(name, name) for name in needed} - {"pyvirtualcam"} <= set(pins("default.txt"))


def test_the_wheel_declares_what_is_pinned() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {re.split(r"[<>=!~]", line)[0] for line in project["dependencies"]}
    used = needed_by_the_stream()
    # protobuf comes with mediapipe, which declares it; pyvirtualcam is an extra.
    assert declared == {DISTRIBUTIONS.get(name, name) for name in used} - {"protobuf", "pyvirtualcam"}
    assert declared <= set(pins("default.txt"))


def test_the_gpus_onnx_runtime_is_the_other_ones_twin_and_never_beside_it() -> None:
    """Both lie in one folder: which of two would be there is chance."""
    gpu, dev = pins("gpu.txt"), pins("dev.txt")
    assert gpu["onnxruntime-gpu"] == pins("default.txt")["onnxruntime"]
    assert gpu["nvidia-cuda-nvrtc-cu12"] == dev["nvidia-cuda-nvrtc-cu12"]
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extra = {re.split(r"[<>=!~\[]", line)[0] for line in project["optional-dependencies"]["gpu"]}
    assert extra == set(gpu) - {"onnxruntime-gpu", "cuda-pathfinder"}


def test_the_tests_of_a_gpu_run_with_its_onnx_runtime() -> None:
    if shutil.which("make") is None:
        missing("make is not installed")
    command = ["make", "--dry-run", "--always-make", "test-gpu"]
    lines = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    steps = ("pip uninstall -qq --yes onnxruntime", "requirements/gpu.txt", "pytest -m gpu")
    places = [next(k for k, line in enumerate(lines) if line.endswith(step)) for step in steps]
    assert places == sorted(places)
    assert all(lines[place].startswith(".venv-gpu/bin/python ") for place in places)


def test_requirements_name_packages_only() -> None:
    for path in (REPOSITORY / "requirements").glob("*.txt"):
        text = path.read_text(encoding="utf-8")
        assert "://" not in text
        assert not re.search(r"^-(?!c default\.txt)", text, re.MULTILINE), named(path)


@pytest.mark.parametrize("path", [*SOURCES, *TESTS], ids=named)
def test_files_are_short_described_and_finished(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) < MAX_FILE_LINES
    assert path.name not in VAGUE_NAMES
    if text.strip():
        assert ast.get_docstring(ast.parse(text)), "the module has no docstring"
    found = UNFINISHED.search(text)
    assert found is None, f"unfinished: {found and found[0]}"


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_no_function_is_long(path: Path) -> None:
    long = {node.name: lines_of(node) for node in functions(path) if lines_of(node) > MAX_FUNCTION_LINES}
    assert not long


def test_the_median_function_is_short() -> None:
    lengths = [lines_of(node) for path in SOURCES for node in functions(path)]
    assert 3 <= statistics.median(lengths) <= 11


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_what_is_public_is_documented(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    bare = [
        node.name
        for node in tree.body
        if isinstance(node, kinds) and not node.name.startswith("_") and not ast.get_docstring(node)
    ]
    assert not bare
