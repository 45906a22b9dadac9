"""stream.retoucher in its three parts: locating and stepping ahead of compositing gives the same frames."""

import numpy as np
import pytest

from stream import VretouchError
from stream.results import STAGES
from tests.stream.fakes import face_at, noise_frame
from tests.stream.test_retoucher import moving, retoucher


def test_faces_may_be_located_and_stepped_ahead() -> None:
    faces = [*moving(6), face_at(120, 180, 0.5), *moving(3)]  # a leap, and back
    frames = [noise_frame(360, 640, seed=0) + np.uint8(k % 3) for k in range(len(faces))]
    frames[8:] = [np.rot90(noise_frame(640, 360, seed=9)) // 2 for _ in frames[8:]]  # a cut
    with retoucher(faces[0]) as one, retoucher(faces[0]) as two:
        together, located = [], []
        for k, (face, frame) in enumerate(zip(faces, frames, strict=True)):
            for r in (one, two):
                r._tracker._finder.faces = [face]  # type: ignore[attr-defined]
            together.append((one.process(frame, k / 30), one.last))
            located.append(two.locate(frame, k / 30))
        stepped = [two.step(where) for where in located]
        for frame, made, (wanted, last) in zip(frames, stepped, together, strict=True):
            np.testing.assert_array_equal(two.composite(frame, made), wanted)
            assert [f.id for f in two.last.faces] == [f.id for f in last.faces]
            assert two.last.restarted == last.restarted
            assert list(two.last.stage_ms) == list(STAGES)
            *parts, total = two.last.stage_ms.values()
            assert 0.0 < sum(parts) <= total
            assert min(two.last.stage_ms[stage] for stage in ("locate", "step", "composite")) > 0.0
    assert sum(last.restarted for _, last in together) == 2
    with pytest.raises(VretouchError, match="closed"):
        two.step(located[0])
    with pytest.raises(VretouchError, match="closed"):
        two.composite(frames[0], stepped[0])
