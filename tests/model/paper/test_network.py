"""The published network keeps the causal network's invariants, and its parts do what their equations say."""

import pytest

from tests.conftest import require

torch = require("torch")

from dataclasses import fields, replace  # noqa: E402

from model.config import UnknownPresetError  # noqa: E402
from model.paper.config import PRESETS, config_of, preset  # noqa: E402
from model.paper.network import PaperVRetouchEr, State, choose  # noqa: E402


def run(
    network: PaperVRetouchEr, faces: "torch.Tensor", state: State | None = None
) -> tuple[list["torch.Tensor"], State]:
    state = network.fresh_state(faces[0]) if state is None else state
    outputs = []
    with torch.no_grad():
        for face in faces:
            step = network.step(face, state)
            state = step.state
            outputs.append(torch.cat([step.residual, step.map], dim=1))
    return outputs, state


def equal(a: State, b: State) -> bool:
    return all(torch.equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(State))


def test_a_future_frame_changes_nothing_past(
    paper_network: PaperVRetouchEr, paper_faces: "torch.Tensor"
) -> None:
    other = paper_faces.clone()
    other[4:] = 1 - other[4:]
    first, _ = run(paper_network, paper_faces)
    second, _ = run(paper_network, other)
    assert all(torch.equal(a, b) for a, b in zip(first[:4], second[:4], strict=True))
    assert not torch.equal(first[4], second[4])


def test_a_past_frame_changes_what_follows(
    paper_network: PaperVRetouchEr, paper_faces: "torch.Tensor"
) -> None:
    other = paper_faces.clone()
    other[2] = 1 - other[2]
    assert not torch.equal(run(paper_network, paper_faces)[0][3], run(paper_network, other)[0][3])


def test_streaming_in_parts_equals_the_whole(
    paper_network: PaperVRetouchEr, paper_faces: "torch.Tensor"
) -> None:
    whole, last = run(paper_network, paper_faces)
    head, state = run(paper_network, paper_faces[:3])
    tail, after = run(paper_network, paper_faces[3:], state)
    assert all(torch.equal(a, b) for a, b in zip(whole, head + tail, strict=True))
    assert equal(last, after)


def test_whole_clips_equal_step_after_step(
    paper_network: PaperVRetouchEr, paper_faces: "torch.Tensor"
) -> None:
    clips = torch.stack([paper_faces[:, 0], paper_faces.flip(0)[:, 0]])  # [2, T, 3, H, W]
    streamed, _ = run(paper_network, clips.transpose(0, 1))
    with torch.no_grad():
        whole = paper_network.clip(clips)
    for t, step in enumerate(streamed):
        torch.testing.assert_close(whole.image[:, t] - clips[:, t], step[:, :3], rtol=1e-4, atol=1e-5)
    shown = torch.nn.functional.interpolate(whole.map[0], scale_factor=8, mode="bilinear").clamp(0, 1)
    torch.testing.assert_close(shown[3], streamed[3][0, 3:], rtol=1e-4, atol=1e-5)


def test_a_state_used_twice_gives_the_same_and_is_unchanged(
    paper_network: PaperVRetouchEr, paper_faces: "torch.Tensor"
) -> None:
    _, state = run(paper_network, paper_faces[:3])
    before = State(**{f.name: getattr(state, f.name).clone() for f in fields(State)})
    first, _ = run(paper_network, paper_faces[3:], state)
    second, _ = run(paper_network, paper_faces[3:], state)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert equal(state, before)


def test_a_reset_state_equals_a_fresh_one(
    paper_network: PaperVRetouchEr, paper_faces: "torch.Tensor"
) -> None:
    first, _ = run(paper_network, paper_faces)
    again, _ = run(paper_network, paper_faces, paper_network.fresh_state(paper_faces[0]))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_the_order_of_the_ring_has_no_meaning(
    paper_network: PaperVRetouchEr, paper_faces: "torch.Tensor"
) -> None:
    _, state = run(paper_network, paper_faces[:2])  # one slot of two is filled
    turned = replace(state, references=state.references.flip(1), valid=state.valid.flip(1))
    expected, _ = run(paper_network, paper_faces[2:3], state)
    got, _ = run(paper_network, paper_faces[2:3], turned)
    torch.testing.assert_close(got[0], expected[0], rtol=1e-5, atol=1e-6)


def test_an_empty_slot_has_no_say(paper_network: PaperVRetouchEr, paper_faces: "torch.Tensor") -> None:
    _, state = run(paper_network, paper_faces[:2])
    littered = state.references.clone()
    littered[:, state.valid[0] == 0] = 7.0
    expected, _ = run(paper_network, paper_faces[2:3], state)
    got, _ = run(paper_network, paper_faces[2:3], replace(state, references=littered))
    assert torch.equal(got[0], expected[0])


def test_the_ring_forgets_what_is_older_than_delta(
    paper_network: PaperVRetouchEr, paper_faces: "torch.Tensor"
) -> None:
    """Of a frame nothing is left after delta + 1 more: Eq. 2 warps the map of N, not the refined one, so that
    a map knows of one frame before, and the oldest reference of none before that."""
    delta = paper_network.config.delta
    assert delta == 3 and paper_network.fresh_state(paper_faces[0]).references.shape[1] == 2
    other = paper_faces.clone()
    other[0] = 1 - other[0]
    first, second = run(paper_network, paper_faces)[0], run(paper_network, other)[0]
    assert not torch.equal(first[delta], second[delta])
    assert torch.equal(first[delta + 1], second[delta + 1])


def test_a_batch_is_its_streams_side_by_side(
    paper_network: PaperVRetouchEr, paper_faces: "torch.Tensor"
) -> None:
    together, _ = run(paper_network, torch.cat([paper_faces, paper_faces.flip(0)], dim=1))
    alone, _ = run(paper_network, paper_faces.flip(0))
    for both, one in zip(together, alone, strict=True):
        torch.testing.assert_close(both[1:], one, rtol=1e-4, atol=1e-5)


def test_shapes_and_ranges(paper_network: PaperVRetouchEr, paper_faces: "torch.Tensor") -> None:
    faces = paper_faces[0, ..., :32]  # not square
    with torch.no_grad():
        step = paper_network.step(faces, paper_network.fresh_state(faces))
    assert step.residual.shape == (1, 3, 64, 32)
    assert step.map.shape == (1, 1, 64, 32)
    assert float(step.map.min()) >= 0 and float(step.map.max()) <= 1


def test_references_of_the_past_and_around() -> None:
    past = choose(5, 3, "past")
    assert past.tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [0, 1, 1, 1, 0],
        [0, 0, 1, 1, 1],
    ]
    around = choose(5, 3, "around")
    assert around.tolist() == [
        [1, 1, 1, 0, 0],
        [1, 1, 1, 0, 0],
        [0, 1, 1, 1, 0],
        [0, 0, 1, 1, 1],
        [0, 0, 1, 1, 1],
    ]
    assert choose(2, 6, "around").tolist() == [[1, 1], [1, 1]]
    assert choose(4, 1, "past").equal(torch.eye(4)) and choose(4, 1, "around").equal(torch.eye(4))


def test_around_looks_ahead_and_past_does_not(
    paper_network: PaperVRetouchEr, paper_faces: "torch.Tensor"
) -> None:
    clip = paper_faces.transpose(0, 1)
    other = clip.clone()
    other[:, 3:] = 1 - other[:, 3:]
    with torch.no_grad():
        for references, same in (("past", True), ("around", False)):
            one, two = (paper_network.clip(x, references).image[:, 2] for x in (clip, other))
            assert torch.allclose(one, two, atol=1e-6) is same


@pytest.mark.parametrize("off", ["fir", "mma"])
def test_a_part_that_is_off_has_no_say(
    off: str, paper_network: PaperVRetouchEr, paper_faces: "torch.Tensor"
) -> None:
    """Without FIR no map of the past is warped, without MMA no reference is looked at."""
    network = PaperVRetouchEr(replace(paper_network.config, **{off: False})).eval()
    network.load_state_dict(paper_network.state_dict())
    state = run(network, paper_faces[:3])[1]
    names = {"fir": ["found_prev", "face_prev"], "mma": ["references"]}[off]
    changed = replace(state, **{name: getattr(state, name) + 0.3 for name in names})
    expected, got = (run(network, paper_faces[3:4], s)[0][0] for s in (state, changed))
    assert torch.equal(expected, got)
    both = run(paper_network, paper_faces[3:4], state)[0][0]
    assert not torch.equal(both, run(paper_network, paper_faces[3:4], changed)[0][0])


def test_the_flow_of_the_face_moves_the_map_an_eighth_as_far(paper_network: PaperVRetouchEr) -> None:
    found, earlier = torch.randn(2, 1, 16, 4, 4, generator=torch.Generator().manual_seed(0))
    flow = torch.zeros(1, 2, 32, 32)
    flow[:, 0] = 8.0
    seen = torch.ones(1, 1)
    with torch.no_grad():
        got = paper_network.refine(found, earlier, flow, seen)
        one_px = torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1).expand(1, 2, 4, 4)
        expected = torch.sigmoid(paper_network.fir(found, earlier, one_px, torch.ones(1, 1, 1, 1)))
    torch.testing.assert_close(got, expected)


def test_a_config_survives_being_saved_and_an_unknown_preset_is_named() -> None:
    import json

    config = PRESETS["paper"]
    assert config_of(json.loads(json.dumps(config.to_dict()))) == config
    with pytest.raises(UnknownPresetError, match="'huge'"):
        preset("huge")
