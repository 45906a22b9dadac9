"""stream.engine and its engines: the streaming contract, and every way weights can be wrong."""

import json
import threading
from pathlib import Path

import numpy as np
import pytest

from stream import engine as engine_module
from stream.crop import FACE_PX
from stream.engine import (
    ENGINES,
    PRESETS,
    Engine,
    available_presets,
    default_threads,
    find_weights,
    live_threads,
    load_engine,
)
from stream.engines.onnx_ import OnnxEngine, parse_contract, to_planes
from stream.errors import EngineError, OptionError, VretouchError, WeightsError
from tests.conftest import require
from tests.stream.fakes import noise_frame
from tests.stream.tiny_onnx import CONTRACT, DELTA, STATES, TinyReference, seal, write_tiny

FRAMES = 2 * DELTA + 1
# ONNX Runtime averages the face in float32; every state's own part in the residual is above one level.
LEVELS = 0.05


def faces(count: int, seed: int = 0) -> list[np.ndarray]:
    """Faces whose brightness differs, so that the states matter."""
    return [noise_frame(FACE_PX, FACE_PX, seed + k) // np.uint8(1 + k % 4) for k in range(count)]


@pytest.fixture
def tiny(tmp_path: Path) -> OnnxEngine:
    write_tiny(tmp_path)
    return OnnxEngine(find_weights("live", tmp_path), threads=1)


def one_line(error: BaseException) -> str:
    text = str(error)
    assert "\n" not in text
    assert len(text) < 400
    return text


def test_onnx_equals_the_reference_over_twice_the_ring(tiny: OnnxEngine) -> None:
    reference, state = TinyReference(), tiny.new_state()
    for face in faces(FRAMES):
        residual, seen, kept = tiny.step(face, state)
        wanted_residual, wanted_map = reference.step(face)
        assert residual.dtype == seen.dtype == np.float32
        np.testing.assert_allclose(residual, wanted_residual, atol=LEVELS)
        np.testing.assert_allclose(seen, wanted_map, atol=1e-5)
        np.testing.assert_allclose(kept, np.full((2, 128, 128), wanted_map.mean()), atol=1e-4)


def test_a_new_state_equals_a_fresh_engine(tiny: OnnxEngine) -> None:
    used = tiny.new_state()
    for face in faces(4, seed=9):
        tiny.step(face, used)
    state, reference = tiny.new_state(), TinyReference()
    for face in faces(3):
        np.testing.assert_allclose(tiny.step(face, state)[0], reference.step(face)[0], atol=LEVELS)


def test_two_states_take_turns_on_one_engine(tiny: OnnxEngine) -> None:
    states = [tiny.new_state(), tiny.new_state()]
    references = [TinyReference(), TinyReference()]
    for face_a, face_b in zip(faces(FRAMES), faces(FRAMES, seed=50), strict=True):
        for state, reference, face in zip(states, references, (face_a, face_b), strict=True):
            np.testing.assert_allclose(tiny.step(face, state)[0], reference.step(face)[0], atol=LEVELS)


def test_two_threads_step_one_engine_without_a_lock(tiny: OnnxEngine) -> None:
    worst = {}

    def work(seed: int) -> None:
        state, reference = tiny.new_state(), TinyReference()
        errors = [
            np.abs(tiny.step(face, state)[0] - reference.step(face)[0]).max() for face in faces(8, seed)
        ]
        worst[seed] = max(errors)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (0, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(worst) == [0, 100]
    assert max(worst.values()) < LEVELS


def test_no_buffer_moves_while_streaming_but_what_a_step_gives_is_the_callers(tiny: OnnxEngine) -> None:
    state = tiny.new_state()
    first, other = faces(2)
    rings = [array.ctypes.data for array in state.rings.values()]
    given = tiny.step(first, state)
    copies = [array.copy() for array in given]
    for _ in range(4):
        tiny.step(other, state)
    assert [array.ctypes.data for array in state.rings.values()] == rings
    for array, before in zip(given, copies, strict=True):
        np.testing.assert_array_equal(array, before)


def test_ring_slots_fill_in_turn(tiny: OnnxEngine) -> None:
    state = tiny.new_state()
    for count, face in enumerate(faces(DELTA + 1), 1):
        tiny.step(face, state)
        assert state.rings["valid"].sum() == min(count, DELTA)
    newest = np.float32(faces(DELTA + 1)[-1].mean() / 255)
    np.testing.assert_allclose(state.rings["past"][0, 0], newest, rtol=1e-3)


def test_the_engine_tells_its_name_and_preset(tiny: OnnxEngine) -> None:
    known: Engine = tiny
    assert (known.name, known.preset) == ("onnx-cpu", "live")


def test_planes_keep_channel_order() -> None:
    face = noise_frame(FACE_PX, FACE_PX)
    planes = np.zeros((3, FACE_PX, FACE_PX), np.float32)
    to_planes(face, planes.astype(np.uint8), planes)
    np.testing.assert_allclose(planes, face.transpose(2, 0, 1) / 255.0, atol=1e-7)


def test_find_weights_takes_a_file_that_matches_its_card(tmp_path: Path) -> None:
    path = write_tiny(tmp_path)
    found = find_weights("live", tmp_path)
    assert found.path == path
    assert found.card["preset"] == "live"
    assert available_presets(tmp_path) == ["live"]


def test_missing_weights_name_the_path_what_is_there_and_the_remedy(tmp_path: Path) -> None:
    write_tiny(tmp_path)
    with pytest.raises(WeightsError, match=r"studio\.onnx") as caught:
        find_weights("studio", tmp_path)
    said = one_line(caught.value)
    assert "live" in said
    assert "python -m export" in said


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    path = write_tiny(tmp_path)
    with path.open("ab") as file:
        file.write(b"x")
    with pytest.raises(WeightsError, match="SHA-256") as caught:
        find_weights("live", tmp_path)
    assert "install" in one_line(caught.value)


def test_a_corrupt_file_with_a_matching_card_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "live.onnx"
    path.write_bytes(b"not a network" * 50)
    seal(path)
    with pytest.raises(WeightsError, match="cannot be loaded") as caught:
        OnnxEngine(find_weights("live", tmp_path), 1)
    one_line(caught.value)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("content", ["", "{", "[]", '{"preset": "live"}', '{"sha256": 5}'])
def test_a_bad_card_is_refused(tmp_path: Path, content: str) -> None:
    path = write_tiny(tmp_path)
    path.with_suffix(".json").write_text(content)
    with pytest.raises(WeightsError, match=r"live\.json") as caught:
        find_weights("live", tmp_path)
    one_line(caught.value)


def test_a_missing_card_is_refused(tmp_path: Path) -> None:
    path = write_tiny(tmp_path)
    path.with_suffix(".json").unlink()
    with pytest.raises(WeightsError, match=r"live\.json is missing"):
        find_weights("live", tmp_path)


@pytest.mark.parametrize(
    "contract",
    [
        "",
        "nonsense",
        {},
        {**CONTRACT, "version": 1},
        {**CONTRACT, "face_px": 256},
        {**CONTRACT, "states": [{"name": "total"}]},
        {**CONTRACT, "states": [{**STATES[0], "kind": "odd"}]},
        {**CONTRACT, "states": [{**STATES[1], "slot_axis": 7}]},
        {**CONTRACT, "states": [*STATES, {"name": "more", "kind": "plain", "shape": [1], "slot_axis": None}]},
        {**CONTRACT, "states": [{**STATES[0], "shape": [1, 1, 8, 8]}, *STATES[1:]]},
    ],
)
def test_a_file_that_breaks_the_contract_is_refused(
    tmp_path: Path, contract: dict[str, object] | str
) -> None:
    write_tiny(tmp_path, contract)
    with pytest.raises(WeightsError, match=r"live\.onnx") as caught:
        OnnxEngine(find_weights("live", tmp_path), 1)
    one_line(caught.value)


def test_parse_contract_reads_kinds_and_slot_shapes() -> None:
    contract = parse_contract(json.dumps(CONTRACT), "here")
    assert [s.ring for s in contract.states] == [False, True, True]
    assert [s.out_shape() for s in contract.states] == [(1, 1, 4, 4), (1, 1, 2, 4), (1, 1)]
    assert [s.slots() for s in contract.states] == [1, DELTA, DELTA]


def test_unknown_engine_and_preset_list_the_known_ones() -> None:
    with pytest.raises(EngineError, match=", ".join(ENGINES)) as caught:
        load_engine("cuda-fast")
    assert "cuda-fast" in one_line(caught.value)
    with pytest.raises(EngineError, match=", ".join(PRESETS)):
        load_engine("auto", "film")


@pytest.mark.parametrize("threads", [0, -3, 257, 10**30])
def test_threads_outside_their_range(threads: int) -> None:
    with pytest.raises(OptionError, match="threads must be from 1 to 256"):
        load_engine("auto", "live", threads)


def test_default_threads_is_a_sensible_number() -> None:
    assert 1 <= default_threads() <= 4
    assert 1 <= default_threads(spared=1) <= default_threads()
    assert default_threads(spared=1000) == 1


@pytest.mark.parametrize(
    ("cores", "for_files", "for_live"), [(1, 1, 1), (2, 1, 2), (3, 2, 2), (4, 3, 3), (64, 4, 4)]
)
def test_a_live_stream_spares_a_core_only_where_two_are_left(
    monkeypatch: pytest.MonkeyPatch, cores: int, for_files: int, for_live: int
) -> None:
    monkeypatch.setattr(engine_module, "_physical_cores", lambda: cores)
    monkeypatch.setattr(engine_module.os, "sched_getaffinity", lambda _: range(cores), raising=False)
    assert (default_threads(spared=1), live_threads()) == (for_files, for_live)


def test_load_engine_finds_the_packages_own_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tiny(tmp_path)
    monkeypatch.setattr(engine_module, "weights_folder", lambda: tmp_path)
    for name in ("auto", "onnx-cpu"):
        assert load_engine(name, "live", threads=1).name == "onnx-cpu"
    with pytest.raises(WeightsError):
        load_engine("auto", "paper")


def test_torch_engine_without_torch_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "has_torch", lambda: False)
    with pytest.raises(EngineError, match=r"pip install vretouch\[train\]"):
        load_engine("torch-cpu")


def test_torch_engine_streams_a_seeded_network(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = require("torch")
    from model.config import preset
    from model.vretoucher import VRetouchEr
    from stream.engines import torch_

    torch.manual_seed(0)
    network = VRetouchEr(preset("tiny")).eval()
    monkeypatch.setattr(torch_, "load_preset", lambda _: network)
    loaded = load_engine("torch-cpu", "live", threads=1)
    state, inner = loaded.new_state(), None
    for face in faces(3):
        residual, seen, kept = loaded.step(face, state)
        tensor = torch.from_numpy(face).permute(2, 0, 1)[None].float() / 255
        with torch.inference_mode():
            step = network.step(tensor, network.fresh_state(tensor) if inner is None else inner)
        inner = step.state
        np.testing.assert_allclose(residual, step.residual[0].permute(1, 2, 0).numpy() * 255, atol=1e-4)
        np.testing.assert_array_equal(seen, step.map[0, 0].numpy())
        np.testing.assert_array_equal(kept, step.kept[0].numpy())
        assert residual.shape == (FACE_PX, FACE_PX, 3)


def test_streams_that_step_together_are_each_as_alone() -> None:
    torch = require("torch")
    from model.config import preset
    from model.vretoucher import VRetouchEr
    from stream.engines.torch_ import TorchEngine

    torch.manual_seed(0)
    loaded = TorchEngine("tiny", 1, network=VRetouchEr(preset("tiny")).eval())
    together, alone = loaded.new_state(2), [loaded.new_state() for _ in range(2)]
    shown = faces(4)
    for step in range(2):
        pair = shown[2 * step : 2 * step + 2]
        together.faces_u8.copy_(torch.from_numpy(np.stack(pair)))
        with torch.inference_mode():
            loaded.run(together)
        seen = [loaded.step(face, state) for face, state in zip(pair, alone, strict=True)]
        for number, one in enumerate(seen):
            got = together.residuals[number].permute(1, 2, 0).numpy()
            np.testing.assert_allclose(got, one.residual, atol=1e-3)
            np.testing.assert_allclose(together.maps[number].numpy(), one.map, atol=1e-5)
    assert np.abs(seen[0].residual - seen[1].residual).max() > 0.1
    assert together.residual.data_ptr() == together.residuals.data_ptr()


def test_missing_torch_weights_are_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    require("torch")
    from stream.engines import torch_

    def absent(_: str) -> object:
        raise ValueError("There are no weights at here.pt; train them with `python -m model.train`.")

    monkeypatch.setattr(torch_, "load_preset", absent)
    with pytest.raises(WeightsError, match=r"model\.train") as caught:
        load_engine("torch-cpu", "live", threads=1)
    assert isinstance(caught.value, VretouchError)


def test_the_shipped_weights_load_and_stream() -> None:
    for preset in available_presets():
        loaded = load_engine("onnx-cpu", preset, threads=1)
        assert loaded.preset == preset
        state = loaded.new_state()
        for face in faces(3):
            residual, seen, kept = loaded.step(face, state)
            assert np.isfinite(residual).all()
            assert kept.shape == (2, 128, 128)
            assert 0.0 <= kept.min() <= kept.max() <= 1.0
            assert 0.0 <= seen.min() <= seen.max() <= 1.0
