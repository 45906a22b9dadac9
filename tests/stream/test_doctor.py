"""The doctor: what is there, what is missing, the command that mends it, and an exit code to rely on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from stream import doctor as module
from stream.doctor import LIBRARIES, Finding, Library, doctor, library_finding, python_finding
from stream.errors import WeightsError


@pytest.fixture
def quick(monkeypatch):
    """The slow and changing checks replaced by one that is well."""
    for name in ("face_findings", "weights_findings", "engine_findings"):
        monkeypatch.setattr(module, name, lambda name=name: [Finding(name, "ok", "well")])


def test_this_machine_is_well(quick, capsys):
    assert doctor() == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "everything the default use needs is here"
    for name in (
        "Python",
        "numpy",
        "av",
        "onnxruntime",
        "pillow",
        "H.264 encoder",
        "providers",
        "CPU",
        "memory",
    ):
        assert any(line.startswith(f"ok        {name} ") for line in lines), name


def test_json_says_the_same(quick, capsys):
    assert doctor(as_json=True) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["works"] is True
    assert {"name", "state", "said", "mend"} == set(found["findings"][0])
    assert next(f for f in found["findings"] if f["name"] == "providers")["said"].count("CPU") == 1


def test_something_missing_exits_2_and_names_the_remedy(quick, monkeypatch, capsys):
    gone = Library("no_such_module", ("numpy-of-old",), True, "arrays")
    monkeypatch.setattr(module, "LIBRARIES", (gone,))
    assert doctor() == 2
    said = capsys.readouterr().out
    assert "missing   numpy-of-old" in said
    assert "-m pip install numpy-of-old" in said
    assert said.splitlines()[-1] == "something the default use needs is missing"


def test_a_check_that_fails_becomes_a_finding(quick, monkeypatch, capsys):
    def corrupt():
        raise WeightsError("live.onnx is not the file its card describes; install vretouch again")

    def broken():
        raise RuntimeError("boom")

    monkeypatch.setattr(module, "weights_findings", corrupt)
    monkeypatch.setattr(module, "codec_findings", broken)
    assert doctor() == 2
    said = capsys.readouterr().out
    assert "missing   weights                live.onnx is not the file its card describes" in said
    assert "cannot be looked at (RuntimeError: boom)" in said


def test_optional_libraries_are_no_fault():
    absent = library_finding(Library("no_such_module", ("virtual-camera",), False, "virtual camera"))
    assert (absent.state, absent.said) == ("optional", "not installed (virtual camera)")
    assert absent.mend.endswith("pip install virtual-camera")
    assert "->" in absent.line()
    assert all(library_finding(library).state == "ok" for library in LIBRARIES if library.needed)


@pytest.mark.parametrize(
    ("version", "state"),
    [((3, 10, 9), "missing"), ((3, 11, 0), "ok"), ((3, 12, 4), "ok"), ((3, 13, 0), "missing")],
)
def test_python_versions(version, state):
    assert python_finding(version).state == state


def test_face_models_start():
    (found,) = module.face_findings()
    assert found.state == "ok"
    assert "mediapipe" in found.said


def test_weights_of_every_preset_are_looked_at(monkeypatch, tmp_path):
    monkeypatch.setattr("stream.engine.weights_folder", lambda: tmp_path)
    found = {f.name: f.state for f in module.weights_findings()}
    assert found == {"weights live": "missing", "weights studio": "optional", "weights paper": "optional"}


ABSENT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name == "cv2":
            raise ModuleNotFoundError("No module named 'cv2'", name=name)
sys.meta_path.insert(0, Absent())
from stream.cli import main
sys.exit(main(["doctor"]))
"""


def test_the_doctor_runs_where_a_library_is_missing():
    done = subprocess.run(
        [sys.executable, "-c", ABSENT],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (2, "")
    assert "missing   opencv-python-headless" in done.stdout
