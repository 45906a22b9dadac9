"""Negatives: moles are told from what acne leaves, and glasses are no skin."""

from __future__ import annotations

from tests.conftest import require

torch = require("torch")

from model.data import kinds  # noqa: E402
from model.data import negatives as neg  # noqa: E402


def test_moles_are_darker_and_sharper_than_brown_marks() -> None:
    mole = next(k for k in neg.KINDS if k.name == "flat mole")
    mark = next(k for k in kinds.KINDS if k.name == "pigment")
    assert mole.depth[0] > 2.5 * mark.depth[0]
    assert mole.edge[0] >= mark.edge[1] > mark.edge[0]
    assert mole.melanin[0] > 0.85


def test_glasses_are_painted_and_are_no_skin() -> None:
    base, bits = torch.full((3, 300, 300), 0.7), torch.ones(300, 300, dtype=torch.uint8)
    landmarks = torch.zeros(468, 2)
    for index, at in (
        (33, (95.0, 150.0)),
        (133, (135.0, 150.0)),
        (362, (165.0, 150.0)),
        (263, (205.0, 150.0)),
    ):
        landmarks[index] = torch.tensor(at)
    neg.put_on_glasses(base, bits, landmarks, torch.zeros(2), torch.Generator().manual_seed(0))
    changed = (base != 0.7).any(0)
    assert 300 < int(changed.sum()) < 5000
    assert not bits[(base - 0.7).abs().amax(0) > 0.05].any()
    assert not changed[:60].any()
    assert not changed[240:].any()


def test_lines_are_thin_and_fade_at_their_ends() -> None:
    gen = torch.Generator().manual_seed(1)
    marks = neg._chain(neg.STRAY_HAIR, 0, (256, 256), gen)
    assert len(marks) > 20
    assert float(marks.radius.max()) <= neg.STRAY_HAIR.radius[1]
    assert float(marks.depth[0]) < 0.3 * float(marks.depth.max())
