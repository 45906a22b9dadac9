"""Imperfections by sort: sizes against the face, colours by what retouching does."""

from __future__ import annotations

import numpy as np
import pytest

from bench import sorts
from bench.sorts import Share


def scene() -> tuple[np.ndarray, ...]:
    """A grey face of 200 px with a red spot of 6 px, a shine of 40 px, and a dark dot of 2 px; target, map,
    face."""
    raw = np.full((220, 220, 3), 150, np.uint8)
    target = raw.copy()
    raw[40:46, 40:46] = (148, 120, 118)
    raw[100:140, 100:140] = 170
    raw[60:62, 160:162] = 110
    true_map = (np.abs(raw.astype(int) - target).mean(-1) / 20.0).clip(0, 1).astype(np.float32)
    face = np.zeros((220, 220), bool)
    face[10:210, 10:210] = True
    return raw, target, true_map, face


def test_sizes_and_colours_are_told_apart() -> None:
    raw, target, true_map, face = scene()
    found = sorts.shares(raw, raw, target, true_map, face)
    assert set(found) == {("medium", "red"), ("broad", "bright"), ("small", "dark")}
    assert sum(share.before for share in found.values()) == pytest.approx(1.0)
    assert all(share.left == share.before for share in found.values())


def test_a_flush_that_brightens_red_is_red() -> None:
    raw, target, _, face = scene()
    raw[:] = target
    raw[100:140, 100:140] = (156, 138, 144)
    true_map = (raw != target).any(-1).astype(np.float32)
    assert set(sorts.shares(raw, raw, target, true_map, face)) == {("broad", "red")}


def test_what_is_left_is_counted_where_it_is_left() -> None:
    raw, target, true_map, face = scene()
    out = raw.copy()
    out[40:46, 40:46] = 150
    out[100:140, 100:140] = 160
    found = sorts.shares(raw, out, target, true_map, face)
    assert found["medium", "red"].left == 0.0
    assert found["broad", "bright"].left == pytest.approx(found["broad", "bright"].before / 4.0)
    assert found["small", "dark"].left == found["small", "dark"].before


def test_clips_count_alike_however_much_was_painted() -> None:
    key = ("small", "red")
    mean = sorts.summed(
        [{key: Share(1.0, 0.5, 3)}, {}, {key: Share(0.5, 0.5, 1), ("broad", "red"): Share(0.5, 0.0, 1)}]
    )
    assert mean[key] == Share(0.75, 0.5, 4)
    assert list(mean) == [key, ("broad", "red")]


def test_nothing_painted_has_no_sorts() -> None:
    raw, _, true_map, face = scene()
    assert sorts.shares(raw, raw, raw, true_map, face) == {}
