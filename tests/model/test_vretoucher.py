"""The causal network's invariants: nothing of the future, streaming equals offline, states are values."""

import pytest

from tests.conftest import require

torch = require("torch")

from dataclasses import fields  # noqa: E402

from model.config import PRESETS, UnknownPresetError, preset  # noqa: E402
from model.decoder import gate  # noqa: E402
from model.state import State  # noqa: E402
from model.vretoucher import VRetouchEr  # noqa: E402


@pytest.fixture(scope="module")
def network() -> VRetouchEr:
    torch.manual_seed(3)
    network = VRetouchEr(PRESETS["tiny"]).eval()
    with torch.no_grad():
        for parameter in network.parameters():  # nothing may hide behind a zero initialisation
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network


@pytest.fixture(scope="module")
def faces() -> "torch.Tensor":
    return torch.rand(6, 1, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def run(
    network: VRetouchEr, faces: "torch.Tensor", state: State | None = None
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


def test_a_future_frame_changes_nothing_past(network: VRetouchEr, faces: "torch.Tensor") -> None:
    other = faces.clone()
    other[4:] = 1 - other[4:]
    first, _ = run(network, faces)
    second, _ = run(network, other)
    assert all(torch.equal(a, b) for a, b in zip(first[:4], second[:4], strict=True))
    assert not torch.equal(first[4], second[4])


def test_a_past_frame_changes_what_follows(network: VRetouchEr, faces: "torch.Tensor") -> None:
    other = faces.clone()
    other[2] = 1 - other[2]
    assert not torch.equal(run(network, faces)[0][3], run(network, other)[0][3])


def test_streaming_in_parts_equals_the_whole(network: VRetouchEr, faces: "torch.Tensor") -> None:
    whole, last = run(network, faces)
    head, state = run(network, faces[:3])
    tail, after = run(network, faces[3:], state)
    assert all(torch.equal(a, b) for a, b in zip(whole, head + tail, strict=True))
    assert equal(last, after)


def test_a_state_used_twice_gives_the_same_and_is_unchanged(
    network: VRetouchEr, faces: "torch.Tensor"
) -> None:
    _, state = run(network, faces[:3])
    before = State(**{f.name: getattr(state, f.name).clone() for f in fields(State)})
    first, _ = run(network, faces[3:], state)
    second, _ = run(network, faces[3:], state)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert equal(state, before)


def test_a_reset_state_equals_a_fresh_one(network: VRetouchEr, faces: "torch.Tensor") -> None:
    run(network, faces)
    again, _ = run(network, faces, network.fresh_state(faces[0]))
    assert all(torch.equal(a, b) for a, b in zip(run(network, faces)[0], again, strict=True))


def test_the_order_of_the_ring_has_no_meaning(network: VRetouchEr, faces: "torch.Tensor") -> None:
    _, state = run(network, faces[:3])
    turned = State(state.patches_prev, state.map_prev, state.references.flip(1), state.valid.flip(1))
    expected, _ = run(network, faces[3:4], state)
    got, _ = run(network, faces[3:4], turned)
    torch.testing.assert_close(got[0], expected[0], rtol=1e-5, atol=1e-6)


def test_the_ring_forgets_what_is_older_than_delta(network: VRetouchEr, faces: "torch.Tensor") -> None:
    """The references of the first frame are gone after delta more; only the recurrent map may still know
    it."""
    _, state = run(network, faces[:1])
    oldest = state.references[:, -1].clone()
    _, state = run(network, faces[1:3], state)
    assert network.config.delta == 2
    assert not any(torch.equal(oldest, slot) for slot in state.references.unbind(1))
    assert torch.equal(state.valid, torch.ones_like(state.valid))


def test_a_batch_is_its_streams_side_by_side(network: VRetouchEr, faces: "torch.Tensor") -> None:
    pair = torch.cat([faces, faces.flip(0)], dim=1)
    together, _ = run(network, pair)
    alone, _ = run(network, faces.flip(0))
    for both, one in zip(together, alone, strict=True):
        torch.testing.assert_close(both[1:], one, rtol=1e-4, atol=1e-5)


def test_shapes_and_ranges(network: VRetouchEr, faces: "torch.Tensor") -> None:
    with torch.no_grad():
        step = network.step(faces[0], network.fresh_state(faces[0]))
    assert step.residual.shape == (1, 3, 64, 64)
    assert step.map.shape == (1, 1, 64, 64)
    assert float(step.map.min()) >= 0 and float(step.map.max()) <= 1
    assert (
        float(
            step.residual[(step.map == 0).expand_as(step.residual)].abs().max()
            if (step.map == 0).any()
            else 0.0
        )
        == 0
    )


def test_the_mask_is_the_gate_of_the_logit_that_the_losses_see(
    network: VRetouchEr, faces: "torch.Tensor"
) -> None:
    with torch.no_grad():
        step, trace = network.trace(faces[0], network.fresh_state(faces[0]))
    assert torch.equal(gate(trace.full), step.map)
    assert 0.0 < float(step.map.mean()) < 1.0


def test_live_stays_within_its_arithmetic() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    network = VRetouchEr(PRESETS["live"])
    face = torch.zeros(1, 3, 512, 512)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.step(face, network.fresh_state(face))
    assert counter.get_total_flops() / 2e9 <= 3.0


def test_an_unknown_preset_is_named() -> None:
    with pytest.raises(UnknownPresetError, match="'huge'"):
        preset("huge")


def test_nothing_in_a_step_is_made_of_the_hosts_numbers(
    network: VRetouchEr, faces: "torch.Tensor", monkeypatch: pytest.MonkeyPatch
) -> None:
    state = network.fresh_state(faces[0])

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a CUDA graph cannot record a copy from the host")

    for name in ("tensor", "as_tensor", "from_numpy"):
        monkeypatch.setattr(torch, name, refuse)
    monkeypatch.setattr(torch.Tensor, "item", refuse)
    monkeypatch.setattr(torch.Tensor, "__bool__", refuse)
    with torch.no_grad():
        network.step(faces[0], state)
